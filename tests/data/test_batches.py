"""The streams of indices: a function of seed and fold alone."""

import numpy as np
import pytest

from asc_jax.data import Split
from asc_jax.data.batches import epoch_indices, padded_indices, pass_sizes, steps_per_epoch

NONE = np.array([], np.int32)


def split(fold: int, train) -> Split:
    return Split(fold, np.array(train, np.int32), NONE, NONE)


# Folds of different sizes, no multiples of a batch; their clips overlap, as folds' do.
SPLITS = (split(1, range(10)), split(2, range(3, 16)), split(3, range(5, 12)))
N_STEPS, BATCH = 5, 4


def indices(splits=SPLITS, *, seed=0, epoch=0, n_steps=N_STEPS, batch_size=BATCH) -> np.ndarray:
    return epoch_indices(splits, seed=seed, epoch=epoch, n_steps=n_steps, batch_size=batch_size)


def test_every_pass_is_a_permutation_of_the_folds_training_clips():
    for f, one in enumerate(SPLITS):
        epochs = [indices(epoch=epoch)[f].ravel() for epoch in range(8)]
        entries = np.concatenate(epochs)
        n = len(one.train)
        passes = [entries[i : i + n] for i in range(0, len(entries) - n + 1, n)]
        assert len(passes) > 8
        for drawn in passes:
            np.testing.assert_array_equal(np.sort(drawn), one.train)
        assert len({tuple(drawn) for drawn in passes}) == len(passes)


def test_two_epochs_are_one_of_twice_the_steps():
    two = np.concatenate([indices(epoch=0), indices(epoch=1)], axis=1)
    np.testing.assert_array_equal(two, indices(n_steps=2 * N_STEPS))
    late = indices(epoch=7, n_steps=2)
    np.testing.assert_array_equal(late, indices(n_steps=16)[:, 14:])


def test_a_fold_does_not_depend_on_the_others():
    batches = indices()
    assert (batches.shape, batches.dtype) == ((3, N_STEPS, BATCH, 1), np.int32)
    for f, one in enumerate(SPLITS):
        np.testing.assert_array_equal(indices((one,))[0], batches[f])
    np.testing.assert_array_equal(indices(SPLITS[::-1]), batches[::-1])


def test_the_batch_size_only_cuts_the_stream_elsewhere():
    flat = indices(n_steps=6, batch_size=4).reshape(3, -1, 2)
    np.testing.assert_array_equal(indices(n_steps=4, batch_size=6).reshape(3, -1, 2), flat)


def test_seed_and_fold_each_decide_the_stream():
    assert (indices(seed=1) != indices(seed=0)).any()
    np.testing.assert_array_equal(indices(seed=1), indices(seed=1))
    other_fold = split(4, SPLITS[0].train)
    assert (indices((other_fold,))[0] != indices()[0]).any()


def test_partners_are_of_another_class_of_the_same_fold():
    targets = np.arange(200) % 3
    sizes = {"seed": 3, "epoch": 1, "n_steps": 20, "batch_size": 8}
    drawn = epoch_indices(SPLITS, **sizes, targets=targets)
    np.testing.assert_array_equal(drawn[..., :1], epoch_indices(SPLITS, **sizes))
    assert (targets[drawn[..., 0]] != targets[drawn[..., 1]]).all()
    for split, clips in zip(SPLITS, drawn, strict=True):
        assert set(clips[..., 1].ravel()) == set(split.train)
    alone = epoch_indices(SPLITS[1:], **sizes, targets=targets)
    np.testing.assert_array_equal(alone, drawn[1:])


@pytest.mark.parametrize(("batch_size", "n_steps"), [(1, 13), (4, 4), (13, 1), (14, 1)])
def test_an_epoch_covers_the_largest_fold(batch_size, n_steps):
    assert steps_per_epoch(SPLITS, batch_size) == n_steps


def test_padded_indices():
    lists = [np.arange(5), np.arange(10, 12), NONE]
    padded = padded_indices(lists, 3)
    assert (padded.shape, padded.dtype) == ((3, 2, 3), np.int32)
    flat = padded.reshape(3, -1)
    for row, one in zip(flat, lists, strict=True):
        np.testing.assert_array_equal(row[: len(one)], one)
        assert (row[len(one) :] == -1).all()
    assert padded_indices([NONE], 3).tolist() == [[[-1, -1, -1]]]  # never no batch at all


