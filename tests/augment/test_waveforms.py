"""Augmentation of waveforms: what each member does to one, and that its key alone decides it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from many_keys import keys, over_keys

from asc_jax.augment import Augmentation, augment_waveform, reach
from asc_jax.augment.waveforms import (
    between_class,
    device_response,
    gain,
    time_scale,
    time_zero,
    white_noise,
)

K = 3
SR, T = 8_000, 4_000


def tone(hertz: float, n: int, level: float = 1.0) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(n) / SR)).astype(np.float32)


def test_time_scale_moves_the_pitch_by_up_to_its_factor_and_keeps_the_wave():
    n = reach(T, 1.25)
    assert n == 5_000
    scaled = over_keys(lambda key: time_scale(key, jnp.asarray(tone(440, n)), 1.25), 400)
    assert scaled.shape == (400, T)
    spectra = np.abs(np.fft.rfft(scaled * np.hanning(T), 8 * T))
    pitches = spectra.argmax(axis=1) * SR / (8 * T)
    speeds = np.log(pitches / 440) / np.log(1.25)
    assert speeds.min() < -0.97 and speeds.max() > 0.97 and np.abs(speeds).max() < 1.01
    assert abs(speeds.mean()) < 4 * np.sqrt(1 / 3 / 400)  # uniform
    # Still a tone: as loud, and all of it at that pitch.
    np.testing.assert_allclose(scaled.std(axis=1), np.sqrt(0.5), rtol=0.02)
    near = np.abs(np.fft.rfftfreq(8 * T, 1 / SR) - pitches[:, None]) < 10
    assert ((spectra**2 * near).sum(axis=1) > 0.99 * (spectra**2).sum(axis=1)).all()


@pytest.mark.parametrize("factor", [1.05, 1.1, 1.2, 1.25, 1.3, 1.5])
def test_a_scaled_waveform_has_the_length_that_was_asked_for(factor):
    for n_samples in (16_000, 32_000, 44_100, 64_000, 70_560, 240_000, 441_000, 480_000):
        waveform = jax.ShapeDtypeStruct((reach(n_samples, factor),), np.float32)
        scaled = jax.eval_shape(lambda x: time_scale(jax.random.key(0), x, factor), waveform)
        assert scaled.shape == (n_samples,)


def test_between_class_mixes_in_the_ratio_that_is_heard():
    """Sounds of levels 40 dB apart are heard in the targets' ratio."""
    loud, soft = tone(500, T, 0.5), tone(1500, T, 0.005)
    one, other = np.eye(K, dtype=np.float32)[:2]
    mix = lambda key: between_class(key, *map(jnp.asarray, (loud, one, soft, other)))
    mixed, targets = over_keys(mix, 500)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    ratios = targets[:, 0]
    assert ratios.min() < 0.02 and ratios.max() > 0.98
    assert abs(ratios.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 500)
    spectra = np.abs(np.fft.rfft(mixed)) * 2 / T
    heard = spectra[:, [500 * T // SR, 1500 * T // SR]]
    inside = (ratios > 0.05) & (ratios < 0.95)
    np.testing.assert_allclose((heard[:, 0] / heard.sum(axis=1))[inside], ratios[inside], atol=0.02)


def test_between_class_keeps_the_energy_of_sounds_that_differ():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 40_000)).astype(np.float32)
    one, other = np.eye(K, dtype=np.float32)[:2]
    mix = lambda key, x, y: between_class(key, jnp.asarray(x), one, jnp.asarray(y), other)
    mixed, _ = over_keys(lambda key: mix(key, a, b), 50)
    np.testing.assert_allclose(mixed.std(axis=1), 1, atol=0.03)
    silent = np.zeros(T, np.float32)
    mixed, _ = over_keys(lambda key: mix(key, silent, silent), 20)
    assert not mixed.any()


def test_gain_is_uniform_in_decibels():
    levels = over_keys(lambda key: gain(key, jnp.ones(1), 6.0)[0], 2000)
    decibels = 20 * np.log10(levels)
    assert -6 <= decibels.min() < -5.9 and 5.9 < decibels.max() <= 6.001
    assert abs(decibels.mean()) < 4 * 12 / np.sqrt(12 * 2000)


