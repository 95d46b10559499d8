"""True times for pictures, whatever the decoder tells of them."""

from __future__ import annotations

from fractions import Fraction

import av


class Times:
    """Gives every picture a time: the decoder's; if it has none, one frame after the last; never equal to it or before it."""

    def __init__(self, time_base: Fraction, rate: Fraction) -> None:
        self.time_base, self.step = time_base, max(1, round(1 / (rate * time_base)))
        self.last: int | None = None
        self.count = self.guessed = self.moved = 0

    def repair(self, picture: av.VideoFrame) -> int:
        """Sets the time of the next picture; returns its pts, in ticks of `time_base`."""
        self.count += 1
        if picture.time_base and picture.time_base != self.time_base and picture.pts is not None:
            picture.pts = round(picture.pts * picture.time_base / self.time_base)
        picture.time_base = self.time_base
        if picture.pts is None:
            picture.pts = 0 if self.last is None else self.last + self.step
            picture.duration = self.step
            self.guessed += 1
        elif self.last is not None and picture.pts <= self.last:
            picture.pts = self.last + 1
            self.moved += 1
        self.last = picture.pts
        return self.last
