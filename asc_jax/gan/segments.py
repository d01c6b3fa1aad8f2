"""From the short segments that a GAN generates to one clip."""

import jax
import jax.numpy as jnp
import numpy as np


def n_segments(n_samples: int, segment: int, min_overlap: int = 0) -> int:
    """How many segments fill a clip.

    Args:
      n_samples: length of the clip, samples.
      segment: length of a segment, samples.
      min_overlap: samples that neighbours share at least, up to half a segment; 0 for
        "concatenate".

    Returns:
      The least number that `merge` takes: 1 for a clip no longer than a segment, 5 for 10 s
      of segments of 32,768 samples at 16 kHz.
    """
    return max(1, -(-(n_samples - min_overlap) // (segment - min_overlap)))


def overlaps(n_samples: int, segment: int, n_segments: int) -> tuple[int, ...]:
    """How many samples each two neighbours share in a crossfade of exactly `n_samples`.

    What the segments have too much is spread evenly over the joins, up to half a segment
    each, beyond which three segments would sound at once.

    Args:
      n_samples: length of the clip, samples.
      segment: length of a segment, samples.
      n_segments: number of segments.

    Returns:
      `n_segments - 1` numbers that differ by at most 1; (960, 960, 960, 960) for 160,000
      samples of five segments of 32,768.
    """
    n_joins = n_segments - 1
    surplus = n_segments * segment - n_samples
    # Two segments have one join, which may then be of any length.
    most = segment if n_joins == 1 else segment // 2
    return tuple(
        min(most, surplus // n_joins + (join < surplus % n_joins)) for join in range(n_joins)
    )


def merge(segments: jax.Array, n_samples: int, how: str = "concatenate") -> jax.Array:
    """One clip of exactly `n_samples` from several segments.

    Args:
      segments: (n_segments, T_seg) float, at least as many as `n_segments` says.
      n_samples: length of the clip, samples; static under `jit`, as `how` is.
      how: "concatenate": end to end, cut at the end. "crossfade": neighbours overlap by
        `overlaps` with gains of equal power. Segments are independent draws of the
        generator, hence uncorrelated: their powers add, not their amplitudes, and
        sin^2 + cos^2 = 1 keeps the level where a linear fade would dip by 3 dB.

    Returns:
      (n_samples,) of the segments' dtype.

    Source: paper §3 ("5 wave segments are merged into a wave of 10 seconds long"); how is
    unstated, and 5 x 32,768 samples are 10.24 s.
    """
    if how == "concatenate":
        return segments.reshape(-1)[:n_samples]
    merged = segments[0]
    joins = overlaps(n_samples, segments.shape[1], len(segments))
    for segment, overlap in zip(segments[1:], joins, strict=True):
        merged = _crossfade(merged, segment, overlap)
    return merged[:n_samples]


def _crossfade(before: jax.Array, after: jax.Array, overlap: int) -> jax.Array:
    """(T_a,) and (T_b,) -> (T_a + T_b - overlap,): the end of one fades into the other's begin."""
    # At the samples' middles: the fade is its own mirror image, and no sample has gain 0.
    angle = np.pi / 2 * (np.arange(overlap) + 0.5) / max(overlap, 1)
    fade_in, fade_out = (gain(angle).astype(before.dtype) for gain in (np.sin, np.cos))
    start = before.shape[0] - overlap
    shared = before[start:] * fade_out + after[:overlap] * fade_in
    return jnp.concatenate([before[:start], shared, after[overlap:]])
