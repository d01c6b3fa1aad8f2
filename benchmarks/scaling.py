"""The training step as one of its sizes varies at a time."""

import dataclasses

from benchmarks import measure, training

ROUNDS = 3
DEEP = {"stage_sizes": training.SE_RESNET152["stage_sizes"]}
# By factor: what differs from SE-ResNet(50)-rev, four folds of 16 clips, 40 bands, 500 frames.
FACTORS = {
    "folds": [{"folds": 1}, {"folds": 2}, {}, {"folds": 8}],
    "depth": [{}, DEEP],
    "batch": [{"batch": 8}, {}, {"batch": 32}],
    "mel bands": [{}, {"n_mels": 80}],
    "frames": [{"n_frames": 250}, {}],
}
QUICK_FACTORS = {"folds": [{"folds": 1}, {}], "frames": [{"n_frames": 20}, {}]}


def run(args) -> dict:
    """Measures every variant once; see `benchmarks.__main__` for the arguments."""
    base_model = training.TINY if args.quick else training.SE_RESNET50
    base_size = training.QUICK if args.quick else training.Size()
    rounds = 1 if args.quick else ROUNDS
    done, rows = {}, []
    for factor, variants in (QUICK_FACTORS if args.quick else FACTORS).items():
        for variant in variants:
            key = repr(variant)
            if key not in done:  # the base is in every factor
                sizes = {name: value for name, value in variant.items() if name != "stage_sizes"}
                stages = {name: value for name, value in variant.items() if name not in sizes}
                size = dataclasses.replace(base_size, **sizes)
                done[key] = measure_one(base_model | stages, size, rounds)
            rows.append({"factor": factor} | done[key])
    return {"rows": rows, "rounds": rounds}


def measure_one(model, size: training.Size, rounds: int) -> dict:
    """A row for one network and size."""
    prepared = training.prepare(model, size)
    times = measure.alternate({"step": training.stepper(prepared)}, rounds)["step"]
    seconds = measure.medians({"step": times})["step"]
    return {
        "stages": ", ".join(map(str, model["stage_sizes"])),
        **dataclasses.asdict(size),
        "ms": 1e3 * seconds,
        "ms per clip and fold": 1e3 * seconds / (size.folds * size.batch),
        "GFLOP/s": training.step_flops(model, size) / seconds / 1e9,
        "compile s": prepared.seconds["program"],
        "seconds": times,
    }
