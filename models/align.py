"""Temporal state: the luma of the frames around one frame, aligned with it and sorted at each pixel.

Rain falls anew in every frame, so at most pixels some neighbour shows the dry background. Dense inverse search flow
(Kroeger et al., ECCV 2016; OpenCV's implementation) at quarter resolution carries the neighbours over; area averaging
to that size takes most of the rain away before the flow sees it. State is pixels only, so it cannot drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from .spec import NEIGHBOURS

SCALE = 4
"""Luma pixels per flow pixel, each way."""

SMALLEST = 12
"""Shortest side of a thumbnail, in pixels, on which flow is estimated."""

GAIN = 0.85
"""Flow is believed where it brings the local mean of the matching error below this share of the error without motion, and lowers its median."""

NEAR, WIDE = 9, 21
"""Sides of the windows of that mean and that median, in thumbnail pixels. Streaks that fill less than half of a window do not move its median."""

Plane = NDArray[Any]
"""Luma, (H, W) uint8 or uint16."""

Flow = NDArray[Any]
"""(H/4, W/4, 2) float32, (dx, dy) in thumbnail pixels."""


class Seen:
    """One frame of a temporal window.

    luma: (H, W) uint8, or uint16 with values up to `peak` (2**bits - 1). It is kept, not copied.
    """

    def __init__(self, luma: Plane, peak: int = 255) -> None:
        self.luma = luma
        self.thumb = _thumbnail(luma, peak)
        self._flows: WeakKeyDictionary[Seen, Flow | None] = WeakKeyDictionary()

    def flow_to(self, other: Seen) -> Flow | None:
        """Where each pixel of this thumbnail lies in `other`'s: (H/4, W/4, 2) float32, (dx, dy); None if nothing moves."""
        if other not in self._flows:
            self._flows[other] = self.estimate(other)
        return self._flows[other]

    def estimate(self, other: Seen) -> Flow | None:
        """What `flow_to` keeps."""
        return _flow(self.thumb, other.thumb)


def near(window: Sequence[Seen], centre: int) -> Plane:
    """Aligned state of `window[centre]`: (4, H, W) in its dtype, sorted at each pixel from dark to bright.

    window: consecutive frames of one shot with the same size; at most NEIGHBOURS of them beside the centre.
    The frame itself stands in for every neighbour that the window lacks.
    """
    if len(window) > NEIGHBOURS + 1:
        raise ValueError(f"a window of {len(window)} frames: at most {NEIGHBOURS + 1} are used")
    frame = window[centre]
    before = _chain(frame, window[:centre][::-1])
    after = _chain(frame, window[centre + 1 :])
    planes = before + after + [frame.luma] * (NEIGHBOURS + 1 - len(window))
    return _sorted(planes)


def _chain(frame: Seen, others: Sequence[Seen]) -> list[Plane]:
    """Luma of `others`, each one step further from `frame`, carried over to it."""
    planes, flow, last = [], None, frame
    for other in others:
        flow = _compose(flow, last.flow_to(other))
        planes.append(other.luma if flow is None else _warp(other.luma, flow))
        last = other
    return planes


def _sorted(planes: list[Plane]) -> Plane:
    """Sorting network for four planes, at each pixel: (4, H, W)."""
    a, b, c, d = planes
    out = np.empty((len(planes), *a.shape), a.dtype)
    a, b = cv2.min(a, b), cv2.max(a, b)
    c, d = cv2.min(c, d), cv2.max(c, d)
    cv2.min(a, c, out[0])
    c = cv2.max(a, c)
    cv2.max(b, d, out[3])
    b = cv2.min(b, d)
    cv2.min(b, c, out[1])
    cv2.max(b, c, out[2])
    return out


def _thumbnail(luma: Plane, peak: int) -> Plane:
    height, width = luma.shape
    size = (max(1, width // SCALE), max(1, height // SCALE))
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    return small if small.dtype == np.uint8 else cv2.convertScaleAbs(small, alpha=255 / peak)


def _estimator() -> cv2.DISOpticalFlow:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(0)
    dis.setGradientDescentIterations(8)
    return dis


def _flow(a: Plane, b: Plane) -> Flow | None:
    """Flow from a to b, zero where it explains no more than stillness does; None if it is zero all over."""
    if min(a.shape) < SMALLEST:
        return None
    flow = _estimator().calc(a, b, None)  # type: ignore[call-overload]
    believed = _better(cv2.absdiff(a, _warp(b, flow, 1)), cv2.absdiff(a, b))
    if not believed.any():
        return None
    smooth: Flow = flow * cv2.blur(believed.astype(np.float32), (5, 5))[..., None]
    return smooth


def _better(moved: Plane, still: Plane) -> Plane:
    """Where the errors of flow are smaller than those without motion, rain apart; (H, W) uint8 each."""
    mean_moved, mean_still = (cv2.blur(error.astype(np.float32), (NEAR, NEAR)) for error in (moved, still))
    better: Plane = (mean_moved < GAIN * mean_still) & (cv2.medianBlur(moved, WIDE) < cv2.medianBlur(still, WIDE))
    return better


def _compose(first: Flow | None, second: Flow | None) -> Flow | None:
    """The flow that takes `first` and then `second`."""
    if first is None or second is None:
        return second if first is None else first
    total: Flow = first + _warp(second, first, 1)
    return total


def _warp(image: NDArray[Any], flow: Flow, scale: int = SCALE) -> NDArray[Any]:
    """`image` drawn from where `flow`, at 1/scale of its resolution, points."""
    height, width = image.shape[:2]
    moves = cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR) if scale != 1 else flow
    places = cv2.scaleAdd(moves, scale, _grid(height, width))
    return cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload, no-any-return]


@lru_cache(maxsize=2)
def _grid(height: int, width: int) -> Flow:
    """Where each pixel is: (H, W, 2) float32, (x, y). Kept for the frame and its thumbnail."""
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width)
    grid[..., 1] = np.arange(height)[:, None]
    return grid
