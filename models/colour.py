"""The colour that rain washed out, put back without being learnt.

A streak adds gray light. If that takes the place of the scene's (drops, screen blending), a pixel's chroma is the nearer to gray the more of it
a streak covers; if light is only added, chroma stays as it is. How much light came, the network's change of luma says; how much colour went
with it is measured on the picture itself, region by region: streaks against what surrounds them.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

CELL = 4
"""Side, in chroma pixels, of the squares that surroundings and regions are made of: all planes are multiples of it."""

AROUND, REGION = 3, 25
"""Sides, in cells, of a pixel's surroundings, and of the region over which the loss of colour is measured: less than tiles see past seams."""

MOST = 0.9
"""Largest share of a pixel that a streak is taken to cover: of what is left of its colour the rest is noise."""

DOUBT = 0.3
"""How soon the colour of the surroundings stands in for what is left of a pixel's own."""

TINY = 1e-9
"""Stands for sums that are zero, where all is gray, as divisors."""


def recoloured(y: Tensor, change: Tensor, mask: Tensor, colour: Tensor) -> Tensor:
    """What to add to chroma: exactly zero where the mask is.

    y, change, mask: (N, 1, h, w) at the size of chroma: luma in 0..1, what the network adds to it, and its mask in 0..1. colour: (N, 2, h, w),
    chroma less gray, in the same unit. h, w: multiples of CELL.
    """
    light = (functional.relu(-change) / (1 - y - change + 1 / 255)).clamp(max=MOST)  # share of the way from the scene to white
    trust = (1 - mask).square() + 1e-3
    around = _each(_share(colour * trust, trust, AROUND))
    full = light * around  # what goes if light takes the scene's place
    gone = (mask * full * (around - colour)).sum(1, keepdim=True), (mask * full * full).sum(1, keepdim=True)
    covered = (_each(_share(*gone, REGION)).clamp(0, 2) * light * (2 * mask).clamp(max=1)).clamp(max=MOST)
    left = 1 - covered
    own = left.square() / (left.square() + DOUBT * covered.square())
    return own * colour * covered / left + (1 - own) * (around - colour)


def _share(part: Tensor, whole: Tensor, side: int) -> Tensor:
    """Sum of `part` over that of `whole` in the `side` x `side` cells around each cell: (N, C, h, w) to (N, C, h/CELL, w/CELL)."""
    return _sums(part, side) / _sums(whole, side).clamp(min=TINY)


def _sums(planes: Tensor, side: int) -> Tensor:
    """Of what lies in the cells around each cell, but for a factor; what lies outside the picture counts as zero."""
    count, channels, height, width = planes.shape
    cells = functional.avg_pool2d(planes.reshape(count * channels, 1, height, width), CELL)  # plane by plane: runtimes move less
    across = functional.avg_pool2d(cells, (1, side), 1, (0, side // 2))
    both = functional.avg_pool2d(across, (side, 1), 1, (side // 2, 0))
    return both.reshape(count, channels, height // CELL, width // CELL)


def _each(cells: Tensor) -> Tensor:
    """Every cell's value for each of its pixels."""
    count, channels, height, width = cells.shape
    pixels = functional.interpolate(cells.reshape(count * channels, 1, height, width), scale_factor=float(CELL), mode="nearest")
    return pixels.reshape(count, channels, height * CELL, width * CELL)
