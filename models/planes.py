"""Planes as the networks take them: batch 1, channels first, padded. The one place where padding is done and undone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .spec import MULTIPLE

Planes = NDArray[Any]
"""uint8 or uint16."""

GRAY = 128
"""Chroma of what has no colour, in 8 bits."""


def pad(y: Planes, uv: Planes, near: Planes) -> tuple[Planes, Planes, Planes]:
    """Planes padded by repeating the right and bottom edge, so that height and width are multiples of MULTIPLE.

    y: (H, W); uv: (2, ceil(H/2), ceil(W/2)); near: (4, H, W); all uint8 or all uint16.
    Returns y (1, 1, H', W'), uv (1, 2, H'/2, W'/2) and near (1, 4, H', W'), contiguous.
    """
    height, width = (-(-side // MULTIPLE) * MULTIPLE for side in y.shape)
    return (
        _grow(y[None, None], height, width),
        _grow(uv[None], height // 2, width // 2),
        _grow(near[None], height, width),
    )


def gray(y: Planes, near: Planes) -> tuple[Planes, Planes, Planes]:
    """What `pad` returns for uint8 luma without colour, such as a thumbnail's."""
    height, width = y.shape
    return pad(y, np.full((2, (height + 1) // 2, (width + 1) // 2), GRAY, np.uint8), near)


def crop(plane: Planes, height: int, width: int) -> Planes:
    """The top left (height, width) of a (1, C, H', W') result, as (C, height, width); a view."""
    return plane[0, :, :height, :width]


def _grow(plane: Planes, height: int, width: int) -> Planes:
    down, right = height - plane.shape[-2], width - plane.shape[-1]
    if not (down or right):
        return np.ascontiguousarray(plane)
    high, wide = plane.shape[-2:]
    grown = np.empty((*plane.shape[:-2], height, width), plane.dtype)
    grown[..., :high, :wide] = plane
    grown[..., :high, wide:] = plane[..., -1:]
    grown[..., high:, :] = grown[..., high - 1 : high, :]
    return grown
