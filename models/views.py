"""What perception looks at: crops at native resolution, where thin rain survives, and the whole frame, where veil shows.

A frame of many lines is looked at again at half its size: there rain is wide, and a crop shows little of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 224
"""Side of a view in pixels, CLIP's own."""

PLACES = ((0.5, 0.5), (0.15, 0.2), (0.85, 0.2), (0.5, 0.8))
"""Where the native crops lie: (x, y) as a share of the room that the frame leaves for them."""

MANY = 540
"""Lines, or columns if those are fewer, from which a frame is looked at again at half its size."""

Planes = NDArray[Any]
"""uint8 or uint16."""

Eye = Callable[[NDArray[np.uint8]], Sequence[float] | NDArray[np.float32]]
"""Perception: views (N, 3, SIDE, SIDE) uint8 RGB in, the score of each pattern out."""


def look(eye: Eye, y: Planes, uv: Planes, peak: int = 255) -> list[float]:
    """The score of each of PATTERNS for one frame, with sum 1: of the size, among its own and its halves, that looks least like `clear`.

    y, uv, peak: as of `views`.
    """
    found = [float(score) for score in eye(views(y, uv, peak))]
    if min(y.shape) < MANY:
        return found
    return min(found, look(eye, *_halved(y, uv), peak), key=lambda each: each[0])


def _halved(y: Planes, uv: Planes) -> tuple[Planes, Planes]:
    """A frame at half its size, each way rounded down to even."""
    height, width = (side // 4 for side in y.shape)
    u, v = (cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in uv)
    return cv2.resize(y, (2 * width, 2 * height), interpolation=cv2.INTER_AREA), np.stack([u, v])


def views(y: Planes, uv: Planes, peak: int = 255) -> NDArray[np.uint8]:
    """Views of one frame for perception: (N, 3, SIDE, SIDE) uint8 RGB, N - 1 native crops and the whole frame last.

    y: (H, W); uv: (2, ceil(H/2), ceil(W/2)), uint8 or uint16 up to `peak` = 2**bits - 1. Y'CbCr is read as BT.601 video range:
    perception needs no exact colour. A frame smaller than a view is enlarged to one by repeating its edge.
    """
    frame = _planes(y, uv, peak)
    height, width = frame[0].shape
    spots = [_spot(place, height, width) for place in PLACES]
    shots = [_crop(frame, *spot) for spot in dict.fromkeys(spots)]
    shots.append(_whole(frame))
    return np.stack([np.ascontiguousarray(shot.transpose(2, 0, 1)) for shot in shots])


def _planes(y: Planes, uv: Planes, peak: int) -> tuple[Planes, Planes, Planes]:
    def byte(plane: Planes) -> Planes:
        return plane if plane.dtype == np.uint8 else cv2.convertScaleAbs(plane, alpha=255 / peak)

    return byte(y), byte(uv[0]), byte(uv[1])


def _spot(place: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    """Even top left corner of a native crop."""
    x, y = (int(max(0, room - SIDE) * share) // 2 * 2 for room, share in zip((width, height), place, strict=True))
    return y, x


def _crop(frame: tuple[Planes, ...], top: int, left: int) -> Planes:
    luma = frame[0][top : top + SIDE, left : left + SIDE]
    chroma = [p[top // 2 : (top + SIDE) // 2, left // 2 : (left + SIDE) // 2] for p in frame[1:]]
    return _rgb(_fill(luma, SIDE), *(_fill(p, SIDE // 2) for p in chroma))


def _fill(plane: Planes, side: int) -> Planes:
    height, width = plane.shape
    return cv2.copyMakeBorder(plane, 0, side - height, 0, side - width, cv2.BORDER_REPLICATE)


def _whole(frame: tuple[Planes, ...]) -> Planes:
    luma, *chroma = frame
    small = [cv2.resize(p, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA) for p in chroma]
    return _rgb(cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA), *small)


def _rgb(y: Planes, u: Planes, v: Planes) -> Planes:
    packed = np.concatenate([y.reshape(-1), u.reshape(-1), v.reshape(-1)]).reshape(SIDE * 3 // 2, SIDE)
    return cv2.cvtColor(packed, cv2.COLOR_YUV2RGB_I420)
