"""Mask-guided cross-attention (MGCA; Guan & Yoshie 2025, arXiv:2506.01366).

From the paper: predicted rain masks guide a cross-attention in which rainy regions draw on clean background regions.
Our reading: queries come from rainy features, keys and values from background features, and a key's weight is its probability
of being background. Attention stays inside square windows, so cost is linear in pixels and a tile equals the whole frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MaskGuidedCrossAttention(nn.Module):
    """Adds to rainy positions what the background of their window offers.

    width: channels of the features. window: side of a window. What windows at the right and the bottom have beyond the picture
    counts as rain, so that nothing is drawn from there.
    """

    def __init__(self, width: int, window: int) -> None:
        super().__init__()
        self.width, self.window = width, window
        self.query = nn.Conv2d(width, width, 1)
        self.key = nn.Conv2d(width, width, 1)
        self.value = nn.Conv2d(width, width, 1)
        self.out = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x: (N, C, H, W) features; mask: (N, 1, H, W) probability of rain in 0..1. Returns (N, C, H, W)."""
        height, width = x.shape[-2:]
        background = x * (1 - mask)
        query = self._windows(self.query(x * mask))  # (windows, w*w, C)
        key = self._windows(self.key(background))
        value = self._windows(self.value(background))
        clean = self._windows(1 - mask).transpose(1, 2)  # (windows, 1, w*w)
        scores = query @ key.transpose(1, 2) * self.width**-0.5 + torch.log(clean + 1e-3)
        drawn = self._frame(scores.softmax(-1) @ value, height, width)
        return x + mask * self.out(drawn)  # type: ignore[no-any-return]

    def _windows(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (windows, w*w, C), windows filled up with zeros: more than enough, then cut, as TensorRT takes constant pads best."""
        side, channels = self.window, x.shape[1]
        rows, columns = self._count(x.shape[-2]), self._count(x.shape[-1])
        x = functional.pad(x, (0, side - 1, 0, side - 1))[..., : rows * side, : columns * side].permute(0, 2, 3, 1)
        x = x.reshape(-1, rows, side, columns, side, channels)  # channels last: runtimes have them so, and move them together
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side * side, channels)

    def _frame(self, x: Tensor, height: int, width: int) -> Tensor:
        """(windows, w*w, C) back to (N, C, H, W)."""
        side = self.window
        rows, columns = self._count(height), self._count(width)
        x = x.reshape(-1, rows, columns, side, side, self.width).permute(0, 1, 3, 2, 4, 5)
        return x.reshape(-1, rows * side, columns * side, self.width).permute(0, 3, 1, 2)[..., :height, :width]

    def _count(self, length: int) -> int:
        """Windows that cover `length` positions."""
        return (length + self.window - 1) // self.window
