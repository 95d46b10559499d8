"""When each stage worked, on which frame and in which thread: Chrome's trace events, a file that Perfetto opens.

Source: "Trace Event Format" of the Chromium project.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from .errors import WriteError, line


class Trace:
    """Spans of work. Frames are numbered from 0 within each stage, in the order in which the stage takes them."""

    def __init__(self) -> None:
        self._spans: list[tuple[str, int, float, float, int]] = []
        self._taken: Counter[str] = Counter()

    def add(self, stage: str, begin: float, end: float, number: int | None = None) -> None:
        """Work of the calling thread. begin, end: in seconds of time.perf_counter. number: of the frame; None for the stage's next."""
        number = self._taken[stage] if number is None else number
        self._taken[stage] = number + 1
        self._spans.append((stage, threading.get_ident(), begin, end, number))

    def events(self) -> list[dict[str, Any]]:
        """Complete events in microseconds since the first, and the names of the threads: the stages that they work on."""
        first = min((begin for _, _, begin, _, _ in self._spans), default=0.0)
        stages: dict[int, dict[str, None]] = defaultdict(dict)
        spans = []
        for stage, thread, begin, end, number in self._spans:
            stages[thread][stage] = None
            when = {"ts": round((begin - first) * 1e6, 1), "dur": round((end - begin) * 1e6, 1)}
            spans.append({"ph": "X", "name": stage, "pid": 1, "tid": thread, **when, "args": {"frame": number}})
        names = [{"ph": "M", "name": "thread_name", "pid": 1, "tid": thread, "args": {"name": ", ".join(done)}} for thread, done in stages.items()]
        return names + spans

    def save(self, path: Path) -> None:
        """Writes the file. WriteError if that fails."""
        try:
            path.write_text(json.dumps({"traceEvents": self.events(), "displayTimeUnit": "ms"}), encoding="utf-8")
        except OSError as error:
            raise WriteError(f"{path}: the trace cannot be written: {line(error)}") from error
