"""Memory in pages of 2 MB, for the steps of a CPU.

XLA takes the working memory of a step from the system and gives it back after, every step anew:
1.7 GB in four folds of SE-ResNet(152)-rev. The kernel hands it out in 400,000 faults, a page of
4 kB each: on one of two machines a fifth of the step's time, on the other none that could be seen
(docs/performance.md). Where Linux gives larger pages to those who ask ("madvise", the usual
setting), glibc asks if its environment said so when the process began.
"""

import os
import pathlib
import platform
import sys

VARIABLE, TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
_ASKED = "ASC_JAX_ASKED_FOR_HUGE_PAGES"  # in the environment of a process that has begun anew
_SETTING = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def ask() -> None:
    """Begins this process anew with huge pages asked for, unless it need not or cannot ask.

    It stays the same process to whoever started it, with the same arguments. Call it before
    anything else is done; whoever does not want it sets the tunable to 0.
    """
    # Asked once: a wrapper of the interpreter may set an environment of its own, for ever.
    if os.environ.pop(_ASKED, None) or platform.libc_ver()[0] != "glibc":
        return
    tunables = wanted(os.environ.get(VARIABLE, ""), _setting())
    if tunables is None or not sys.executable or sys.gettrace():  # a debugger's
        return
    try:
        environment = os.environ | {VARIABLE: tunables, _ASKED: "1"}
        os.execve(sys.executable, sys.orig_argv, environment)
    except OSError:  # slower, but as right
        return


def wanted(tunables: str, setting: str) -> str | None:
    """What the environment should say.

    Args:
      tunables: of glibc, as the environment has them: "NAME=VALUE:NAME=VALUE".
      setting: the kernel's for huge pages, the chosen one in brackets.

    Returns:
      The tunables with huge pages; None if they are spoken of already, or asking is no use.
    """
    if TUNABLE in tunables or "[madvise]" not in setting:
        return None
    return ":".join(filter(None, (tunables, f"{TUNABLE}=1")))


def _setting() -> str:
    try:
        return _SETTING.read_text()
    except OSError:  # no Linux, or one without them
        return ""
