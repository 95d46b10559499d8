"""Which rain is it? One cheap look at every frame, a network's look only when something changed.

A signature (a tiny luma thumbnail and the energy of fine detail) is compared with that of the frame perceived last. The
answer changes only if another pattern wins by a margin for some time; at a cut it counts at once. While another pattern wins,
while fine detail changes, as in a fade, and while the scores change from look to look and the pattern does not lead by far, every frame
is looked at: so the answer is that of looking at every frame throughout.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ..models.spec import DRY, PATTERNS, routed
from ..models.views import look
from .chroma import luma, split
from .errors import OptionError
from .frame import Frame, Plane
from .report import Report

THUMB = (32, 18)
"""Width and height of a signature's thumbnail."""


class Perceiver(Protocol):
    """The part of a runtime that the router uses."""

    def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Routing:
    """Luma differences are in 8-bit code values, ages in seconds.

    moved, detail: what makes a frame differ from the one perceived last: mean difference of the thumbnails, share of the energy.
    steady: the energy is the median of so many frames, since that of rain flickers.
    oldest: age at which perception runs in any case.
    rest: age before which a thumbnail that differs is not looked at again after one that did. It doubles each time, up to half of
    `oldest`, while nothing else calls for a look: a camera that moves would else be looked through all the time.
    shift: change of a score between two looks from which the next frame is looked at too, unless the pattern leads by `sure`: scores of
    rain that comes and goes change all the time.
    margin, wait: by how much of the probability, and for how long, a new pattern must lead; between rain and none half as much is enough.
    cut, jump: a cut is a thumbnail difference from the frame before above `cut` and above `jump` times the recent mean;
    settle: in so many frames after a cut, above four times `cut`.
    """

    moved: float = 16.0
    detail: float = 0.06
    steady: int = 3
    oldest: float = 2.0
    rest: float = 0.1
    shift: float = 0.06
    sure: float = 0.3
    margin: float = 0.2
    wait: float = 0.4
    cut: float = 10.0
    jump: float = 3.0
    settle: int = 4


@dataclass(frozen=True)
class Signature:
    """thumb (18, 32) float32 in 8-bit code values; energy: mean horizontal luma step in the same."""

    thumb: NDArray[np.float32]
    energy: float

    def distance(self, other: Signature) -> float:
        return float(np.abs(self.thumb - other.thumb).mean())

    def sharper(self, other: Signature, limits: Routing) -> bool:
        """Whether fine detail differs."""
        return abs(self.energy - other.energy) > limits.detail * other.energy + 0.2