def with_synthetic(fold: int, n_real: int, n_synthetic: int) -> Split:
    """Fold f's real clips count from 1000 f, its synthetic ones from 1000 f + 500."""
    real = 1000 * fold + np.arange(n_real, dtype=np.int32)
    return Split(fold, real, NONE, NONE, 1000 * fold + 500 + np.arange(n_synthetic, dtype=np.int32))


AUGMENTED = (with_synthetic(1, 40, 15), with_synthetic(2, 37, 4), with_synthetic(3, 30, 30))


def is_synthetic(entries: np.ndarray) -> np.ndarray:
    return entries % 1000 >= 500


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
def test_a_fold_draws_its_own_synthetic_clips_and_all_of_them(share):
    sizes = {"n_steps": 60, "batch_size": 4, "share": share}
    drawn = epoch_indices(AUGMENTED, seed=0, epoch=0, **sizes, targets=np.arange(4000))
    for f, one in enumerate(AUGMENTED):
        for stream in (0, 1):
            entries = set(drawn[f, ..., stream].ravel().tolist())
            assert entries == {*one.train.tolist(), *one.synthetic.tolist()}


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8])
def test_the_share_is_kept_in_every_epoch(share):
    n_steps = steps_per_epoch(AUGMENTED, 8, share)
    for epoch in range(4):
        drawn = epoch_indices(
            AUGMENTED, seed=3, epoch=epoch, n_steps=n_steps, batch_size=8, share=share
        )
        shares = is_synthetic(drawn).mean(axis=(1, 2, 3))  # (F,)
        np.testing.assert_allclose(shares, share, atol=0.08)  # of 45 to 200 entries
    # To half a clip where an epoch is a fold's whole passes.
    one = AUGMENTED[:1]
    length = sum(pass_sizes(one[0], share))
    whole = epoch_indices(one, seed=3, epoch=5, n_steps=length, batch_size=1, share=share)
    assert abs(is_synthetic(whole).sum() - share * length) <= 0.5


def test_an_epoch_holds_every_real_clip_whatever_the_share():
    for share in (0.0, 0.3, 0.9):
        n_steps = steps_per_epoch(AUGMENTED, 8, share)
        drawn = epoch_indices(
            AUGMENTED, seed=0, epoch=0, n_steps=n_steps, batch_size=8, share=share
        )
        for f, one in enumerate(AUGMENTED):
            assert np.isin(one.train, drawn[f, ..., 0]).all()
    assert steps_per_epoch(AUGMENTED, 8, 0.5) == 10  # 40 and 40 of fold 1
    assert steps_per_epoch(AUGMENTED, 8, 0.0) == 8  # 30 and 30 of fold 3


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_synthetic_clips_come_up_equally_often(share):
    for one in AUGMENTED:
        length = sum(pass_sizes(one, share))
        drawn = epoch_indices((one,), seed=2, epoch=0, n_steps=7, batch_size=length, share=share)
        counts = (drawn[..., 0].ravel()[:, None] == one.synthetic).sum(axis=0)
        assert counts.max() - counts.min() <= 1


def test_streams_with_synthetic_clips_depend_on_seed_and_fold_alone():
    draw = lambda splits, **kwargs: epoch_indices(
        splits, **{"seed": 0, "epoch": 0, "n_steps": 6, "batch_size": 8, "share": 0.3, **kwargs}
    )
    whole = draw(AUGMENTED)
    np.testing.assert_array_equal(whole, draw(AUGMENTED))
    np.testing.assert_array_equal(draw(AUGMENTED[1:2])[0], whole[1])
    epochs = [draw(AUGMENTED, epoch=epoch) for epoch in range(3)]
    np.testing.assert_array_equal(np.concatenate(epochs, axis=1), draw(AUGMENTED, n_steps=18))
    assert (draw(AUGMENTED, seed=1) != whole).any()
    pairs = draw(AUGMENTED, n_steps=200, targets=np.arange(4000))  # a class per clip
    clip, partner = is_synthetic(pairs)[0].reshape(-1, 2).T
    assert abs(np.mean(clip & partner) - 0.3**2) < 0.03  # drawn independently


def test_without_synthetic_clips_the_stream_is_what_it_was():
    rng = np.random.default_rng([5, 2, 0, 1])  # seed, fold, stream, pass
    one = SPLITS[1]
    drawn = epoch_indices((one,), seed=5, epoch=1, n_steps=13, batch_size=1, share=0.3)
    np.testing.assert_array_equal(drawn[0, :, 0, 0], rng.permutation(one.train))
