"""Augmentation of log-mels: what each member does to one, and that its key alone decides it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from many_keys import keys, over_keys

from asc_jax.augment import Augmentation, augment, augment_bands
from asc_jax.augment.log_mels import (
    filter_curve,
    freq_mixstyle,
    mask_axis,
    mixup,
    time_roll,
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


# Mixup.


def test_mixup_is_a_convex_combination_led_by_the_example():
    alpha = 0.4
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


# Freq-MixStyle.


def moments(log_mels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return log_mels.mean(axis=-2), log_mels.std(axis=-2)


def test_freq_mixstyle_mixes_the_moments_of_bands_and_keeps_their_course():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, N, M))
    other = 3 + 2 * other
    one, other = one.astype(np.float32), other.astype(np.float32)
    mixed = over_keys(lambda key: freq_mixstyle(key, one, other, 1.0, 0.4), 2000)
    (mean, deviation), (here, spread), (there, width) = map(moments, (mixed, one, other))
    weights = ((mean - there) / (here - there)).mean(axis=1)  # of the example itself
    column = weights[:, None]
    np.testing.assert_allclose(mean, column * here + (1 - column) * there, atol=1e-4)
    np.testing.assert_allclose(deviation, column * spread + (1 - column) * width, atol=1e-4)
    course = lambda x: (x - x.mean(axis=-2, keepdims=True)) / x.std(axis=-2, keepdims=True)
    np.testing.assert_allclose(course(mixed), np.broadcast_to(course(one), mixed.shape), atol=1e-3)
    assert abs(weights.mean() - 0.5) < 4 * np.sqrt(1 / (8 * 0.4 + 4) / 2000)
    assert weights.var() == pytest.approx(1 / (8 * 0.4 + 4), rel=0.08)  # Beta(0.4, 0.4)


def test_freq_mixstyle_comes_as_often_as_is_said():
    one, other = (np.random.default_rng(seed).normal(seed, 1, (N, M)) for seed in (0, 1))
    mixed = over_keys(lambda key: freq_mixstyle(key, jnp.asarray(one), other, 0.3, 1.0), 2000)
    same = (mixed == one.astype(np.float32)).all(axis=(1, 2))
    assert abs(same.mean() - 0.7) < 4 * np.sqrt(0.3 * 0.7 / 2000)


def test_freq_mixstyle_of_a_silent_band_is_finite():
    silent = jnp.full((N, M), -36.0)
    other = jnp.asarray(np.random.default_rng(0).standard_normal((N, M)), jnp.float32)
    pairs = (silent, other), (other, silent), (silent, silent)
    mixed = over_keys(lambda key: [freq_mixstyle(key, *pair, 1.0, 0.4) for pair in pairs], 50)
    assert np.isfinite(mixed).all() and np.abs(mixed).max() < 100


# The filter.


@pytest.mark.parametrize("n_mels", [80, 40, 10])
def test_a_filter_is_linear_between_the_edges_of_three_to_six_bands(n_mels):
    curves = over_keys(lambda key: filter_curve(key, n_mels, 6.0), 2000)
    assert curves.shape == (2000, n_mels)
    assert 5.5 < np.abs(curves).max() <= 6
    assert abs(curves.mean()) < 0.1
    bends = np.abs(np.diff(curves, 2, axis=1)) > 1e-4
    # An edge between the middles of two mel bands bends the line at one of them or at both.
    bent = bends[:, 1:] & ~bends[:, :-1]
    n_edges = bent.sum(axis=1) + bends[:, 0]
    assert n_edges.max() <= 5
    if n_mels >= 40:  # edges lie 6 bands apart: none is lost in another
        share = np.bincount(n_edges, minlength=6)[2:] / 2000
        np.testing.assert_allclose(share, 0.25, atol=0.06)
        assert not bends[:, :4].any() and not bends[:, -4:].any()


def test_a_filter_adds_decibels_in_the_unit_of_the_log_mels():
    cfg = Augmentation(filter_db=6.0)
    log_mel = jnp.asarray(np.random.default_rng(0).standard_normal((N, M)), jnp.float32)
    run = jax.jit(functools.partial(augment_bands, cfg=cfg, decibel=0.5))
    added = np.asarray(run(jax.random.key(1), log_mel, log_mel) - log_mel)
    np.testing.assert_allclose(added, np.broadcast_to(added[0], added.shape), atol=1e-6)
    assert np.abs(added).max() <= 3 and np.ptp(added[0]) > 0.1


def test_bands_are_left_alone_without_fields_of_theirs():
    log_mel = np.random.default_rng(0).standard_normal((N, M)).astype(np.float32)
    run = jax.jit(functools.partial(augment_bands, cfg=ALL, decibel=1.0))
    np.testing.assert_array_equal(run(jax.random.key(0), log_mel, log_mel + 1), log_mel)
