"""Augmentation: what each member does to one example, and that its key alone decides it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asc_jax.augment import (
    Augmentation,
    augment,
    augment_waveform,
    between_class,
    gain,
    mask_axis,
    mixup,
    reach,
    time_roll,
    time_scale,
)

N, M, K = 40, 12, 3
ALL = Augmentation(
    mixup_alpha=0.4,
    time_roll=0.5,
    time_masks=2,
    time_mask_frames=8,
    mel_masks=1,
    mel_mask_bands=3,
)

mapped = jax.jit(jax.vmap(functools.partial(augment, cfg=ALL)))


def over_keys(function, n: int) -> np.ndarray:
    """The results of a function of a key, for `n` keys."""
    return jax.tree.map(np.asarray, jax.jit(lambda: jax.vmap(function)(keys(n)))())


def keys(n: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), n)


@pytest.fixture(scope="module")
def batch() -> tuple:
    """Log-mels (B, N, M), targets (B, K) and the same of their partners."""
    rng = np.random.default_rng(0)
    log_mel, partner = rng.standard_normal((2, 6, N, M)).astype(np.float32)
    target, partner_target = np.eye(K, dtype=np.float32)[rng.integers(0, K, (2, 6))]
    return log_mel, target, partner, partner_target


def test_all_zeros_change_nothing(batch):
    log_mel, target = jax.jit(jax.vmap(functools.partial(augment, cfg=Augmentation())))(
        keys(6), *batch
    )
    np.testing.assert_array_equal(log_mel, batch[0])
    np.testing.assert_array_equal(target, batch[1])


def test_an_example_does_not_depend_on_its_batch(batch):
    log_mel, target = mapped(keys(6), *batch)
    assert (log_mel.shape, target.shape) == ((6, N, M), (6, K))
    reordered = mapped(keys(6)[::-1], *(x[::-1] for x in batch))
    np.testing.assert_array_equal(reordered[0][::-1], log_mel)
    alone = jax.jit(functools.partial(augment, cfg=ALL))
    for i in range(6):
        log_mel_alone, target_alone = alone(keys(6)[i], *(x[i] for x in batch))
        np.testing.assert_allclose(log_mel_alone, log_mel[i], atol=1e-6)
        np.testing.assert_allclose(target_alone, target[i], atol=1e-6)


def test_the_key_decides(batch):
    first, again, other = (mapped(keys(6, seed), *batch)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    for i in range(6):
        assert not np.array_equal(first[i], other[i])


def test_members_draw_independently(batch):
    """Switching one member off leaves what the others draw as it was."""
    key = jax.random.key(3)
    example = [x[0] for x in batch]
    masks_only = Augmentation(time_masks=2, time_mask_frames=8)
    with_mixup = Augmentation(time_masks=2, time_mask_frames=8, mixup_alpha=0.4)
    out = [
        jax.jit(functools.partial(augment, cfg=cfg))(key, *example)
        for cfg in (masks_only, with_mixup)
    ]
    masked = [np.all(log_mel == 0, axis=1) for log_mel, _ in out]
    assert masked[0].any()
    np.testing.assert_array_equal(*masked)


def test_targets_stay_probabilities(batch):
    _, target = mapped(keys(6), *batch)
    np.testing.assert_allclose(np.sum(target, axis=1), 1, atol=1e-6)
    assert np.all(target >= 0)


# Mixup.


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_mixup_is_a_convex_combination_led_by_the_example(alpha):
    one, other = jnp.full((2, 2), 3.0), jnp.full((2, 2), -1.0)
    here, there = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    mixed, target = over_keys(lambda key: mixup(key, one, here, other, there, alpha), 4000)
    weight = target[:, 0].astype(np.float64)
    assert np.all((weight >= 0.5) & (weight <= 1))
    np.testing.assert_allclose(target[:, 1], 1 - weight, atol=1e-6)
    expected = np.broadcast_to((3 * weight - (1 - weight))[:, None, None], mixed.shape)
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
    # The distance to 1/2 is that of a Beta(alpha, alpha), whose variance is 1 / (8 alpha + 4).
    variance = 1 / (8 * alpha + 4)
    assert np.mean((weight - 0.5) ** 2) == pytest.approx(variance, rel=0.08)


def test_mixup_weighs_every_target_alike(batch):
    log_mel, target, partner, partner_target = (x[0] for x in batch)
    mix = jax.jit(functools.partial(mixup, alpha=0.4))
    mixed, mixed_target = mix(jax.random.key(1), log_mel, target, partner, partner_target)
    weight = float(
        np.sum((mixed - partner) * (log_mel - partner)) / np.sum((log_mel - partner) ** 2)
    )
    expected = weight * target + (1 - weight) * partner_target
    np.testing.assert_allclose(mixed_target, expected, atol=1e-5)


# Time roll.


def test_time_roll_is_circular_and_within_its_limit():
    ramp = jnp.arange(N)[:, None] * jnp.ones((1, M))
    rolled = over_keys(lambda key: time_roll(key, ramp, 0.25), 500)
    first = rolled[:, :1, :1].astype(int)
    np.testing.assert_array_equal(rolled, (ramp + first) % N)
    assert set(((first + N // 2) % N - N // 2).ravel()) == set(range(-10, 11))


def test_partners_are_rolled_apart():
    """Two clips of one mix do not keep their alignment."""
    ramp = jnp.arange(N, dtype=jnp.float32)[:, None] * jnp.ones((1, M))
    cfg = Augmentation(time_roll=0.5, mixup_alpha=1e3)  # about half of each
    targets = jnp.eye(2)
    mix = jax.jit(functools.partial(augment, cfg=cfg))
    mixed, target = mix(jax.random.key(0), ramp, targets[0], ramp, targets[1])
    assert 0.5 <= target[0] < 0.6
    assert len(set(np.round(np.diff(mixed[:, 0]), 3))) > 2  # two places where time wraps


# Masks.


def runs(masked: np.ndarray) -> list[int]:
    """Lengths of the stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masked.astype(int), [0]])))
    return list(edges[1::2] - edges[::2])


@pytest.mark.parametrize(("axis", "length"), [(0, N), (1, M)])
def test_one_mask_is_one_stripe_of_any_width_up_to_the_widest(axis, length):
    ones = jnp.ones((N, M))
    out = over_keys(lambda key: mask_axis(key, ones, axis, 1, 5), 600)
    masked = np.moveaxis(out, axis + 1, 1) == 0  # (keys, length, the other axis)
    np.testing.assert_array_equal(masked.any(axis=2), masked.all(axis=2))
    widths = [runs(one) for one in masked.all(axis=2)]
    assert all(len(width) <= 1 for width in widths)
    assert {sum(width) for width in widths} == set(range(6))
    assert masked.any(axis=(0, 2)).sum() == length  # every place is masked by some key


def test_masks_count_and_leave_the_rest_alone():
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (N, M)), jnp.float32)
    out = over_keys(lambda key: mask_axis(key, x, 0, 3, 4), 300)
    masked = np.all(out == 0, axis=2)
    stripes = [runs(one) for one in masked]
    assert max(len(widths) for widths in stripes) == 3
    assert max(sum(widths) for widths in stripes) <= 12
    np.testing.assert_array_equal(out, np.where(masked[..., None], 0, x))


def test_a_mask_wider_than_the_axis_stays_on_it():
    out = over_keys(lambda key: mask_axis(key, jnp.ones((N, M)), 1, 1, 10 * M), 200)
    widths = np.sum(out[:, 0] == 0, axis=1)
    assert widths.max() == M
    assert widths.min() == 0


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
