"""The training step of the same folds and batches on meshes of several shapes."""

import dataclasses

import jax

from benchmarks import measure, training

ROUNDS = 15
MESHES = ((1, 1), (4, 1), (1, 8), (2, 4), (4, 2))  # folds x shards of a batch
# One that compiles in seconds: on a CPU the devices share its cores, and what is measured is
# what sharding costs, not what it gains.
NETWORK = training.TINY | {"width": 16}
SIZE = training.Size(folds=4, batch=16, n_frames=200)


def run(args) -> dict:
    """Measures every mesh; see `benchmarks.__main__` for the arguments."""
    # Before the first use of a device. Other platforms have the devices that they have.
    jax.config.update("jax_num_cpu_devices", 8)
    model = training.TINY if args.quick else NETWORK
    size = dataclasses.replace(training.QUICK, folds=4, batch=8) if args.quick else SIZE
    rounds = 1 if args.quick else ROUNDS
    shapes = [shape for shape in MESHES if shape[0] * shape[1] <= jax.device_count()]
    prepared = {shape: training.prepare(model, size, mesh_shape=shape) for shape in shapes}
    calls = {shape: training.stepper(p) for shape, p in prepared.items()}
    times = measure.alternate(calls, rounds)
    seconds = measure.medians(times)
    rows = [
        {
            "folds x shards": "{} x {}".format(*shape),
            "devices": shape[0] * shape[1],
            "ms": 1e3 * seconds[shape],
            "of one device's": seconds[shape] / seconds[1, 1],
            "compile s": prepared[shape].seconds["program"],
            "seconds": times[shape],
        }
        for shape in shapes
    ]
    return {"rows": rows, "size": dataclasses.asdict(size), "network": model, "rounds": rounds}
