"""An output under its temporary name: what is left of it when a run is cut off, and how --resume takes it up.

Beside the part lies a note of the job that made it, so that another job does not go on with it. The pictures of the part are
copied into a new one, up to the last that is whole, and the encoder begins anew after them. Everything else comes from the
input a second time, so that nothing but the pictures depends on where the run was cut off.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from ..export.lock import take
from .errors import WriteError, line
from .frame import Frame
from .place import file_url
from .video import Packet

HELD = 16
"""No codec shows a picture after more than so many that follow it in the file."""

START_CODES = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
"""How packets of a container are brought to the form that the encoders write."""

WRITTEN = "another run is writing it; let it end, or give another name"

Facts = dict[str, Any]


def names(path: Path) -> tuple[Path, Path]:
    """Temporary names of an output. The second is written while the first is continued, and the other way round."""
    return path.with_name(f"{path.stem}.part{path.suffix}"), path.with_name(f"{path.stem}.part2{path.suffix}")


def note(path: Path) -> Path:
    """Where the note of the job lies while the output is not finished."""
    return path.with_name(f"{path.name}.job.json")


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keeps other runs from writing the output. WriteError if one does, or if it cannot be written."""
    try:
        file = lock(path).open("ab")
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {line(error)}") from error
    with file:
        if not _take(file.fileno()) or not _there(file.fileno(), path):
            raise WriteError(f"{path}: {WRITTEN}")
        try:
            yield
        finally:
            if os.name == "nt":  # where nobody may remove what is open
                file.close()
            lock(path).unlink(missing_ok=True)


def check_alone(path: Path) -> None:
    """WriteError if a run is writing the output."""
    free = True
    with contextlib.suppress(OSError), lock(path).open("rb") as file:
        free = _take(file.fileno())
    if not free:
        raise WriteError(f"{path}: {WRITTEN}")


def _take(descriptor: int) -> bool:
    """Whether nobody else has the file; so where files cannot be locked."""
    try:
        return take(descriptor)
    except OSError:
        return True


def _there(descriptor: int, path: Path) -> bool:
    """Whether the lock is still the one that others find: who had it before may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), lock(path).stat())
    except OSError:
        return False


def lock(path: Path) -> Path:
    """What a run holds locked while it writes the output: a file of its own, since some file systems let nobody write what is locked."""
    return path.with_name(f"{path.name}.lock")


def left(path: Path) -> list[Path]:
    """Parts that are there; a folder of pictures has none."""
    return [] if path.is_dir() else [part for part in names(path) if part.exists()]


def write_note(path: Path, facts: Facts) -> None:
    """Writes the note of the job that writes `path`. WriteError if that fails."""
    try:
        note(path).write_text(json.dumps(facts) + "\n", encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {line(error)}") from error


def read_note(path: Path) -> Facts:
    """The note; WriteError if there is none."""
    try:
        facts: Facts = json.loads(note(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WriteError(f"{left(path)[0]}: cannot be continued without {note(path)}; leave --resume out, -y starts anew") from error
    return facts


def clear(path: Path) -> None:
    """Removes what belongs to an output that is finished, or that begins anew."""
    for file in (*names(path), note(path)):
        file.unlink(missing_ok=True)


def resumed(path: Path, facts: Facts) -> Kept | None:
    """What can be kept of an output that was cut off; None if there is nothing. WriteError if it is another job's.

    facts: those that the note must agree with.
    """
    if not left(path):
        return None
    told = read_note(path)
    for name, value in facts.items():
        if told.get(name) != value:
            raise WriteError(
                f"{left(path)[0]}: was made with {name} {told.get(name)!r}, not {value!r}; give the same, or leave --resume out, -y starts anew"
            )
    kept = max((Kept(part, told["stream"]) for part in left(path)), key=lambda kept: kept.count)
    return kept if kept.count else None


class Kept:
    """The pictures of a part, up to the last of which it is certain that none before it is missing. count: how many."""

    def __init__(self, path: Path, index: int) -> None:
        self.path, self.index = path, index
        self.time_base, times = _times(path, index)
        self.count = whole(times)
        ranks = np.argsort(np.argsort(times[: self.count], kind="stable"), kind="stable")
        self._ranks: list[int] = ranks.tolist()
        self._sorted = sorted(times[: self.count])
        self.delay = max((at - rank for at, rank in enumerate(self._ranks)), default=0)
        self._frames: list[tuple[int, int]] = []
        self._packets = self._read()
        self._sent = 0

    @property
    def done(self) -> bool:
        return self._sent == self.count

    def take(self, frame: Frame) -> Iterator[Packet]:
        """The packets whose time is known now that `frame`, the next of the input, has come: times are the input's own."""
        self._check(frame)
        self._frames.append((frame.pts, frame.duration))
        while not self.done and self._ranks[self._sent] < len(self._frames):
            packet = next(self._packets)
            packet.time_base, packet.dts = frame.time_base, self._dts()
            packet.pts, packet.duration = self._frames[self._ranks[self._sent]]
            self._sent += 1
            yield packet

    def _dts(self) -> int:
        """The times in order, as many pictures later as pictures are held back."""
        first, step = self._frames[0][0], max(1, self._frames[0][1])
        before = self.delay - self._sent
        return first - before * step if before > 0 else self._frames[-before][0]

    def _check(self, frame: Frame) -> None:
        """WriteError if this is not the frame that the part has in this place."""
        number = len(self._frames)
        first = self._frames[0][0] if number else frame.pts
        apart = (self._sorted[number] - self._sorted[0]) * self.time_base - (frame.pts - first) * frame.time_base
        if abs(apart) > self.time_base:
            raise WriteError(f"{self.path}: frame {number} is not at the time of the input's; leave --resume out, -y starts anew")

    def _read(self) -> Iterator[Packet]:
        with av.open(file_url(self.path), metadata_errors="replace") as container:
            stream = container.streams[self.index]
            name = START_CODES.get(stream.codec_context.name if stream.codec_context else "")
            bare = BitStreamFilterContext(name, stream) if name else None
            for packet in container.demux(stream):
                if packet.size:
                    yield from bare.filter(packet) if bare else (packet,)


def _times(path: Path, index: int) -> tuple[Fraction, list[int]]:
    """Time base, and pts of the packets of a stream up to the first that is damaged. Nothing of a file without a beginning."""
    times: list[int] = []
    with contextlib.suppress(av.FFmpegError, IndexError), av.open(file_url(path), metadata_errors="replace") as container:
        stream = container.streams[index]
        with contextlib.suppress(av.FFmpegError):
            for packet in container.demux(stream):
                if packet.is_corrupt or packet.pts is None:
                    break
                times.append(packet.pts)
        return stream.time_base or Fraction(1), times
    return Fraction(1), []


def whole(times: list[int]) -> int:
    """How many packets from the first on make pictures without a gap, whatever would have followed. times: pts in order of decoding.

    A picture that comes later and is shown earlier than the last of these would be shown after all that follow: more than
    HELD of them rule it out.
    """
    latest = np.maximum.accumulate(np.array([*times, 0], np.int64)[: len(times)])
    earliest = np.minimum.accumulate(np.array(times, np.int64)[::-1])[::-1]
    for count in range(len(times) - HELD, 0, -1):
        if latest[count - 1] < earliest[count]:
            return count
    return 0
