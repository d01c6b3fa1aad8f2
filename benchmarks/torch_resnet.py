"""The same network in PyTorch, and its folds one after the other.

Only post-activation basic blocks. Modules have asc_jax's names.
"""

import os
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from benchmarks import training


class SqueezeExcite(nn.Module):
    """Channels weighed by a gate out of their means."""

    def __init__(self, channels: int, ratio: int):
        super().__init__()
        self.Dense_0 = nn.Linear(channels, max(1, channels // ratio))
        self.Dense_1 = nn.Linear(max(1, channels // ratio), channels)

    def forward(self, x):
        """(B, C, H, W) -> (B, C, H, W)."""
        gate = torch.sigmoid(self.Dense_1(torch.relu(self.Dense_0(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class Block(nn.Module):
    """A basic residual block, with squeeze-and-excitation if `se_ratio`."""

    def __init__(self, before: int, channels: int, stride: int, se_ratio: int):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.squeeze_excite = SqueezeExcite(channels, se_ratio) if se_ratio else nn.Identity()
        self.projects = stride != 1 or before != channels
        if self.projects:
            self.projection = nn.Conv2d(before, channels, 1, stride, bias=False)
            self.projection_norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        """(B, C, H, W) -> (B, C', H', W')."""
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.squeeze_excite(self.norm2(self.conv2(y)))
        return torch.relu(y + (self.projection_norm(self.projection(x)) if self.projects else x))


class ResNet(nn.Module):
    """ResNet-rev; arguments as the attributes of `asc_jax.models.resnet.ResNet`."""

    def __init__(
        self,
        n_classes: int,
        stage_sizes: Sequence[int],
        stage_strides: Sequence[int] = (1, 2, 2, 2),
        width: int = 32,
        se_ratio: int = 0,
    ):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 5, 2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm2d(width)
        self.blocks, channels = [], width
        for stage, n_blocks in enumerate(stage_sizes):
            for block in range(n_blocks):
                before, channels = channels, width * 2**stage
                stride = stage_strides[stage] if block == 0 else 1
                self.blocks.append(f"stage{stage + 1}_block{block + 1}")
                self.add_module(self.blocks[-1], Block(before, channels, stride, se_ratio))
        self.classifier = nn.Linear(channels, n_classes)

    def forward(self, log_mel):
        """(B, N, M) -> (B, K) logits."""
        x = torch.relu(self.stem_norm(self.stem(log_mel.transpose(1, 2)[:, None])))
        x = nn.functional.max_pool2d(x, 3, 2, padding=1)
        for name in self.blocks:
            x = getattr(self, name)(x)
        return self.classifier(x.mean((2, 3)))


def device(platform: str) -> str | None:
    """PyTorch's device for a platform of JAX's; None where this PyTorch has none."""
    if platform == "cpu":
        return "cpu"
    return "cuda" if platform in ("gpu", "cuda") and torch.cuda.is_available() else None


def torch_step(model: Mapping, size: training.Size, dtype: str, device: str) -> Callable[[], None]:
    """A function that does the next training step of all folds, one after the other.

    Compiled and channels last: the first one takes a minute.

    Args:
      model: the network's config.
      size: of the step.
      dtype: of `train.precision`; "bfloat16" stands for automatic mixed precision.
      device: "cpu" or "cuda".
    """
    torch.set_num_threads(os.cpu_count() or 1)
    attributes = {key: value for key, value in model.items() if key != "name"}
    networks = [ResNet(training.N_CLASSES, **attributes).to(device) for _ in range(size.folds)]
    networks = [network.to(memory_format=torch.channels_last) for network in networks]
    on_gpu = device == "cuda"
    if on_gpu:
        torch.backends.cudnn.benchmark = True
    optimizers = [
        torch.optim.Adam(network.parameters(), lr=training.LEARNING_RATE, fused=on_gpu or None)
        for network in networks
    ]
    forwards = [torch.compile(network) for network in networks]
    n_clips = 256
    pool = torch.randn(n_clips, size.n_frames, size.n_mels, device=device)
    targets = torch.randint(0, training.N_CLASSES, (n_clips,), device=device)
    clips = torch.randint(0, n_clips, (size.folds, size.batch), device=device)

    def step():
        for forward, optimizer, indices in zip(forwards, optimizers, clips, strict=True):
            optimizer.zero_grad()
            with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
                logits = forward(pool[indices])
            nn.functional.cross_entropy(logits.float(), targets[indices]).backward()
            optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()

    return step
