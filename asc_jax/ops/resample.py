"""Resampling of waveforms, as a pure function that jit, vmap and grad pass through."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from asc_jax.runtime.errors import InputError

# Half the resampling filter, in samples of the slower of the two rates, and the Kaiser
# window's stopband in dB. They put the transition band at 0.94 to 1.06 of the smaller
# Nyquist frequency.
_HALF_WIDTH = 64
_STOPBAND_DB = 120.0
_BETA = 0.1102 * (_STOPBAND_DB - 8.7)  # Kaiser's formula

# The most weights of a resampling filter that are held at a time, 4 MiB of them. The filters of
# all output phases of usual ratios have fewer: 44.1 to 48 kHz has 44,000.
_MOST_WEIGHTS = 1 << 20
_BLOCK = 128  # outputs that share a window, where there are more phases


def resample(waveform: jax.Array, orig_sr: int, target_sr: int) -> jax.Array:
    """Changes the sampling rate with a Kaiser-windowed sinc filter.

    Besides the waveforms it needs memory for about 2 million weights, or for twice as many as there
    are samples. It takes a few hundred multiplications per sample of the higher rate, for any pair
    of rates.

    Args:
      waveform: (..., T) float32.
      orig_sr: its sampling rate, Hz.
      target_sr: the new sampling rate, Hz.

    Returns:
      (..., ceil(T * target_sr / orig_sr)) float32; sample 0 stays at time 0.

    Raises:
      InputError: a rate is below 1 Hz.
    """
    for field, rate in (("orig_sr", orig_sr), ("target_sr", target_sr)):
        if rate < 1:
            raise InputError("must be at least 1 Hz", field=field, value=rate)
    if orig_sr == target_sr:
        return waveform
    divisor = math.gcd(orig_sr, target_sr)
    up, down = target_sr // divisor, orig_sr // divisor
    n_out = -(-waveform.shape[-1] * up // down)
    flat = waveform.reshape(-1, waveform.shape[-1])
    if up * (down + 2 * _reach(up, down) + 1) <= _MOST_WEIGHTS:
        out = _by_phases(flat, up, down, n_out)
    else:
        out = _by_blocks(flat, up, down, n_out)
    return out[:, :n_out].reshape(*waveform.shape[:-1], n_out)


def _reach(up: int, down: int) -> int:
    """Half the filter, in input samples."""
    return math.ceil(_HALF_WIDTH * max(1.0, down / up))


def _by_phases(flat: jax.Array, up: int, down: int, n_out: int) -> jax.Array:
    """(R, T) -> (R, at least n_out), by a table of the filters of all `up` output phases."""
    kernel, reach = _kernel(up, down)  # (K, up)
    n_blocks = -(-n_out // up)
    after = (n_blocks - 1) * down + kernel.shape[0] - reach - flat.shape[1]
    # One strided convolution: block m of `up` output samples starts at input sample m * down.
    out = jax.lax.conv_general_dilated(
        flat[:, :, None],
        kernel[:, None, :],
        window_strides=(down,),
        padding=[(reach, after)],
        dimension_numbers=("NTC", "TIO", "NTC"),
        precision="highest",
    )
    return out.reshape(len(flat), n_blocks * up)


def _by_blocks(flat: jax.Array, up: int, down: int, n_out: int) -> jax.Array:
    """(R, T) -> (R, at least n_out), by filters that are computed a block of outputs at a time."""
    n_samples = flat.shape[1]
    widen = max(1.0, down / up)
    reach = min(_reach(up, down), n_samples)  # what lies farther outside is all zeros
    size = max(1, min(_BLOCK, n_out, _MOST_WEIGHTS // (2 * reach + 1)))
    # Times in input samples, their whole part apart: a float32 could not tell late ones apart.
    first = size * np.arange(-(-n_out // size)) * down  # of each block, times `up`; exact
    within = np.arange(size) * down  # of each output after its block's first
    start = (first // up).astype(np.int32)
    whole = (within // up).astype(np.int32)
    rest = (within % up / up).astype(np.float32)
    length = int(whole[-1]) + 2 * reach + 3
    padded = jnp.pad(flat, [(0, 0), (reach, reach + length)])
    offset = (jnp.arange(length)[:, None] - reach - whole).astype(jnp.float32)  # (length, size)

    @jax.checkpoint  # a gradient computes the weights again: kept, they would fill the memory
    def block(start, phase):
        distance = (offset - phase - rest) / widen
        weights = jnp.sinc(distance) * _kaiser(distance) / widen
        window = jax.lax.dynamic_slice_in_dim(padded, start, length, axis=1)
        return jnp.matmul(window, weights, precision="highest")

    phase = (first % up / up).astype(np.float32)
    out = jax.lax.map(lambda of_block: block(*of_block), (start, phase))  # (blocks, R, size)
    return jnp.moveaxis(out, 0, 1).reshape(len(flat), -1)


def _kaiser(distance: jax.Array) -> jax.Array:
    """The window at distances in samples of the slower rate, by I0's power series."""
    inside = jnp.clip(1 - jnp.square(distance / _HALF_WIDTH), 0)
    window = jnp.zeros_like(inside)
    for k in reversed(range(21)):  # what follows is below 1e-10 of the whole
        window = window * inside + (_BETA / 2) ** (2 * k) / math.factorial(k) ** 2
    return jnp.where(inside > 0, window / np.i0(_BETA), 0)


def _kernel(up: int, down: int) -> tuple[np.ndarray, int]:
    """The interpolation filters of all `up` output phases over one window of input samples.

    Returns:
      (K, up) float32 filters, and how many samples before the block the window starts.
    """
    widen = max(1.0, down / up)  # input samples per sample of the slower rate
    reach = _reach(up, down)
    position = np.arange(-reach, down + reach + 1)[:, None]  # input sample, from the block's
    time = np.arange(up)[None, :] * down / up  # of each output, in input samples
    distance = (position - time) / widen
    inside = np.clip(1 - (distance / _HALF_WIDTH) ** 2, 0, None)
    window = np.where(inside > 0, np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA), 0)
    kernel = np.sinc(distance) * window
    kernel /= kernel.sum(axis=0)  # every phase passes a constant unchanged
    return kernel.astype(np.float32), reach