def signature(y: Plane, peak: int) -> Signature:
    """y: (H, W) uint8 or uint16 up to `peak`. About 144 of its rows are looked at."""
    rows, scale = y[:: max(1, y.shape[0] // 144)], 255 / peak
    thumb = cv2.resize(rows, THUMB, interpolation=cv2.INTER_AREA).astype(np.float32) * scale
    steps = rows[:, 1:].size
    energy = cv2.norm(rows[:, 1:], rows[:, :-1], cv2.NORM_L1) / steps if steps else 0.0
    return Signature(thumb, energy * scale)


class Cuts:
    """Finds scene cuts. Fast motion raises the bar for itself, and just after a cut only a far greater step is another."""

    def __init__(self, limits: Routing) -> None:
        self.limits = limits
        self.last: Signature | None = None
        self.usual = 0.0
        self.since = 0

    def at(self, seen: Signature) -> bool:
        """Whether a shot begins with this frame; the first one does."""
        last, self.last = self.last, seen
        step = seen.distance(last) if last else float("inf")
        self.since += 1
        bar = self.limits.cut if self.since > self.limits.settle else 4 * self.limits.cut
        if step > bar and step > self.limits.jump * self.usual:
            self.usual, self.since = 0.0, 0
            return True
        self.usual = step if self.since == 1 else 0.7 * self.usual + 0.3 * step
        return False


class Router:
    """Decides the pattern of each frame. Counts hits, misses, switches and cuts into the report."""

    def __init__(self, perceiver: Perceiver, report: Report, limits: Routing | None = None) -> None:
        self.perceiver, self.report, self.limits = perceiver, report, limits or Routing()
        self.cuts = Cuts(self.limits)
        self.pattern = ""
        self.rival, self.since = "", 0.0
        self.rest = 0.0
        self.scores: list[float] = []
        self.shifting = False
        self.energies: deque[float] = deque(maxlen=self.limits.steady)
        self.perceived: tuple[Signature, float] | None = None

    def __call__(self, frame: Frame) -> Frame:
        """The frame with its pattern, and whether a shot begins with it."""
        with self.report.clock("perceive"):
            seen = signature(luma(frame), frame.layout.peak)
            cut = self.cuts.at(seen) or frame.cut
            seen = self._steady(seen, cut)
            self.report.cuts += cut and bool(self.pattern)
            if cut or self._stale(seen, frame.seconds) or self._moved(seen, frame.seconds):
                self._perceive(frame, seen, cut)
                self.report.misses += 1
            else:
                self.report.hits += 1
        return frame.replace(pattern=self.pattern, cut=cut)

    def _steady(self, seen: Signature, cut: bool) -> Signature:
        """The same with the usual energy of late."""
        if cut:
            self.energies.clear()
        self.energies.append(seen.energy)
        return replace(seen, energy=float(np.median(self.energies)))

    def _stale(self, seen: Signature, now: float) -> bool:
        """Whether to look whatever moves: then motion is looked at without rest again."""
        assert self.perceived, "the first frame is a cut"
        last, when = self.perceived
        stale = bool(self.rival) or self.shifting or not 0 <= now - when < self.limits.oldest or seen.sharper(last, self.limits)
        self.rest = 0.0 if stale else self.rest
        return stale

    def _moved(self, seen: Signature, now: float) -> bool:
        assert self.perceived, "the first frame is a cut"
        last, when = self.perceived
        moved = now - when >= self.rest and seen.distance(last) > self.limits.moved
        if moved:
            self.rest = min(self.limits.oldest / 2, max(self.limits.rest, 2 * self.rest))
        return moved

    def _perceive(self, frame: Frame, seen: Signature, cut: bool) -> None:
        y, uv = split(frame)
        scores = look(self.perceiver.perceive, y, uv, frame.layout.peak)
        self.perceived = seen, frame.seconds
        shifted = not cut and any(abs(a - b) > self.limits.shift for a, b in zip(scores, self.scores, strict=False))
        self.scores = scores
        best = routed(scores)
        if cut or not self.pattern:
            self.rest = 0.0
            self._switch(best)
        elif best == self.pattern or not self._leads(scores, best):
            self.rival = ""
        elif best != self.rival:
            self.rival, self.since = best, frame.seconds
        elif frame.seconds - self.since >= self.limits.wait:
            self._switch(best)
        self.shifting = shifted and _certainty(scores, self.pattern) < self.limits.sure

    def _leads(self, scores: list[float], best: str) -> bool:
        """Whether `best` leads far enough to be the pattern, in time."""
        share = 0.5 if PATTERNS[0] in (best, self.pattern) else 1.0
        return _lead(scores, best, self.pattern) >= share * self.limits.margin

    def _switch(self, pattern: str) -> None:
        self.report.switches += bool(self.pattern) and pattern != self.pattern
        self.pattern, self.rival = pattern, ""


def _lead(scores: list[float], one: str, other: str) -> float:
    """By how much of the probability `one` leads over `other`, or below 0: from DRY on, and all rain as one, where one of them is `clear`."""
    if PATTERNS[0] in (one, other):
        return 2 * (scores[0] - DRY) * (1 if one == PATTERNS[0] else -1)
    return scores[PATTERNS.index(one)] - scores[PATTERNS.index(other)]


def _certainty(scores: list[float], pattern: str) -> float:
    """By how much `pattern` leads over each of the others, at least."""
    return min(_lead(scores, pattern, other) for other in PATTERNS if other != pattern)


def route(frames: Iterator[Frame], perceiver: Perceiver, report: Report, pattern: str = "auto", limits: Routing | None = None) -> Iterator[Frame]:
    """Frames with their pattern. pattern: one of PATTERNS for all of them, without a look; auto perceives."""
    if pattern == "auto":
        yield from map(Router(perceiver, report, limits), frames)
        return
    if pattern not in PATTERNS:
        raise OptionError(f"pattern {pattern!r} is not known; choose auto or one of {', '.join(PATTERNS)}")
    cuts = Cuts(limits or Routing())
    for frame in frames:
        yield frame.replace(pattern=pattern, cut=cuts.at(signature(luma(frame), frame.layout.peak)) or frame.cut)
