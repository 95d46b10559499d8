"""What a live run does and how it is: counts, delays, and a folder that other programs may look at."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..errors import WriteError, line
from ..frame import Frame, picture_of
from ..report import Report

REMEMBERED = 2000
"""Frames whose delays are remembered."""

RECENT = 6
"""Tellings, a second apart, that the speed is reckoned from."""

PREVIEW = 480
"""Width of the status page's pictures, in pixels."""


@dataclass
class OutputReport:
    """Counts of one output. sent, dropped: frames; every encoded frame is one or the other. up: it takes frames."""

    name: str
    up: bool = False
    sent: int = 0
    dropped: int = 0
    reconnects: int = 0


@dataclass
class LiveReport(Report):
    """arrived: frames decoded; each is in `frames` or `dropped`. level: what has been given up because the machine is too slow."""

    arrived: int = 0
    dropped: int = 0
    reconnects: int = 0
    input_up: bool = False
    level: str = "full"
    outputs: list[OutputReport] = field(default_factory=list)
    delays: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def percentile(self, share: float) -> float:
        """Delay in seconds from a frame's arrival to its going out; `share` 0..1 of recent frames had no more. 0 before any."""
        delays = list(self.delays)
        return float(np.quantile(delays, share)) if delays else 0.0

    def line(self) -> str:
        outputs = "".join(f"; {o.name}: {o.sent} sent, {o.dropped} dropped" for o in self.outputs)
        delay = f"delay p50 {self.percentile(0.5) * 1000:.0f} ms, p95 {self.percentile(0.95) * 1000:.0f} ms"
        return f"{self.arrived} frames in, {self.frames} out, {self.dropped} dropped, {self.reconnects} reconnects, {delay}{outputs}"

    def told(self) -> dict[str, Any]:
        return {
            **super().told(),
            "arrived": self.arrived,
            "dropped": self.dropped,
            "reconnects": self.reconnects,
            "input_up": self.input_up,
            "level": self.level,
            "pattern": self.pattern,
            "delay_p50": round(self.percentile(0.5), 4),
            "delay_p95": round(self.percentile(0.95), 4),
            "outputs": [vars(output) for output in self.outputs],
        }


class StateFolder:
    """state.json, before.jpg and after.jpg, each replaced at once, about every second: for the status page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._marks: deque[tuple[float, int, int]] = deque(maxlen=RECENT)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"{folder}: cannot hold the state: {line(error)}") from error

    def tell(self, report: LiveReport, shown: tuple[Frame, Frame] | None = None) -> None:
        """shown: a frame before and after. A full disk is noted, and harms no output."""
        try:
            for name, frame in zip(("before.jpg", "after.jpg"), shown or (), strict=False):
                self._replace(name, jpeg(frame))
            self._replace("state.json", json.dumps({**report.told(), **self._speed(report)}).encode())
        except OSError as error:
            report.note(f"{self.folder}: the state cannot be renewed: {line(error)}")

    def _speed(self, report: LiveReport) -> dict[str, float]:
        """Frames/s of the last seconds."""
        self._marks.append((time.monotonic(), report.arrived, report.frames))
        seconds, came, done = (last - first for first, last in zip(self._marks[0], self._marks[-1], strict=True))
        return {"fps_in": round(came / seconds, 2), "fps_out": round(done / seconds, 2)} if seconds else {}

    def _replace(self, name: str, data: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)  # somebody may have removed it
        part = self.folder / f"{name}.part"
        part.write_bytes(data)
        os.replace(part, self.folder / name)


def jpeg(frame: Frame) -> bytes:
    """A small JPEG of a frame."""
    width = min(PREVIEW, frame.width) & ~1
    height = max(2, round(frame.height * width / frame.width) & ~1)
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
    context.time_base = frame.time_base
    small = picture_of(frame.replace(picture=None)).reformat(width, height, "yuvj420p")
    small.pts = 0
    packets = [*context.encode(small), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