def test_waveforms_are_augmented_by_their_own_keys_alone():
    cfg = Augmentation(time_scale=1.25, between_class=True, gain_db=6.0)
    rng = np.random.default_rng(0)
    waveforms, partners = rng.standard_normal((2, 4, reach(T, 1.25))).astype(np.float32)
    targets, others = np.eye(K, dtype=np.float32)[rng.integers(0, K, (2, 4))]
    run = jax.jit(jax.vmap(functools.partial(augment_waveform, cfg=cfg)))
    batch = waveforms, targets, partners, others
    waveform, target = run(keys(4), *batch)
    assert waveform.shape == (4, T)
    again = run(keys(4)[::-1], *(x[::-1] for x in batch))
    np.testing.assert_array_equal(again[0][::-1], waveform)
    np.testing.assert_array_equal(again[1][::-1], target)
    assert np.abs(waveform - run(keys(4, seed=1), *batch)[0]).max() > 0.1


def responses(n: int = 3, n_taps: int = 64) -> np.ndarray:
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((n, n_taps)) * np.exp(-np.arange(n_taps) / 10)
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("n_samples", [4_000, 192, 191, 5])
def test_a_device_response_is_a_convolution_with_one_of_them(n_samples):
    waveform = np.random.default_rng(1).standard_normal(n_samples).astype(np.float32)
    table = responses()
    n_taps = table.shape[1]
    before = time_zero(n_taps)
    respond = lambda key: device_response(key, jnp.asarray(waveform), table, 1.0)
    filtered = over_keys(respond, 60)
    assert filtered.shape == (60, n_samples)
    convolved = [np.convolve(waveform.astype(float), one) for one in table]
    expected = np.stack([one[before : before + n_samples] for one in convolved])
    errors = np.abs(filtered[:, None] - expected).max(axis=-1)  # (keys, responses)
    assert errors.min(axis=1).max() < 1e-5
    assert np.bincount(errors.argmin(axis=1), minlength=3).min() > 8


def test_a_device_response_comes_as_often_as_is_said_and_shifts_nothing():
    click = np.zeros(T, np.float32)
    click[1234] = 1.0
    table = np.zeros((1, 64), np.float32)
    table[0, time_zero(64)], table[0, time_zero(64) + 3] = 0.8, 0.6
    clicks = over_keys(lambda key: device_response(key, jnp.asarray(click), table, 0.3), 2000)
    np.testing.assert_array_equal(clicks.argmax(axis=1), 1234)
    untouched = np.abs(clicks - click).max(axis=1) < 1e-5
    np.testing.assert_allclose(clicks[~untouched][:, 1237], 0.6, atol=1e-5)
    assert abs(untouched.mean() - 0.7) < 4 * np.sqrt(0.3 * 0.7 / 2000)


def test_noise_is_white_and_of_a_uniform_share_of_the_level():
    waveform = 0.2 * tone(500, T)
    noisy = over_keys(lambda key: white_noise(key, jnp.asarray(waveform), 0.5), 1000)
    noise = noisy - waveform
    shares = noise.std(axis=1) / waveform.std()
    assert shares.min() < 0.01 and 0.49 < shares.max() < 0.51
    assert abs(shares.mean() - 0.25) < 4 * 0.5 / np.sqrt(12 * 1000)
    noise = noise[shares > 0.05] / noise[shares > 0.05].std(axis=1, keepdims=True)
    powers = (np.abs(np.fft.rfft(noise)) ** 2).mean(axis=0)[1:-1] / T
    np.testing.assert_allclose(powers, 1, atol=6 / np.sqrt(len(noise)))  # of all frequencies
    correlations = noise @ noise.T / T
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 6 / np.sqrt(T)  # each has its own
    silent = over_keys(lambda key: white_noise(key, jnp.zeros(T), 0.5), 5)
    assert not silent.any()


def test_what_is_switched_on_leaves_what_the_others_draw():
    rng = np.random.default_rng(0)
    waveform, partner = rng.standard_normal((2, T)).astype(np.float32)
    one, other = np.eye(K, dtype=np.float32)[:2]
    few = Augmentation(between_class=True, gain_db=6.0)
    more = Augmentation(between_class=True, impulse_p=1.0, noise_level=1e-6, gain_db=6.0)
    unit = np.zeros((1, 64), np.float32)
    unit[0, time_zero(64)] = 1
    outs = [
        jax.jit(functools.partial(augment_waveform, cfg=cfg, responses=unit))(
            jax.random.key(2), waveform, one, partner, other
        )
        for cfg in (few, more)
    ]
    np.testing.assert_allclose(outs[0][0], outs[1][0], atol=1e-4)
    np.testing.assert_array_equal(outs[0][1], outs[1][1])
