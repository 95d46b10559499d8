"""What a run did and where its time went: for the last line, and for --report."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from .errors import WriteError, line
from .trace import Trace

T = TypeVar("T")

STAGES = ("decode", "perceive", "align", "derain", "encode")

log = logging.getLogger("derain_video")


@dataclass
class Report:
    """Counts and seconds of one run. seconds: busy time of each stage; stages overlap, so they may add to more than `wall`.

    trace: is given every span of work, if there is one.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    patterns: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    frames: int = 0
    hits: int = 0
    misses: int = 0
    switches: int = 0
    cuts: int = 0
    damaged: int = 0
    pattern: str = ""
    interrupted: bool = False
    started: float = field(default_factory=time.perf_counter)
    facts: dict[str, Any] = field(default_factory=dict)
    trace: Trace | None = None
    _counting: Lock = field(default_factory=Lock, repr=False)

    def note(self, text: str) -> None:
        """Says once what the user must know: something is not kept, or not as it was."""
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s", text)

    @contextmanager
    def clock(self, stage: str, number: int | None = None) -> Iterator[None]:
        """Counts what is done inside as work of a stage. number: of the frame, for stages that pass frames over."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            end = time.perf_counter()
            with self._counting:  # several threads align
                self.seconds[stage] += end - begin
                if self.trace:
                    self.trace.add(stage, begin, end, number)

    def timed(self, stage: str, items: Iterator[T]) -> Iterator[T]:
        """The same items; the time that each takes to come is the stage's."""
        while True:
            with self.clock(stage):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    @property
    def wall(self) -> float:
        return time.perf_counter() - self.started

    def shares(self) -> dict[str, float]:
        """Each stage's part of all busy time, 0..1."""
        total = sum(self.seconds.values()) or 1.0
        return {stage: seconds / total for stage, seconds in self.seconds.items()}

    def line(self) -> str:
        """One line: frames, fps, shares of time, cache, frames per pattern."""
        wall = self.wall
        shares = ", ".join(f"{stage} {share:.0%}" for stage, share in self.shares().items())
        patterns = ", ".join(f"{count} {pattern}" for pattern, count in self.patterns.most_common())
        looked = self.hits + self.misses
        cache = f"; cache {self.hits} of {looked} hits, {self.switches} switches" if looked else ""
        return f"{self.frames} frames in {wall:.1f} s, {self.frames / wall:.1f} fps; {shares}{cache}; {patterns or 'no frames'}"

    def told(self) -> dict[str, Any]:
        """Everything, as JSON has it."""
        wall = self.wall
        return {
            **self.facts,
            "frames": self.frames,
            "wall_seconds": round(wall, 3),
            "fps": round(self.frames / wall, 3),
            "busy_seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            "shares": {stage: round(share, 4) for stage, share in self.shares().items()},
            "cache": {"hits": self.hits, "misses": self.misses, "switches": self.switches, "cuts": self.cuts},
            "patterns": dict(self.patterns),
            "damaged_packets": self.damaged,
            "interrupted": self.interrupted,
            "notes": self.notes,
        }

    def save(self, path: Path) -> None:
        """Writes everything as JSON."""
        try:
            path.write_text(json.dumps(self.told(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise WriteError(f"{path}: the report cannot be written: {line(error)}") from error
