"""What is said of a GAN: closed forms, other libraries' values, and the degenerate cases."""

import math

import librosa
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from asc_jax.gan import bandwidth, metrics

SR = 16_000


def with_moments(rng, n, mean, covariance):
    """(n, D) rows whose sample mean and covariance are exactly these."""
    rows = rng.standard_normal((n, len(mean)))
    rows -= rows.mean(axis=0)
    whitened = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    return mean + whitened @ np.linalg.cholesky(covariance).T


def test_frechet_distance_of_known_gaussians():
    rng = np.random.default_rng(0)
    a = with_moments(rng, 50, np.array([1.0, 2.0, 3.0]), np.diag([4.0, 9.0, 1.0]))
    b = with_moments(rng, 80, np.array([1.0, 0.0, 0.0]), np.diag([1.0, 4.0, 1.0]))
    # Commuting covariances: the squared differences of means and of standard deviations.
    assert metrics.frechet_distance(a, b) == pytest.approx(4 + 9 + 1 + 1)
    assert metrics.frechet_distance(b, a) == pytest.approx(15)
    assert metrics.frechet_distance(a, a + 3) == pytest.approx(27)
    assert metrics.frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_equals_the_matrix_root():
    rng = np.random.default_rng(1)
    a = rng.standard_normal((60, 6)) @ rng.standard_normal((6, 6))
    b = rng.standard_normal((40, 6)) @ rng.standard_normal((6, 6)) + rng.standard_normal(6)
    covariances = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(sum(covariances) - 2 * root)
    assert metrics.frechet_distance(a, b) == pytest.approx(expected)


