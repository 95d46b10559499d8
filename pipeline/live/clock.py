"""Time for live video: stamps that only grow, whatever the camera's clock does, and delays between attempts."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from fractions import Fraction

TICK = Fraction(1, 90000)
"""Time base of every live output."""

JUMP, STANDING = 5.0, 600.0
"""Seconds by which a clock may run ahead of ours between two frames before it counts as a new one: a camera's; that of a file or of stdin, which
is read ahead, and in which a picture may stand for long."""

STEP = 90
"""Ticks by which a stamp grows at least: 1 ms, which the containers that count in milliseconds still see."""


class Timeline:
    """Maps the clocks of successive connections onto one that starts at 0 and never stands or goes back. In ticks of TICK.

    ahead: seconds by which such a clock may run ahead of ours between two frames before it counts as a new one.
    off: seconds by which it may be off from ours in all: one that runs at another speed would leave it ever farther.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, ahead: float = JUMP, off: float = math.inf) -> None:
        self._now, self._ahead, self._off = now, ahead, off
        self._start: float | None = None
        self._offset: float | None = None
        self._last, self._when, self._heard = -STEP, 0.0, -1

    def reset(self) -> None:
        """A new connection: its first picture is put at the time that has gone by."""
        self._offset = None

    @property
    def runs(self) -> bool:
        """Whether a picture has set the clock of this connection."""
        return self._offset is not None

    def picture(self, seconds: float | None, step: int = 0) -> int:
        """Stamp of the next picture. seconds: its time on the connection's clock, None if it has none: then it comes now, and at least `step` after
        the last one."""
        now = self._now()
        self._start = now if self._start is None else self._start
        spent = now - self._start
        if seconds is None:
            stamp = max(self._ticks(spent), self._last + step if self._last >= 0 else 0)
        else:
            if self._offset is None or self._strays(seconds + self._offset, now, spent):
                self._offset = max(spent, float((self._last + STEP) * TICK)) - seconds
            stamp = self._ticks(seconds + self._offset)
        self._last, self._when = max(stamp, self._last + STEP), now
        return self._last

    def sound(self, seconds: float) -> int | None:
        """Stamp of a packet of sound; None while no picture has set the clock, and for what comes too late, or by a clock that jumped."""
        if self._offset is None or self._jumps(seconds + self._offset, self._now()):
            return None
        stamp = self._ticks(seconds + self._offset)
        if stamp <= self._heard or stamp < 0:
            return None
        self._heard = stamp
        return stamp

    def _strays(self, at: float, now: float, spent: float) -> bool:
        return self._jumps(at, now) or self._goes_back(at) or abs(at - spent) > self._off

    def _jumps(self, at: float, now: float) -> bool:
        return at - float(self._last * TICK) > now - self._when + self._ahead

    def _goes_back(self, at: float) -> bool:
        return at - float(self._last * TICK) < -0.5

    @staticmethod
    def _ticks(seconds: float) -> int:
        return round(seconds / float(TICK))


class Backoff:
    """Seconds to wait before the next attempt: doubling from `first` to `most`, each spread by half, so that many do not come at once."""

    def __init__(self, first: float = 0.5, most: float = 30.0, spread: Callable[[], float] = random.random) -> None:
        self.first, self.most, self._spread = first, most, spread
        self.failures = 0

    def next(self) -> float:
        delay = min(self.most, self.first * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return delay * (0.5 + self._spread())

    def reset(self) -> None:
        self.failures = 0
