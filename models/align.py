"""Temporal state: the luma of the frames around one frame, aligned with it and sorted at each pixel.

Rain falls anew in every frame, so at most pixels some neighbour shows the dry background. Dense inverse search flow
(Kroeger et al., ECCV 2016; OpenCV's implementation) on thumbnails carries the neighbours over. Rain misleads it, so thumbnails are looked
at twice: first in their rain, of which the darkest of a few pixels side by side and area averaging take most; by that flow every
thumbnail gets state of its own, from one frame on each side, with which it is derained; then flow between those is what counts.
It is estimated once for each pair of frames, from the later to the earlier one, and turned round for the other way. State is pixels
only, so it cannot drift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from .spec import AROUND, NEIGHBOURS, QUALITY

DESCENT = 4
"""Steps that find each patch of the flow."""

SMALLEST = 12
"""Shortest side of a thumbnail, in pixels, on which flow is estimated."""

BAND = 128
"""Rows, about, that are carried over, or sorted, at once: few enough that what they come from stays in the cache."""

WAY = cv2.INTER_LINEAR | cv2.WARP_RELATIVE_MAP
"""Between pixels, too, and flow from where each pixel is."""

SORTERS = {
    NEIGHBOURS: ((0, 1), (2, 3), (0, 2), (1, 3), (1, 2)),
    AROUND: ((0, 5), (1, 3), (2, 4), (1, 2), (3, 4), (0, 3), (2, 5), (0, 1), (2, 3), (4, 5), (1, 2), (3, 4)),
}
"""Sorting networks (Knuth, The Art of Computer Programming 3, 5.3.4): pairs of places that are put in order, by how many planes they sort."""

Plane = NDArray[Any]
"""Luma, (H, W) uint8 or uint16."""

Flow = NDArray[Any]
"""Of a thumbnail, (H, W, 2) float32: (dx, dy) in its pixels."""

Derain = Callable[[Plane, Plane], Plane]
"""Takes the rain out of a thumbnail: luma (H, W) uint8 and its state (4, H, W), as `near` makes it, to luma."""


@dataclass(frozen=True)
class Search:
    """How flow is searched, all in thumbnail pixels. stride: from one of its patches to the next. gain: flow is believed where it brings the local
    mean of the error below this share of what stillness leaves. near: side of the window of that mean. refined: variational refinements."""

    stride: int
    gain: float
    near: int
    refined: int = 0


@dataclass(frozen=True)
class Sight:
    """How finely motion is looked at. lines: of a thumbnail, about (columns, if those are fewer). least: frame pixels along each side of one of
    its pixels, at least. rainy, dry: search on thumbnails as they come, and on those that are derained."""

    lines: int
    least: int
    rainy: Search
    dry: Search

    def scale(self, lines: int) -> int:
        """Frame pixels along each side of a thumbnail pixel, in a picture of so many lines."""
        return max(self.least, round(lines / self.lines))


COARSE = Sight(240, 2, Search(8, 0.8, 31), Search(6, 0.9, 31))
"""For the fast size. Its scale follows the width of rain, which is wider in frames of many lines."""

FINE = Sight(360, 1, Search(8, 0.8, 61), Search(6, 0.9, 31, refined=5))
"""For the large size: motion is found better on larger thumbnails, in a few times the work."""


def sight(size: str) -> Sight:
    """How finely frames are looked at for networks of that size: the large one is for those who can wait."""
    return FINE if size == QUALITY.name else COARSE


def darker(luma: Plane, state: Plane) -> Plane:
    """Derains where no network is at hand: the second darkest of the state wherever that is darker."""
    return cv2.min(luma, state[1])


class Look:
    """A thumbnail, and where its pixels lie in others. Any thread may ask: flow is estimated once, and who asks meanwhile waits."""

    def __init__(self, thumb: Plane, search: Search) -> None:
        self.thumb, self.search = thumb, search
        self._flows: WeakKeyDictionary[Look, Flow | None] = WeakKeyDictionary()
        self._motions: WeakKeyDictionary[Look, Flow] = WeakKeyDictionary()
        self._estimating, self._moving = Lock(), Lock()  # the second is taken under the first, of another look, never the other way

    def flow_to(self, other: Look, later: bool = False) -> Flow | None:
        """Where each pixel of this thumbnail lies in `other`'s: (dx, dy) in thumbnail pixels; None if nothing moves.

        later: `other` comes after this frame.
        """
        with self._estimating:
            if other not in self._flows:
                self._flows[other] = self.estimate(other, later)
            return self._flows[other]

    def estimate(self, other: Look, later: bool) -> Flow | None:
        """What `flow_to` keeps."""
        if min(self.thumb.shape) < SMALLEST:
            return None
        flow = _inverse(other._motion_to(self)) if later else self._motion_to(other)
        return _believed(self.thumb, other.thumb, flow, self.search)

    def _motion_to(self, other: Look) -> Flow:
        """Flow to an earlier frame, before it is asked whether to believe it."""
        with self._moving:
            if other not in self._motions:
                self._motions[other] = _estimator(self.search).calc(self.thumb, other.thumb, None)  # type: ignore[call-overload]
            return self._motions[other]


class Seen:
    """One frame of a temporal window.

    luma: (H, W) uint8, or uint16 with values up to `peak` (2**bits - 1). It is kept, not copied. derain: for its thumbnail. look: how thumbnails
    are looked at. sight: how finely. lines: of the picture that luma is a part of, its own shorter side if 0.
    """

    def __init__(
        self, luma: Plane, peak: int = 255, derain: Derain = darker, look: type[Look] = Look, sight: Sight = COARSE, lines: int = 0
    ) -> None:
        self.luma, self._derain, self._look, self._sight = luma, derain, look, sight
        lines = lines or min(luma.shape)
        self.scale = sight.scale(lines)
        dark = cv2.erode(luma, np.ones((1, COARSE.scale(lines) + 1), np.uint8))  # without what is bright and thin
        self.rainy = look(_thumbnail(dark, self.scale, peak), sight.rainy)
        self._small = _thumbnail(luma, self.scale, peak)
        self._dry: dict[tuple[bool, bool], Look] = {}
        self._deraining = Lock()

    def dry(self, before: Seen | None, after: Seen | None) -> Look:
        """The look at its derained thumbnail, made once. before, after: the frames beside it in its shot."""
        with self._deraining:
            key = before is not None, after is not None
            if key not in self._dry:
                tiny = min(self._small.shape) < SMALLEST
                self._dry[key] = self._look(self._small if tiny else self._derain(self._small, self._state(before, after)), self._sight.dry)
            return self._dry[key]

    def _state(self, before: Seen | None, after: Seen | None) -> Plane:
        planes = [self._small] * (NEIGHBOURS - 2)
        for other, later in ((before, False), (after, True)):
            flow = self.rainy.estimate(other.rainy, later) if other else None  # once each: not kept
            small = other._small if other else self._small
            planes.append(small if flow is None else _moved(small, flow))
        return _sorted(planes)


Source = tuple[Seen, Flow | None]
"""A frame, and where the pixels of another one's thumbnail lie in its own; None: where they are."""


