"""What a benchmark leaves: a table on the terminal and a JSON file."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence

from benchmarks import measure

RESULTS = pathlib.Path(__file__).parent / "results"
ALWAYS = ("jax", "jaxlib", "flax", "optax", "numpy")
IF_IMPORTED = ("torch", "librosa", "soundfile")


def table(rows: Sequence[Mapping]) -> str:
    """Rows as a table for a terminal; a column per key, in the order of their first use.

    Lists (the single times) are for the file only.
    """
    shown = [key for row in rows for key, value in row.items() if not isinstance(value, list)]
    columns = list(dict.fromkeys(shown))
    lines = [columns] + [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    # Text stands left, numbers right.
    text = [all(isinstance(row.get(column, ""), str) for row in rows) for column in columns]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, text, strict=True)
        ).rstrip()
        for line in lines
    )


def _cell(value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        decimals = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
        return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.{decimals}f}"
    return str(value)


def write(name: str, result: Mapping, path: pathlib.Path | None) -> pathlib.Path:
    """Writes a benchmark's result with all that is needed to read it later.

    Args:
      name: of the benchmark.
      result: "rows", and what else it wants to say; "device" if it knows better than this
        process.
      path: the file; None for the usual one.

    Returns:
      The file.
    """
    device = result.get("device") or measure.device()
    path = path or RESULTS / f"{name}-{device['platform']}.json"
    content = {
        "benchmark": name,
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device,
        "versions": _versions(),
        "glibc tunables": os.environ.get("GLIBC_TUNABLES", ""),
        **{key: value for key, value in result.items() if key not in ("device", "rows")},
        "rows": result["rows"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path


def _versions() -> dict[str, str]:
    packages = [*ALWAYS, *(package for package in IF_IMPORTED if package in sys.modules)]
    versions = {package: importlib.metadata.version(package) for package in packages}
    return {"python": platform.python_version(), **versions}
