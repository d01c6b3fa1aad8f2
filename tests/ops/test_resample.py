"""The resampler against exact signals; under jit, vmap and grad."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from refusals import refused

from asc_jax.ops import resample as resampler
from asc_jax.ops.resample import resample


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    """(T,) noise; odd T."""
    return np.random.default_rng(0).standard_normal(24_001).astype(np.float32)


RATES = [(16_000, 48_000), (48_000, 16_000), (44_100, 48_000), (48_000, 44_100)]
# Whose phases are too many for a table.
COPRIME = [(44_100, 16_001), (16_001, 44_100), (44_101, 47_999)]


def tones(frequencies, sr: int, n_samples: int, phase: float = 0.3) -> np.ndarray:
    """(frequencies, T) float64."""
    return np.sin(2 * np.pi * np.outer(frequencies, np.arange(n_samples)) / sr + phase)


def edge(orig_sr: int, target_sr: int) -> int:
    """Output samples within half a filter, 64 periods of the slower rate, of an end."""
    return int(np.ceil(66 * target_sr / min(orig_sr, target_sr)))


def snr(out, exact) -> float:
    """dB."""
    error = np.asarray(out, np.float64) - exact
    return 10 * np.log10(np.sum(exact**2) / np.sum(error**2))


@pytest.mark.parametrize(("orig_sr", "target_sr"), [*RATES, *COPRIME])
def test_resampled_tones_are_the_exact_tones(orig_sr, target_sr):
    shares = np.array([0.01, 0.125, 0.4, 0.6, 0.75, 0.85])
    frequencies = shares * min(orig_sr, target_sr) / 2
    signals = tones(frequencies, orig_sr, orig_sr // 2).astype(np.float32)
    out = resample(signals, orig_sr, target_sr)
    exact = tones(frequencies, target_sr, out.shape[1])
    middle = slice(edge(orig_sr, target_sr), -edge(orig_sr, target_sr))
    for one, expected in zip(out[:, middle], exact[:, middle], strict=True):
        assert snr(one, expected) >= 110


@pytest.mark.parametrize("target_sr", [16_000, 16_001])
def test_no_aliases(target_sr):
    signals = tones([8500, 10_000, 15_000, 23_000], 48_000, 24_000).astype(np.float32)
    out = np.asarray(resample(signals, 48_000, target_sr))[:, 66:-66]
    assert (20 * np.log10(out.std(axis=1) / signals.std(axis=1)) <= -100).all()


def test_no_images():
    out = np.asarray(resample(tones([3000], 16_000, 8000)[0].astype(np.float32), 16_000, 48_000))
    middle = out[len(out) // 2 - 4800 :][:9600]  # whole periods: no leakage
    spectrum = np.abs(np.fft.rfft(middle * np.kaiser(9600, 24)))
    frequency = np.fft.rfftfreq(9600, 1 / 48_000)
    assert 20 * np.log10(spectrum[frequency > 8500].max() / spectrum.max()) <= -100


@pytest.mark.parametrize(
    ("orig_sr", "target_sr"), [*RATES, *COPRIME, (3, 2), (2, 3), (48_000, 8000), (44_100, 1)]
)
@pytest.mark.parametrize("length", [1, 7, 1001])
def test_resampled_length(orig_sr, target_sr, length):
    out = jax.eval_shape(
        lambda x: resample(x, orig_sr, target_sr), jax.ShapeDtypeStruct((length,), jnp.float32)
    )
    assert out.shape == (-(-length * target_sr // orig_sr),)
    assert out.dtype == jnp.float32


@pytest.mark.parametrize(
    ("orig_sr", "target_sr", "length"),
    [*[(*rates, 4410) for rates in COPRIME], (44_100, 1, 44_100), (1, 44_100, 2), (10**9, 7, 99)],
)
def test_memory_is_bounded_whatever_the_rates(orig_sr, target_sr, length):
    """All phases of 44,100 to 16,001 Hz have 711 million weights, 2.65 GiB of them."""
    lowered = jax.jit(lambda x: resample(x, orig_sr, target_sr)).lower(np.ones(length, np.float32))
    program = lowered.compile()
    assert len(lowered.as_text()) < 1 << 16  # no table within it
    assert program.memory_analysis().temp_size_in_bytes < 32 << 20
    assert np.isfinite(program(np.ones(length, np.float32))).all()


def test_filters_of_blocks_are_those_of_the_table(noise, monkeypatch):
    for rates in [(44_100, 48_000), (48_000, 11_025), (160, 1)]:
        by_phases = np.asarray(resample(noise, *rates))
        monkeypatch.setattr(resampler, "_MOST_WEIGHTS", 5000)  # too few for the tables
        by_blocks = np.asarray(resample(noise, *rates))
        monkeypatch.undo()
        assert snr(by_blocks, by_phases) >= 110


def test_a_constant_stays_and_the_same_rate_changes_nothing(noise):
    assert resample(noise, 44_100, 44_100) is noise
    out = resample(np.ones(4000, np.float32), 16_000, 48_000)
    np.testing.assert_allclose(out[300:-300], 1, atol=1e-6)


@pytest.mark.parametrize(("orig_sr", "target_sr"), [(16, 48), (3, 2), (44_100, 16_001)])
def test_resample_is_linear_and_its_gradient_is_its_transpose(orig_sr, target_sr):
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((2, 301)).astype(np.float32)

    resampled = jax.jit(lambda x: resample(x, orig_sr, target_sr))

    np.testing.assert_allclose(
        resampled(2 * x - 3 * y), 2 * resampled(x) - 3 * resampled(y), atol=2e-5
    )
    out, pullback = jax.vjp(resampled, x)
    ct = rng.standard_normal(out.shape).astype(np.float32)
    (gradient,) = pullback(ct)
    matrix = np.asarray(jax.vmap(resampled, in_axes=1, out_axes=1)(np.eye(301, dtype=np.float32)))
    np.testing.assert_allclose(out, matrix @ x, atol=1e-5)
    np.testing.assert_allclose(gradient, matrix.T @ ct, atol=1e-5)
    check_grads(resampled, (x,), order=1, modes=["fwd", "rev"], eps=1.0, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("target_sr", [48_000, 47_999])
def test_resample_keeps_leading_axes_under_jit_and_vmap(noise, target_sr):
    batch = noise[:6000].reshape(2, 3, 1000)
    change = lambda x: resample(x, 16_000, target_sr)
    looped = np.stack([[change(x) for x in row] for row in batch])
    assert looped.shape == (2, 3, -(-target_sr // 16))
    for transform in (
        change,
        jax.jit(change),
        jax.vmap(change),
        jax.jit(jax.vmap(change, in_axes=1, out_axes=1)),
    ):
        np.testing.assert_allclose(transform(batch), looped, atol=1e-6)


@pytest.mark.parametrize(
    ("rates", "field"), [((0, 16_000), "orig_sr"), ((16_000, -1), "target_sr")]
)
def test_impossible_rates_are_refused(rates, field):
    with refused(field=field):
        resample(np.ones(10, np.float32), *rates)
