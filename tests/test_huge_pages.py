"""Huge pages are asked for where that is of use, and left alone where somebody chose."""

import os
import pathlib
import platform
import subprocess
import sys

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

    def start(setting: str, *arguments: str, **environment: str) -> tuple[int, str]:
        kernel = tmp_path / "enabled"
        kernel.write_text(setting)
        ask = (
            "import pathlib; from asc_jax import huge_pages; "
            f"huge_pages._SETTING = pathlib.Path({str(kernel)!r}); huge_pages.ask(); {SHOW}"
        )
        ours = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"} | environment
        started = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", ask, *arguments],
            stdout=subprocess.PIPE, text=True, env=ours, cwd=pathlib.Path(__file__).parents[1],
        )  # fmt: skip
        return started.pid, started.communicate(timeout=60)[0].strip()

    return start


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc to ask for them")
def test_a_process_begins_anew_with_its_arguments_and_number(process):
    number, said = process(MADVISE, "a b", "--c=d")
    assert said == f"{number} ['a b', '--c=d'] glibc.malloc.hugetlb=1"


def test_a_process_that_need_not_ask_goes_on(process):
    number, said = process(ALWAYS, "a")
    assert said == f"{number} ['a'] None"


def test_an_interpreter_that_is_gone_does_no_harm(monkeypatch):
    monkeypatch.setattr(huge_pages, "_setting", lambda: MADVISE)
    monkeypatch.setattr(huge_pages.sys, "executable", "/nowhere/python")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    huge_pages.ask()
