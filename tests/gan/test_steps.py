"""WaveGAN's training: one GAN against several, one device against two, and two tones learned."""

import dataclasses
import functools
import re

import jax
import numpy as np
import optax
import pytest

from asc_jax.data.pool import Pool
from asc_jax.gan import steps as gan_steps
from asc_jax.gan.corpora import Corpus
from asc_jax.gan.losses import LOSSES
from asc_jax.gan.source import make_sources, real_windows
from asc_jax.models.wavegan import Discriminator, Generator
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED
from asc_jax.parallel.mesh import DATA, make_mesh, one_device

N_CLIPS, N_SAMPLES = 8, 400  # of each of three scenes
CYCLES = ((16, 40), (24, 80), (8, 100))  # of a scene's two tones, per 256 samples
NOBODY = np.array([], np.int32)
CORPORA = (
    Corpus(1, ("first",), np.arange(0, 8, dtype=np.int32), NOBODY),
    Corpus(1, ("second",), np.arange(8, 16, dtype=np.int32), NOBODY),
)


@pytest.fixture(scope="module")
def tones() -> Pool:
    """Clips of two sines each, of random phase. No GAN trains on the third scene's."""
    rng = np.random.default_rng(0)
    time = np.arange(N_SAMPLES) / 256
    clips = [
        sum(np.sin(2 * np.pi * (f * time + rng.random())) for f in cycles)
        for cycles in CYCLES
        for _ in range(N_CLIPS)
    ]
    n = len(clips)
    return Pool(
        values=np.rint(8000 * np.array(clips)).astype(np.int16),
        scale=np.full(n, 1e-5, np.float32),
        offset=np.zeros(n, np.float32),
        targets=np.repeat(np.arange(3), N_CLIPS).astype(np.int32),
    )


def make_networks(n_samples=64, dim=2, batch_size=4, loss=LOSSES["wgan_gp"], lr=0.0, **options):
    shared = {"dim": dim, "n_samples": n_samples}
    return gan_steps.Networks(
        Generator(n_latent=8, **shared, **options),
        Discriminator(
            phase_shuffle=0 if n_samples == 64 else 1,
            axis_name=DATA,
            **shared,
            **options,
        ),
        loss,
        batch_size,
        lr,
    )


@functools.cache
def compiled(networks, n_gans, n_devices=1, n_samples=100):
    """A mesh, and the steps on it: traced once for all tests."""
    mesh = make_mesh(n_gans, networks.batch_size, jax.devices()[:n_devices])
    how = {"n_samples": n_samples, "how": "concatenate"}
    return mesh, gan_steps.compile_steps(mesh, networks, **how)


def trained(pool, networks, *, n_steps, corpora=CORPORA, devices=1, change=lambda source: source):
    """The state after some iterations, all metrics, the compiled steps and the sources."""
    mesh, steps = compiled(networks, len(corpora), devices)
    source = change(make_sources(corpora, pool))
    source = put(source, mesh, PER_FOLD)
    state = gan_steps.init_state(networks, len(corpora), mesh, seed=3)
    pool = put(pool, mesh, SHARED)
    collected = []
    for _ in range(n_steps):
        state, metrics = steps.train(state, pool, source)
        collected.append(jax.device_get(metrics))
    metrics = {name: np.stack([m[name] for m in collected]) for name in (collected or [{}])[0]}
    return jax.device_get(state), metrics, steps, source


def generated(steps, state, source, n=32) -> np.ndarray:
    """(G, n, 100) clips, from the same latent vectors for every GAN."""
    n_gans = len(state.step)
    key_data = np.stack([np.asarray(jax.random.key_data(jax.random.key(5)))] * n_gans)
    labels = np.zeros((n_gans, n), np.int32)
    return np.asarray(steps.generate(state.generator, source, key_data, labels))


def share_near(clips: np.ndarray, cycles: tuple[int, ...]) -> float:
    """The share of the clips' energy within 2 bins of tones, of 256 samples."""
    power = np.square(np.abs(np.fft.rfft(clips * np.hanning(clips.shape[-1])))).sum(axis=0)
    return sum(power[f - 2 : f + 3].sum() for f in cycles) / power.sum()


def test_two_gans_learn_the_tones_of_their_own_scene(tones):
    networks = make_networks(256, dim=8, batch_size=16, lr=1e-3)
    _, whole = compiled(networks, 2, n_samples=256)
    before, _, _, source = trained(tones, networks, n_steps=0)
    after, metrics, _, _ = trained(tones, networks, n_steps=60)
    untrained, learned = (generated(whole, state, source) for state in (before, after))
    for gan, other in ((0, 1), (1, 0)):
        assert share_near(untrained[gan], CYCLES[gan]) < 0.3
        assert share_near(learned[gan], CYCLES[gan]) > 0.7
        assert share_near(learned[gan], CYCLES[other]) < 0.1
    assert (metrics["wasserstein"][-10:].mean(axis=0) > 0).all()
    assert after.running.all()
    assert (after.step == 60).all()


def test_the_axes_of_all_convolutions_lie_as_loops_need_them(tones):
    """The discriminator's updates are a loop: XLA on a CPU would be far slower with others."""
    networks = make_networks()
    state, _, steps, source = trained(tones, networks, n_steps=0)
    text = steps.train.lower(state, tones, source).as_text()
    axes = re.findall(r"stablehlo\.convolution.* dim_numbers = (.*?), window", text)
    assert len(axes) >= 10
    assert set(axes) == {"[b, 0, f]x[0, i, o]->[b, 0, f]"}


