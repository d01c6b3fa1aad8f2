"""Training WaveGAN: the state and the steps of one GAN.

`iteration` knows one GAN and its share of the batch; `compile_steps` maps it over GANs and
devices with the same mapping as the classifier's folds.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from asc_jax.data.pool import Pool
from asc_jax.gan.losses import GanLoss, gradient_penalty
from asc_jax.gan.segments import merge, n_segments
from asc_jax.gan.source import TRAINING, Source, latent_vectors, real_windows
from asc_jax.models.example_keys import places
from asc_jax.models.phase_shuffle import PHASE_SHUFFLE_STREAM
from asc_jax.models.wavegan import Discriminator, Generator
from asc_jax.parallel.arrays import put
from asc_jax.parallel.mapping import PER_FOLD, SHARED, compile_once, map_folds
from asc_jax.parallel.mesh import DATA
from asc_jax.runtime.backend import PLATFORMS

# What the random numbers of an iteration are for.
_REAL, _LATENT, _SHUFFLE, _MIX = range(4)

# What a GAN's key becomes for the initial values of its two networks: beyond every iteration.
_INITIAL = 2**32 - 2, 2**32 - 1


@flax.struct.dataclass
class WaveGanState:
    """One GAN in training; all GANs' with a leading axis on every leaf.

    Attributes:
      step: () int32, updates of the generator.
      running: () bool; once it is False no update changes the networks any more.
      generator: its parameters.
      discriminator: its parameters.
      generator_opt_state: of its optimizer.
      discriminator_opt_state: of its optimizer.
      key_data: (2,) uint32, the GAN's random key.
    """

    step: jax.Array
    running: jax.Array
    generator: dict
    discriminator: dict
    generator_opt_state: optax.OptState
    discriminator_opt_state: optax.OptState
    key_data: jax.Array


@flax.struct.dataclass
class BestGenerator:
    """A GAN's generator at its smallest Frechet distance."""

    params: dict
    distance: jax.Array  # () float32; inf before the first look
    epoch: jax.Array  # () int32, from 1


@dataclasses.dataclass(frozen=True)
class Networks:
    """What all GANs of a run have in common.

    Attributes:
      generator: its module.
      discriminator: its module.
      loss: one of `asc_jax.gan.losses.LOSSES`.
      batch_size: examples per update and GAN B.
      lr: learning rate of both networks; 0 for the loss's own.
      products: how the steps multiply float32, "float32" or "tensorfloat32".
    """

    generator: Generator
    discriminator: Discriminator
    loss: GanLoss
    batch_size: int
    lr: float = 0.0
    products: str = "float32"

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Of either network."""
        return self.loss.optimizer(self.lr or self.loss.learning_rate)


def init_gan(key: jax.Array, *, networks: Networks) -> WaveGanState:
    """One GAN's state before training: all values are drawn by the networks' own initialisers.

    Args:
      key: the GAN's random key.
      networks: of every GAN.

    Returns:
      The state, which a function of `jax.jit` can make.
    """
    params, opt_states = [], []
    for network, stream in zip((networks.generator, networks.discriminator), _INITIAL, strict=True):
        inputs = [jnp.zeros(one.shape, one.dtype) for one in network.input_shapes()]
        variables = network.init(jax.random.fold_in(key, stream), *inputs)
        params.append(variables["params"])
        opt_states.append(networks.optimizer.init(variables["params"]))
    return WaveGanState(
        jnp.zeros((), jnp.int32), jnp.ones((), bool), *params, *opt_states, jax.random.key_data(key)
    )


def init_state(networks: Networks, n_gans: int, mesh: Mesh, *, seed: int) -> WaveGanState:
    """Draws the state of all GANs before training, each on its own devices.

    Args:
      networks: of every GAN.
      n_gans: number of GANs G.
      mesh: of the GANs.
      seed: the run's; GANs draw different initial values from it.

    Returns:
      The stacked state: every leaf (G, ...), `PER_FOLD`.
    """
    key = jax.random.fold_in(jax.random.key(seed), TRAINING)
    keys = np.stack([jax.random.key_data(jax.random.fold_in(key, gan)) for gan in range(n_gans)])
    init = lambda key: init_gan(jax.random.wrap_key_data(key), networks=networks)
    init = map_folds(init, mesh, in_specs=(PER_FOLD,), out_specs=PER_FOLD, in_turn=PLATFORMS)
    return init(put(keys, mesh, PER_FOLD))


def state_shapes(networks: Networks) -> WaveGanState:
    """The shapes of one GAN's state. Nothing is computed."""
    init = compile_once(init_gan, static=["networks"])
    return init.eval_shape(jax.random.key(0), networks=networks)


