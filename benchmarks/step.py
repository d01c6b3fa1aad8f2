"""A training step of four folds: asc_jax, compiled PyTorch, plain flax."""

import dataclasses
import time

from benchmarks import measure, plain_flax, training

NETWORKS = {"ResNet(50)-rev": training.RESNET50, "SE-ResNet(152)-rev": training.SE_RESNET152}
PLAIN_FLAX = ("ResNet(50)-rev", "tiny")  # the deep one takes XLA minutes to compile
ROUNDS, IN_A_ROW = 3, 3


def run(args) -> dict:
    """Measures every network; see `benchmarks.__main__` for the arguments."""
    networks = {"tiny": training.TINY} if args.quick else NETWORKS
    size = training.QUICK if args.quick else training.Size(batch=args.batch)
    turns = (1, 1) if args.quick else (ROUNDS, IN_A_ROW)
    limit = measure.matmul_limit(args.dtype, args.quick)
    rows = []
    for name, model in networks.items():
        rows += measure_network(name, model, size, args.dtype, turns, limit)
    return {"rows": rows, "size": dataclasses.asdict(size), "dtype": args.dtype,
            "matmul limit FLOP/s": limit, "rounds": turns[0], "in a row": turns[1]}  # fmt: skip


def measure_network(name, model, size, dtype: str, turns: tuple, limit: float) -> list[dict]:
    """A row per way to do the step of all folds.

    Args:
      name: of the network.
      model: its config.
      size: of the step.
      dtype: of the network's computation.
      turns: of each way, and the calls of each, as `measure.alternate` takes them.
      limit: FLOP/s of a matrix product.
    """
    together = training.prepare(model, size, dtype=dtype)
    calls = {"asc_jax": training.stepper(together)}
    calls["asc_jax"]()
    memory = measure.peak_memory()  # before the others add theirs
    one_fold = dataclasses.replace(size, folds=1)
    calls["one fold"] = training.stepper(training.prepare(model, one_fold, dtype=dtype))
    compiling = {"asc_jax": together.seconds["program"]}
    absent = {}

    peer = measure.torch_peer("torch_resnet", dtype)
    if isinstance(peer, str):
        absent["PyTorch"] = peer
    else:
        module, device = peer
        calls["PyTorch"] = module.torch_step(model, size, dtype, device)
        start = time.perf_counter()
        calls["PyTorch"]()
        compiling["PyTorch"] = time.perf_counter() - start
    if name in PLAIN_FLAX:
        plain = plain_flax.stepper(model, size, dtype)
        calls["plain flax"], compiling["plain flax"] = plain

    rounds, in_a_row = turns
    times = measure.alternate(calls, rounds, in_a_row=in_a_row)
    medians = measure.medians(times) | absent
    flops = training.step_flops(model, size)
    rows = []
    for way in ("asc_jax", "PyTorch", "plain flax"):
        if way not in medians:
            continue
        seconds = medians[way]
        row = {"network": name, "way": way, "ms": measure.milliseconds(seconds)}
        if way in absent:
            rows.append(row)
            continue
        row["PyTorch / this"] = measure.ratio(seconds, medians["PyTorch"])
        if way == "asc_jax":
            row["one fold ms"] = measure.milliseconds(medians["one fold"])
            row["this / folds x one"] = seconds / (size.folds * medians["one fold"])
        row["GFLOP/s"] = flops / seconds / 1e9
        row["of matmul limit"] = flops / seconds / limit
        row["compile s"] = compiling.get(way)
        rows.append(row | (memory if way == "asc_jax" else {}) | {"seconds": times[way]})
    return rows
