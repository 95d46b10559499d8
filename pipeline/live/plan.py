"""What to give up when the machine is too slow, in this order: frames, the larger network, resolution, deraining. Never time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

LEVELS = ("full", "fast", "half", "pass")
"""full: as asked. fast: the small network. half: the small network at half size, its change enlarged. pass: frames as they came."""

SAID = {
    "fast": "the machine is too slow: taking the fast network",
    "half": "the machine is too slow: deraining at half size",
    "pass": "the machine is too slow for deraining: frames pass through",
}


@dataclass
class Plan:
    """Decides the level from how many of the frames that came were done. Times in seconds.

    levels: those on offer, best first. enough: share of frames that must get through. patience: how long it is watched.
    retry: how long until the better level is tried again, doubled whenever that fails, up to `longest`.
    """

    levels: Sequence[str] = LEVELS
    enough: float = 0.5
    patience: float = 5.0
    retry: float = 60.0
    longest: float = 900.0
    at: int = 0
    _since: float | None = field(default=None, init=False)
    _arrived: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _lowered: float = field(default=0.0, init=False)
    _trying: bool = field(default=False, init=False)

    @property
    def level(self) -> str:
        return self.levels[self.at]

    def tell(self, now: float, arrived: int, done: int) -> bool:
        """Totals so far. Whether the level has changed."""
        if self._since is None:
            self._restart(now, arrived, done)
        assert self._since is not None
        if now - self._since < self.patience:
            return False
        came, through = arrived - self._arrived, done - self._done
        self._restart(now, arrived, done)
        if came and through < self.enough * came:
            return self._lower(now)
        return self._raise(now)

    def _lower(self, now: float) -> bool:
        if self.at + 1 == len(self.levels):
            return False
        if self._trying:
            self.retry = min(self.longest, 2 * self.retry)
        self.at, self._lowered, self._trying = self.at + 1, now, False
        return True

    def _raise(self, now: float) -> bool:
        if self.at == 0 or now - self._lowered < self.retry:
            return False
        self.at, self._lowered, self._trying = self.at - 1, now, True
        return True

    def _restart(self, now: float, arrived: int, done: int) -> None:
        self._since, self._arrived, self._done = now, arrived, done