def iteration(
    state: WaveGanState, pool: Pool, source: Source, *, networks: Networks
) -> tuple[WaveGanState, dict[str, jax.Array]]:
    """Updates the discriminator of one GAN several times, then its generator once.

    A GAN with a loss that is no longer finite stops and keeps its earlier state.

    Args:
      state: the GAN's.
      pool: waveforms of all clips.
      source: the GAN's clips.
      networks: and loss.

    Returns:
      The next state, and over the whole batch: "wasserstein" (mean score of real windows
      less that of generated ones), "gradient_penalty", both of the last update of the
      discriminator, and "discriminator_loss" and "generator_loss".

    Source: Gulrajani et al., arXiv:1704.00028, Algorithm 1.
    """
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key_data), state.step)
    n_updates = networks.loss.n_discriminator_updates

    def update_discriminator(state, update):
        update_key = jax.random.fold_in(key, update)
        return discriminator_step(state, update_key, pool, source, networks=networks)

    after, all_metrics = jax.lax.scan(update_discriminator, state, jnp.arange(n_updates))
    finite = jnp.isfinite(sum(jnp.sum(metric) for metric in all_metrics.values()))
    metrics = jax.tree.map(lambda metric: metric[-1], all_metrics)
    after, generator_loss = generator_step(
        after, jax.random.fold_in(key, n_updates), pool, source, networks=networks
    )
    metrics["generator_loss"] = generator_loss
    # A finite loss may have a gradient that is not.
    everything = (generator_loss, after.generator, after.discriminator)
    finite &= jnp.isfinite(sum(jnp.sum(leaf) for leaf in jax.tree.leaves(everything)))
    running = state.running & finite
    after = jax.tree.map(lambda new, old: jnp.where(running, new, old), after, state)
    return after.replace(step=state.step + 1, running=running), metrics


def discriminator_step(
    state: WaveGanState, key: jax.Array, pool: Pool, source: Source, *, networks: Networks
) -> tuple[WaveGanState, dict[str, jax.Array]]:
    """One update of a discriminator; arguments as `iteration`, and the update's key."""
    loss, n_samples = networks.loss, networks.generator.n_samples
    examples = _examples(networks.batch_size)
    real, labels = real_windows(jax.random.fold_in(key, _REAL), pool, source, examples, n_samples)
    generated = _generate(state.generator, key, examples, labels, networks.generator)
    mix_keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, _MIX), examples)
    mix = jax.vmap(jax.random.uniform)(mix_keys)

    def mean_loss(params):
        params = jax.lax.pcast(params, DATA, to="varying")
        score = functools.partial(_score, networks.discriminator, params, key, labels)
        real_scores, generated_scores = score(real, 0), score(generated, 1)
        value = loss.discriminator(real_scores, generated_scores)
        penalty = jnp.zeros(())
        if loss.penalty_weight:
            penalty = jnp.mean(gradient_penalty(lambda x: score(x, 2), real, generated, mix))
            value += loss.penalty_weight * penalty
        metrics = {
            "wasserstein": jnp.mean(real_scores) - jnp.mean(generated_scores),
            "gradient_penalty": penalty,
            "discriminator_loss": value,
        }
        metrics = jax.lax.pmean(metrics, DATA)
        return metrics["discriminator_loss"], metrics

    grads, metrics = jax.grad(mean_loss, has_aux=True)(state.discriminator)
    params, opt_state = _update(
        networks.optimizer, grads, state.discriminator_opt_state, state.discriminator
    )
    if loss.clip:
        params = jax.tree.map(lambda leaf: jnp.clip(leaf, -loss.clip, loss.clip), params)
    return state.replace(discriminator=params, discriminator_opt_state=opt_state), metrics


def generator_step(
    state: WaveGanState, key: jax.Array, pool: Pool, source: Source, *, networks: Networks
) -> tuple[WaveGanState, jax.Array]:
    """One update of a generator; arguments as `discriminator_step`. Returns its loss too."""
    examples = _examples(networks.batch_size)
    n_samples = networks.generator.n_samples
    # Classes as often as among the real windows.
    _, labels = real_windows(jax.random.fold_in(key, _REAL), pool, source, examples, n_samples)

    def mean_loss(params):
        params = jax.lax.pcast(params, DATA, to="varying")
        generated = _generate(params, key, examples, labels, networks.generator)
        scores = _score(networks.discriminator, state.discriminator, key, labels, generated, 1)
        return jax.lax.pmean(networks.loss.generator(scores), DATA)

    value, grads = jax.value_and_grad(mean_loss)(state.generator)
    params, opt_state = _update(
        networks.optimizer, grads, state.generator_opt_state, state.generator
    )
    return state.replace(generator=params, generator_opt_state=opt_state), value


