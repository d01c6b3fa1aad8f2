"""ResNet-rev and SE-ResNet-rev: the paper's residual networks on log-mel spectrograms."""

import functools
import itertools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from asc_jax.models.depth import Run, repeat
from asc_jax.models.drop_path import branch_factors
from asc_jax.models.dropout import DROPOUT_STREAM, Dropout
from asc_jax.models.pcen import Pcen
from asc_jax.models.receptive_field import STEM, kernels_within
from asc_jax.models.squeeze_excite import SqueezeExcite
from asc_jax.ops.batch_norm import BatchNorm
from asc_jax.ops.conv import Conv
from asc_jax.ops.max_pool import max_pool
from asc_jax.runtime.backend import materialised
from asc_jax.runtime.errors import InputError

BLOCKS = ("basic", "bottleneck")
SHORTCUTS = ("projection", "zero_pad")
ORDERS = ("post_activation", "pre_activation")
HEADS = ("average", "max", "average_max")

Dense = functools.partial(nn.Dense, kernel_init=nn.initializers.he_normal())


class ResNet(nn.Module):
    """The revised ResNet, with squeeze-and-excitation if `se_ratio` is above 0.

    Attributes:
      n_classes: number of classes K.
      stage_sizes: residual blocks per stage; (3, 4, 6, 3) or (3, 8, 36, 3) in the paper.
      stage_strides: stride of the first block of each stage.
      width: channels of the first stage; each further stage doubles them.
      block: "basic" (3x3, 3x3) or "bottleneck" (1x1, 3x3, 1x1 to four times the channels).
      order: "post_activation" (convolution, normalisation, ReLU) or "pre_activation".
      shortcut: what joins maps of different shapes, "projection" (1x1) or "zero_pad".
      se_ratio: squeeze ratio; 0 for no squeeze-and-excitation.
      max_receptive_field: frames; 3x3 convolutions that would exceed it become 1x1; 0 for
        no limit. Source: Koutini et al., arXiv:1907.01803.
      head: pooling over the last map, "average", "max" or the sum of both.
      dropout_rate: probability of dropout after the pooling, before the last layer; 0 for none.
      drop_path_rate: probability of dropping the residual branch of the last block; it rises
        linearly over the blocks (see `branch_factors`); 0 for none.
      scan: compile equal neighbouring blocks once, as a loop over their stacked variables
        (see `asc_jax.models.depth`), instead of each separately.
      pcen: start with trainable per-channel energy normalisation; for `frontend.name="mel"`.
      remat: keep only the blocks' inputs for the gradient and recompute the rest: less memory, a
        third more work.
      dtype: type of the computation; parameters and statistics are float32.
      axis_name: mesh axis over which the batch is sharded, or None.
      sync_batch_norm: normalise over the whole batch; False: each shard separately.
      conv: the layer of all convolutions; takes the arguments of `flax.linen.Conv`.

    Source: paper §2.4 and Table 1.
    """

    n_classes: int
    stage_sizes: tuple[int, ...] = (3, 4, 6, 3)
    stage_strides: tuple[int, ...] = (1, 2, 2, 2)
    width: int = 32
    block: str = "basic"
    order: str = "post_activation"
    shortcut: str = "projection"
    se_ratio: int = 0
    max_receptive_field: int = 0
    head: str = "average"
    dropout_rate: float = 0.0
    drop_path_rate: float = 0.0
    scan: bool = True
    pcen: bool = False
    remat: bool = False
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None
    sync_batch_norm: bool = True
    conv: Callable[..., nn.Module] = Conv

    def __post_init__(self):
        names = {"block": BLOCKS, "order": ORDERS, "shortcut": SHORTCUTS, "head": HEADS}
        for field, known in names.items():
            if (value := getattr(self, field)) not in known:
                raise InputError(f"must be one of {', '.join(known)}", field=field, value=value)
        if len(self.stage_sizes) != len(self.stage_strides):
            raise InputError(
                f"must have a stride for each of the {len(self.stage_sizes)} stages",
                field="stage_strides",
                value=self.stage_strides,
            )
        super().__post_init__()

    @property
    def receptive_field(self) -> int:
        """How many frames one position of the last map depends on."""
        return self._kernels()[1]

    def _kernels(self) -> tuple[list[tuple[int, ...]], int]:
        return kernels_within(
            self.max_receptive_field, self.stage_sizes, self.stage_strides, self.block
        )

    @nn.compact
    def __call__(self, log_mel: jax.Array, *, train: bool) -> jax.Array:
        """(B, N, M) standardised log-mels -> (B, K) logits, float32."""
        norm = functools.partial(
            BatchNorm,
            use_running_average=not train,
            momentum=0.9,
            dtype=self.dtype,
            axis_name=self.axis_name if train and self.sync_batch_norm else None,
        )
        conv = functools.partial(same_conv, self.conv, dtype=self.dtype)
        if self.pcen:
            log_mel = Pcen(name="pcen")(log_mel)
        x = log_mel[..., None].astype(self.dtype)  # (B, W=N, H=M, 1)
        x = conv(self.width, *STEM, name="stem")(x)
        if self.order == "post_activation":
            x = nn.relu(norm(name="stem_norm")(x))
        x = max_pool(x)
        factors = self._branch_factors(len(x)) if train and self.drop_path_rate else None
        of_blocks = lambda at: None if factors is None else factors[at]
        first = 0
        for run in self.runs():
            n = len(run.names)
            block = functools.partial(
                nn.remat(ResidualBlock) if self.remat else ResidualBlock,
                **run.attributes,
                conv=conv,
                norm=norm,
                dtype=self.dtype,
            )
            if run in self.loops:
                x = repeat(block(name=run.name), x, n, of_blocks(slice(first, first + n)))
            else:
                for i, name in enumerate(run.names, start=first):
                    x = block(name=name)(x, of_blocks(i))
            first += n
        if self.order == "pre_activation":
            x = nn.relu(norm(name="last_norm")(x))
        embedding = self.pool(x.astype(jnp.float32))
        self.sow("intermediates", "embedding", embedding)  # kept only where it is asked for
        embedding = Dropout(self.dropout_rate, self.axis_name)(embedding, train=train)
        return Dense(self.n_classes, name="classifier")(embedding)

    def _branch_factors(self, n_examples: int) -> jax.Array:
        """(blocks, B) factors of the blocks' residual branches."""
        key, n_blocks = self.make_rng(DROPOUT_STREAM), sum(self.stage_sizes)
        return branch_factors(key, self.drop_path_rate, n_blocks, n_examples, self.axis_name)

    def runs(self) -> list[Run]:
        """The residual blocks in order, equal neighbours together."""
        kernels = iter(self._kernels()[0])
        blocks, before = [], self.width
        for stage, (n_blocks, stride) in enumerate(
            zip(self.stage_sizes, self.stage_strides, strict=True), start=1
        ):
            channels = self.width * 2 ** (stage - 1)
            after = channels if self.block == "basic" else 4 * channels
            for block in range(1, n_blocks + 1):
                attributes = {
                    "channels": channels,
                    "stride": stride if block == 1 else 1,
                    "kernels": next(kernels),
                    "block": self.block,
                    "order": self.order,
                    "shortcut": self.shortcut,
                    "se_ratio": self.se_ratio,
                }
                blocks.append((f"stage{stage}_block{block}", attributes, before))
                before = after
        alike = itertools.groupby(blocks, key=lambda block: block[1:])
        return [
            Run(tuple(name for name, *_ in group), attributes) for (attributes, _), group in alike
        ]

    @property
    def loops(self) -> list[Run]:
        """The runs that compile once."""
        return [run for run in self.runs() if self.scan and run.pays]

    def pool(self, x: jax.Array) -> jax.Array:
        """(B, W, H, C) -> (B, C)."""
        average, highest = jnp.mean(x, axis=(1, 2)), jnp.max(x, axis=(1, 2))
        return {"average": average, "max": highest, "average_max": average + highest}[self.head]


