"""Phase shuffle: what it shifts, by how much, and who shares a shift."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

from asc_jax.models.phase_shuffle import phase_shuffle

RADIUS = 2
MAP = np.random.default_rng(0).standard_normal((5, 12, 3)).astype(np.float32)


def shifted(x: np.ndarray, shift: int) -> np.ndarray:
    """(T, C) moved later by `shift` frames, reflected at the ends."""
    padded = np.pad(x, ((RADIUS, RADIUS), (0, 0)), mode="reflect")
    return padded[RADIUS - shift :][: len(x)]


def shifts(sharing: str, n_keys: int) -> np.ndarray:
    """(keys, B), each found by comparison with all that there can be."""
    keys = jax.random.split(jax.random.key(0), n_keys)
    one_call = lambda key: phase_shuffle(MAP, key, radius=RADIUS, sharing=sharing)
    calls = np.asarray(jax.jit(jax.vmap(one_call))(keys))

    def shift_of(before, after) -> int:
        (found,) = (
            shift
            for shift in range(-RADIUS, RADIUS + 1)
            if np.array_equal(shifted(before, shift), after)
        )
        return found

    return np.array([[shift_of(*pair) for pair in zip(MAP, call, strict=True)] for call in calls])


def test_a_batch_shares_one_of_all_shifts_alike():
    found = shifts("per_batch", 200)
    assert (found == found[:, :1]).all()
    counts = np.bincount(found[:, 0] + RADIUS, minlength=5)
    assert (np.abs(counts - 40) < 4 * np.sqrt(200 * 0.2 * 0.8)).all()  # four deviations


def test_examples_shift_by_themselves():
    found = shifts("per_example", 40)
    assert {*found.ravel()} == {-2, -1, 0, 1, 2}
    assert np.mean([len({*call}) for call in found]) > 2.5  # of 5 draws from 5


@pytest.mark.parametrize("sharing", ["per_batch", "per_example"])
def test_the_key_decides(sharing):
    shuffle = jax.jit(lambda key: phase_shuffle(MAP, key, radius=RADIUS, sharing=sharing))
    call = lambda seed: np.asarray(shuffle(jax.random.key(seed)))
    np.testing.assert_array_equal(call(3), call(3))
    assert len({call(seed).tobytes() for seed in range(10)}) > 1


def test_radius_0_changes_nothing():
    np.testing.assert_array_equal(phase_shuffle(MAP, jax.random.key(0), radius=0), MAP)


def test_gradient_is_the_transpose():
    """<shuffle(x), y> = <x, gradient(y)>, reflected frames included."""
    key, other = jax.random.key(1), jnp.asarray(MAP[::-1].copy())
    shuffle = lambda x: phase_shuffle(x, key, radius=RADIUS, sharing="per_example")
    out = shuffle(jnp.asarray(MAP))
    transpose = jax.jit(lambda y: jax.vjp(shuffle, jnp.asarray(MAP))[1](y))
    np.testing.assert_allclose(jnp.vdot(out, other), jnp.vdot(MAP, *transpose(other)), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"radius": 12}, "gan.phase_shuffle"),
        ({"radius": -1}, "gan.phase_shuffle"),
        ({"radius": 2, "sharing": "per_layer"}, "gan.shuffle"),
    ],
)
def test_bad_values_are_refused(options, field):
    with refused(field=field):
        phase_shuffle(MAP, jax.random.key(0), **options)