def near(window: Sequence[Seen], centre: int, before: int = AROUND, after: int = AROUND) -> Plane:
    """Aligned state of `window[centre]`: (4, H, W) in its dtype, sorted at each pixel from dark to bright. Arguments as of `sources`."""
    planes = [seen.luma if flow is None else _carried(seen.luma, flow, seen.scale) for seen, flow in sources(window, centre, before, after)]
    return _sorted(planes)


def sources(window: Sequence[Seen], centre: int, before: int = AROUND, after: int = AROUND) -> list[Source]:
    """NEIGHBOURS or AROUND frames that make the state of `window[centre]`, each with the flow from there to it.

    window: consecutive frames of one shot with the same size. before, after: how many of those on either side may be used; what lies beyond
    shows how their thumbnails look without rain. If there are AROUND // 2 on each side, so many are used, and the darkest and the brightest are
    left out at each pixel; else those that are no further than NEIGHBOURS allow: far ones come with more error. The frame itself stands in
    for every neighbour that the window lacks. after = 0, as in live streams: thumbnails are derained by what came before them alone, once each.
    """
    count = min(before, centre), min(after, len(window) - 1 - centre)
    reach = AROUND // 2 if min(count) >= AROUND // 2 else NEIGHBOURS // 2 if min(count) else NEIGHBOURS
    ahead = after > 0
    found = _chain(window, centre, -1, min(reach, count[0]), ahead) + _chain(window, centre, 1, min(reach, count[1]), ahead)
    return found + [(window[centre], None)] * (NEIGHBOURS - len(found))


