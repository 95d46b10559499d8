"""Deraining at a smaller size: what the network changed there is enlarged and added, so that the picture keeps its detail.

Frames of very many lines go so, since rain is wider in them than any that the networks have learnt, and live streams that a machine is
too slow for.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .frame import Plane

LINES = 1080
"""Lines, or columns if those are fewer, near which large frames are derained."""

Planes = tuple[Plane, Plane]
"""y (H, W) and uv (2, ceil(H/2), ceil(W/2)), uint8 or uint16."""

Clean = tuple[Plane, Plane, NDArray[np.uint8]]
"""Planes without their rain, and its mask, (H, W)."""


def fold(height: int, width: int) -> int:
    """By how much a frame of this size is reduced: 1 up to one and a half times LINES."""
    return max(1, round(min(height, width) / LINES))


def reduced(luma: Plane, by: int) -> Plane:
    """Luma at 1/by of its size, each way rounded down to even."""
    return luma if by == 1 else _reduced(luma, *_size(luma, by))


def reduced_chroma(luma: Plane, uv: Plane, by: int) -> Plane:
    """Chroma, (2, h/2, w/2), for luma that is reduced to (h, w). luma: in its own size."""
    height, width = _size(luma, by)
    return uv if by == 1 else np.stack([_reduced(plane, height // 2, width // 2) for plane in uv])


def enlarged(planes: Planes, small: Planes, clean: Clean, peak: int) -> Clean:
    """`planes` with the change from `small` to `clean`, and the mask at their size. Where that is 0 nothing changes.

    peak: the largest value of the planes.
    """
    (y, uv), (small_y, small_uv), (clean_y, clean_uv, mask) = planes, small, clean
    whole = _enlarged(mask, y)
    chroma = [_added(plane, before, after, whole, peak) for plane, before, after in zip(uv, small_uv, clean_uv, strict=True)]
    return _added(y, small_y, clean_y, whole, peak), np.stack(chroma), whole


def _size(luma: Plane, by: int) -> tuple[int, int]:
    height, width = (max(2, side // by & ~1) for side in luma.shape)
    return height, width


def _reduced(plane: Plane, height: int, width: int) -> Plane:
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA))


def _added(plane: Plane, small: Plane, clean: Plane, mask: NDArray[np.uint8], peak: int) -> Plane:
    change = _enlarged(cv2.subtract(clean, small, dtype=cv2.CV_32F), plane)
    touched = cv2.resize(mask, plane.shape[::-1], interpolation=cv2.INTER_NEAREST)
    out, narrow = plane.copy(), plane.dtype == np.uint8
    cv2.add(plane, change, out, touched, dtype=cv2.CV_8U if narrow else cv2.CV_16U)  # rounds, and ends at 0 and at what the type holds
    return out if narrow else np.minimum(out, peak)


def _enlarged(image: Plane, like: Plane) -> Plane:
    return np.asarray(cv2.resize(image, like.shape[::-1], interpolation=cv2.INTER_LINEAR))
