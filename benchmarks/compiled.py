"""What a GPU and a TPU would run: programs compiled for devices that are not here.

Nothing is run, and nothing here is a time: what is counted are the kernels of the compiled program.
A TPU's cycles are its compiler's estimate. There is no autotuning without the device.
"""

import dataclasses
import functools
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding

from asc_jax.data.pool import Pool
from asc_jax.gan import steps as gan_steps
from asc_jax.gan.corpora import Corpus
from asc_jax.gan.losses import LOSSES
from asc_jax.gan.source import make_sources
from asc_jax.models.wavegan import Discriminator, Generator
from asc_jax.parallel.arrays import shapes_per_fold
from asc_jax.parallel.mapping import PER_FOLD, SHARED, P
from asc_jax.parallel.mesh import DATA, FOLD
from asc_jax.train import classifier
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
        lower = lower_gan if program.name == "WaveGAN" else lower_step
        try:
            mesh = make_mesh(program.target)
        except Exception as error:  # the plugin's own: it is not installed
            rows.append(about | {"kernels": f"no compiler ({' '.join(str(error).split())[:60]})"})
            continue
        start = time.perf_counter()
        compiled = lower(program, mesh, quick=args.quick).compile()
        seconds = time.perf_counter() - start
        rows.append(about | describe(compiled, program.taps) | {"compile s": seconds})
        print(rows[-1], flush=True)
    return {"rows": rows, "device": {"platform": "compiler", "kind": "no device: compiled only"}}


def make_mesh(target: str) -> Mesh:
    """The mesh of a target's first devices, none of which is here."""
    how, shape = TARGETS[target]
    if how["platform"] == "cuda":
        how = how | {"topology_name": "h100", "target_config": H100}
    devices = topologies.get_topology_desc(**how).devices[: shape[0] * shape[1]]
    return Mesh(np.array(devices).reshape(shape), (FOLD, DATA))


def describe(compiled, taps: Sequence[str]) -> dict:
    """What is counted of a compiled program.

    Args:
      compiled: from `lowered.compile()`.
      taps: of the network's own kernels; on a GPU a window of another size is a gradient that the
        compiler does not know for one.
    """
    found = hlo.kernels(compiled.as_text())
    convolutions = [one for one in found if one.window]
    foreign = [one for one in convolutions if "cudnn" in one.kind and one.window not in taps]
    grouped = [one for one in convolutions if one.groups > 1]
    memory = compiled.memory_analysis()
    large = [one for one in found if one.moves and one.n_bytes > LARGE]
    cycles = sum(one.cycles for one in found)
    return {
        "kernels": sum(one.times for one in found),
        "that move": sum(one.times for one in found if one.moves),
        "of them > 1 MB": sum(one.times for one in large),
        "convolutions": sum(one.times for one in convolutions),
        "foreign": sum(one.times for one in foreign),
        "grouped": sum(one.times for one in grouped),
        "all-reduces": sum(one.times for one in found if one.collective == "all-reduce"),
        "all-gathers": sum(one.times for one in found if one.collective == "all-gather"),
        "temporary GiB": memory.temp_size_in_bytes / 2**30,
        "state and pool GiB": memory.argument_size_in_bytes / 2**30,
        "estimated Mcycles": cycles / 1e6 if cycles else None,
        "kinds": sorted(hlo.count(convolutions, lambda one: f"{one.kind} {one.window}").items()),
    }


def lower_step(program: Program, mesh: Mesh, *, quick: bool, steps: int = 1):
    """The training step of all folds, lowered for a mesh."""
    size = training.QUICK if quick else training.Size(batch=program.batch)
    size = dataclasses.replace(size, folds=program.models)
    network = training.TINY if quick else NETWORKS[program.name]
    model = training.make_model(training.build(network, program.dtype), size)
    state = shapes_per_fold(classifier.state_shapes(model), program.models, mesh)
    one = functools.partial(_shape, mesh)
    n_values = size.n_frames * size.n_mels
    pool = Pool(
        one((N_CLIPS, n_values), jnp.int16, SHARED),
        *(one((N_CLIPS,), dtype, SHARED) for dtype in (jnp.float32, jnp.float32, jnp.int32)),
        shape=(size.n_frames, size.n_mels),
    )
    clips = one((program.models, steps, size.batch, 1), jnp.int32, P(FOLD, None, DATA))
    return classifier.compile_steps(mesh, model).train.lower(state, pool, clips)


def lower_gan(program: Program, mesh: Mesh, *, quick: bool):
    """An iteration of all GANs, lowered for a mesh."""
    size = dataclasses.replace(gan.QUICK if quick else gan.REPORTED, gans=program.models)
    shared = {"dim": size.dim, "n_samples": size.n_samples, "dtype": jnp.dtype(program.dtype)}
    networks = gan_steps.Networks(
        Generator(**shared), Discriminator(**shared), LOSSES["wgan_gp"], size.batch
    )
    steps = gan_steps.compile_steps(mesh, networks, n_samples=size.n_samples, how="concatenate")
    n_clips = size.gans * gan.CLIPS
    clips = np.arange(n_clips, dtype=np.int32).reshape(size.gans, gan.CLIPS)
    pool = Pool(
        np.zeros((n_clips, gan.CLIP_SAMPLES), np.int16),
        *np.ones((2, n_clips), np.float32),
        np.zeros(n_clips, np.int32),
    )
    source = make_sources([Corpus(1, ("noise",), own, own[:0]) for own in clips], pool)
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
    *(Program("SE-ResNet(152)-rev", t, 4, "bfloat16") for t in ("h100x8", "h100x16")),
    Program("SE-ResNet(152)-rev", "h100x256", 4, "bfloat16", batch=512),
    *(Program("ResNet(50)-rev", "v5e", n, "bfloat16") for n in (1, 4)),
    *(Program("ResNet(50)-rev", t, 4, "bfloat16") for t in ("v5ex4", "v6e")),
)
QUICK = (Program("tiny", "h100", 2, "bfloat16"), Program("tiny", "v5e", 2, "bfloat16"))
