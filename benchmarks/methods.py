"""What is compared: the rainy input, the temporal median, and ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..export.runtime.base import Runtime
from ..models import planes
from ..models.align import Seen, near
from ..models.spec import PATTERNS, RAINY
from ..models.views import views
from .footage import Bytes, Clip, FootageError

REACH = 2
"""Frames before and after that the median and ours look at."""


@dataclass(frozen=True)
class Result:
    """A method's output and, where the method chooses one, the pattern of each frame."""

    clip: Clip
    patterns: tuple[str, ...] = ()


Method = Callable[[Clip], Result]


def untouched(clip: Clip) -> Result:
    return Result(clip)


def median(clip: Clip) -> Result:
    """Per-pixel median of 5 frames, fewer at the ends of the clip."""
    windows = [slice(max(0, t - REACH), t + REACH + 1) for t in range(len(clip))]
    y, uv = (np.stack([_median(stack[window]) for window in windows]) for stack in (clip.y, clip.uv))
    return Result(clip.with_planes(y, uv))


def ours(runtime: Runtime, pattern: str = "auto") -> Method:
    """Our networks: the sub-network that perception names, frame by frame, or for `pattern` (one of PATTERNS) always that one."""
    if pattern not in ("auto", *PATTERNS):
        raise FootageError(f"pattern {pattern!r} is not known; choose auto or one of {', '.join(PATTERNS)}")

    def run(clip: Clip) -> Result:
        return derained(runtime, clip, perceived(runtime, clip) if pattern == "auto" else [pattern] * len(clip))

    return run


def perceived(runtime: Runtime, clip: Clip) -> list[str]:
    """The pattern of each frame by its own scores, without cache or hysteresis."""
    scores = [runtime.perceive(views(y, uv)) for y, uv in zip(clip.y, clip.uv, strict=True)]
    return [PATTERNS[int(np.argmax(each))] for each in scores]


def derained(runtime: Runtime, clip: Clip, patterns: Sequence[str]) -> Result:
    """The clip with each frame given to the sub-network of its pattern; `clear` frames pass through."""
    seen = [Seen(y) for y in clip.y]
    y, uv = clip.y.copy(), clip.uv.copy()
    for t, pattern in enumerate(patterns):
        if pattern in RAINY:
            first = max(0, t - REACH)
            state = near(seen[first : t + REACH + 1], t - first)
            out = runtime.derain(pattern, *planes.pad(y[t], uv[t], state), peak=255)
            y[t] = planes.crop(out.y, *y[t].shape)[0]
            uv[t] = planes.crop(out.uv, *uv[t].shape[1:])
    return Result(clip.with_planes(y, uv), tuple(patterns))


def _median(stack: Bytes) -> Bytes:
    return np.asarray(np.median(stack, axis=0).round(), np.uint8)
