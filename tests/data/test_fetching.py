"""Downloads from a real server that fails as servers do."""

import fcntl
import functools
import pathlib
import tempfile
import time

import archive_server
import pytest
import tqdm
from archive_server import (
    cut,
    longer,
    longer_unannounced,
    page,
    right,
    stall,
    status,
    without_length,
    without_ranges,
    wrong,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from asc_jax.data import fetching
from asc_jax.data.zenodo import Archive
from asc_jax.runtime.errors import Stopped

CONTENT = bytes(range(256)) * 1200  # 300 KiB: several reads
NAME = "set.audio.1.zip"


@pytest.fixture(scope="module")
def patient():
    """Tries follow one another fast, and a stall is told soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setattr(fetching, "TIMEOUT", 0.8)
        patch.setattr(fetching, "PATIENCE", 1.8)
        patch.setattr(fetching, "PAUSE", 0.005)
        yield


@pytest.fixture
def server(patient):
    with archive_server.serve() as serving:
        yield serving


@pytest.fixture
def fetch(server, tmp_path):
    """A function that fetches the file, and its path."""
    url, archive = server.add(NAME, CONTENT)
    path = tmp_path / NAME

    def run() -> tqdm.tqdm:
        with tqdm.tqdm(total=len(CONTENT), disable=True) as bar:
            fetching.fetch(url, archive, path, bar)

    run.url, run.path = url, path
    return run


def files_in(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file(fetch, server):
    fetch()
    assert fetch.path.read_bytes() == CONTENT
    assert server.ranges == [""] and files_in(fetch.path.parent) == [NAME]


@pytest.mark.parametrize("how", [cut(200_000), stall(200_000), without_length(200_000)])
def test_a_connection_that_is_lost_is_taken_up_again(fetch, server, how):
    server.answers = [how]
    fetch()
    assert fetch.path.read_bytes() == CONTENT
    first, second = server.ranges
    assert first == "" and 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 200_000


def test_a_later_command_goes_on(fetch, server):
    server.answers = [cut(150_000), *[status(503)] * 20]
    with pytest.raises(Stopped):
        fetch()
    assert files_in(fetch.path.parent) == [f"{NAME}.partial"]
    server.answers = []
    fetch()
    assert fetch.path.read_bytes() == CONTENT
    assert server.ranges[-1] not in ("", "bytes=0-")


def test_a_server_without_ranges_begins_anew(fetch, server):
    server.answers = [cut(200_000), without_ranges]
    fetch()
    assert fetch.path.read_bytes() == CONTENT and len(server.ranges) == 2


def test_a_server_that_never_gets_further_is_given_up(fetch, server):
    server.answers = [functools.partial(without_ranges, n_sent=200_000)] * 50
    with pytest.raises(Stopped):
        fetch()
    assert 1 < len(server.ranges) < 20


def test_the_silent_are_given_up(fetch, server):
    server.answers = [stall(0)] * 50
    begun = time.monotonic()
    with pytest.raises(Stopped, match=NAME):
        fetch()
    assert time.monotonic() - begun < fetching.PATIENCE + 0.3
    assert files_in(fetch.path.parent) == []


def test_what_a_server_says_is_no_command_for_the_terminal(fetch, server, capsys):
    def speaks(handler, _):
        handler.wfile.write(b"\x1b[2J" + b"x" * 9000 + b"\r\n\r\n")

    def answers(handler, _):
        handler.wfile.write(b"HTTP/1.0 503 \x1b[2J\r\n\r\n")

    server.answers = [speaks, answers]
    fetch()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.isprintable() and len(line) < 500 for line in lines)
    server.answers = [lambda handler, _: handler.wfile.write(b"HTTP/1.0 404 \x1b[2J\r\n\r\n")]
    with refused(path=NAME) as caught:
        fetching.fetch(
            fetch.url, Archive(NAME, 5, ""), fetch.path.with_name(NAME), tqdm.tqdm(disable=True)
        )
    assert str(caught.value).isprintable()


def test_nobody_listens(fetch, server):
    with tqdm.tqdm(disable=True) as bar, pytest.raises(Stopped):
        fetching.fetch("http://127.0.0.1:1/x", Archive("x", 5, ""), fetch.path, bar)
    assert files_in(fetch.path.parent) == []


def test_the_busy_are_waited_for_as_long_as_they_ask(fetch, server):
    server.answers = [status(429, Retry_After=1), status(503)]
    begun = time.monotonic()
    fetch()
    assert time.monotonic() - begun >= 1 and fetch.path.read_bytes() == CONTENT
    fetch.path.unlink()
    server.answers = [status(429, Retry_After=3600)]
    with pytest.raises(Stopped):
        fetch()


@pytest.mark.parametrize("how", [wrong, longer, longer_unannounced, page, status(404)])
def test_what_is_not_the_archive_is_named_and_removed(fetch, server, how):
    server.answers = [how]
    with refused(path=NAME):
        fetch()
    assert files_in(fetch.path.parent) == [] and len(server.ranges) == 1


def test_a_partial_file_of_something_else_is_found_out(fetch, server):
    partial = fetching.partial_of(fetch.path)
    partial.write_bytes(b"x" * 1000)
    with refused(path=NAME):
        fetch()
    partial.write_bytes(b"x" * (len(CONTENT) + 1))
    fetch()
    assert fetch.path.read_bytes() == CONTENT


def test_two_processes_do_not_write_one_file(fetch, server):
    partial = fetching.partial_of(fetch.path)
    with partial.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with refused(path=partial):
            fetch()
    fetch()


def test_a_full_disk_ends_it_and_more_room_goes_on(server, mount_disk):
    folder, resize = mount_disk("128k")
    url, archive = server.add(NAME, CONTENT)
    with tqdm.tqdm(disable=True) as bar:
        with refused(path=f"{NAME}.partial"):
            fetching.fetch(url, archive, folder / NAME, bar)
        resize("1m")
        fetching.fetch(url, archive, folder / NAME, bar)
    assert (folder / NAME).read_bytes() == CONTENT
    assert server.ranges[-1] != ""


FAULTS = st.one_of(
    st.builds(cut, st.integers(0, len(CONTENT))),
    st.builds(lambda n: functools.partial(without_ranges, n_sent=n), st.integers(0, len(CONTENT))),
    st.builds(without_length, st.integers(0, len(CONTENT))),
    st.sampled_from([status(500), status(503, Retry_After=0), right]),
)


@settings(max_examples=15, deadline=None)
@given(answers=st.lists(FAULTS, max_size=4))
def test_no_row_of_faults_makes_another_file(patient, answers):
    with archive_server.serve() as server, tempfile.TemporaryDirectory() as folder:
        url, archive = server.add(NAME, CONTENT)
        server.answers = answers
        path = pathlib.Path(folder, NAME)
        with tqdm.tqdm(disable=True) as bar:
            fetching.fetch(url, archive, path, bar)
        assert path.read_bytes() == CONTENT
