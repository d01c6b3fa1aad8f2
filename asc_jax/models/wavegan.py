"""WaveGAN: a generator of raw audio and its discriminator.

One GAN; several train at once under `vmap`. Both networks are for mono audio in [-1, 1].

Source: paper §3, Tables 2 and 3; Donahue et al., arXiv:1802.04208, whose code
(chrisdonahue/wavegan) settles what the paper leaves open: padding, phase shuffle and
initial values.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from asc_jax.models.phase_shuffle import PHASE_SHUFFLE_STREAM, phase_shuffle
from asc_jax.ops.conv import Conv
from asc_jax.runtime.errors import InputError

KERNEL_SIZE, STRIDE = 25, 4

# Zeros around the dilated input of a transposed convolution: exactly the transpose of a
# "SAME" convolution by 4, which pads 10 zeros before and 11 after.
TRANSPOSED_PADDING = ((14, 13),)

UPSAMPLINGS = ("transposed", "nearest")

# TensorFlow's defaults, with which WaveGAN was published.
_CONV = {"kernel_size": (KERNEL_SIZE,), "kernel_init": nn.initializers.glorot_uniform()}
dense = functools.partial(nn.Dense, kernel_init=nn.initializers.glorot_uniform())


def _like_latents(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
    """Uniform in [-1, 1]: an initialiser of what lies beside latent vectors."""
    return jax.random.uniform(key, shape, dtype, minval=-1)


def map_sizes(n_samples: int, dim: int) -> list[tuple[int, int]]:
    """Frames and channels of each map between the shortest and the waveform.

    The frames grow by 4 from 16, or from 32 if `n_samples` is an odd power of 2; the
    channels halve down to `dim`. The paper's 32,768 samples and WaveGAN's 16,384 and
    65,536 all follow this rule.

    Args:
      n_samples: T, the length of the waveform.
      dim: channels of the map next to the waveform.

    Returns:
      (frames, channels) from the shortest map to the one next to the waveform.

    Raises:
      InputError: no such sizes.
    """
    exponent = n_samples.bit_length() - 1
    if n_samples < 64 or n_samples != 1 << exponent:
        raise InputError(
            "must be a power of 2 from 64, as 32768 (the paper's) or 16384 (WaveGAN's)",
            field="gan.n_samples",
            value=n_samples,
        )
    if dim < 1:
        raise InputError("must be at least 1", field="gan.dim", value=dim)
    n_layers = exponent // 2 - 2
    first = n_samples // STRIDE**n_layers
    return [(first * STRIDE**i, dim * 2 ** (n_layers - 1 - i)) for i in range(n_layers)]


class Generator(nn.Module):
    """Makes waveforms from latent vectors: a dense layer and transposed convolutions.

    With `n_classes`, a learned vector of the class, as long as z and at first drawn as z
    is, goes in beside z.

    Attributes:
      dim: d, channels of the map next to the waveform.
      n_samples: length of the waveforms; see `map_sizes`.
      n_latent: Z, length of the latent vectors, which are uniform in [-1, 1].
      upsample: "transposed" convolutions as published, or "nearest" neighbours and a plain
        convolution, which cannot imprint the stride on the waveform but cost four times
        the products.
      n_classes: K, for waveforms of a given class; 0 for unconditional ones.
      dtype: of the computation; parameters, the last layer and waveforms are float32.
      conv: the layer of all convolutions; takes the arguments of `flax.linen.Conv`.

    Raises:
      InputError: no such sizes or upsampling.

    Source: paper Table 2; for the classes Mirza and Osindero, arXiv:1411.1784; for
    nearest neighbours Odena et al., "Deconvolution and Checkerboard Artifacts", 2016.
    """

    dim: int = 64
    n_samples: int = 32768
    n_latent: int = 200
    upsample: str = "transposed"
    n_classes: int = 0
    dtype: jnp.dtype = jnp.float32
    conv: Callable[..., nn.Module] = Conv

    @nn.compact
    def __call__(self, z: jax.Array, label: jax.Array | None = None) -> jax.Array:
        """(B, Z), and (B,) int labels if there are classes -> (B, n_samples, 1) in [-1, 1]."""
        (n_frames, channels), *longer_maps = map_sizes(self.n_samples, self.dim)
        if self.n_classes:
            embed = nn.Embed(
                self.n_classes, self.n_latent, embedding_init=_like_latents, name="class_vector"
            )
            z = jnp.concatenate([z, embed(label)], axis=-1)
        x = dense(n_frames * channels, dtype=self.dtype, name="dense")(z)
        x = x.reshape(-1, n_frames, channels)
        for layer, (_, width) in enumerate(longer_maps, start=1):
            x = self._upsampled_conv(nn.relu(x), width, self.dtype, name=f"upconv{layer}")
        # A waveform rounded to bfloat16 has the noise of 8 bits.
        x = self._upsampled_conv(nn.relu(x), 1, jnp.float32, name=f"upconv{len(longer_maps) + 1}")
        return jnp.tanh(x)

    def _upsampled_conv(self, x: jax.Array, width: int, dtype: jnp.dtype, name: str) -> jax.Array:
        """(B, T, C) -> (B, 4 T, width)."""
        if self.upsample == "transposed":
            options = {"input_dilation": STRIDE, "padding": TRANSPOSED_PADDING}
        elif self.upsample == "nearest":
            x = jnp.repeat(x, STRIDE, axis=1)
            options = {"padding": "SAME"}
        else:
            raise InputError(
                f"must be one of {', '.join(UPSAMPLINGS)}",
                field="gan.upsample",
                value=self.upsample,
            )
        return self.conv(width, dtype=dtype, name=name, **_CONV, **options)(x)

    def input_shapes(self) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Of the arguments, for one example."""
        z = jax.ShapeDtypeStruct((1, self.n_latent), jnp.float32)
        return (z, jax.ShapeDtypeStruct((1,), jnp.int32)) if self.n_classes else (z,)


