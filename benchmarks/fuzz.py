"""What becomes of random and damaged input: read as it was meant, or refused in a line.

Each subject draws inputs, with hypothesis, and knows by other means than the code under test
what the right answer is. Its check says "read" or "refused"; whatever else is raised, and an
answer that is not the right one, is a fault, which hypothesis makes small before it is shown.
"""

import collections
import dataclasses
import importlib
import os
import pathlib
import re
import signal
import sys
import tempfile
import time
import traceback
import unittest
from collections.abc import Callable

import hypothesis
from hypothesis import strategies as st

LONGEST_S = 60  # for one input; beyond it is a hang
MOST_BYTES = 2 << 30  # of memory, for one input besides what there is before

# By the subject's name: its module, its strategy, its check, and its share of the inputs.
SUBJECTS = {
    "tables": ("fuzz_tables", "TABLES", "check_tables", 20),
    "damaged tables": ("fuzz_tables", "DAMAGED", "check_damaged", 20),
    "audio files": ("fuzz_audio", "FILES", "check_file", 12),
    "damaged audio files": ("fuzz_audio", "DAMAGED", "check_damaged", 12),
    "config overrides": ("fuzz_configs", "OVERRIDES", "check_override", 12),
    "config values": ("fuzz_configs", "VALUES", "check_value", 12),
    "networks of configs": ("fuzz_configs", "NETWORKS", "check_network", 1),
    "records": ("fuzz_records", "RECORDS", "check_record", 20),
    "model files": ("fuzz_models", "MODELS", "check_model", 8),
    "ONNX files": ("fuzz_models", "ONNX", "check_onnx", 6),
    "recordings": ("fuzz_recordings", "RECORDINGS", "check_recording", 20),
    "data sets": ("fuzz_sets", "SETS", "check_set", 20),
    "splits": ("fuzz_sets", "SPLITS", "check_splits", 20),
    "archives": ("fuzz_downloads", "ARCHIVES", "check_archive", 20),
    "answers of a server": ("fuzz_downloads", "ANSWERS", "check_answer", 8),
    "requests": ("fuzz_server", "REQUESTS", "check_requests", 12),
    "scores": ("fuzz_numbers", "ANSWERS", "check_scores", 12),
    "corrections and weights": ("fuzz_numbers", "MANY", "check_many", 8),
    "resampling": ("fuzz_numbers", "RATES", "check_resampling", 2),
    "command lines": ("fuzz_commands", "COMMANDS", "check_command", 3),
}


@dataclasses.dataclass(frozen=True)
class Subject:
    """One kind of input: where inputs come from, and what says "read" or "refused" of one."""

    inputs: st.SearchStrategy
    check: Callable[[object], str]


def subject(name: str) -> Subject:
    """The subject of that name; its module is imported when it is needed."""
    module, inputs, check, _ = SUBJECTS[name]
    module = importlib.import_module(f"benchmarks.{module}")
    return Subject(getattr(module, inputs), getattr(module, check))


def run(args) -> dict:
    """Draws and checks; see `benchmarks.__main__` for the arguments."""
    shares = sum(share for *_, share in SUBJECTS.values())
    n_examples = 120 if args.quick else args.examples
    started, rows = time.perf_counter(), []
    with tempfile.TemporaryDirectory(prefix="asc_jax_fuzz_") as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for name in args.subject or SUBJECTS:
            n = max(1, round(n_examples * SUBJECTS[name][-1] / shares))
            print(f"{name}: {n} inputs", file=sys.stderr)
            try:
                rows.append(examine(name, n, args.seed))
            except unittest.SkipTest as reason:
                print(f"left out: {reason}", file=sys.stderr)
                continue
            print(*rows[-1]["shown"], sep="\n", file=sys.stderr, end="")
    total = {key: sum(row[key] for row in rows) for key in ("inputs", "read", "refused", "faults")}
    return {
        "rows": [*rows, {"subject": "all", **total}],
        "seed": args.seed,
        "minutes": (time.perf_counter() - started) / 60,
    }


def examine(name: str, n: int, seed: int) -> dict:
    """Checks `n` inputs of a subject.

    Args:
      name: of `SUBJECTS`.
      n: how many; fewer if there is a fault, which ends the search.
      seed: of the inputs.

    Returns:
      A row of the table; "shown" has the faults in words.

    Raises:
      unittest.SkipTest: a package is not installed.
    """
    one = subject(name)
    outcomes: collections.Counter = collections.Counter()
    slowest = 0.0

    def check(given: object) -> None:
        nonlocal slowest
        began = time.perf_counter()
        with _Bounds():
            outcome = one.check(given)
        slowest = max(slowest, time.perf_counter() - began)
        outcomes[outcome] += 1

    settings = hypothesis.settings(
        max_examples=n,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=True,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    )
    faults: list[str] = []
    try:
        hypothesis.seed(seed)(settings(hypothesis.given(one.inputs)(check)))()
    except BaseExceptionGroup as group:
        faults = [_in_words(error) for error in group.exceptions]
    except unittest.SkipTest:
        raise
    except Exception as error:
        faults = [_in_words(error)]
    return {
        "subject": name,
        "inputs": sum(outcomes.values()),
        "read": outcomes["read"],
        "refused": outcomes["refused"],
        "faults": len(faults),
        "slowest, s": slowest,
        "shown": faults,
    }


def _in_words(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    notes = "\n".join(getattr(error, "__notes__", ()))
    place = f"{os.path.relpath(where.filename)}:{where.lineno}"
    return f"{type(error).__name__}: {error} ({place})\n{notes}"


class _Bounds:
    """Raises TimeoutError in what takes longer than `LONGEST_S`, and what takes `MOST_BYTES`."""

    def __enter__(self):
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak is what there is now
        self._n_bytes = _peak_bytes()

    def __exit__(self, *_):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
        n_bytes = _peak_bytes() - self._n_bytes
        assert n_bytes < MOST_BYTES, f"took {n_bytes} bytes"

    def _ring(self, *_):
        raise TimeoutError(f"took longer than {LONGEST_S} s")


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    (found,) = re.findall(r"VmHWM:\s*(\d+) kB", pathlib.Path("/proc/self/status").read_text())
    return 1024 * int(found)


def strike(content: bytes, kind: str, at: int, octets: bytes) -> bytes:
    """The bytes of a file after one blow.

    Args:
      content: of the file, at least a byte.
      kind: "bit", "byte", "bytes", "cut", "front" or "inserted".
      at: the place in it.
      octets: what comes there; the first one says which bit is flipped.
    """
    match kind:
        case "cut":
            return content[:at]
        case "front":
            return content[at:]
        case "inserted":
            return content[:at] + octets + content[at:]
        case "bit":
            octets = bytes([content[at] ^ 1 << octets[0] % 8])
        case "byte":
            octets = octets[:1]
    return content[:at] + octets + content[at + len(octets) :]


def refusal(call: Callable, *args, names: str = "", **kwargs) -> tuple[object, str]:
    """What a call returns, and what its `InputError` says; "" if it raises none.

    Args:
      call: what to call.
      *args: its arguments.
      names: what a refusal must name: a file or a field.
      **kwargs: more of its arguments.

    Raises:
      AssertionError: the refusal is empty, longer than a terminal shows, or names something else.
    """
    from asc_jax.runtime.errors import InputError

    try:
        return call(*args, **kwargs), ""
    except InputError as error:
        said = str(error)
    assert 0 < len(said) < 2000 and all(map(str.isprintable, said.split("\n"))), said
    assert names in said, (names, said)
    return None, said
