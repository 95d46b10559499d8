"""Convolutions that the sub-networks are built of: no normalisation, so that a tile sees what the whole frame sees."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import register_parametrization


class Refine(nn.Module):
    """Pre-activated residual 3x3 convolution: x + conv(relu(x)); (N, C, H, W) to the same. block: one of BLOCKS of spec.py."""

    def __init__(self, width: int, block: str = "full") -> None:
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(width, width, 3, padding=1, groups=width if block == "depthwise" else 1)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]
        self.conv.weight.data.mul_(0.5)
        if block == "depthwise":
            self.conv = nn.Sequential(self.conv, nn.Conv2d(width, width, 1))
        elif block == "branched":
            register_parametrization(self.conv, "weight", Branch(width))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(self.relu(x))  # type: ignore[no-any-return]


class Branch(nn.Module):
    """A 1x1 convolution beside a 3x3 one, as what it adds to the middle of that one's kernel; (C, C, 3, 3) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, 1, 1))
        nn.init.normal_(self.weight, std=0.5 * width**-0.5)

    def forward(self, kernel: Tensor) -> Tensor:
        return kernel + functional.pad(self.weight, (1, 1, 1, 1))


class Down(nn.Module):
    """Half the resolution: (N, C, H, W) to (N, D, H/2, W/2)."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, wider, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Twice the resolution: (N, D, H, W) to (N, C, 2H, 2W). As quick as its sums: a pixel shuffle after a convolution moves everything once more."""

    def __init__(self, wider: int, width: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(wider, width, 2, stride=2)
        nn.init.normal_(self.conv.weight, std=wider**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)  # type: ignore[no-any-return]


def refines(width: int, depth: int, block: str = "full") -> nn.Sequential:
    """`depth` residual convolutions of one width."""
    return nn.Sequential(*(Refine(width, block) for _ in range(depth)))
