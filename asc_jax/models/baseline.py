"""The official baseline of DCASE 2018 Task 1: two convolutions and a dense layer."""

import functools
from collections.abc import Callable
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from asc_jax.models.dropout import Dropout
from asc_jax.ops.conv import Conv
from asc_jax.runtime.errors import InputError


class Baseline(nn.Module):
    """The baseline network; 116,118 parameters with its moving statistics at 40 x 500 inputs.

    Its batch normalisation has the frequency axis for its features. That is a quirk of the
    original, whose data have mel bands on the normalised axis 1 and channels last; the
    parameter count needs it.

    Attributes:
      n_classes: number of classes K.
      dropout_rate: after each pooling and before the last layer.
      dtype: of the computation; parameters and statistics are float32.
      axis_name: mesh axis that the batch is sharded over, or None.
      sync_batch_norm: normalise by the whole batch; False for each shard by its own share.
      conv: the layer of all convolutions; takes the arguments of `flax.linen.Conv`.

    Source: DCASE-REPO/dcase2018_baseline, task1; Keras's defaults for initial values,
    batch normalisation and padding.
    """

    loops: ClassVar[tuple] = ()  # no blocks that repeat

    receptive_field: ClassVar[int] = 536  # frames: 7, pooled by 5, 7 more, pooled by 100

    n_classes: int
    dropout_rate: float = 0.3
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    sync_batch_norm: bool = True
    conv: Callable[..., nn.Module] = Conv

    @nn.compact
    def __call__(self, log_mel: jax.Array, *, train: bool) -> jax.Array:
        """(B, N, M) standardised log-mels -> (B, K) logits, float32. Needs M >= 20, N >= 500."""
        n_frames, n_mels = log_mel.shape[1:]
        if n_mels < 20 or n_frames < 500:
            raise InputError(
                "pools at least 20 bands and 500 frames into one, and gets "
                f"{n_mels} bands x {n_frames} frames; raise frontend.n_mels or make clips longer "
                "(data.clip_seconds with data.fit_length=True, data.n_frames; without "
                "train.crop_seconds), or choose another model",
                field="model.name",
                value="baseline",
            )
        x = log_mel[..., None].astype(self.dtype)  # (B, W=N, H=M, 1)
        dropout = Dropout(self.dropout_rate, self.axis_name)
        for width, window in ((32, (5, 5)), (64, (100, 4))):
            x = self.conv(
                width, (7, 7), dtype=self.dtype, kernel_init=nn.initializers.glorot_uniform()
            )(x)
            x = nn.BatchNorm(
                use_running_average=not train,
                axis=2,
                momentum=0.99,
                epsilon=1e-3,
                dtype=self.dtype,
                axis_name=self.axis_name if train and self.sync_batch_norm else None,
            )(x)
            x = nn.max_pool(nn.relu(x), window, window)
            x = dropout(x, train=train)
        dense = functools.partial(nn.Dense, kernel_init=nn.initializers.glorot_uniform())
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        x = nn.relu(dense(100)(x))
        self.sow("intermediates", "embedding", x)  # kept only where it is asked for
        x = dropout(x, train=train)
        return dense(self.n_classes)(x)
