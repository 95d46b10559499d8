"""One live stream: newest frame in, cleaned, encoded once, given to every output. Nothing here waits for a peer."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from ...export.runtime.base import Runtime
from ...models.spec import NEIGHBOURS
from ..codec import Settings
from ..derain import BEYOND, Held, clean, held
from ..errors import OptionError, WriteError
from ..frame import Frame
from ..route import route
from ..video import LIMIT
from .address import Address, check_target
from .intake import Arrival, Ended, Intake, Reading
from .outlet import Outlet
from .plan import LEVELS, SAID, Plan
from .programme import Programme
from .state import LiveReport, StateFolder

GRACE = 1.2
"""Seconds that outputs have to end well after a stop; with the rest this stays under two."""

AT_END = 10.0
"""The same after the end of an input that has one: nothing is in a hurry."""

SOUND_ALONE = 1.0
"""Seconds after which sound goes out although no picture follows."""

TELL_EVERY = 1.0

Lighter: TypeAlias = Callable[[], Runtime] | None

log = logging.getLogger("derain_video")


@dataclass(frozen=True)
class LiveJob:
    """What to do. segment: seconds of each recorded file. bitrate: most bits/s, 0 for any. state: folder for a status page.

    patience: seconds of too few frames after which the next thing is given up.
    """

    source: Address
    targets: tuple[Address, ...]
    reading: Reading = field(default_factory=lambda: Reading(limit=LIMIT))
    settings: Settings = Settings()
    bitrate: int = 0
    pattern: str = "auto"
    segment: float = 60.0
    state: Path | None = None
    patience: float = 5.0

    def __post_init__(self) -> None:
        if [target.scheme for target in self.targets].count("-") > 1 or len({target.url for target in self.targets}) < len(self.targets):
            raise OptionError("an output is given twice; give each a name of its own")
        for address in (self.source, *self.targets):
            if not address.complete:
                raise OptionError(f"{address}: has no port from 1 to 65535; give {address.scheme}://host:port")
        for target in self.targets:
            if target.url == self.source.url and target.url != "-":
                raise OptionError(f"{target}: is the input; publish under another name")
            check_target(target)


class Stream:
    """The worker between an intake and its outlets. `run` returns when told to stop, or when an input that ends has ended."""

    def __init__(self, job: LiveJob, runtime: Runtime, report: LiveReport, stop: threading.Event, lighter: Lighter = None) -> None:
        self.job, self.runtime, self.report, self.stop = job, runtime, report, stop
        self._given, self._light = runtime, None if lighter else runtime  # for the levels full and fast
        self._lighter, self._opened = lighter, ExitStack()
        self._levels = [level for level in LEVELS if level != "fast" or lighter]
        self.plan = Plan(self._levels, patience=job.patience)
        self.intake = Intake(job.source, job.reading, report)
        self.outlets: list[Outlet] = []
        self._state = StateFolder(job.state) if job.state else None
        self._told = 0.0
        self._session = 0
        self._key: tuple[object, ...] = ()
        self._programme: Programme | None = None
        self._window: list[Held] = []
        self._now: Frame | None = None
        self._shown: tuple[Frame, Frame] | None = None  # what came since the last telling
        self._routed: Iterator[Frame] = iter(())

    def run(self) -> bool:
        """Whether every thread has gone at the end; one that hangs in FFmpeg cannot be made to."""
        try:
            self.outlets = [self._outlet(target) for target in self.job.targets]
            with self.intake, self._opened:
                self._work()
        finally:
            gone = self._end()
        if self.intake.fault and not isinstance(self.intake.fault, Ended):
            raise self.intake.fault
        if isinstance(self.intake.fault, Ended) and not (self.job.source.finite and self.report.frames):
            raise self.intake.fault
        if self._alone and not self.stop.is_set():
            raise WriteError(f"{', '.join(map(str, self.job.targets))}: whoever read it has gone, after {self.report.frames} frames")
        deaf = self.outlets and not any(outlet.told.sent for outlet in self.outlets)
        if gone and deaf and self.report.frames and not self.stop.is_set():
            raise WriteError(f"{', '.join(map(str, self.job.targets))}: took none of {self.report.frames} frames; is it on, and writable?")
        return gone

    def _outlet(self, target: Address) -> Outlet:
        """What is kept whole waits for outputs that are files or pipes, too."""
        whole = (self.job.reading.wait or self.job.source.finite) and target.scheme in ("-", "file", "hls")
        return Outlet(target, self.job.segment, self.report, self.stop, whole)

    def _work(self) -> None:
        while not self.stop.is_set() and not self.intake.frames.over and not self._alone:
            arrival = self.intake.frames.get(0.1)
            if arrival:
                self._one(arrival)
            else:
                self._idle()
            self._tell()
        if self._programme and not self.stop.is_set():
            self._sound(self._programme, sys.maxsize)  # what was heard after the last picture

    @property
    def _alone(self) -> bool:
        """Whether every output has gone for ever."""
        return bool(self.outlets) and all(outlet.gone for outlet in self.outlets)

    def _end(self) -> bool:
        """Ends intake and outlets within GRACE. Frames that were waiting count as dropped."""
        self.intake.halt()
        self.intake.frames.drain()
        self.report.dropped = self.intake.frames.dropped
        for outlet in self.outlets:
            outlet.halt()
        deadline = time.monotonic() + (GRACE if self.stop.is_set() else AT_END)
        gone = [outlet.join(deadline) for outlet in self.outlets]
        gone.append(self.intake.join(max(0.1, deadline - time.monotonic())))
        self.report.dropped = self.intake.frames.dropped
        if self._state:
            self._state.tell(self.report)
        return all(gone)

    def _one(self, arrival: Arrival) -> None:
        """One frame from its arrival to the outputs."""
        programme = self._tuned(arrival)
        self._now = arrival.frame
        frame = self._cleaned(next(self._routed))
        with self.report.clock("encode"):
            fresh = any(outlet.wants_key for outlet in self.outlets)
            pieces = programme.encode(frame, arrival.at, fresh)
        self._sound(programme, frame.pts)
        for piece in pieces:
            for outlet in self.outlets:
                outlet.give(programme, piece)
        self.report.frames += 1
        self._shown = arrival.frame, frame

    def _tuned(self, arrival: Arrival) -> Programme:
        """The programme for a frame. A new connection forgets what was seen before; new sizes or sound begin a new programme."""
        key = Programme.key(arrival.video, arrival.sound)
        if self._session != arrival.session or key != self._key:
            self._session, self._window = arrival.session, []
            self._routed = route(iter(lambda: self._now, None), self.runtime, self.report, self.job.pattern)
        if self._programme is None or key != self._key:
            self._programme = Programme(arrival.video, arrival.sound, self.job.settings, self.job.bitrate)
            self._key = key
        self._programme.pace(arrival.video.rate)
        return self._programme

    def _cleaned(self, frame: Frame) -> Frame:
        self.report.pattern = frame.pattern
        self.report.patterns[frame.pattern] += 1
        if self.plan.level == "pass":
            return frame
        self._window = [] if frame.cut else self._window[-NEIGHBOURS - BEYOND :]
        self._window.append(held(frame, self.runtime, live=True, half=self.plan.level == "half"))
        if frame.pattern == "clear":
            return frame
        with self.report.clock("derain"):
            return clean(self._window, len(self._window) - 1, self.runtime)

    def _sound(self, programme: Programme, until: int) -> None:
        """Sound goes out in order with the pictures that it belongs to."""
        waiting = self.intake.sound
        old = time.monotonic() - SOUND_ALONE
        while waiting and (waiting[0].pts <= until or waiting[0].at < old):
            piece = waiting.popleft()
            for outlet in self.outlets:
                outlet.give(programme, piece)

    def _idle(self) -> None:
        self.intake.watch()
        if self._programme:
            self._sound(self._programme, -1)
        for outlet in self.outlets:
            outlet.idle()

    def _tell(self) -> None:
        now = time.monotonic()
        if self.plan.tell(now, self.report.arrived - self.intake.burst, self.report.frames):  # no machine is judged by a burst
            self._change()
        if now - self._told < TELL_EVERY or not self._state:
            return
        self._state.tell(self.report, self._shown)
        self._told, self._shown = now, None

    def _change(self) -> None:
        """Takes up the level that the plan has gone to."""
        self.report.level = level = self.plan.level
        self._window = []
        if level in SAID:
            self.report.note(f"{self.job.source}: {SAID[level]}")
        else:
            log.debug("%s: trying %s again", self.job.source, level)
        if level == "fast" and self._lighter and not self._light:
            self._light = self._opened.enter_context(self._lighter())
        self.runtime = self._given if level == "full" or not self._light else self._light


def run_live(
    job: LiveJob, runtime: Runtime, report: LiveReport | None = None, stop: threading.Event | None = None, lighter: Lighter = None
) -> bool:
    """Runs a live job until `stop` is set, or until an input that ends has ended. Whether every thread has gone.

    lighter: opens the fast network, for when the machine is too slow for `runtime`. OpenError, OptionError, WriteError, Ended.
    """
    return Stream(job, runtime, report or LiveReport(), stop or threading.Event(), lighter).run()
