"""Huge pages are asked for where that is of use, and left alone where somebody chose."""

import os
import pathlib
import platform
import subprocess
import sys
from unittest import mock

import pytest

from asc_jax import huge_pages

MADVISE, ALWAYS = "always [madvise] never\n", "[always] madvise never\n"


@pytest.mark.parametrize(
    ("tunables", "setting", "expected"),
    [
        ("", MADVISE, "glibc.malloc.hugetlb=1"),
        ("glibc.malloc.check=1", MADVISE, "glibc.malloc.check=1:glibc.malloc.hugetlb=1"),
        ("glibc.malloc.hugetlb=0", MADVISE, None),  # somebody's choice
        ("glibc.malloc.hugetlb=1", MADVISE, None),  # asked for already: not for ever
        ("", ALWAYS, None),
        ("", "always madvise [never]\n", None),
        ("", "", None),  # no such setting
    ],
)
def test_they_are_asked_for_once_and_where_they_are_of_use(tunables, setting, expected):
    assert huge_pages.wanted(tunables, setting) == expected


SHOW = "import os, sys; print(os.getpid(), sys.argv[1:], os.environ.get('GLIBC_TUNABLES'))"


@pytest.fixture
def process(tmp_path):
    """What a process that asks prints: its number, arguments and tunables; and its number."""

    def start(setting: str, *arguments: str, wrapper: str = "pass") -> tuple[int, str]:
        kernel = tmp_path / "enabled"
        kernel.write_text(setting)
        ask = (
            f"import os, pathlib; {wrapper}; from asc_jax import huge_pages; "
            f"huge_pages._SETTING = pathlib.Path({str(kernel)!r}); huge_pages.ask(); {SHOW}"
        )
        ours = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}
        started = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", ask, *arguments],
            stdout=subprocess.PIPE, text=True, env=ours, cwd=pathlib.Path(__file__).parents[1],
        )  # fmt: skip
        return started.pid, started.communicate(timeout=60)[0].strip()

    return start


needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="there is no glibc to ask for them"
)


@needs_glibc
def test_a_process_begins_anew_with_its_arguments_and_number(process):
    number, said = process(MADVISE, "a b", "--c=d")
    assert said == f"{number} ['a b', '--c=d'] glibc.malloc.hugetlb=1"


@needs_glibc
def test_an_environment_that_is_set_anew_is_asked_only_once(process):
    """An interpreter may be a wrapper that lets no tunables through."""
    number, said = process(MADVISE, "a", wrapper="os.environ.pop('GLIBC_TUNABLES', None)")
    assert said == f"{number} ['a'] None"


def test_a_process_that_need_not_ask_goes_on(process):
    number, said = process(ALWAYS, "a")
    assert said == f"{number} ['a'] None"


@pytest.fixture
def begun_anew(monkeypatch):
    """Stands for the call that replaces this process, which fails; the machine wants it."""
    monkeypatch.setattr(huge_pages, "_setting", lambda: MADVISE)
    monkeypatch.setattr(huge_pages.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(huge_pages.sys, "gettrace", lambda: None)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    with mock.patch.object(huge_pages.os, "execve", side_effect=OSError("gone")) as execve:
        yield execve


def test_an_interpreter_that_is_gone_does_no_harm(begun_anew):
    huge_pages.ask()
    begun_anew.assert_called_once()


def test_a_debugger_keeps_its_process(begun_anew, monkeypatch):
    monkeypatch.setattr(huge_pages.sys, "gettrace", lambda: print)
    huge_pages.ask()
    begun_anew.assert_not_called()


def test_another_libc_is_not_asked(begun_anew, monkeypatch):
    monkeypatch.setattr(huge_pages.platform, "libc_ver", lambda: ("", ""))
    huge_pages.ask()
    begun_anew.assert_not_called()


def test_the_command_asks_before_anything_else():
    """Whatever else it imports could have begun threads."""
    code = (
        "import sys; from asc_jax import __main__, huge_pages; "
        "huge_pages.ask = lambda: sys.exit('asc_jax.cli' in sys.modules); __main__.start()"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
