"""Temporal state: the luma of the frames around one frame, aligned with it and sorted at each pixel.

Rain falls anew in every frame, so at most pixels some neighbour shows the dry background. Dense inverse search flow
(Kroeger et al., ECCV 2016; OpenCV's implementation) on thumbnails carries the neighbours over. The darkest of a few pixels
side by side, and area averaging to that size, take most of the rain away before the flow sees it. It is estimated once for each pair
of frames, from the later to the earlier one, and turned round for the other way. State is pixels only, so it cannot drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from .spec import AROUND, NEIGHBOURS

LINES = 240
"""Lines of a thumbnail, about (columns, if those are fewer), but at most half of the frame's: rain is wider in frames of many lines."""

STRIDE, DESCENT, SMOOTHING = 6, 4, 1
"""Thumbnail pixels from one patch of the flow to the next, steps that find each, and steps that smooth them all: rain makes them differ."""

SMALLEST = 12
"""Shortest side of a thumbnail, in pixels, on which flow is estimated."""

GAIN = 0.85
"""Flow is believed where it brings the local mean of the error below this share of what was believed before, and matches more pixels better."""

REGION = 61
"""Side of the window, in thumbnail pixels, over whose mean a region moves as one: rain misleads that less."""

NEAR, WIDE = 31, 21
"""Sides of the windows of that mean and that count, in thumbnail pixels. A streak weighs in the count no more than what is dim."""

LEAD = 0.05
"""Share of the window's pixels by which those that match better outnumber those that match worse."""

BAND = 128
"""Rows, about, that are carried over, or sorted, at once: few enough that what they come from stays in the cache."""

SORTERS = {
    NEIGHBOURS: ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)),
    AROUND: ((0, 5), (1, 3), (2, 4), (1, 2), (3, 4), (0, 3), (2, 5), (0, 1), (2, 3), (4, 5), (1, 2), (3, 4)),
}
"""Sorting networks (Knuth, The Art of Computer Programming 3, 5.3.4): pairs of places that are put in order, by how many planes they sort."""

Plane = NDArray[Any]
"""Luma, (H, W) uint8 or uint16."""

Flow = NDArray[Any]
"""Of a thumbnail, (H, W, 2) float32: (dx, dy) in its pixels."""


class Seen:
    """One frame of a temporal window.

    luma: (H, W) uint8, or uint16 with values up to `peak` (2**bits - 1). It is kept, not copied. Any thread may ask for flow: it is
    estimated once, and who asks meanwhile waits.
    """

    def __init__(self, luma: Plane, peak: int = 255) -> None:
        self.luma = luma
        self.scale = max(2, round(min(luma.shape) / LINES))
        self.thumb = _thumbnail(luma, self.scale, peak)
        self._flows: WeakKeyDictionary[Seen, Flow | None] = WeakKeyDictionary()
        self._motions: WeakKeyDictionary[Seen, Flow] = WeakKeyDictionary()
        self._estimating, self._moving = Lock(), Lock()  # the second is taken under the first, of another frame, never the other way

    def flow_to(self, other: Seen, later: bool = False) -> Flow | None:
        """Where each pixel of this thumbnail lies in `other`'s: (dx, dy) in thumbnail pixels; None if nothing moves.

        later: `other` comes after this frame.
        """
        with self._estimating:
            if other not in self._flows:
                self._flows[other] = self.estimate(other, later)
            return self._flows[other]

    def estimate(self, other: Seen, later: bool) -> Flow | None:
        """What `flow_to` keeps."""
        if min(self.thumb.shape) < SMALLEST:
            return None
        flow = _inverse(other._motion_to(self)) if later else self._motion_to(other)
        return _believed(self.thumb, other.thumb, flow)

    def _motion_to(self, other: Seen) -> Flow:
        """Flow to an earlier frame, before it is asked whether to believe it."""
        with self._moving:
            if other not in self._motions:
                self._motions[other] = _estimator().calc(self.thumb, other.thumb, None)  # type: ignore[call-overload]
            return self._motions[other]


def near(window: Sequence[Seen], centre: int) -> Plane:
    """Aligned state of `window[centre]`: (4, H, W) in its dtype, sorted at each pixel from dark to bright.

    window: consecutive frames of one shot with the same size; at most AROUND of them beside the centre. If those are as many before
    it as after it, all are used, and the darkest and the brightest are left out at each pixel; else those that are no further than NEIGHBOURS
    allow: far ones come with more error. The frame itself stands in for every neighbour that the window lacks.
    """
    if len(window) > AROUND + 1:
        raise ValueError(f"a window of {len(window)} frames: at most {AROUND + 1} are used")
    frame, before, after = window[centre], window[:centre][::-1], window[centre + 1 :]
    if len(before) == len(after) == AROUND // 2:
        return _sorted(_chain(frame, before, later=False) + _chain(frame, after, later=True))
    reach = NEIGHBOURS // 2 if before and after else NEIGHBOURS
    planes = _chain(frame, before[:reach], later=False) + _chain(frame, after[:reach], later=True)
    return _sorted(planes + [frame.luma] * (NEIGHBOURS - len(planes)))


def _chain(frame: Seen, others: Sequence[Seen], later: bool) -> list[Plane]:
    """Luma of `others`, each one step further from `frame`, carried over to it."""
    planes, flow, last = [], None, frame
    for other in others:
        flow = _compose(flow, last.flow_to(other, later))
        planes.append(other.luma if flow is None else _carried(other.luma, flow, other.scale))
        last = other
    return planes


