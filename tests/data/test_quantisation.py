"""int16 with a scale and an offset: as close to the values as the documentation says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from asc_jax.data import cache

FINITE = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=2, max_side=20), elements=FINITE))
def test_quantisation_errs_by_less_than_documented(values):
    steps, (scale, offset) = cache.quantise(values)
    assert steps.dtype == np.int16
    assert steps.shape == values.shape
    restored = steps.astype(np.float32) * scale + offset
    bound = (float(values.max()) - float(values.min())) / 131_068
    # Of float32 itself: of the values, and of the scale, which counts where it is subnormal.
    rounding = 2 * np.spacing(np.abs(values).max()) + 32_767 * np.spacing(scale) / 2
    assert np.abs(restored - values.astype(np.float64)).max() <= bound * 1.001 + rounding


def test_log_mels_keep_three_digits_and_waveforms_a_hundred_decibels():
    rng = np.random.default_rng(0)
    log_mel = rng.uniform(-36, 5, (500, 40)).astype(np.float32)  # silence to full scale
    assert np.abs(restore(log_mel) - log_mel).max() < 1e-3
    waveform = (0.1 * rng.uniform(-1, 1, 48_000)).astype(np.float32)
    error = np.sqrt(np.mean((restore(waveform) - waveform) ** 2))
    assert 20 * np.log10(error / np.abs(waveform).max()) < -98


def restore(values: np.ndarray) -> np.ndarray:
    steps, (scale, offset) = cache.quantise(values)
    return steps.astype(np.float32) * scale + offset


@pytest.mark.parametrize("value", [0.0, 1.0, -36.04, 1e-42, 3e38])
def test_a_constant_is_kept_exactly(value):
    values = np.full((5, 3), value, np.float32)
    np.testing.assert_array_equal(restore(values), values)


def test_a_range_below_float32s_smallest_number():
    """A float WAV of denormal samples: silence, and no division by zero."""
    assert np.abs(restore(np.array([0, 1e-44], np.float32))).max() < 1e-40
