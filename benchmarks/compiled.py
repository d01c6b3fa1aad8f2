"""What a GPU and a TPU would run: programs compiled for devices that are not here.

Nothing is run, and nothing here is a time: what is counted are the kernels of a compiled step, of a
dispatch of as many steps as training queues at once. A TPU's cycles are its compiler's estimate.
There is no autotuning without the device.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding

from asc_jax.data import batches
from asc_jax.data.pool import Pool
from asc_jax.gan import steps as gan_steps
from asc_jax.parallel.arrays import shapes_per_fold
from asc_jax.parallel.mapping import PER_FOLD, SHARED, P
from asc_jax.parallel.mesh import DATA, FOLD
from asc_jax.train import classifier
from asc_jax.train.state import state_shapes
from benchmarks import gan, hlo, training

# One NVIDIA H100 SXM, as XLA's compiler is told of it. Source: NVIDIA's data sheet, XLA's
# `tools/hlo_opt/gpu_specs`.
H100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152
  shared_memory_per_core: 233472 threads_per_core_limit: 2048 core_count: 132 fpus_per_core: 128
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 clock_rate_ghz: 1.98
  device_memory_size: 84942979072 shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 } registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 8 } runtime_version { major: 12 minor: 9 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""

# By name: what `topologies.get_topology_desc` takes, and the mesh (folds, shards of a batch).
TARGETS = {
    "h100": ({"platform": "cuda", "topology": "1x1x1"}, (1, 1)),
    "h100x8": ({"platform": "cuda", "topology": "1x1x8"}, (4, 2)),
    "h100x16": ({"platform": "cuda", "topology": "1x2x8"}, (4, 4)),
    "h100x256": ({"platform": "cuda", "topology": "1x32x8"}, (4, 64)),
    "v5e": ({"platform": "tpu", "topology_name": "v5e:2x2"}, (1, 1)),
    "v5ex4": ({"platform": "tpu", "topology_name": "v5e:2x2"}, (4, 1)),
    "v5ex16": ({"platform": "tpu", "topology_name": "v5e:4x4"}, (4, 4)),
    "v6e": ({"platform": "tpu", "topology_name": "v6e:2x2"}, (1, 1)),
}

RESNET152 = training.SE_RESNET152 | {"se_ratio": 0}
NETWORKS = {
    "ResNet(50)-rev": training.RESNET50,
    "ResNet(152)-rev": RESNET152,
    "SE-ResNet(152)-rev": training.SE_RESNET152,
}
N_CLIPS = 8_640
LARGE = 2**20  # bytes of a copy that counts
STEPS = batches.MOST_STEPS_PER_CALL
CARDS = (16, 24, 80)  # GB of memory
SHARE = 0.75  # of it JAX takes, unless it is told otherwise


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compiled.

    Attributes:
      name: of the network.
      target: a key of `TARGETS`.
      models: folds, or GANs.
      dtype: of the computation.
      batch: clips per step and fold, over all devices.
      taps: sizes of the network's own kernels, as "3x3".
    """

    name: str
    target: str
    models: int
    dtype: str
    batch: int = 32
    taps: Sequence[str] = ("1x1", "3x3", "5x5")


def run(args) -> dict:
    """Compiles; see `benchmarks.__main__` for the arguments."""
    rows = []
    for program in QUICK if args.quick else PROGRAMS:
        if args.target and program.target not in args.target:
            continue
        if args.network and program.name not in args.network:
            continue
        about = {
            "target": program.target,
            "network": program.name,
            "models": program.models,
            "dtype": program.dtype,
            "batch": program.batch,
        }
        of_gan = program.name == "WaveGAN"
        lower = lower_gan if of_gan else lower_step
        try:
            mesh = make_mesh(program.target)
        except Exception as error:  # the plugin's own: it is not installed
            rows.append(about | {"kernels": f"no compiler ({' '.join(str(error).split())[:60]})"})
            continue
        start = time.perf_counter()
        compiled = lower(program, mesh, quick=args.quick).compile()
        seconds = time.perf_counter() - start
        n_steps = 1 if of_gan else STEPS
        rows.append(about | describe(compiled, program.taps, n_steps) | {"compile s": seconds})
        print(rows[-1], flush=True)
    for row in rows:
        row["batch that fits"] = largest_batches(row, rows)
    device = {"platform": "compiler", "kind": "no device: compiled only"}
    return {"rows": rows, "steps of a dispatch": STEPS, "device": device}


def make_mesh(target: str) -> Mesh:
    """The mesh of a target's first devices, none of which is here."""
    how, shape = TARGETS[target]
    if how["platform"] == "cuda":
        how = how | {"topology_name": "h100", "target_config": H100}
    devices = topologies.get_topology_desc(**how).devices[: shape[0] * shape[1]]
    return Mesh(np.array(devices).reshape(shape), (FOLD, DATA))