def _sorted(planes: Sequence[Plane]) -> Plane:
    """NEIGHBOURS or AROUND planes, sorted at each pixel; of AROUND the middle ones: (4, H, W)."""
    out = np.empty((NEIGHBOURS, *planes[0].shape), planes[0].dtype)
    least = (len(planes) - NEIGHBOURS) // 2
    for top in range(0, out.shape[1], BAND):
        parts = [plane[top : top + BAND] for plane in planes]
        for low, high in SORTERS[len(planes)]:
            parts[low], parts[high] = cv2.min(parts[low], parts[high]), cv2.max(parts[low], parts[high])
        np.stack(parts[least : least + NEIGHBOURS], out=out[:, top : top + BAND])
    return out


def _thumbnail(luma: Plane, scale: int, peak: int) -> Plane:
    height, width = luma.shape
    size = (max(1, width // scale), max(1, height // scale))
    dry = cv2.erode(luma, np.ones((1, scale + 1), np.uint8))  # without what is bright and thin
    whole = dry[: size[1] * scale, : size[0] * scale]  # what fills thumbnail pixels
    small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
    return small if small.dtype == np.uint8 else cv2.convertScaleAbs(small, alpha=255 / peak)


def _estimator() -> cv2.DISOpticalFlow:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(0)
    dis.setGradientDescentIterations(DESCENT)
    dis.setPatchStride(STRIDE)
    dis.setVariationalRefinementIterations(SMOOTHING)
    return dis


def _believed(a: Plane, b: Plane, flow: Flow) -> Flow | None:
    """Flow from a to b where it explains more than its region's does, that where it explains more than stillness; None if all is still."""
    believed, error = np.zeros_like(flow), cv2.absdiff(a, b)
    for candidate in (cv2.blur(flow, (REGION, REGION)), flow):
        moved = cv2.absdiff(a, _moved(b, candidate))
        better = _better(moved, error)
        share = cv2.blur(better.astype(np.float32), (5, 5))
        believed = cv2.blendLinear(candidate, believed, share, 1 - share)
        cv2.copyTo(moved, better, error)
    return believed if believed.any() else None


def _inverse(flow: Flow) -> Flow:
    """The flow back, to first order: what goes back is looked up where the flow leads to. Errors are not believed later."""
    back: Flow = -_moved(flow, -flow)
    return back


def _better(moved: Plane, before: Plane) -> Plane:
    """Where the errors of flow are smaller than those of what was believed before, rain apart; (H, W) uint8 each: 1 or 0."""
    mean_moved, mean_before = (cv2.blur(error.astype(np.float32), (NEAR, NEAR)) for error in (moved, before))
    gained, lost = (cv2.blur(cv2.compare(moved, before, way), (WIDE, WIDE)) for way in (cv2.CMP_LT, cv2.CMP_GT))
    better = (mean_moved < GAIN * mean_before) & (cv2.subtract(gained, lost) > 255 * LEAD)
    return better.astype(np.uint8)


def _compose(first: Flow | None, second: Flow | None) -> Flow | None:
    """The flow that takes `first` and then `second`."""
    if first is None or second is None:
        return second if first is None else first
    total: Flow = first + _moved(second, first)
    return total


def _moved(image: NDArray[Any], flow: Flow) -> NDArray[Any]:
    """`image`, of a thumbnail's size, drawn from where `flow` points."""
    return _drawn(image, flow + _grid(*flow.shape[:2]))


def _carried(luma: Plane, flow: Flow, scale: int) -> Plane:
    """`luma` drawn from where `flow`, of its thumbnail, points; rows that nothing moves in are copied."""
    height, width = luma.shape
    places = _places(flow, scale)
    moving = np.atleast_1d(flow.reshape(len(flow), -1).any(axis=1)).tolist()
    out = np.empty_like(luma)
    step = max(1, BAND // scale) * scale
    for top in range(0, height, step):
        rows = slice(top // scale, (top + step) // scale + 2)
        band = out[top : top + step]
        if not any(moving[max(0, rows.start - 1) : rows.stop]):
            band[:] = luma[top : top + step]
            continue
        _drawn(luma, _enlarged(places[rows], scale)[: len(band), :width], band)
    return out


def _places(flow: Flow, scale: int) -> Flow:
    """Where the luma under each thumbnail pixel comes from, in luma pixels, past its edges too: what is enlarged from it is then
    right to the edges of the picture, rows and columns included that do not fill a thumbnail pixel."""
    wide = cv2.copyMakeBorder(flow, 1, 2, 1, 2, cv2.BORDER_REPLICATE)
    places: Flow = scale * (wide + _grid(*wide.shape[:2])) + ((scale - 1) / 2 - scale)
    return places


def _enlarged(places: Flow, scale: int) -> Flow:
    """Rows of `_places` for each luma pixel, without the border above and on the left."""
    height, width = places.shape[:2]
    return cv2.resize(places, (width * scale, height * scale), interpolation=cv2.INTER_LINEAR)[scale:, scale:]


def _drawn(image: NDArray[Any], places: Flow, out: NDArray[Any] | None = None) -> NDArray[Any]:
    """`image` at places (x, y), between its pixels too; beyond its edges they repeat."""
    return cv2.remap(image, places, None, cv2.INTER_LINEAR, out, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload,no-any-return]


@lru_cache(maxsize=4)
def _grid(height: int, width: int) -> Flow:
    """Where each pixel is: (H, W, 2) float32, (x, y). Kept for the thumbnail, and for one with a border."""
    grid = np.empty((height, width, 2), np.float32)
    grid[..., 0] = np.arange(width)
    grid[..., 1] = np.arange(height)[:, None]
    return grid