class ResidualBlock(nn.Module):
    """A residual block, with squeeze-and-excitation before the addition.

    Attributes:
      channels: of the block's 3x3 convolutions.
      stride: of its first 3x3 convolution.
      kernels: sizes of its convolutions, (3, 3) or (1, 3, 1) unless limited.
      conv: (width, kernel, stride, name=) -> a convolution.
      norm: (name=) -> a normalisation.
      block: and all others: see `ResNet`.

    Source: paper Fig. 2(b) and 2(c).
    """

    channels: int
    stride: int
    kernels: tuple[int, ...]
    block: str
    order: str
    shortcut: str
    se_ratio: int
    conv: Callable[..., nn.Module]
    norm: Callable[..., nn.Module]
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, factor: jax.Array | None = None) -> jax.Array:
        """(B, W, H, C) -> (B, W', H', C'); its residual branch times a (B,) factor, if any."""
        x = materialised(x)  # the shortcut and a convolution share it
        basic = self.block == "basic"
        widths = (
            (self.channels,) * 2 if basic else (self.channels, self.channels, 4 * self.channels)
        )
        strides = (self.stride, 1) if basic else (1, self.stride, 1)
        pre = self.order == "pre_activation"
        shortcut, y = x, x
        for i, (width, kernel, stride) in enumerate(
            zip(widths, self.kernels, strides, strict=True), start=1
        ):
            conv = self.conv(width, kernel, stride, name=f"conv{i}")
            norm = self.norm(name=f"norm{i}")
            if pre:
                y = nn.relu(norm(y))
                if i == 1 and self._changes_shape(x, widths[-1]):
                    shortcut = y  # He et al. 2016: a projection sees the activation
                y = conv(y)
            else:
                y = norm(conv(y))
                y = nn.relu(y) if i < len(widths) else y
        if self.se_ratio:
            y = SqueezeExcite(self.se_ratio, self.dtype, name="squeeze_excite")(y)
        if factor is not None:
            y *= factor[:, None, None, None].astype(y.dtype)
        if self._changes_shape(x, widths[-1]):
            shortcut = self._reshape(shortcut, widths[-1], normalise=not pre)
        return y + shortcut if pre else nn.relu(y + shortcut)

    def _changes_shape(self, x: jax.Array, width: int) -> bool:
        return self.stride != 1 or x.shape[-1] != width

    def _reshape(self, x: jax.Array, width: int, *, normalise: bool) -> jax.Array:
        """The shortcut's map, on the block's output shape."""
        if self.shortcut == "zero_pad":
            x = x[:, :: self.stride, :: self.stride]
            return jnp.pad(x, [(0, 0)] * 3 + [(0, width - x.shape[-1])])
        x = self.conv(width, 1, self.stride, name="projection")(x)
        return self.norm(name="projection_norm")(x) if normalise else x


def same_conv(
    conv: Callable[..., nn.Module], width: int, kernel: int, stride: int, *, dtype, name: str
) -> nn.Module:
    """A square convolution, zero-padded alike on both sides (as PyTorch does it)."""
    return conv(
        width,
        (kernel, kernel),
        (stride, stride),
        padding=kernel // 2,
        use_bias=False,  # batch normalisation follows and has one
        kernel_init=nn.initializers.he_normal(),
        dtype=dtype,
        name=name,
    )
