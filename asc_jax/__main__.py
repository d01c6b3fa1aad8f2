"""The process of asc-jax, or python -m asc_jax."""

import sys

from asc_jax import huge_pages, output


def start() -> None:
    """Carries out the command line of this process, and ends it."""
    huge_pages.ask()
    output.prepare()
    from asc_jax.cli import main  # not before: the process may begin anew

    try:
        status = main()
    except SystemExit as left:  # argparse's, of --help
        status = left.code
    sys.exit(output.finish(status))


if __name__ == "__main__":
    start()
