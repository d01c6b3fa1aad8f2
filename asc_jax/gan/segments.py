"""From the short segments that a GAN generates to one clip."""

import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.config.choices import MERGES
from asc_jax.runtime.errors import InputError


def n_segments(n_samples: int, segment: int, min_overlap: int = 0) -> int:
    """How many segments fill a clip.

    Args:
      n_samples: length of the clip, samples.
      segment: length of a segment, samples.
      min_overlap: samples that neighbours share at least; 0 for "concatenate".

    Returns:
      The least number that `merge` takes: 1 for a clip no longer than a segment, 5 for 10 s
      of segments of 32,768 samples at 16 kHz.

    Raises:
      InputError: a length below 1, or an overlap that is negative or above half a segment.
    """
    for field, length in (("n_samples", n_samples), ("segment", segment)):
        if length < 1:
            raise InputError("must be at least 1 sample", field=field, value=length)
    if not 0 <= min_overlap <= segment // 2:
        raise InputError(
            f"must be 0 to {segment // 2}, half of a segment",
            field="min_overlap",
            value=min_overlap,
        )
    if n_samples <= segment:
        return 1
    return -(-(n_samples - min_overlap) // (segment - min_overlap))


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
    if n_joins == 0:
        return ()
    surplus = n_segments * segment - n_samples
    # Two segments have one join, which may then be of any length.
    most = segment if n_joins == 1 else segment // 2
    return tuple(
        min(most, surplus // n_joins + (join < surplus % n_joins)) for join in range(n_joins)
    )


def merge(segments: jax.Array, n_samples: int, how: str = "concatenate") -> jax.Array:
    """One clip of exactly `n_samples` from several segments.

    Args:
      segments: (n_segments, T_seg) float.
      n_samples: length of the clip, samples; static under `jit`, as `how` is.
      how: "concatenate": end to end, cut at the end. "crossfade": neighbours overlap by
        `overlaps` with gains of equal power. Segments are independent draws of the
        generator, hence uncorrelated: their powers add, not their amplitudes, and
        sin^2 + cos^2 = 1 keeps the level where a linear fade would dip by 3 dB.

    Returns:
      (n_samples,) of the segments' dtype.

    Raises:
      InputError: another `how`, or segments too few or of the wrong shape.

    Source: paper §3 ("5 wave segments are merged into a wave of 10 seconds long"); how is
    unstated, and 5 x 32,768 samples are 10.24 s.
    """
    if how not in MERGES:
        raise InputError(f"must be one of {', '.join(MERGES)}", field="merge", value=how)
    if segments.ndim != 2:
        raise InputError(
            f"of shape {segments.shape}: must be (n_segments, samples); give one clip's",
            field="segments",
        )
    count, length = segments.shape
    if n_samples < 1 or count * length < n_samples:
        raise InputError(
            f"must be 1 to {count * length}, for {count} segments of {length} samples",
            field="n_samples",
            value=n_samples,
        )
    if how == "concatenate":
        return segments.reshape(-1)[:n_samples]
    merged = segments[0]
    for segment, overlap in zip(segments[1:], overlaps(n_samples, length, count), strict=True):
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
