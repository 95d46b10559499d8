"""The stage that takes the rain out: a window of the shot around each frame, one sub-network, nothing else touched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from ..export.runtime.base import Runtime
from ..models.align import Derain, Flow, Seen, Sight, near, sight, sources
from ..models.planes import crop, gray, pad
from ..models.spec import AROUND, FAST, NEIGHBOURS, PAST, STILL
from . import tiles
from .ahead import spread
from .chroma import luma, merge, split
from .frame import Frame, Plane
from .reduced import Clean, Planes, enlarged, fold, reduced, reduced_chroma
from .report import Report

if TYPE_CHECKING:
    from .resident import Resident

BEFORE, AFTER = AROUND // 2, AROUND // 2
"""Frames that state is drawn from in files. Live: 4 before and none after, so that nothing waits."""

BEYOND = 1
"""Frames more in a window, on a side that has any: they show how the last of those look without rain."""

LARGE = 900
"""Lines, or columns if those are fewer, from which a frame without neighbours is derained again at half its size: there the widest rain
is as its network knows it. What has neighbours loses more detail by that than rain."""

SURE = 0.016
"""Share of the pixels that must surely be rain at half the size, or the frame stays as it is: detail would be all that is lost."""

DONE = "done before"
"""Stands for the pattern of frames that an earlier run has derained."""


class Held:
    """A frame in a window, prepared as a neighbour only if it becomes one. by: it is derained at 1/by of its size. derain: for its thumbnail.
    sight: how finely it is looked at."""

    def __init__(self, frame: Frame, derain: Derain, sight: Sight, by: int = 1) -> None:
        self.frame, self.by = frame, by
        self._derain, self._sight = derain, sight
        self._seen: Seen | None = None
        self._preparing = Lock()

    @property
    def seen(self) -> Seen:
        """The same for all threads that align."""
        with self._preparing:
            if not self._seen:
                self._seen = Seen(reduced(luma(self.frame), self.by), self.frame.layout.peak, self._derain, sight=self._sight)
            return self._seen


def held(frame: Frame, runtime: Runtime, live: bool = False, whole: bool = False, half: bool = False) -> Held:
    """A frame that is reduced if it has very many lines. whole: it is not. half: to half of that. live: as of `network`."""
    by = 1 if whole else fold(frame.height, frame.width)
    return Held(frame, thumbnails(runtime, frame.pattern, live), sight(runtime.model), 2 * by if half else by)


def thumbnails(runtime: Runtime, pattern: str, live: bool) -> Derain:
    """Takes the rain out of thumbnails, which are gray, of frames with that pattern, by a fast network. live: as of `network`."""

    def derain(small: Plane, state: Plane) -> Plane:
        if pattern == "clear":
            return small
        clean = runtime.derain(network(pattern, NEIGHBOURS, live), *gray(small, state), 255, FAST.name)
        return np.ascontiguousarray(crop(clean.y, *small.shape)[0])

    return derain


def windows(
    frames: Iterator[Frame], runtime: Runtime, before: int = BEFORE, after: int = AFTER, whole: bool = False
) -> Iterator[tuple[list[Held], int]]:
    """For each frame its window and its place in it: up to `before` + 1 + `after` frames of one shot, in order, and those BEYOND.

    whole: as of `held`.
    """
    live = not after
    before, after = (count and count + BEYOND for count in (before, after))
    shot: list[Held] = []
    at = 0
    for frame in frames:
        if frame.cut:
            yield from _rest(shot, at, before)
            shot, at = [], 0
        shot.append(held(frame, runtime, live, whole))
        if len(shot) - at > after:
            yield list(shot), at
            at += 1
        if at > before:
            del shot[0]
            at -= 1
    yield from _rest(shot, at, before)


def _rest(shot: list[Held], at: int, before: int) -> Iterator[tuple[list[Held], int]]:
    """Windows of the last frames of a shot, which have fewer frames after them."""
    for place in range(at, len(shot)):
        first = max(0, place - before)
        yield shot[first:], place - first


@dataclass(frozen=True)
class Ready:
    """A frame with what its network takes: padded y, uv and near; None for `clear`. number: of the frame.

    planes: its y and uv; small: the same at the size at which it is derained, unpadded. network: its sub-network, one of NETWORKS.
    sources: in place of all planes where the frame is on the GPU, what its state is made of there; scale: frame pixels of flow's.
    """

    frame: Frame
    number: int
    planes: Planes | None = None
    small: Planes | None = None
    padded: tuple[Plane, Plane, Plane] | None = None
    network: str = ""
    sources: tuple[tuple[Resident, Flow | None], ...] = ()
    scale: int = 1


def derain(
    frames: Iterator[Frame],
    runtime: Runtime,
    report: Report,
    before: int = BEFORE,
    after: int = AFTER,
    keep: bool = False,
    by_pattern: bool = False,
    whole: bool = False,
) -> Iterator[Frame]:
    """Clean frames, in order, with their mask. Frames routed to `clear` are the very frames that came, and no network runs.

    before, after: neighbours that a frame may draw on, at most AROUND in all. keep: clean frames carry the rainy one in `before`.
    by_pattern: every frame goes to the sub-network of its pattern; else see `network`. whole: as of `held`.
    """
    return restore(align(frames, runtime, report, before, after, by_pattern=by_pattern, whole=whole), runtime, report, keep)


def align(
    frames: Iterator[Frame],
    runtime: Runtime,
    report: Report,
    before: int = BEFORE,
    after: int = AFTER,
    done: int = 0,
    by_pattern: bool = False,
    whole: bool = False,
    workers: int = 1,
) -> Iterator[Ready]:
    """The first half of derain, which asks the network about thumbnails alone.

    done: so many frames from the first on are passed on as DONE. whole: as of `held`.
    workers: threads that align, each a frame; so many frames more are taken before the first is given, less one.
    """

    def work(number: int, window: list[Held], at: int) -> Ready:
        frame = window[at].frame
        if number < done:
            return Ready(frame.replace(pattern=DONE), number)
        if frame.pattern == "clear":
            return Ready(frame, number)
        with report.clock("align", number):
            return aligned(window, at, before, after, number, by_pattern)

    return spread((partial(work, number, *each) for number, each in enumerate(windows(frames, runtime, before, after, whole))), workers)


def restore(aligned: Iterator[Ready], runtime: Runtime, report: Report, keep: bool = False) -> Iterator[Frame]:
    """The second half of derain."""
    for ready in aligned:
        frame = ready.frame
        report.pattern = frame.pattern
        report.patterns[frame.pattern] += 1
        if ready.padded or ready.sources:
            with report.clock("derain", ready.number):
                frame = restored(ready, runtime)
        yield frame.replace(before=ready.frame) if keep else frame


def clean(window: list[Held], at: int, runtime: Runtime) -> Frame:
    """One frame of a live stream without its rain."""
    return restored(aligned(window, at, NEIGHBOURS, 0), runtime)


def aligned(window: list[Held], at: int, before: int, after: int, number: int = 0, by_pattern: bool = False) -> Ready:
    """The frame in place `at` of its window, ready for its network. before, after, by_pattern: as of `derain`; number: of the frame."""
    frame, by = window[at].frame, window[at].by
    seen = [each.seen for each in window]
    chosen = frame.pattern if by_pattern else network(frame.pattern, len(window) - 1, live=not after)
    there = {each.seen: each.frame.resident for each in window if each.frame.resident}
    if len(there) == len(window) > 1:
        found = tuple((there[each], flow) for each, flow in sources(seen, at, before, after))
        return Ready(frame, number, network=chosen, sources=found, scale=seen[at].scale)
    y, uv = split(frame)
    small = seen[at].luma, reduced_chroma(y, uv, by)
    return Ready(frame, number, (y, uv), small, pad(*small, near(seen, at, before, after)), chosen)


def network(pattern: str, neighbours: int, live: bool) -> str:
    """The sub-network of a frame: STILL's without neighbours, PAST's where no window looks ahead, else its pattern's."""
    if not neighbours:
        return STILL
    return PAST if live else pattern


