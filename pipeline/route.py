"""Which rain is it? One cheap look at every frame, a network's look only when something changed.

A signature (a tiny luma thumbnail and the energy of fine detail) is compared with that of the frame perceived last. The
answer changes only if another pattern wins by a margin for some time; at a cut, and throughout a fade, it counts at once. In a fade, while
another pattern wins, while fine detail changes, and while the scores change so much from look to look that another may soon win, every
frame is looked at: so the answer is that of looking at every frame throughout.
"""

from __future__ import annotations

import math
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

    moved, detail: what makes a frame differ from the one perceived last: mean difference of the thumbnails, share of the energy in dry weather.
    flicker: that share in rain, whose detail comes and goes.
    arrived, still: where thumbnails have differed by less than `still` from frame to frame of late, `arrived` takes the place of `moved`.
    steady: the energy is the median of so many frames, since that of rain flickers.
    oldest: age at which perception runs in any case; in rain it doubles with each look that nothing else called for, up to `patient`. What
    the cache misses in rain costs little: a network that works on. In dry weather it would leave rain in the picture.
    rest: age before which a thumbnail that differs is not looked at again after one that did. It doubles each time, up to half of
    `oldest`, while nothing else calls for a look: a camera that moves would else be looked through all the time.
    margin, wait: by how much of the probability, and for how long, a new pattern must lead; between rain and none half as much is enough.
    shift: the next frame is looked at, too, if another pattern would lead after this share of the change from the look before to the last one.
    cut, jump: a cut is a thumbnail difference from the frame before above `cut` and above `jump` times the recent mean;
    settle, unlike: in so many frames after a cut, above four times `cut`, or where the thumbnails correlate by less than `unlike`, as those of two
    shots of a few frames do.
    fading, alike, linger: a shot fades while its thumbnail changes by more than `fading` in two frames, and those changes correlate by more than
    `alike` with those of the two frames before, and for so long after.
    same, calm: where a change is the last one again, or its opposite, as their correlation tells, light comes and goes: nothing is taken for a fade
    for so long.
    """

    moved: float = 20.0
    detail: float = 0.06
    flicker: float = 0.1
    arrived: float = 8.0
    still: float = 1.0
    steady: int = 3
    oldest: float = 2.0
    patient: float = 8.0
    rest: float = 0.1
    margin: float = 0.2
    wait: float = 0.4
    shift: float = 0.5
    cut: float = 10.0
    jump: float = 3.0
    settle: int = 4
    unlike: float = 0.5
    fading: float = 1.5
    alike: float = 0.85
    linger: float = 0.3
    same: float = 0.97
    calm: float = 2.0


@dataclass(frozen=True)
class Signature:
    """thumb (18, 32) float32 in 8-bit code values; energy: mean horizontal luma step in the same."""

    thumb: NDArray[np.float32]
    energy: float

    def distance(self, other: Signature) -> float:
        return float(np.abs(self.thumb - other.thumb).mean())

    def likeness(self, other: Signature) -> float:
        """Correlation of the thumbnails, -1..1; 0 where one of them is even."""
        one, two = self.thumb - self.thumb.mean(), other.thumb - other.thumb.mean()
        return float((one * two).sum()) / max(1e-6, cv2.norm(one) * cv2.norm(two))

    def sharper(self, other: Signature, share: float) -> bool:
        """Whether fine detail differs by more than that share."""
        return abs(self.energy - other.energy) > share * other.energy + 0.2


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
        settled = self.since > self.limits.settle
        far = step > (1 if settled else 4) * self.limits.cut and step > self.limits.jump * self.usual
        if far or (last and not settled and step > self.limits.cut and seen.likeness(last) < self.limits.unlike):
            self.usual, self.since = 0.0, 0
            return True
        self.usual = step if self.since == 1 else 0.7 * self.usual + 0.3 * step
        return False


class Fades:
    """Finds fades: thumbnails change in the same way for some frames, and not as a camera that pans or zooms changes them."""

    def __init__(self, limits: Routing) -> None:
        self.limits = limits
        self.thumbs: deque[NDArray[np.float32]] = deque(maxlen=5)
        self.until = self.calm = self.last = -math.inf
        self.way: NDArray[np.float32] | None = None

    def at(self, seen: Signature, now: float, cut: bool) -> bool:
        """Whether this frame is in a fade, or just after one; a cut ends it. now: in seconds."""
        if cut:
            self.thumbs.clear()
            self.until = -math.inf
        self.thumbs.append(seen.thumb)
        if len(self.thumbs) == self.thumbs.maxlen and self._steady():
            again, self.last = now - self.last > self.limits.linger, now
            way, self.way = self.way, self.thumbs[-1] - self.thumbs[0]
            if way is not None and (_alike(way, -self.way, self.limits.same) or (again and _alike(way, self.way, self.limits.same))):
                self.calm = now + self.limits.calm
            self.until = now + self.limits.linger if now >= self.calm else now
        return now < self.until

    def _steady(self) -> bool:
        first, _, middle, _, last = self.thumbs
        steps = np.stack([middle - first, last - middle]).reshape(2, -1)
        return self._change(steps) and self._change(steps - _moved(middle, steps))

    def _change(self, steps: NDArray[np.float32]) -> bool:
        """Whether both are of some size, and alike."""
        return _alike(steps[0], steps[1], self.limits.alike) and float(np.abs(steps).mean(1).min()) > self.limits.fading


def _alike(one: NDArray[np.float32], other: NDArray[np.float32], least: float) -> bool:
    """Whether two changes correlate by more than `least`."""
    return float((one * other).sum()) > least * cv2.norm(one) * cv2.norm(other)


def _moved(thumb: NDArray[np.float32], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The part of each step, (2, 576), that an affine motion of the thumbnail explains, by least squares on its gradients."""
    down, right = np.gradient(thumb)
    y, x = np.mgrid[-0.5 : 0.5 : THUMB[1] * 1j, -0.5 : 0.5 : THUMB[0] * 1j]
    motions = np.stack([part * place for part in (down, right) for place in (np.ones_like(x), x, y)]).reshape(6, -1).T.astype(np.float32)
    return np.asarray((motions @ np.linalg.lstsq(motions, steps.T, rcond=None)[0]).T)


