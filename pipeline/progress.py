"""The progress bar, and log lines that do not tear it."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

from .frame import Frame
from .video import Video


@contextmanager
def bar(video: Video) -> Iterator[Callable[[Frame], None]]:
    """A bar on stderr with frames per second, time left and the current pattern; nothing where stderr is no terminal."""
    shape = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
    total = video.frames or None
    with tqdm(total=total, unit=" frames", disable=None if sys.stderr else True, dynamic_ncols=True, bar_format=shape if total else None) as shown:

        def show(frame: Frame) -> None:
            shown.set_postfix_str(frame.pattern, refresh=False)
            shown.update()

        yield show


class Lines(logging.Handler):
    """Log records as plain lines on stderr, above the bar."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # nobody reads it
            tqdm.write(f"derain-video: {record.getMessage()}", file=sys.stderr)