def restored(ready: Ready, runtime: Runtime) -> Frame:
    """The clean frame, with its mask, of one that is no `clear`."""
    frame, peak = ready.frame, ready.frame.layout.peak
    if frame.resident and ready.sources:
        return frame.replace(planes=(), picture=None, resident=frame.resident.derained(runtime, ready.network, ready.sources, ready.scale))
    assert ready.planes and ready.small and ready.padded
    clean = _asked(runtime, ready.network, ready.small, ready.padded, peak)
    if ready.network == STILL:
        clean = _again(runtime, clean, ready.small[1], peak)
    if ready.small[0].shape != ready.planes[0].shape:
        clean = enlarged(ready.planes, ready.small, clean, peak)
    return frame.replace(planes=merge(frame, ready.planes[1], *clean), mask=clean[2], picture=None, resident=None)


def _asked(runtime: Runtime, network: str, planes: Planes, padded: tuple[Plane, Plane, Plane], peak: int) -> Clean:
    y, uv = planes
    result = tiles.derain(runtime, network, *padded, peak)
    return crop(result.y, *y.shape)[0], crop(result.uv, *uv.shape[1:]), crop(result.mask, *y.shape)[0]


def _again(runtime: Runtime, clean: Clean, rainy: Plane, peak: int) -> Clean:
    """A frame without neighbours that is derained, again at half its size, and so on while that is large. rainy: its chroma before, by
    which the network finds what rain is left."""
    y, uv, mask = clean
    if min(y.shape) < LARGE:
        return clean
    small = reduced(y, 2), reduced_chroma(y, rainy, 2)
    found = _asked(runtime, STILL, small, pad(*small, np.stack([small[0]] * NEIGHBOURS)), peak)
    if np.mean(found[2] > 127) < SURE:
        return clean
    *planes, wide = enlarged((y, uv), small, _again(runtime, found, small[1], peak), peak)
    return planes[0], planes[1], np.maximum(mask, wide)
