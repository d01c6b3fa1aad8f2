"""A step of four folds by each way to map it: which one is best on this device?

The decision is made in two places: `mapping.IN_TURN`, and the tables of `ops/conv.py`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

from asc_jax.ops import conv
from asc_jax.parallel import mapping
from asc_jax.runtime.backend import PLATFORMS
from benchmarks import measure, training

ROUNDS = 5

_NO_WINDOWS = {"MOST_POINTS": {}, "FEWEST_CHANNELS": {}, "IN_TURN": ()}

# By name: tables in place of those of today.
WAYS = {
    "as it is": {},
    "separate convolutions": {"SEPARATE": PLATFORMS} | _NO_WINDOWS,
    "products of windows": {"SEPARATE": PLATFORMS, "IN_TURN": ()},
    "grouped convolutions": {"SEPARATE": ()} | _NO_WINDOWS,
    "one fold after another": {"IN_TURN": PLATFORMS},
}


def run(args) -> dict:
    """Measures every way; see `benchmarks.__main__` for the arguments."""
    model = training.TINY if args.quick else training.RESNET50
    size = training.QUICK if args.quick else training.Size(batch=args.batch)
    n_clips, rounds = (64, 1) if args.quick else (8_640, ROUNDS)
    rows = measure_ways(model, size, args.dtype, n_clips, rounds=rounds)
    return {"rows": rows, "size": dataclasses.asdict(size), "dtype": args.dtype}


def measure_ways(
    model: Mapping, size: training.Size, dtype: str, n_clips: int, *, rounds: int
) -> list[dict]:
    """A row per way to map a step over folds, on one device.

    Args:
      model: the network's config.
      size: of the step.
      dtype: of `train.precision`.
      n_clips: of the pool.
      rounds: of timed calls.
    """
    calls, compiling, per_call = {}, {}, {}
    for way, tables in WAYS.items():
        with replaced(tables):
            prepared = training.prepare_as_trained(model, size, dtype, n_clips)
        calls[way], compiling[way] = training.stepper(prepared), prepared.seconds["program"]
        per_call[way] = prepared.n_steps
    times = measure.alternate(calls, rounds)
    medians = measure.medians(times)
    return [
        {
            "way": way,
            "ms a step": 1e3 * seconds / per_call[way],
            "of as it is": seconds / medians["as it is"],
            "compile s": compiling[way],
            "seconds": times[way],
        }
        for way, seconds in medians.items()
    ]


@contextlib.contextmanager
def replaced(tables: Mapping) -> Iterator[None]:
    """Puts other tables in the place of `ops.conv`'s and of `mapping`'s, while tracing."""
    modules = {name: mapping if name == "IN_TURN" else conv for name in tables}
    before = {name: getattr(module, name) for name, module in modules.items()}
    try:
        for name, module in modules.items():
            setattr(module, name, tables[name])
        yield
    finally:
        for name, module in modules.items():
            setattr(module, name, before[name])
