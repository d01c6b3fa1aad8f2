"""WaveGAN in PyTorch, as its users write it: one GAN, WGAN-GP, Adam."""

import itertools
import os
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from asc_jax.gan.losses import LOSSES
from asc_jax.models.wavegan import map_sizes

LOSS = LOSSES["wgan_gp"]
N_LATENT = 200
PHASE_SHUFFLE = 2


class Generator(nn.Module):
    """(B, Z) -> (B, 1, n_samples)."""

    def __init__(self, n_samples: int, dim: int):
        super().__init__()
        self.maps = map_sizes(n_samples, dim)
        frames, channels = self.maps[0]
        self.dense = nn.Linear(N_LATENT, frames * channels)
        widths = [channels for _, channels in self.maps] + [1]
        self.convs = nn.ModuleList(
            nn.ConvTranspose1d(a, b, 25, 4, padding=11, output_padding=1)
            for a, b in itertools.pairwise(widths)
        )

    def forward(self, z):
        frames, channels = self.maps[0]
        x = self.dense(z).view(-1, channels, frames)
        for conv in self.convs:
            x = conv(functional.relu(x))
        return torch.tanh(x)


class Discriminator(nn.Module):
    """(B, 1, n_samples) -> (B,)."""

    def __init__(self, n_samples: int, dim: int):
        super().__init__()
        maps = map_sizes(n_samples, dim)[::-1]
        widths = [1] + [channels for _, channels in maps]
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 25, 4) for a, b in itertools.pairwise(widths))
        frames, channels = maps[-1]
        self.dense = nn.Linear(frames * channels, 1)

    def forward(self, x):
        for layer, conv in enumerate(self.convs, start=1):
            x = functional.leaky_relu(conv(functional.pad(x, (10, 11))), 0.2)
            if layer < len(self.convs):
                x = _shuffle(x)
        return self.dense(x.flatten(1))[:, 0]


def _shuffle(x):
    n, shift = PHASE_SHUFFLE, int(torch.randint(-PHASE_SHUFFLE, PHASE_SHUFFLE + 1, ()))
    return functional.pad(x, (n, n), mode="reflect")[:, :, n - shift : n - shift + x.shape[2]]


def iteration(n_samples: int, dim: int, batch: int, device: str) -> Callable[[], None]:
    """A function that does the five updates of the discriminator and the generator's one.

    Args:
      n_samples: of a window.
      dim: d.
      batch: windows per update.
      device: "cpu" or "cuda"; compiled on the latter.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    torch.backends.cudnn.benchmark = True
    generator = Generator(n_samples, dim).to(device)
    discriminator = Discriminator(n_samples, dim).to(device)
    adam = {"lr": LOSS.learning_rate, "betas": (0.5, 0.9)}
    updates = [torch.optim.Adam(net.parameters(), **adam) for net in (generator, discriminator)]
    # The penalty's second order is beyond torch.compile; the generator is not.
    generate = torch.compile(generator) if device == "cuda" else generator

    def discriminate():
        real = 0.1 * torch.randn(batch, 1, n_samples, device=device)
        with torch.no_grad():
            made = generate(torch.rand(batch, N_LATENT, device=device) * 2 - 1)
        mix = torch.rand(batch, 1, 1, device=device)
        between = (real + mix * (made - real)).requires_grad_()
        (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
        penalty = (slope.square().sum((1, 2)).sqrt() - 1).square().mean()
        loss = discriminator(made).mean() - discriminator(real).mean()
        updates[1].zero_grad()
        (loss + LOSS.penalty_weight * penalty).backward()
        updates[1].step()

    def iterate():
        for _ in range(LOSS.n_discriminator_updates):
            discriminate()
        updates[0].zero_grad()
        z = torch.rand(batch, N_LATENT, device=device) * 2 - 1
        (-discriminator(generate(z)).mean()).backward()
        updates[0].step()
        if device == "cuda":
            torch.cuda.synchronize()

    return iterate