class Router:
    """Decides the pattern of each frame. Counts hits, misses, switches and cuts into the report."""

    def __init__(self, perceiver: Perceiver, report: Report, limits: Routing | None = None) -> None:
        self.perceiver, self.report, self.limits = perceiver, report, limits or Routing()
        self.cuts, self.fades = Cuts(self.limits), Fades(self.limits)
        self.pattern = ""
        self.rivals: list[list[float]] = []
        self.since = 0.0
        self.rest, self.patience = 0.0, self.limits.oldest
        self.scores: list[float] = []
        self.shifting = False
        self.energies: deque[float] = deque(maxlen=self.limits.steady)
        self.perceived: tuple[Signature, float] | None = None

    def __call__(self, frame: Frame) -> Frame:
        """The frame with its pattern, and whether a shot begins with it."""
        with self.report.clock("perceive"):
            seen = signature(luma(frame), frame.layout.peak)
            cut = self.cuts.at(seen) or frame.cut
            seen, afresh = self._steady(seen, cut), self.fades.at(seen, frame.seconds, cut) or cut
            self.report.cuts += cut and bool(self.pattern)
            if afresh or self._due(seen, frame.seconds):
                self._perceive(frame, seen, afresh)
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

    def _due(self, seen: Signature, now: float) -> bool:
        """Whether to look again, and how long motion and age alone call for no other look then."""
        assert self.perceived, "the first frame is a cut"
        (last, when), limits, dry = self.perceived, self.limits, self.pattern == PATTERNS[0]
        if self.rivals or self.shifting or seen.sharper(last, limits.detail if dry else limits.flicker):
            self.rest, self.patience = 0.0, limits.oldest
        elif now - when >= self.rest and seen.distance(last) > (limits.moved if self.cuts.usual > limits.still else limits.arrived):
            self.rest, self.patience = min(limits.oldest / 2, max(limits.rest, 2 * self.rest)), limits.oldest
        elif not 0 <= now - when < self.patience:
            self.rest, self.patience = 0.0, limits.oldest if dry else min(limits.patient, 2 * self.patience)
        else:
            return False
        return True

    def _perceive(self, frame: Frame, seen: Signature, afresh: bool) -> None:
        y, uv = split(frame)
        scores = look(self.perceiver.perceive, y, uv, frame.layout.peak)
        self.perceived = seen, frame.seconds
        before, self.scores = self.scores, scores
        best = routed(scores)
        if afresh or not self.pattern:
            self.rest, self.patience = 0.0, self.limits.oldest
            self._switch(best)
        elif best == self.pattern or self._lead(scores, best) < self._bar(best):
            self.rivals.clear()
        else:
            self._challenge(scores, frame.seconds)
        self.shifting = not afresh and any(self._nearing(scores, before, other) for other in PATTERNS if other != self.pattern)

    def _challenge(self, scores: list[float], now: float) -> None:
        """Another pattern leads: after a time it wins, by the mean of the scores. In dry weather all rain is one rival."""
        if self.rivals and self.pattern != PATTERNS[0] and routed(scores) != routed(self.rivals[-1]):
            self.rivals.clear()
        self.since = self.since if self.rivals else now
        self.rivals.append(scores)
        if now - self.since >= self.limits.wait:
            self._switch(routed([float(score) for score in np.mean(self.rivals, axis=0)]))

    def _lead(self, scores: list[float], other: str) -> float:
        """By how much of the probability another pattern leads, or below 0: from DRY on, and all rain as one, where one of the two is `clear`."""
        if PATTERNS[0] in (other, self.pattern):
            return 2 * (scores[0] - DRY) * (1 if other == PATTERNS[0] else -1)
        return scores[PATTERNS.index(other)] - scores[PATTERNS.index(self.pattern)]

    def _bar(self, other: str) -> float:
        """The lead that lets another pattern win, in time."""
        return self.limits.margin * (0.5 if PATTERNS[0] in (other, self.pattern) else 1.0)

    def _nearing(self, scores: list[float], before: list[float], other: str) -> bool:
        """Whether a further change of the scores could let another pattern lead."""
        lead, last = self._lead(scores, other), self._lead(before, other)
        return lead + self.limits.shift * abs(lead - last) >= self._bar(other)

    def _switch(self, pattern: str) -> None:
        self.report.switches += bool(self.pattern) and pattern != self.pattern
        self.pattern = pattern
        self.rivals.clear()


def check_pattern(pattern: str) -> None:
    """OptionError for what is neither auto nor one of PATTERNS."""
    if pattern not in ("auto", *PATTERNS):
        raise OptionError(f"pattern {pattern!r} is not known; choose auto or one of {', '.join(PATTERNS)}")


def route(frames: Iterator[Frame], perceiver: Perceiver, report: Report, pattern: str = "auto", limits: Routing | None = None) -> Iterator[Frame]:
    """Frames with their pattern. pattern: one of PATTERNS for all of them, without a look; auto perceives."""
    if pattern == "auto":
        yield from map(Router(perceiver, report, limits), frames)
        return
    check_pattern(pattern)
    cuts = Cuts(limits or Routing())
    for frame in frames:
        yield frame.replace(pattern=pattern, cut=cuts.at(signature(luma(frame), frame.layout.peak)) or frame.cut)
