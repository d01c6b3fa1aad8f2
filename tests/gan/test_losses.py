"""The WaveGAN's losses against closed forms; the penalty against finite differences."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from asc_jax.gan.losses import LOSSES, gradient_penalty

RNG = np.random.default_rng(0)
REAL, GENERATED = RNG.normal(1, 3, (2, 16, 1)).astype(np.float32)


# The pairs.


def test_critics_losses_are_differences_of_means():
    for name in ("wgan_gp", "wgan"):
        loss = LOSSES[name]
        expected = GENERATED.mean() - REAL.mean()
        np.testing.assert_allclose(loss.discriminator(REAL, GENERATED), expected, rtol=1e-5)
        np.testing.assert_allclose(loss.generator(GENERATED), -GENERATED.mean(), rtol=1e-5)


def test_dcgan_is_cross_entropy():
    loss, surprise = LOSSES["dcgan"], lambda logits: np.log1p(np.exp(-logits.astype(float))).mean()
    expected = (surprise(REAL) + surprise(-GENERATED)) / 2
    np.testing.assert_allclose(loss.discriminator(REAL, GENERATED), expected, rtol=1e-5)
    np.testing.assert_allclose(loss.generator(GENERATED), surprise(GENERATED), rtol=1e-5)
    sure = np.float32([1e4])
    np.testing.assert_allclose(loss.discriminator(-sure, sure), 1e4)  # finite


def test_lsgan_measures_from_1_and_0():
    loss = LOSSES["lsgan"]
    expected = (np.mean((REAL - 1) ** 2) + np.mean(GENERATED**2)) / 2
    np.testing.assert_allclose(loss.discriminator(REAL, GENERATED), expected, rtol=1e-5)
    np.testing.assert_allclose(loss.generator(GENERATED), np.mean((GENERATED - 1) ** 2), rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_bfloat16_scores_are_taken_in_float32(name):
    loss = LOSSES[name]
    real, generated = (jnp.asarray(scores, jnp.bfloat16) for scores in (REAL, GENERATED))
    for ours, expected in (
        (
            loss.discriminator(real, generated),
            loss.discriminator(np.float32(real), np.float32(generated)),
        ),
        (loss.generator(generated), loss.generator(np.float32(generated))),
    ):
        assert (ours.shape, ours.dtype) == ((), jnp.float32)
        np.testing.assert_allclose(ours, expected, rtol=1e-6)


# The settings.


def second_update(name: str, gradients: list[float]) -> float:
    """Of one parameter that gets these two gradients, over minus the learning rate."""
    optimizer = LOSSES[name].optimizer(0.1)
    state = optimizer.init(jnp.zeros(()))
    for gradient in gradients:
        update, state = optimizer.update(jnp.float32(gradient), state)
    return float(-update / 0.1)


@pytest.mark.parametrize(("name", "b1", "b2"), [("wgan_gp", 0.5, 0.9), ("dcgan", 0.5, 0.999)])
def test_adam_has_wavegans_betas(name, b1, b2):
    mean = (b1 * (1 - b1) * 2 + (1 - b1) * 3) / (1 - b1**2)
    square = (b2 * (1 - b2) * 4 + (1 - b2) * 9) / (1 - b2**2)
    np.testing.assert_allclose(second_update(name, [2, 3]), mean / math.sqrt(square), rtol=1e-5)


@pytest.mark.parametrize("name", ["lsgan", "wgan"])
def test_rmsprop_begins_at_1_as_tensorflows(name):
    square = 0.9 * (0.9 + 0.1 * 4) + 0.1 * 9
    np.testing.assert_allclose(second_update(name, [2, 3]), 3 / math.sqrt(square), rtol=1e-5)


# The penalty, of a critic that numpy can do in float64: w . tanh(M x + b).

T, HIDDEN = 7, 5
CRITIC = {
    "matrix": RNG.normal(0, 0.7, (T, HIDDEN)),
    "bias": RNG.normal(0, 0.5, HIDDEN),
    "weight": RNG.normal(0, 1.5, HIDDEN),
}
EXAMPLES = {"real": RNG.normal(0, 1, (4, T, 1)), "generated": RNG.normal(0, 1, (4, T, 1))}
MIX = RNG.uniform(0, 1, 4)


def score(xp, critic, x):
    """(B, T, 1) -> (B, 1)."""
    hidden = xp.tanh(x[..., 0] @ critic["matrix"] + critic["bias"])
    return (hidden @ critic["weight"])[:, None]


def central_difference(function, x: np.ndarray, step: float) -> np.ndarray:
    """The derivatives of a function of float64 arrays by each element of `x`, stacked first."""
    moves = step * np.eye(x.size).reshape(-1, *x.shape)
    return np.stack([(function(x + move) - function(x - move)) / (2 * step) for move in moves])


def reference_penalty(critic) -> np.ndarray:
    """(B,), the slopes by central differences."""
    real, generated = EXAMPLES["real"], EXAMPLES["generated"]
    x = real + MIX[:, None, None] * (generated - real)
    by_sample = central_difference(
        lambda move: score(np, critic, x + move[:, None])[:, 0], np.zeros(T), 1e-4
    )
    return (np.sqrt((by_sample**2).sum(0)) - 1) ** 2


def our_penalty(critic):
    single = lambda tree: jax.tree.map(jnp.float32, tree)
    critic = single(critic)
    return gradient_penalty(
        lambda x: score(jnp, critic, x), mix=jnp.float32(MIX), **single(EXAMPLES)
    )


def test_penalty_equals_finite_differences():
    penalty = our_penalty(CRITIC)
    assert (penalty.shape, penalty.dtype) == ((4,), jnp.float32)
    np.testing.assert_allclose(penalty, reference_penalty(CRITIC), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CRITIC)
def test_penaltys_gradient_by_the_critic_equals_finite_differences(name):
    mean = lambda parameter: reference_penalty({**CRITIC, name: parameter}).mean()
    expected = central_difference(mean, CRITIC[name], 1e-4).reshape(CRITIC[name].shape)
    critic = jax.tree.map(jnp.float32, CRITIC)
    ours = jax.jit(jax.grad(lambda critic: our_penalty(critic).mean()))(critic)[name]
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4)


def test_flat_critic_has_a_penalty_of_1_and_finite_gradients():
    examples = jax.tree.map(jnp.float32, EXAMPLES)

    def penalty(scale):
        critic = lambda x: scale * jnp.sum(x, axis=(1, 2))
        return gradient_penalty(critic, mix=jnp.float32(MIX), **examples).mean()

    value, gradient = jax.value_and_grad(penalty)(0.0)
    assert value == 1
    assert gradient == 0
