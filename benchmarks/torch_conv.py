"""A 3x3 convolution and its gradients in PyTorch, folds one after the other."""

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input, conv2d_weight

CONTRACTIONS = {
    "forward": lambda x, kernel, dy: conv2d(x, kernel, padding=1),
    "by input": lambda x, kernel, dy: conv2d_input(x.shape, kernel, dy, padding=1),
    "by kernel": lambda x, kernel, dy: conv2d_weight(x, kernel.shape, dy, padding=1),
}


def contraction(
    name: str, arrays: Sequence[np.ndarray], dtype: str, device: str
) -> Callable[[], list[torch.Tensor]]:
    """A function that does one contraction for all folds.

    Args:
      name: a key of `CONTRACTIONS`.
      arrays: (F, B, W, H, C) input, (F, 3, 3, C, C) kernel, (F, B, W, H, C) gradient.
      dtype: of the computation.
      device: "cpu", in PyTorch's own layout, or "cuda", channels last.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    layout = torch.channels_last if device == "cuda" else torch.contiguous_format
    torch.backends.cudnn.benchmark = True
    x, kernel, dy = arrays
    folds = [
        [
            torch.tensor(array).to(device, getattr(torch, dtype)).contiguous(memory_format=layout)
            for array in (
                x[fold].transpose(0, 3, 1, 2),
                kernel[fold].transpose(3, 2, 0, 1),
                dy[fold].transpose(0, 3, 1, 2),
            )
        ]
        for fold in range(len(x))
    ]

    def contract():
        out = [CONTRACTIONS[name](*fold) for fold in folds]
        if device == "cuda":
            torch.cuda.synchronize()
        return out

    return contract