@given(st.integers(2, 12), st.integers(2, 12), st.integers(1, 20), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_frechet_distance_of_few_clips_in_many_dimensions(n, m, size, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((n, size)), 2 * rng.standard_normal((m, size)) + 1
    distance = metrics.frechet_distance(a, b)
    assert np.isfinite(distance) and distance >= 0
    assert distance == pytest.approx(metrics.frechet_distance(b, a))
    # Turning both sets, or adding dimensions that say nothing, changes nothing.
    turn = np.linalg.qr(rng.standard_normal((size, size)))[0]
    assert distance == pytest.approx(metrics.frechet_distance(a @ turn, b @ turn))
    wider = [np.pad(e, [(0, 0), (0, 5)]) for e in (a, b)]
    assert distance == pytest.approx(metrics.frechet_distance(*wider))
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_nothing_to_compare_is_nan():
    one, some = np.ones((1, 4)), np.arange(12.0).reshape(3, 4)
    assert math.isnan(metrics.frechet_distance(one, some))
    assert math.isnan(metrics.frechet_distance(some, np.full((3, 4), np.nan)))
    assert math.isnan(metrics.diversity(one))
    assert math.isnan(metrics.diversity_ratio(some, one))
    assert math.isnan(metrics.memorisation_ratio(some, some, np.empty((0, 4))))
    assert math.isnan(metrics.memorisation_ratio(some, some, some))  # 0 / 0
    assert metrics.nearest_neighbour_distances(np.empty((0, 4)), some).shape == (0,)
    assert metrics.level_db(np.empty((0, 8))).shape == (0,)
    assert metrics.spectral_flatness(np.empty((0, 8))).shape == (0,)


def test_nearest_neighbours_equal_scikit_learns():
    rng = np.random.default_rng(2)
    queries, references = rng.standard_normal((600, 7)), rng.standard_normal((90, 7))
    queries[3] = references[5]
    expected = NearestNeighbors(n_neighbors=1).fit(references).kneighbors(queries)[0][:, 0]
    distances = metrics.nearest_neighbour_distances(queries, references)
    np.testing.assert_allclose(distances, expected, atol=1e-7)
    assert distances[3] == 0  # exactly: a copy


def test_copies_have_a_small_ratio_and_fresh_draws_have_one():
    rng = np.random.default_rng(3)
    train, unseen, fresh = rng.standard_normal((3, 400, 8))
    copies = train[:50] + 0.01 * rng.standard_normal((50, 8))
    assert metrics.memorisation_ratio(fresh, train, unseen) == pytest.approx(1, abs=0.1)
    assert metrics.memorisation_ratio(copies, train, unseen) < 0.05
    assert metrics.memorisation_ratio(train, train, unseen) == 0
    assert metrics.memorisation_ratio(fresh, train, train) == math.inf


def test_diversity():
    assert metrics.diversity(np.array([[0.0, 0], [3, 4], [0, 0]])) == pytest.approx(10 / 3)
    rng = np.random.default_rng(4)
    real = rng.standard_normal((300, 5))  # more than one block
    pairs = [np.linalg.norm(real[i] - real[j]) for i in range(300) for j in range(i)]
    assert metrics.diversity(real) == pytest.approx(np.mean(pairs))
    assert metrics.diversity_ratio(0.3 * real + 5, real) == pytest.approx(0.3)
    assert metrics.diversity_ratio(np.ones((4, 5)), real) == 0


def test_levels():
    time = np.arange(SR) / SR
    clips = np.stack([np.sin(2 * np.pi * 440 * time), np.ones(SR), np.zeros(SR)])
    np.testing.assert_allclose(metrics.level_db(clips), [-3.0103, 0, -120], atol=1e-4)
    assert metrics.level_db(clips[:1] / 10)[0] == pytest.approx(-23.0103)
    assert np.isnan(metrics.level_db(np.array([[np.nan, 0]]))[0])


def test_flatness_runs_from_a_tone_to_white_noise():
    rng = np.random.default_rng(5)
    time = np.arange(2 * SR) / SR
    tone, noise = np.sin(2 * np.pi * 440.3 * time), rng.standard_normal(2 * SR)
    brown = np.cumsum(noise)
    clips = np.stack([tone, brown, tone + 0.1 * noise, noise, np.zeros(2 * SR)])
    flatness = metrics.spectral_flatness(clips)
    assert flatness[0] < 1e-9
    assert (np.diff(flatness) > 0).all()
    assert 0.95 < flatness[3] < 1
    assert flatness[4] == 1  # silence
    np.testing.assert_allclose(metrics.spectral_flatness(1e-4 * clips[1:4]), flatness[1:4])
    # One frame: bins are exponential variables, whose flatness is exp(-Euler's constant).
    single = metrics.spectral_flatness(rng.standard_normal((200, 1024))).mean()
    assert single == pytest.approx(math.exp(-np.euler_gamma), abs=0.02)
    assert 0 < metrics.spectral_flatness(noise[None, :100])[0] < 1


def test_flatness_of_one_spectrum_equals_librosas():
    noise = np.cumsum(np.random.default_rng(6).standard_normal(1024))
    magnitude = np.abs(np.fft.rfft(noise * scipy.signal.get_window("hann", 1024)))
    expected = librosa.feature.spectral_flatness(S=magnitude[:, None], amin=1e-30)[0, 0]
    assert metrics.spectral_flatness(noise[None])[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("figures", "named"),
    [
        ({"level_db": -95.2, "spectral_flatness": 0.0}, "-95"),
        ({"level_db": -20, "spectral_flatness": 2e-9, "diversity_ratio": 0.03}, "2e-09"),
        ({"diversity_ratio": 0.03}, "0.03"),
        ({"finite": False, "level_db": -95.0}, "finite"),
    ],
)
def test_collapse_names_the_first_fault(figures, named):
    said = metrics.collapse(**figures)
    assert [name for name in ("finite", "-95", "2e-09", "0.03") if name in said] == [named]


@pytest.mark.parametrize(
    "figures", [{}, {"level_db": -30.0, "spectral_flatness": 0.05, "diversity_ratio": 0.8}]
)
def test_a_generator_without_fault_has_not_collapsed(figures):
    assert not metrics.collapse(**figures)


def test_high_band_of_known_mixtures():
    sr = 48_000
    time = np.arange(sr) / sr
    low, high = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 12_000 * time)
    clips = np.stack([low + 0.1 * high, low + high, high, low, np.zeros(sr)])
    share = bandwidth.high_band_share(clips, sr, 8000)
    expected = [10 * np.log10(0.01 / 1.01), 10 * np.log10(0.5), 0, -120, -120]
    np.testing.assert_allclose(share, expected, atol=1e-3)
    noise = np.random.default_rng(7).standard_normal((1, sr)).astype(np.float32)
    (share,) = bandwidth.high_band_share(noise, sr, 8000)
    assert share == pytest.approx(10 * np.log10(2 / 3), abs=0.1)
    assert bandwidth.high_band_share(noise, sr, 24_000)[0] == -120
    assert bandwidth.high_band_share(noise[:, :1], sr, 8000).shape == (1,)


def test_upsampled_clips_are_told_by_their_bandwidth():
    from asc_jax.ops.resample import resample

    real = 0.1 * np.random.default_rng(8).standard_normal((4, 24_000)).astype(np.float32)
    generated = np.asarray(resample(real[:, :8000], 16_000, 48_000))
    shares = [bandwidth.high_band_share(clips, 48_000, 8000) for clips in (real, generated)]
    assert shares[1].max() < -20 < shares[0].min()
    assert bandwidth.separability(*shares) == 1


def test_separability_is_the_area_under_the_roc_curve():
    # scikit-learn's own example: 0.75.
    assert bandwidth.separability(np.array([0.35, 0.8]), np.array([0.1, 0.4])) == 0.75
    ties = np.zeros(3)
    assert bandwidth.separability(ties, ties) == 0.5
    assert bandwidth.separability(np.array([2.0]), np.array([1.0])) == 1
    assert bandwidth.separability(np.array([-np.inf]), np.array([1.0])) == 1
    assert math.isnan(bandwidth.separability(np.empty(0), ties))
    assert math.isnan(bandwidth.separability(np.array([np.nan]), ties))


@given(
    hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 6)),
    hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 6)),
)
@settings(max_examples=60, deadline=None)
def test_separability_equals_scikit_learns_with_ties(real, generated):
    is_real = np.repeat([1, 0], [len(real), len(generated)])
    auc = roc_auc_score(is_real, np.concatenate([real, generated]))
    found = bandwidth.separability(real, generated)
    assert found == pytest.approx(max(auc, 1 - auc))
    assert found == pytest.approx(bandwidth.separability(generated, real))