def _update(
    optimizer: optax.GradientTransformation, grads: dict, opt_state: optax.OptState, params: dict
) -> tuple[dict, optax.OptState]:
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def _examples(batch_size: int) -> jax.Array:
    """This shard's places in the whole batch."""
    return places(batch_size // jax.lax.axis_size(DATA), DATA)


def _generate(
    params: dict, key: jax.Array, examples: jax.Array, labels: jax.Array, generator: Generator
) -> jax.Array:
    """(b, n_samples, 1), each from a latent vector of its own."""
    z = latent_vectors(jax.random.fold_in(key, _LATENT), examples, generator.n_latent)
    return generator.apply({"params": params}, z, labels)


def _score(
    discriminator: Discriminator,
    params: dict,
    key: jax.Array,
    labels: jax.Array,
    x: jax.Array,
    call: int,
) -> jax.Array:
    """(b, n_samples, 1) -> (b,); each call of an update shifts its phases anew."""
    key = jax.random.fold_in(jax.random.fold_in(key, _SHUFFLE), call)
    rngs = {PHASE_SHUFFLE_STREAM: key}
    return discriminator.apply({"params": params}, x, labels, rngs=rngs)[:, 0]


def generate_clips(
    params: dict,
    source: Source,
    key_data: jax.Array,
    labels: jax.Array,
    *,
    generator: Generator,
    n_samples: int,
    how: str,
) -> jax.Array:
    """Clips of one generator, at the level of its training clips.

    Args:
      params: the generator's.
      source: of the GAN.
      key_data: (2,) uint32; every clip and segment draws a stream of its own from it.
      labels: (n,) int32 class indices; without effect on an unconditional generator.
      generator: the module.
      n_samples: length of a clip at the GAN's rate.
      how: see `asc_jax.gan.segments.merge`.

    Returns:
      (n, n_samples) float32.
    """
    n_clips = labels.shape[0]
    overlap = generator.n_samples // 64 if how == "crossfade" else 0  # samples; at least so many
    n_parts = n_segments(n_samples, generator.n_samples, overlap)
    key = jax.random.wrap_key_data(key_data)
    z = latent_vectors(key, jnp.arange(n_clips * n_parts), generator.n_latent)
    segments = generator.apply({"params": params}, z, jnp.repeat(labels, n_parts))
    segments = segments.reshape(n_clips, n_parts, generator.n_samples)
    clips = jax.vmap(functools.partial(merge, n_samples=n_samples, how=how))(segments)
    return clips / source.gain


def keep_best(best: BestGenerator, params: dict, distance, epoch) -> BestGenerator:
    """`best`, or this epoch's generator if its distance is smaller."""
    now = BestGenerator(params, distance, epoch)
    return jax.tree.map(lambda new, old: jnp.where(distance < best.distance, new, old), now, best)


@dataclasses.dataclass(frozen=True)
class GanSteps:
    """The compiled functions of all GANs (G).

    Attributes:
      train: (state, pool, source) -> state, metrics (G,). Consumes the state.
      generate: (generator's params, source, key_data (G, 2), labels (G, n)) -> (G, n, T).
      keep_best: (best, params, distance (G,), epoch (G,)) -> best. Consumes `best`.
    """

    train: Callable
    generate: Callable
    keep_best: Callable


def compile_steps(mesh, networks: Networks, *, n_samples: int, how: str) -> GanSteps:
    """Maps the steps of one GAN over GANs and devices; see `generate_clips`."""
    return GanSteps(
        train=map_folds(
            functools.partial(iteration, networks=networks),
            mesh,
            in_specs=(PER_FOLD, SHARED, PER_FOLD),
            out_specs=(PER_FOLD, PER_FOLD),
            donate=(0,),
            in_turn=("gpu", "tpu"),
            products=networks.products,
        ),
        generate=map_folds(
            functools.partial(
                generate_clips,
                generator=networks.generator,
                n_samples=n_samples,
                how=how,
            ),
            mesh,
            in_specs=(PER_FOLD,) * 4,
            out_specs=PER_FOLD,
            products=networks.products,
        ),
        keep_best=map_folds(
            keep_best, mesh, in_specs=(PER_FOLD,) * 4, out_specs=PER_FOLD, donate=(0,)
        ),
    )