def test_a_gan_in_the_program_equals_that_gan_alone(tones):
    networks = make_networks()
    _, together, _, _ = trained(tones, networks, n_steps=2)
    _, alone, _, _ = trained(tones, networks, n_steps=2, corpora=CORPORA[:1])
    for name, values in alone.items():
        np.testing.assert_allclose(together[name][:, :1], values, rtol=1e-4, atol=1e-6)


def test_sharded_equals_unsharded(tones):
    """By SGD, for which a gradient counted twice is twice as large; every example's own shifts."""
    loss = dataclasses.replace(LOSSES["wgan_gp"], optimizer=optax.sgd, n_discriminator_updates=1)
    networks = make_networks(loss=loss, lr=1e-2)
    discriminator = networks.discriminator.clone(phase_shuffle=1, shuffle="per_example")
    networks = dataclasses.replace(networks, discriminator=discriminator)
    train = functools.partial(trained, tones, networks, n_steps=1)
    one, one_metrics, _, _ = train()
    two, two_metrics, _, _ = train(devices=4)  # two GANs x two shards
    for name, values in one_metrics.items():
        np.testing.assert_allclose(two_metrics[name], values, rtol=1e-4, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        (one.generator, one.discriminator),
        (two.generator, two.discriminator),
    )


def test_no_other_clip_reaches_a_gan(tones):
    networks = make_networks()
    _, expected, _, _ = trained(tones, networks, n_steps=2, corpora=CORPORA[:1])
    scale = np.where(np.arange(3 * N_CLIPS) < N_CLIPS, tones.scale, np.nan).astype(np.float32)
    _, found, _, _ = trained(tones.replace(scale=scale), networks, n_steps=2, corpora=CORPORA[:1])
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_gan_that_is_not_finite_stops_and_the_other_goes_on(tones):
    networks = make_networks()
    spoil = lambda source: source.replace(gain=np.array([1, np.nan], np.float32) * source.gain)
    _, expected, _, _ = trained(tones, networks, n_steps=2)
    state, found, _, _ = trained(tones, networks, n_steps=2, change=spoil)
    np.testing.assert_array_equal(state.running, [True, False])
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name][:, 0], values[:, 0])
    start = gan_steps.init_state(networks, 2, one_device(), seed=3)
    jax.tree.map(
        lambda now, then: np.testing.assert_array_equal(now[1], then[1]),
        (state.generator, state.discriminator),
        (start.generator, start.discriminator),
    )


def test_weights_are_clipped_where_the_loss_says_so(tones):
    loss = dataclasses.replace(LOSSES["wgan"], n_discriminator_updates=1)
    state, metrics, _, _ = trained(tones, make_networks(loss=loss), n_steps=2, corpora=CORPORA[:1])
    assert state.running.all()
    assert all(np.isfinite(values).all() for values in metrics.values())
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(state.discriminator))
    assert largest <= np.float32(loss.clip)


def test_class_conditional_gans_take_labels(tones):
    """By DCGAN's loss; LSGAN's is that of the commands, WGAN-GP's that of the other tests."""
    corpus = Corpus(1, ("first", "second"), np.arange(16, dtype=np.int32), NOBODY)
    networks = make_networks(n_classes=3, loss=LOSSES["dcgan"])
    state, metrics, steps, source = trained(tones, networks, n_steps=2, corpora=(corpus,))
    assert state.running.all()
    assert all(np.isfinite(values).all() for values in metrics.values())
    key_data = np.asarray(jax.random.key_data(jax.random.key(5)))[None]
    make = functools.partial(steps.generate, state.generator, source, key_data)
    first, second = (np.asarray(make(np.full((1, 4), k, np.int32))) for k in (0, 1))
    assert first.shape == (1, 4, 100)
    assert not np.allclose(first, second)


def test_windows_are_slices_of_the_corpus_at_full_scale(tones):
    source = jax.tree.map(lambda leaf: leaf[1], make_sources(CORPORA, tones))
    pool, source = jax.tree.map(jax.numpy.asarray, (tones, source))
    draw = jax.jit(functools.partial(real_windows, n_samples=64))
    windows, labels = draw(jax.random.key(0), pool, source, np.arange(64))
    assert windows.shape == (64, 64, 1)
    np.testing.assert_array_equal(labels, 1)
    clips = (tones.values[8:16] * 1e-5 * source.gain).astype(np.float32)
    assert np.abs(clips).max() == pytest.approx(1)
    views = np.lib.stride_tricks.sliding_window_view(clips, 64, axis=1)
    starts = set()
    for window in np.asarray(windows)[..., 0]:
        error = np.abs(views - window).max(axis=-1)
        assert error.min() < 1e-6
        starts.add(np.unravel_index(error.argmin(), error.shape))
    assert len(starts) > 50


def test_clips_are_merged_at_the_level_of_the_corpus(tones):
    networks = make_networks()
    state, _, steps, source = trained(tones, networks, n_steps=0, corpora=CORPORA[:1])
    clips = generated(steps, state, source)
    assert clips.shape == (1, 32, 100)
    np.testing.assert_array_equal(clips, generated(steps, state, source))
    assert len(np.unique(clips[0, :, 10])) == 32
    louder = dataclasses.replace(source, gain=source.gain * 2)
    np.testing.assert_allclose(generated(steps, state, louder), clips / 2, rtol=1e-6)
