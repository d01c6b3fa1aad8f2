"""Losses of the WaveGAN, each with the settings that WaveGAN trains it with.

All are () float32 means over the batch of the discriminator's scores, (B,) or (B, 1) of real and
of generated examples: the discriminator lowers its loss, then the generator its own.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class GanLoss:
    """A pair of losses and how to train with it.

    Attributes:
      discriminator: (real_scores, generated_scores) -> () float32; scores of any shape.
      generator: (generated_scores) -> () float32.
      optimizer: (learning rate) -> an optax transformation, for either network.
      learning_rate: of both networks.
      n_discriminator_updates: to one of the generator.
      penalty_weight: lambda, of the mean `gradient_penalty` that is added to the
        discriminator's loss; 0 for none.
      clip: largest absolute value of the discriminator's parameters, to which they are
        clipped after each update; 0 for no limit.
    """

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    generator: Callable[[jax.Array], jax.Array]
    optimizer: Callable[[float], optax.GradientTransformation]
    learning_rate: float
    n_discriminator_updates: int
    penalty_weight: float = 0.0
    clip: float = 0.0


def critic_loss(real_scores: jax.Array, generated_scores: jax.Array) -> jax.Array:
    """Minus the estimate of the Wasserstein distance. Source: Arjovsky et al., arXiv:1701.07875."""
    return _mean(generated_scores) - _mean(real_scores)


def critic_generator_loss(generated_scores: jax.Array) -> jax.Array:
    """Minus what the critic makes of generated examples; see `critic_loss`."""
    return -_mean(generated_scores)


def logistic_loss(real_scores: jax.Array, generated_scores: jax.Array) -> jax.Array:
    """Cross-entropy of a classifier into real and generated, whose logits the scores are.

    In nats, the mean of both halves; log 2 for one that cannot tell.

    Source: Goodfellow et al., arXiv:1406.2661, as Radford et al., arXiv:1511.06434, train it.
    """
    return (_mean(real_scores, _surprise) + _mean(-generated_scores, _surprise)) / 2


def logistic_generator_loss(generated_scores: jax.Array) -> jax.Array:
    """The non-saturating loss, in nats; see `logistic_loss`."""
    return _mean(generated_scores, _surprise)


def least_squares_loss(real_scores: jax.Array, generated_scores: jax.Array) -> jax.Array:
    """Squared distance of the scores from 1 for real and 0 for generated examples.

    The mean of both halves. Source: Mao et al., arXiv:1611.04076.
    """
    return (_mean(real_scores, _distance_from_1) + _mean(generated_scores, jnp.square)) / 2


def least_squares_generator_loss(generated_scores: jax.Array) -> jax.Array:
    """Squared distance of the generated examples' scores from 1; see `least_squares_loss`."""
    return _mean(generated_scores, _distance_from_1)


def _surprise(logit: jax.Array) -> jax.Array:
    """Minus the log of the probability that a logit gives, in nats."""
    return jax.nn.softplus(-logit)


def _distance_from_1(score: jax.Array) -> jax.Array:
    return jnp.square(score - 1)


def _mean(scores: jax.Array, of: Callable = lambda score: score) -> jax.Array:
    """The mean of a function of the scores, taken in float32."""
    return jnp.mean(of(scores.astype(jnp.float32)))


def gradient_penalty(
    critic: Callable[[jax.Array], jax.Array],
    real: jax.Array,
    generated: jax.Array,
    mix: jax.Array,
) -> jax.Array:
    """How far the critic's slope is from 1, on the lines from real to generated examples.

    Args:
      critic: (B, T, 1) -> (B,) or (B, 1) scores, each of its own example alone.
      real: (B, T, 1).
      generated: (B, T, 1).
      mix: (B,) where on its line each example lies, from 0, real, to 1, generated; the
        method draws it uniformly.

    Returns:
      (B,) float32, (|gradient of the score by the example| - 1)^2.

    Source: Gulrajani et al., arXiv:1704.00028, Algorithm 1.
    """
    real, generated, mix = (x.astype(jnp.float32) for x in (real, generated, mix))
    examples = real + mix[:, None, None] * (generated - real)
    slopes = jax.grad(lambda x: jnp.sum(critic(x).astype(jnp.float32)))(examples)
    squares = jnp.sum(jnp.square(slopes), axis=(1, 2))
    # The root has no finite slope at 0, which a critic that ignores its input reaches.
    flat = squares == 0
    norms = jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, squares)))
    return jnp.square(norms - 1)


# As TensorFlow has it: the moving mean square begins at 1, not at 0.
rmsprop = functools.partial(
    optax.rmsprop, decay=0.9, eps=1e-10, initial_scale=1.0, eps_in_sqrt=True
)

# Settings: chrisdonahue/wavegan, train_wavegan.py. Its command takes 5 updates of the
# discriminator for all losses; the papers of DCGAN and LSGAN update both in turn, as here.
LOSSES = {
    "wgan_gp": GanLoss(
        discriminator=critic_loss,
        generator=critic_generator_loss,
        optimizer=functools.partial(optax.adam, b1=0.5, b2=0.9),
        learning_rate=1e-4,
        n_discriminator_updates=5,
        penalty_weight=10.0,
    ),
    "dcgan": GanLoss(
        discriminator=logistic_loss,
        generator=logistic_generator_loss,
        optimizer=functools.partial(optax.adam, b1=0.5, b2=0.999),
        learning_rate=2e-4,
        n_discriminator_updates=1,
    ),
    "lsgan": GanLoss(
        discriminator=least_squares_loss,
        generator=least_squares_generator_loss,
        optimizer=rmsprop,
        learning_rate=1e-4,
        n_discriminator_updates=1,
    ),
    "wgan": GanLoss(
        discriminator=critic_loss,
        generator=critic_generator_loss,
        optimizer=rmsprop,
        learning_rate=5e-5,
        n_discriminator_updates=5,
        clip=0.01,
    ),
}
