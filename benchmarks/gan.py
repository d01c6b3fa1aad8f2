"""A full iteration of WaveGAN, five updates and one: asc_jax and PyTorch; several GANs at once."""

import dataclasses
import time
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from asc_jax.data.pool import Pool
from asc_jax.gan import steps as gan_steps
from asc_jax.gan.corpora import Corpus
from asc_jax.gan.losses import LOSSES
from asc_jax.gan.source import Source, make_sources
from asc_jax.models.wavegan import Discriminator, Generator
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import make_mesh
from asc_jax.runtime import precision
from benchmarks import measure

CLIPS, CLIP_SAMPLES = 16, 160_000  # of each GAN: 10 s at 16 kHz


@dataclasses.dataclass(frozen=True)
class Size:
    """How much an iteration has to do.

    Attributes:
      gans: in one program G.
      dim: d of both networks.
      n_samples: of a window.
      batch: windows per update B.
    """

    gans: int
    dim: int
    n_samples: int
    batch: int


QUICK = Size(gans=2, dim=2, n_samples=256, batch=2)
ON_CPU = Size(gans=2, dim=8, n_samples=16_384, batch=8)
REPORTED = Size(gans=10, dim=64, n_samples=32_768, batch=64)  # paper Tables 2 and 3
ROUNDS, IN_A_ROW = 3, 3


def run(args) -> dict:
    """Measures one and several GANs; see `benchmarks.__main__` for the arguments."""
    on_cpu = jax.default_backend() == "cpu"
    size = QUICK if args.quick else ON_CPU if on_cpu else REPORTED
    calls, compiling = {}, {}
    calls["one GAN"], compiling["one GAN"] = stepper(size, 1, args.dtype)
    memory = measure.peak_memory()
    together = f"{size.gans} GANs in one program"
    calls[together], compiling[together] = stepper(size, size.gans, args.dtype)
    absent = {}
    peer = "not in bfloat16"
    if args.dtype != "bfloat16":
        peer = measure.torch_peer("torch_wavegan", args.dtype)
    if isinstance(peer, str):
        absent["PyTorch, one GAN"] = peer
    else:
        module, device = peer
        calls["PyTorch, one GAN"] = module.iteration(size.n_samples, size.dim, size.batch, device)
    rounds = 1 if args.quick else ROUNDS
    in_a_row = 1 if args.quick else IN_A_ROW
    times = measure.alternate(calls, rounds, in_a_row=in_a_row)
    medians = measure.medians(times)
    rows = []
    for way, seconds in medians.items():
        gans = size.gans if way == together else 1
        rows.append(
            {
                "way": way,
                "ms": 1e3 * seconds,
                "this / so many of one": seconds / (gans * medians["one GAN"]),
                "PyTorch, as many / this": gans
                * measure.ratio(seconds, medians["PyTorch, one GAN"])
                if not absent
                else absent["PyTorch, one GAN"],
                "compile s": compiling.get(way),
                **(memory if way == "one GAN" else {}),
                "seconds": times[way],
            }
        )
    rows += [{"way": way, "ms": reason} for way, reason in absent.items()]
    return {"rows": rows, "size": dataclasses.asdict(size), "dtype": args.dtype,
            "rounds": rounds, "in a row": in_a_row}  # fmt: skip


def make_networks(size: Size, dtype: str) -> gan_steps.Networks:
    """What the GANs have in common, in a precision of `train.precision`."""
    shared = {
        "dim": size.dim,
        "n_samples": size.n_samples,
        "dtype": precision.dtype_of(dtype),
    }
    return gan_steps.Networks(
        Generator(**shared),
        Discriminator(**shared),
        LOSSES["wgan_gp"],
        size.batch,
        products=precision.products_of(dtype),
    )


def stepper(size: Size, gans: int, dtype: str) -> tuple[Callable[[], None], float]:
    """A function that does the next iteration of several GANs, and the seconds to compile it."""
    train, state, *data = prepare(size, dtype, make_mesh(gans, size.batch), gans)
    start = time.perf_counter()
    train = train.lower(state, *data).compile()
    compiled = time.perf_counter() - start

    def iterate():
        nonlocal state
        state, metrics = train(state, *data)
        jax.block_until_ready(metrics)

    return iterate, compiled


def metrics_of(size: Size, dtype: str, mesh: Mesh, *, n: int) -> dict[str, np.ndarray]:
    """What the first iterations of all GANs say, (n, G) each."""
    train, state, *data = prepare(size, dtype, mesh, size.gans)
    found = []
    for _ in range(n):
        state, metrics = train(state, *data)
        found.append(jax.device_get(metrics))
    return {name: np.stack([one[name] for one in found]) for name in found[0]}


def prepare(size: Size, dtype: str, mesh: Mesh, gans: int) -> tuple:
    """The step of several GANs, and its arguments: state, pool and source."""
    host_pool, host_source = make_data(gans)
    networks = make_networks(size, dtype)
    state = gan_steps.init_state(networks, gans, mesh, seed=0)
    source, pool = put(host_source, mesh, PER_FOLD), put(host_pool, mesh, SHARED)
    steps = gan_steps.compile_steps(mesh, networks, n_samples=size.n_samples, how="concatenate")
    return steps.train, state, pool, source


def make_data(gans: int) -> tuple[Pool, Source]:
    """Noise in the shape of clips, and each GAN's share of it, on the host."""
    rng = np.random.default_rng(0)
    n_clips = gans * CLIPS
    pool = Pool(
        values=rng.integers(-30_000, 30_000, (n_clips, CLIP_SAMPLES), dtype=np.int16),
        scale=np.full(n_clips, 1 / 32_768, np.float32),
        offset=np.zeros(n_clips, np.float32),
        targets=np.zeros(n_clips, np.int32),
    )
    clips = np.arange(n_clips, dtype=np.int32).reshape(gans, CLIPS)
    return pool, make_sources([Corpus(1, ("noise",), own, own[:0]) for own in clips], pool)
