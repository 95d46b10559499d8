"""When the pictures of an output are shown, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from .frame import Frame
from .video import Packet, Video


class Places:
    """Puts frames on a clock of one tick a frame. rate: of the clock. filled: a place that no frame falls on has the one before it."""

    def __init__(self, rate: Fraction, filled: bool) -> None:
        self._rate, self._filled = rate, filled
        self._place = -1
        self._shown: Frame | None = None

    def put(self, frame: Frame) -> Iterator[Frame]:
        """The frame at its place, or the next that is free; before it, where places are filled, the one before it."""
        place = max(self._place + 1, round(frame.seconds * self._rate))
        last, self._shown = self._shown or frame, frame
        first = self._place + 1 if self._filled and self._place >= 0 else place
        for self._place in range(first, place + 1):
            yield (frame if self._place == place else last).replace(pts=self._place, time_base=1 / self._rate, duration=1)


class Durations:
    """How long packets of a film last, in ticks of `video`.

    ends: when the film does, in seconds, if that is told. stepped: packets last from one dts to the next, as fragments of MP4 need: where one is
    longer, FFmpeg moves the next.
    """

    def __init__(self, video: Video, ends: Fraction | None, stepped: bool) -> None:
        self._step, self._stepped = round(1 / (video.rate * video.time_base)), stepped
        self._ends = None if ends is None else round(ends / video.time_base)
        self._of: dict[int, int] = {}
        self._last: tuple[int, int] | None = None

    def note(self, frame: Frame) -> None:
        """Frames come in order, and are shown no longer than to the next one, whatever a file with B-frames may tell."""
        if self._last:
            begin, duration = self._last
            self._of[begin] = min(duration, frame.pts - begin)
        self._last = frame.pts, frame.duration or self._step
        self._of[frame.pts] = self._last[1]

    def of(self, packet: Packet, after: Packet) -> int:
        """Of a packet, before the one that is stored after it."""
        own = self._of.pop(packet.pts if packet.pts is not None else -1, packet.duration or 0)
        return after.dts - packet.dts if self._stepped and after.dts is not None and packet.dts is not None else own

    def rest(self, packet: Packet) -> int:
        """Of the packet that is stored last. In MP4 to the end, even if an encoder did not store the last picture last, or the edit list ends early.
        The last frame lasts no longer than the film."""
        shown = packet.pts or 0
        begin, duration = self._last or (shown, self._step)
        if self._ends is not None and self._ends > begin:
            duration = self._of[begin] = min(duration, self._ends - begin)
        return begin + duration - shown if self._stepped else self._of.pop(shown, self._step)