class Discriminator(nn.Module):
    """Scores waveforms: strided convolutions with phase shuffle between them, a dense layer.

    The score is a logit or a critic's value, as the loss will have it. With `n_classes` it
    is a projection discriminator: to the score of the last map comes the inner product of
    that map and a learned one of the class.

    Attributes:
      dim: d, channels of the map next to the waveform.
      n_samples: length of the waveforms; see `map_sizes`.
      phase_shuffle: the largest shift, in frames; 0 for none.
      shuffle: "per_batch" or "per_example"; see `asc_jax.models.phase_shuffle`.
      n_classes: K, for waveforms of a given class; 0 for unconditional ones.
      dtype: of the computation; parameters, the last layer and scores are float32.
      axis_name: mesh axis that the batch is sharded over, or None.
      conv: the layer of all convolutions; takes the arguments of `flax.linen.Conv`.

    Raises:
      InputError: no such sizes or shuffle.

    Source: paper Table 3; for the classes Miyato and Koyama, arXiv:1802.05637.
    """

    dim: int = 64
    n_samples: int = 32768
    phase_shuffle: int = 2
    shuffle: str = "per_batch"
    n_classes: int = 0
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    conv: Callable[..., nn.Module] = Conv

    @nn.compact
    def __call__(self, x: jax.Array, label: jax.Array | None = None) -> jax.Array:
        """(B, n_samples, 1), and (B,) int labels if there are classes -> (B, 1).

        Draws from the random stream "phase_shuffle", unless `phase_shuffle` is 0.
        """
        widths = [channels for _, channels in reversed(map_sizes(self.n_samples, self.dim))]
        for layer, width in enumerate(widths, start=1):
            name = f"conv{layer}"
            x = self.conv(width, strides=STRIDE, dtype=self.dtype, name=name, **_CONV)(x)
            x = nn.leaky_relu(x, 0.2)
            if self.phase_shuffle and layer < len(widths):
                key = self.make_rng(PHASE_SHUFFLE_STREAM)
                x = phase_shuffle(
                    x,
                    key,
                    radius=self.phase_shuffle,
                    sharing=self.shuffle,
                    axis_name=None if self.is_initializing() else self.axis_name,
                )
        features = x.reshape(x.shape[0], -1).astype(jnp.float32)
        score = dense(1, name="dense")(features)
        if self.n_classes:
            class_scores = dense(self.n_classes, use_bias=False, name="projection")(features)
            score += jnp.take_along_axis(class_scores, label[:, None], axis=1)
        return score

    def input_shapes(self) -> tuple[jax.ShapeDtypeStruct, ...]:
        """Of the arguments, for one example."""
        x = jax.ShapeDtypeStruct((1, self.n_samples, 1), jnp.float32)
        return (x, jax.ShapeDtypeStruct((1,), jnp.int32)) if self.n_classes else (x,)
