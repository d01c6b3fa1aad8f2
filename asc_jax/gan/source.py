"""What flows into a GAN: random windows of its own real clips, and latent vectors."""

from collections.abc import Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.data.pool import Pool
from asc_jax.gan.corpora import Corpus

# The streams of a run's seed.
TRAINING, LOOK, SYNTHESIS = range(3)


@flax.struct.dataclass
class Source:
    """The real clips of one GAN, as indices into the pool; all GANs' with a leading axis.

    Attributes:
      clips: (n,) int32; beyond `n_clips` it repeats the first.
      n_clips: () int32.
      gain: () float32: takes the loudest sample of the clips to 1, as tanh's range asks.
    """

    clips: jax.Array
    n_clips: jax.Array
    gain: jax.Array


def make_sources(corpora: Sequence[Corpus], pool: Pool) -> Source:
    """The sources of all GANs, host arrays with a leading axis."""
    longest = max(len(corpus.train) for corpus in corpora)
    low, high = pool.values.min(axis=1), pool.values.max(axis=1)
    peaks = np.maximum(np.abs(low * pool.scale + pool.offset), high * pool.scale + pool.offset)
    sources = [
        Source(
            clips=np.resize(corpus.train, longest).astype(np.int32),
            n_clips=np.int32(len(corpus.train)),
            gain=np.float32(1 / max(peaks[corpus.train].max(), 1e-6)),
        )
        for corpus in corpora
    ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *sources)


def real_windows(
    key: jax.Array, pool: Pool, source: Source, examples: jax.Array, n_samples: int
) -> tuple[jax.Array, jax.Array]:
    """A random window of a random clip for each example.

    Args:
      key: of the update.
      pool: waveforms.
      source: the GAN's clips.
      examples: (b,) places in the whole batch: a window does not depend on the mesh.
      n_samples: length of a window.

    Returns:
      (b, n_samples, 1) float32 in [-1, 1], and (b,) int32 class indices.
    """

    def window(example):
        clip_key, start_key = jax.random.split(jax.random.fold_in(key, example))
        clip = source.clips[jax.random.randint(clip_key, (), 0, source.n_clips)]
        start = jax.random.randint(start_key, (), 0, pool.values.shape[1] - n_samples + 1)
        values = jax.lax.dynamic_slice(pool.values, (clip, start), (1, n_samples))[0]
        waveform = values.astype(jnp.float32) * pool.scale[clip] + pool.offset[clip]
        return (waveform * source.gain)[:, None], pool.targets[clip]

    return jax.vmap(window)(examples)


def latent_vectors(key: jax.Array, examples: jax.Array, n_latent: int) -> jax.Array:
    """(b,) places in the whole batch -> (b, Z), uniform in [-1, 1]. Source: paper Table 2."""
    draw = lambda example: jax.random.uniform(
        jax.random.fold_in(key, example), (n_latent,), minval=-1.0
    )
    return jax.vmap(draw)(examples)
