"""What is compared: the rainy input, the temporal median, and ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..export.runtime.base import Runtime
from ..pipeline.derain import derain
from ..pipeline.frame import LAYOUTS, Frame
from ..pipeline.report import Report
from ..pipeline.route import route
from .footage import Bytes, Clip

REACH = 2
"""Frames before and after that the median looks at."""


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


def ours(runtime: Runtime, pattern: str = "auto", by_pattern: bool = False) -> Method:
    """The pipeline's own stages: routed by perception, or for `pattern` (one of PATTERNS) always by that one. by_pattern: as of `derain`."""

    def run(clip: Clip) -> Result:
        report = Report()
        done = list(derain(route(iter(frames(clip)), runtime, report, pattern), runtime, report, by_pattern=by_pattern))
        y = np.stack([frame.planes[0] for frame in done], dtype=np.uint8)
        uv = np.stack([frame.planes[1:] for frame in done], dtype=np.uint8)
        return Result(clip.with_planes(y, uv), tuple(frame.pattern for frame in done))

    return run


def frames(clip: Clip) -> list[Frame]:
    """The clip as the pipeline's frames."""
    tick = 1 / Fraction(clip.fps).limit_denominator(1001)
    return [Frame((y, *uv), LAYOUTS["yuv420p"], t, tick) for t, (y, uv) in enumerate(zip(clip.y, clip.uv, strict=True))]


def _median(stack: Bytes) -> Bytes:
    return np.asarray(np.median(stack, axis=0).round(), np.uint8)