def describe(compiled, taps: Sequence[str], n_steps: int) -> dict:
    """What is counted of a compiled program, for one of its steps.

    Args:
      compiled: from `lowered.compile()`.
      taps: of the network's own kernels; on a GPU a window of another size is a gradient that the
        compiler does not know for one.
      n_steps: of the program.
    """
    found = hlo.kernels(compiled.as_text())
    times = lambda kernels: round(sum(one.times for one in kernels) / n_steps)
    convolutions = [one for one in found if one.window]
    moving = [one for one in found if one.moves]
    points = lambda window: math.prod(map(int, window.split("x")))
    memory = compiled.memory_analysis()
    cycles = sum(one.cycles for one in found) / n_steps
    return {
        "kernels": times(found),
        "that move": times(moving),
        "of them > 1 MB": times(one for one in moving if one.n_bytes > LARGE),
        "transposes": times(one for one in moving if one.transposes),
        "convolutions": times(convolutions),
        "widest": max((one.window for one in convolutions), key=points, default=None),
        "foreign": times(o for o in convolutions if "cudnn" in o.kind and o.window not in taps),
        "grouped": times(one for one in convolutions if one.groups > 1),
        "all-reduces": times(one for one in found if one.collective == "all-reduce"),
        "all-gathers": times(one for one in found if one.collective == "all-gather"),
        "temporary GiB": memory.temp_size_in_bytes / 2**30,
        "state and pool GiB": memory.argument_size_in_bytes / 2**30,
        "estimated Mcycles": cycles / 1e6 if cycles else None,
        "most cycles": hlo.shares_of_cycles(found) if cycles else None,
        "kinds": sorted(hlo.count(convolutions, lambda one: f"{one.kind} {one.window}").items()),
    }


def largest_batches(row: Mapping, rows: Sequence[Mapping]) -> str | None:
    """Clips a fold for which `SHARE` of `CARDS` is enough, by a line through two compiled batches.

    Args:
      row: of one of them.
      rows: all; the other is of the next larger batch of the same program.
    """
    alike = lambda one: [one[key] for key in ("target", "network", "models", "dtype")]
    larger = [
        one
        for one in rows
        if alike(one) == alike(row) and one["batch"] > row["batch"] and "temporary GiB" in one
    ]
    if not larger or "temporary GiB" not in row:
        return None
    other = min(larger, key=lambda one: one["batch"])
    needed = lambda one: one["temporary GiB"] + one["state and pool GiB"]
    a_clip = (needed(other) - needed(row)) / (other["batch"] - row["batch"])
    room = [SHARE * card * 1e9 / 2**30 for card in CARDS]
    fits = [max(0, int(row["batch"] + (one - needed(row)) / a_clip)) for one in room]
    return ", ".join(f"{n} in {card} GB" for n, card in zip(fits, CARDS, strict=True))


def lower_step(program: Program, mesh: Mesh, *, quick: bool):
    """The training step of all folds, lowered for a mesh."""
    size = training.QUICK if quick else training.Size(batch=program.batch)
    size = dataclasses.replace(size, folds=program.models)
    network = training.TINY if quick else NETWORKS[program.name]
    model = training.make_model(network, size, program.dtype)
    state = shapes_per_fold(state_shapes(model), program.models, mesh)
    one = functools.partial(_shape, mesh)
    n_values = size.n_frames * size.n_mels
    pool = Pool(
        one((N_CLIPS, n_values), jnp.int16, SHARED),
        *(one((N_CLIPS,), dtype, SHARED) for dtype in (jnp.float32, jnp.float32, jnp.int32)),
        shape=(size.n_frames, size.n_mels),
    )
    clips = one((program.models, STEPS, size.batch, 1), jnp.int32, P(FOLD, None, DATA))
    return classifier.compile_steps(mesh, model).train.lower(state, pool, clips)


def lower_gan(program: Program, mesh: Mesh, *, quick: bool):
    """An iteration of all GANs, lowered for a mesh."""
    size = dataclasses.replace(gan.QUICK if quick else gan.REPORTED, gans=program.models)
    networks = gan.make_networks(size, program.dtype)
    steps = gan_steps.compile_steps(mesh, networks, n_samples=size.n_samples, how="concatenate")
    pool, source = gan.make_data(size.gans)
    state = shapes_per_fold(gan_steps.state_shapes(networks), size.gans, mesh)
    place = lambda tree, spec: jax.tree.map(
        lambda leaf: _shape(mesh, leaf.shape, leaf.dtype, spec), tree
    )
    return steps.train.lower(state, place(pool, SHARED), place(source, PER_FOLD))


def _shape(mesh: Mesh, shape: Sequence[int], dtype, spec: P) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))


_GAN = {"batch": gan.REPORTED.batch, "taps": ("25",)}
PROGRAMS = (
    *(Program(n, "h100", 4, d) for n in NETWORKS for d in ("bfloat16", "float32")),
    Program("SE-ResNet(152)-rev", "h100", 1, "bfloat16"),
    *(Program("WaveGAN", "h100", n, "bfloat16", **_GAN) for n in (1, 10)),
    Program("WaveGAN", "h100", 10, "float32", **_GAN),
    *(Program("SE-ResNet(152)-rev", "h100", 4, "bfloat16", batch=b) for b in (128, 512)),
    *(Program("SE-ResNet(152)-rev", t, 4, "bfloat16") for t in ("h100x8", "h100x16")),
    Program("SE-ResNet(152)-rev", "h100x256", 4, "bfloat16", batch=512),
    *(Program("ResNet(50)-rev", "v5e", n, "bfloat16") for n in (1, 4)),
    *(Program("ResNet(50)-rev", "v6e", n, "bfloat16") for n in (1, 4)),
    *(Program("ResNet(50)-rev", t, 4, "bfloat16") for t in ("v5ex4", "v5ex16")),
)
QUICK = (Program("tiny", "h100", 2, "bfloat16"), Program("tiny", "v5e", 2, "bfloat16"))
