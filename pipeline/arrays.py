"""Deraining for programs that hold pictures as arrays: `Derainer`, and `derain` for a whole film.

    from derain_video.pipeline.arrays import Derainer

    with Derainer() as derainer:
        clean = derainer(picture)               # one picture
        for clean in derainer.film(pictures):   # consecutive frames: better, since rain falls anew in each
            show(clean)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from types import TracebackType

import numpy as np

from ..export.runtime import Runtime, load
from .derain import AFTER, BEFORE
from .derain import derain as derain_frames
from .frame import LAYOUTS, Frame, Plane
from .report import Report
from .route import check_pattern, route

SLOWEST = 0.001
"""Fewest frames per second."""

NAMES = {(2, 8): "gray", (2, 16): "gray16le", (3, 8): "rgb24", (3, 16): "rgb48le"}


class Derainer:
    """Takes rain out of pictures: RGB (H, W, 3) or gray (H, W), uint8, or uint16 over its whole range, given back in the machine's byte order.

    runtime: auto, onnx, openvino, torch or tensorrt, or an open runtime, which then stays the caller's to close and has a model and a precision
        of its own. model: size of the networks, fast or quality. precision: auto, fp32, bf16, fp16 or int8, as far as the runtime has it.
    pattern: one of PATTERNS, or auto to look. rate: frames per second of a film, for the router's clock.
    by_pattern: every picture goes to the sub-network of its pattern, as the paper routes; else one alone goes to that of stills, and
        those of a film without look-ahead to that of the past. whole: pictures of very many lines are derained at their own size.
    report: counts of what was done. Use it in a `with`, or close it. One caller at a time. ValueError for an option not offered, RuntimeMissing
        (an ImportError) for a runtime that is not there.
    """

    def __init__(
        self,
        runtime: str | Runtime = "auto",
        model: str = "fast",
        precision: str = "auto",
        pattern: str = "auto",
        rate: float = 25,
        by_pattern: bool = False,
        whole: bool = False,
    ) -> None:
        if not SLOWEST <= rate < float("inf"):
            raise ValueError(f"rate {rate}: give {SLOWEST} frames/s or more")
        check_pattern(pattern)
        self.owns = isinstance(runtime, str)
        if not self.owns and (model, precision) != ("fast", "auto"):
            raise ValueError(f"model {model}, precision {precision}: an open runtime has its own; leave them out")
        self.runtime: Runtime = load(runtime, model=model, precision=precision) if isinstance(runtime, str) else runtime
        self.pattern, self.time_base = pattern, 1 / Fraction(rate).limit_denominator(1001 * 60)
        self.by_pattern, self.whole = by_pattern, whole
        self.report = Report()

    def __call__(self, picture: Plane) -> Plane:
        """One picture without its rain: a new array, or the same one if it is dry."""
        return next(self.film([picture]))

    def film(self, pictures: Iterable[Plane], before: int = BEFORE, after: int = AFTER) -> Iterator[Plane]:
        """Consecutive frames of equal size, in order; each an array of its own, since its neighbours look at it, too.

        State is drawn from `before` and `after` neighbours. Each is given after one more than `after` were taken; 0 for live, with `before` up to 4:
        then none is waited for. ValueError if one is no picture, or unlike the first, and for less than 0 neighbours.
        """
        if min(before, after) < 0:
            raise ValueError(f"{before} neighbours before and {after} after: give 0 or more")
        frames = route(self._frames(pictures), self.runtime, self.report, self.pattern)
        for frame in derain_frames(frames, self.runtime, self.report, before, after, by_pattern=self.by_pattern, whole=self.whole):
            yield frame.planes[0]

    def _frames(self, pictures: Iterable[Plane]) -> Iterator[Frame]:
        first = None
        for pts, picture in enumerate(pictures):
            frame = frame_of(picture, pts, self.time_base)
            like = picture.shape, frame.planes[0].dtype
            if like != (first := first or like):
                raise ValueError(f"picture {pts} is {like[0]} {like[1]}, the first was {first[0]} {first[1]}: begin a film of its own with it")
            yield frame

    def close(self) -> None:
        if self.owns:
            self.runtime.close()

    def __enter__(self) -> Derainer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def derain(pictures: Iterable[Plane], runtime: str | Runtime = "auto", model: str = "fast", pattern: str = "auto") -> Iterator[Plane]:
    """Consecutive frames of a film without their rain, as Derainer.film gives them."""
    with Derainer(runtime, model, pattern=pattern) as derainer:
        yield from derainer.film(pictures)


def frame_of(picture: Plane, pts: int = 0, time_base: Fraction = Fraction(1, 25)) -> Frame:
    """An array as a frame; it is not copied, unless its bytes are in the other order, or not in a row. ValueError if it is not a picture."""
    if not isinstance(picture, np.ndarray):
        raise ValueError(f"{type(picture).__name__} is no picture: give an array")
    name = NAMES.get((picture.ndim, picture.dtype.itemsize * 8)) if picture.dtype.kind == "u" else None
    if name is None or not picture.size or (picture.ndim == 3 and picture.shape[2] != 3):
        raise ValueError(f"an array of {picture.shape} {picture.dtype} is no picture: give (H, W, 3) or (H, W), uint8 or uint16")
    layout = LAYOUTS[name]
    return Frame((np.ascontiguousarray(picture, layout.dtype),), layout, pts, time_base, 1)