def _chain(window: Sequence[Seen], centre: int, step: int, count: int, ahead: bool) -> list[Source]:
    """`count` frames, each one `step` further from the centre. ahead: thumbnails see what comes after them."""
    found: list[Source] = []
    flow = None
    for place in range(centre + step, centre + step * (count + 1), step):
        flow = _compose(flow, _dry(window, place - step, ahead).flow_to(_dry(window, place, ahead), later=step > 0))
        found.append((window[place], flow))
    return found


def _dry(window: Sequence[Seen], place: int, ahead: bool) -> Look:
    before = window[place - 1] if place else None
    return window[place].dry(before, window[place + 1] if ahead and place + 1 < len(window) else None)


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
    whole = luma[: size[1] * scale, : size[0] * scale]  # what fills thumbnail pixels
    small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
    return small if small.dtype == np.uint8 else cv2.convertScaleAbs(small, alpha=255 / peak)


def _estimator(search: Search) -> cv2.DISOpticalFlow:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(0)
    dis.setGradientDescentIterations(DESCENT)
    dis.setPatchStride(search.stride)
    dis.setVariationalRefinementIterations(search.refined)
    return dis


def _believed(a: Plane, b: Plane, flow: Flow, search: Search) -> Flow | None:
    """Flow from a to b where it explains more than stillness does; None if all is still."""
    moved, still = (cv2.boxFilter(cv2.absdiff(a, there), cv2.CV_32F, (search.near, search.near)) for there in (_moved(b, flow), b))
    share = cv2.blur(cv2.compare(moved, search.gain * still, cv2.CMP_LT), (5, 5))
    return cv2.multiply(flow, cv2.merge((share, share)), scale=1 / 255, dtype=cv2.CV_32F) if share.any() else None


def _inverse(flow: Flow) -> Flow:
    """The flow back, to first order: what goes back is looked up where the flow leads to. Errors are not believed later."""
    back: Flow = -_moved(flow, -flow)
    return back


def _compose(first: Flow | None, second: Flow | None) -> Flow | None:
    """The flow that takes `first` and then `second`."""
    if first is None or second is None:
        return second if first is None else first
    total: Flow = first + _moved(second, first)
    return total


def _moved(image: NDArray[Any], flow: Flow) -> NDArray[Any]:
    """`image`, of a thumbnail's size, drawn from where `flow` points; beyond its edges its pixels repeat."""
    return cv2.remap(image, flow, None, WAY, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload,no-any-return]


def _carried(luma: Plane, flow: Flow, scale: int) -> Plane:
    """`luma` drawn from where `flow`, of its thumbnail, points; rows that nothing moves in are copied."""
    height, width = luma.shape
    moving = np.atleast_1d(flow.reshape(len(flow), -1).any(axis=1)).tolist()
    across, down = cv2.split(cv2.copyMakeBorder(scale * flow, 1, 2, 1, 2, cv2.BORDER_REPLICATE))  # for rows and columns that fill no thumbnail pixel
    out = np.empty_like(luma)
    step = max(1, BAND // scale) * scale
    for top in range(0, height, step):
        rows = slice(top // scale, (top + step) // scale + 2)
        band = out[top : top + step]
        if not any(moving[max(0, rows.start - 1) : rows.stop]):
            band[:] = luma[top : top + step]
            continue
        x, y = (_enlarged(part, scale)[: len(band), :width] for part in (across[rows], down[rows] + np.float32(top)))
        cv2.remap(luma, x, y, WAY, band, borderMode=cv2.BORDER_REPLICATE)
    return out


def _enlarged(part: Plane, scale: int) -> Plane:
    """Rows of flow for each luma pixel, without the border above and on the left."""
    height, width = part.shape
    return cv2.resize(part, (width * scale, height * scale), interpolation=cv2.INTER_LINEAR)[scale:, scale:]
