"""The same network as anyone would write it in flax, and its folds in a Python loop.

flax's own layers, XLA's default compiler options, one jitted step for one fold. Modules
have asc_jax's names, and with them its variables. Only post-activation basic blocks.
"""

import functools
import time
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from asc_jax.data.pool import take
from asc_jax.runtime import precision
from benchmarks import training


class Block(nn.Module):
    """A basic residual block of `channels`, with squeeze-and-excitation if `se_ratio`."""

    channels: int
    stride: int
    se_ratio: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """(B, W, H, C) -> (B, W', H', C')."""
        conv = functools.partial(_conv, self.channels, self.dtype)
        norm = functools.partial(_norm, train, self.dtype)
        y = nn.relu(norm("norm1")(conv(3, self.stride, "conv1")(x)))
        y = norm("norm2")(conv(3, 1, "conv2")(y))
        if self.se_ratio:
            y = SqueezeExcite(self.se_ratio, self.dtype, name="squeeze_excite")(y)
        if self.stride != 1 or x.shape[-1] != self.channels:
            x = norm("projection_norm")(conv(1, self.stride, "projection")(x))
        return nn.relu(y + x)


class SqueezeExcite(nn.Module):
    """Channels weighed by a gate out of their means."""

    ratio: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, W, H, C) -> (B, W, H, C)."""
        channels = x.shape[-1]
        hidden = nn.Dense(max(1, channels // self.ratio), dtype=self.dtype)(x.mean((1, 2)))
        gate = nn.sigmoid(nn.Dense(channels, dtype=self.dtype)(nn.relu(hidden)))
        return x * gate[:, None, None]


class ResNet(nn.Module):
    """ResNet-rev; attributes as `asc_jax.models.resnet.ResNet`."""

    stage_sizes: tuple[int, ...]
    stage_strides: tuple[int, ...] = (1, 2, 2, 2)
    width: int = 32
    se_ratio: int = 0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, log_mel: jax.Array, *, train: bool) -> jax.Array:
        """(B, N, M) -> (B, K) logits, float32."""
        x = _conv(self.width, self.dtype, 5, 2, "stem")(log_mel[..., None].astype(self.dtype))
        x = nn.relu(_norm(train, self.dtype, "stem_norm")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for stage, n_blocks in enumerate(self.stage_sizes):
            for block in range(n_blocks):
                stride = self.stage_strides[stage] if block == 0 else 1
                name = f"stage{stage + 1}_block{block + 1}"
                channels = self.width * 2**stage
                x = Block(channels, stride, self.se_ratio, self.dtype, name=name)(x, train=train)
        x = x.astype(jnp.float32).mean((1, 2))
        return nn.Dense(training.N_CLASSES, name="classifier")(x)


def _conv(width: int, dtype, kernel: int, stride: int, name: str) -> nn.Module:
    window, strides = (kernel, kernel), (stride, stride)
    return nn.Conv(width, window, strides, kernel // 2, use_bias=False, dtype=dtype, name=name)


def _norm(train: bool, dtype, name: str) -> nn.Module:
    return nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=dtype, name=name)


def stepper(model: Mapping, size: training.Size, dtype: str) -> tuple[Callable[[], None], float]:
    """The training of all folds, one after the other.

    Args:
      model: the network's config.
      size: of the step.
      dtype: of the network's computation.

    Returns:
      A function that does the next step, and the seconds that compiling it took.
    """
    attributes = {key: value for key, value in model.items() if key != "name"}
    network = ResNet(**attributes, dtype=precision.dtype_of(dtype))
    optimizer = optax.adam(training.LEARNING_RATE)
    pool = jax.device_put(training.make_pool(size, 256))
    clip = jnp.zeros((1, size.n_frames, size.n_mels))
    init = jax.jit(lambda key: network.init(key, clip, train=False))

    def initial_state(fold: int):
        variables = init(jax.random.key(fold))
        params, batch_stats = variables["params"], variables["batch_stats"]
        return jax.device_put((params, batch_stats, optimizer.init(params)))

    @functools.partial(jax.jit, donate_argnums=0)
    @functools.partial(precision.multiplying, products=precision.products_of(dtype))
    def step(state, pool, clips):
        params, batch_stats, opt_state = state

        def mean_loss(params):
            variables = {"params": params, "batch_stats": batch_stats}
            log_mel = take(pool, clips)
            logits, updated = network.apply(variables, log_mel, train=True, mutable="batch_stats")
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, pool.targets[clips])
            return losses.mean(), updated["batch_stats"]

        (loss, batch_stats), grads = jax.value_and_grad(mean_loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return (optax.apply_updates(params, updates), batch_stats, opt_state), loss

    states = [initial_state(fold) for fold in range(size.folds)]
    clips = np.random.default_rng(0).integers(0, 256, (size.folds, size.batch), np.int32)
    start = time.perf_counter()
    compiled = step.trace(states[0], pool, clips[0]).lower().compile()
    seconds = time.perf_counter() - start

    def step_of_all_folds():
        for fold in range(size.folds):  # dispatch is asynchronous: nothing waits in between
            states[fold], _ = compiled(states[fold], pool, clips[fold])
        jax.block_until_ready(states)

    return step_of_all_folds, seconds
