"""A video file as frames with true times, decoded once; everything else in it is handed on as packets."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av

from .errors import OpenError, line
from .frame import Frame, Layout, nearest, planes_of
from .hdr import hdr_of
from .hwaccel import open_video
from .joints import Joints
from .place import file_url
from .report import Report
from .sidedata import NAMED, SPOKEN, display_matrix, side_data, turn
from .times import Times
from .video import LIMIT, LONGEST, Packet, Span, Video, check_size, convert, tags_of

if TYPE_CHECKING:
    from .resident import Resident

ANY_CLOCK = ("mpegts", "mpeg", "hls", "rtsp", "flv", "rtp", "asf")
"""Formats whose clock starts anywhere: their files are moved to start at 0."""

NO_TIMES = 0x80
"""FFmpeg's flag of formats without time stamps (AVFMT_NOTIMESTAMPS)."""

DECLARED = ("mp4", "matroska", "avi", "flv", "asf", "nut")
"""Formats that tell how long the file is."""

INDEXED = ("mp4", "avi")
"""Those that tell when each frame is shown before the first is read."""

FROM_ZERO = ("matroska", "asf", "nut")
"""Those of them that count it from 0, whenever the file begins."""

SHORT = Fraction(1, 2)
"""Seconds by which a file may be shorter than it tells: last packets may tell no duration."""

EARLIER = 1_000_000
"""Microseconds before its beginning from which all of a file is read: MPEG-TS would pass over its first key frame else."""

HELD = Fraction(1, 5)
"""Seconds without a new picture after the beginning of a span, after which that before it is taken, too."""

BACK = (0, 2, 8, 32, LONGEST)
"""Seconds before a span from which it is read: the more, where what comes first is a picture of it, as after a seek in MPEG-TS. At last all."""

UNTOLD = ((0,), (0, 2), (0, 2), (0, 2))
"""For each of a picture's tags, the numbers by which FFmpeg says that nothing is told."""

Keep = Callable[[av.VideoFrame], "Resident | None"]
"""Keeps a picture on the GPU, if it is there."""

log = logging.getLogger("derain_video")


class Source:
    """An open file. While `read` goes on, `copied` fills with the packets of the other streams that lie in the span.

    zero: the second of the file that becomes 0. Frames are moved already, packets are not. keep: what keeps frames on the GPU, if anything.
    """

    def __init__(
        self, container: av.container.InputContainer, path: Path, span: Span, report: Report, limit: int, keep: Keep | None = None
    ) -> None:
        self.container, self.path, self.span, self.report, self._keep = container, path, span, report, keep
        self.stream = _main_stream(container, path)
        check_size(self.stream.width, self.stream.height, limit, path)
        self.copied: deque[Packet] = deque()
        self.zero = self._zero()
        self.rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
        for back in BACK:
            self._begin()
            sought = self._seek(back)
            self._pictures = self._decode()
            first = next(self._pictures, None)
            if not sought or (self._earliest is not None and self._earliest <= self.zero):
                break
        if first is None:
            within = f" within {span.duration:g} s" if span.duration else ""
            where = f" from {span.start:g} s on" if span.start else ""
            remedy = "give a longer --duration, or is the file not whole?" if within else "is the file whole?"
            raise OpenError(f"{path}: no frame can be decoded{within}{where}; {remedy}")
        self._first, self.video = first, self._describe(first)

    def read(self) -> Iterator[Frame]:
        """Frames in order of time, once."""
        for picture in self.report.timed("decode", chain([self._first], self._pictures)):
            yield self._frame(picture)
        self._conclude()

    @property
    def others(self) -> list[av.stream.Stream]:
        """Every stream but the one that is derained."""
        return [stream for stream in self.container.streams if stream.index != self.stream.index]

    @property
    def even(self) -> bool:
        """Whether frames come at the same rate throughout, by a container that tells of all of them."""
        return self._among(INDEXED) and self.stream.average_rate == self.stream.guessed_rate == self.rate

    @property
    def ends(self) -> Fraction | None:
        """Where the pictures end by what the file tells, if it tells that of its streams and all of them are read; in seconds from `zero`."""
        stream = self.stream
        if stream.duration is None or not stream.time_base or self.span.duration is not None:
            return None
        return ((stream.start_time or 0) + stream.duration) * stream.time_base - self.zero

    def _among(self, formats: tuple[str, ...]) -> bool:
        return any(name in formats for name in self.container.format.name.split(","))

    def _zero(self) -> Fraction:
        begin = Fraction(self.container.start_time or 0, 1_000_000)
        moved = self.span.start or self._among(ANY_CLOCK)
        return begin + Fraction(self.span.start).limit_denominator(1_000_000) if moved else Fraction(0)

    def _begin(self) -> None:
        """As before the first packet."""
        self._times = Times(self.stream.time_base or Fraction(1, 90000), self.rate)
        self._fed, self._seen, self._begun = 0, Fraction(0), set[int]()
        self._joints = Joints()
        self._earliest, self._before = cast("Fraction | None", None), cast("av.VideoFrame | None", None)
        self.copied.clear()
        self.report.damaged = 0

    def _seek(self, back: float) -> bool:
        """Whether what comes next is so many seconds before the span, or somewhere after that, and not the beginning of the file."""
        if not self.span.start or self.container.format.flags & NO_TIMES:  # frames are counted from the beginning on
            return False
        target = int((self.zero - Fraction(back)) * 1_000_000)
        begin = self.container.start_time or 0
        for place in (target,) if target > begin else (begin - EARLIER, begin):  # AVI and its like refuse what is before 0
            with contextlib.suppress(av.FFmpegError):
                self.container.seek(place)
                return target > begin
        log.debug("%s: cannot seek, reading from its beginning", self.path)
        return False

    @property
    def end(self) -> Fraction | None:
        """The second of the file at which the span ends, if it does so before the file."""
        if self.span.duration is None:
            return None
        begin = self.zero if self.span.start else Fraction(self.container.start_time or 0, 1_000_000)
        return begin + Fraction(self.span.duration).limit_denominator(1_000_000)

    def _decode(self) -> Iterator[av.VideoFrame]:
        """Pictures of the span, with pts; the packets of other streams go aside on the way."""
        end = self.end
        running = {stream.index for stream in (self.stream, *self.container.streams.audio)}
        for packet in self._packets():
            if packet.stream_index != self.stream.index:
                self._aside(packet, end, running)
            elif self.stream.index in running:
                yield from self._in_span(self._pictures_of(packet), end, running)
            if not running:
                return
        if self.stream.index in running:
            yield from self._in_span(self._pictures_of(None), end, running)
            yield from self._in_span(self._tail(), end, running)
        if self._before:
            until = ((self._times.last or 0) + (self._before.duration or 0)) * self._times.time_base
            if until > self.zero:
                yield self._held(self._before, until if end is None else min(until, end))

    def _held(self, picture: av.VideoFrame, until: Fraction) -> av.VideoFrame:
        """A picture that is shown when the span begins, as one that begins there."""
        base = self._times.time_base
        picture.pts, picture.duration = round(self.zero / base), round((until - self.zero) / base)
        return picture

    def _in_span(self, pictures: Iterator[av.VideoFrame], end: Fraction | None, running: set[int]) -> Iterator[av.VideoFrame]:
        for picture in pictures:
            time = self._times.repair(picture) * self._times.time_base
            self._earliest = time if self._earliest is None else self._earliest
            if self.span.start and time < self.zero:
                self._before = picture
                continue
            if self._before and time - self.zero > min(1 / self.rate, HELD):
                yield self._held(self._before, time if end is None else min(time, end))
            self._before = None
            if end is not None and time >= end:
                running.discard(self.stream.index)
                return
            if end is not None and picture.duration:
                picture.duration = min(picture.duration, round((end - time) / self._times.time_base))
            yield picture

    def _packets(self) -> Iterator[Packet]:
        try:
            for packet in self.container.demux():
                if packet.size:
                    self._joints.mend(packet, self._seen)
                    step = 1 / self.rate if packet.stream_index == self.stream.index else Fraction(0)
                    self._seen = max(self._seen, _last(packet, step))
                    yield packet
        except av.EOFError:
            return
        except av.FFmpegError as error:
            self.report.note(f"{self.path}: reading ends early: {line(error)}")

    def _aside(self, packet: Packet, end: Fraction | None, running: set[int]) -> None:
        begin = packet.pts if packet.pts is not None else packet.dts
        if begin is None and packet.stream.disposition & av.stream.Disposition.attached_pic:
            packet.pts = packet.dts = round(self.zero / packet.time_base)
            self.copied.append(packet)
        elif begin is None:
            self.report.note(f"{self.path}: not kept: packets without a time of stream {packet.stream_index}")
        elif end is not None and begin * packet.time_base >= end:
            running.discard(packet.stream_index)
        elif not self.span.start or (begin + (packet.duration or 1)) * packet.time_base > self.zero:
            self._take(packet)

    def _take(self, packet: Packet) -> None:
        """Sends a packet aside; of another video in a span none before its first key frame, which players begin at."""
        if packet.stream.type == "video" and self.span.start and packet.stream_index not in self._begun and not packet.is_keyframe:
            self.report.note(f"{self.path}: the second video (stream {packet.stream_index}) begins at its next key frame")
            return
        self._begun.add(packet.stream_index)
        self.copied.append(packet)

    def _pictures_of(self, packet: Packet | None) -> Iterator[av.VideoFrame]:
        """What a packet completes; None for what the decoder still holds. Damage is counted, and passed over."""
        self._fed += packet is not None
        try:
            yield from self.stream.codec_context.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError as error:
            self.report.damaged += 1
            log.debug("%s: packet at %s cannot be decoded: %s", self.path, packet.pts if packet else "the end", line(error))

    def _tail(self) -> Iterator[av.VideoFrame]:
        """What the decoder's frame threads lose after damage close to the end: decoded again without them."""
        last = self._times.last
        if last is None or self._times.guessed or self._joints.moves[1:] or self._fed <= self._times.count + self.report.damaged:
            return
        with av.open(file_url(self.path), metadata_errors="replace") as again:
            stream = again.streams[self.stream.index]
            again.seek(last, stream=stream)
            for packet in again.demux(stream):
                with contextlib.suppress(av.FFmpegError):
                    pictures = cast("list[av.VideoFrame]", packet.decode())
                    yield from (picture for picture in pictures if picture.pts is not None and picture.pts > last)

    def _describe(self, picture: av.VideoFrame) -> Video:
        stream, context = self.stream, self.stream.codec_context
        left = stream.frames
        if not left and self.container.duration:
            left = round(self.container.duration / 1_000_000 * self.rate)
        if self.span.start or self.span.duration:
            left = round(min(self.span.duration or LONGEST, left / self.rate - self.span.start) * self.rate)
        metadata = dict(stream.metadata)
        if self.span.start and metadata.pop("timecode", ""):
            self.report.note(f"{self.path}: not kept: the time code, which --start would move")
        return Video(
            picture.width, picture.height, self._layout(picture), self._times.time_base, self.rate, max(0, left), context.name,
            tags_of(picture), stream.sample_aspect_ratio or context.sample_aspect_ratio, display_matrix(self._side_data(picture)) or turn(picture),
            metadata, int(stream.disposition), hdr_of(dict(self._side_data(picture))), self._resident(picture) is not None,
        )  # fmt: skip

    def _side_data(self, picture: av.VideoFrame) -> Iterable[tuple[str, bytes]]:
        """What rides on a frame, by name; nothing where it cannot be looked at."""
        return () if self.stream.codec_context.name in NAMED else side_data(picture)

    def _layout(self, picture: av.VideoFrame) -> Layout:
        pixels = (picture.sw_format if self._keep else None) or picture.format
        if any(component.is_alpha for component in pixels.components) or self.stream.metadata.get("alpha_mode") == "1":  # of VP8 and VP9, beside it
            self.report.note(f"{self.path}: not kept: transparency")
        return nearest(pixels)

    def _resident(self, picture: av.VideoFrame) -> Resident | None:
        return self._keep(picture) if self._keep else None

    def _frame(self, picture: av.VideoFrame) -> Frame:
        """A frame of the size and layout of the first one."""
        video = self.video
        if (picture.width, picture.height) != (video.width, video.height):
            self.report.note(f"{self.path}: pictures of {picture.width}x{picture.height} are scaled to the first one's {video.width}x{video.height}")
        if picture.format.name != self._first.format.name:
            self.report.note(f"{self.path}: pictures of {picture.format.name} are stored as the first one's {video.layout.name}")
        for name, _ in self._side_data(picture):
            if name in SPOKEN:
                self.report.note(f"{self.path}: not kept: {SPOKEN[name]}")
        if woven := picture.interlaced_frame:
            self.report.note(f"{self.path}: interlaced frames are derained as they are and stored as progressive")
        pts, duration = cast(int, picture.pts) - round(self.zero / video.time_base), picture.duration or 0
        picture = self._recoloured(picture)
        resident = self._resident(picture) if (picture.width, picture.height) == (video.width, video.height) else None
        picture = convert(picture, video.layout, video.width, video.height)
        if picture.planes[0].line_size < 0:
            raise OpenError(f"{self.path}: its pictures are stored from the bottom up, which is not read; bring it to another codec first")
        own = None if woven else picture  # encoders would mark those as interlaced that were not derained
        return Frame(planes_of(picture, video.layout), video.layout, pts, video.time_base, duration, picture=own, resident=resident)

    def _recoloured(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture in the first one's range and matrix, where both tell theirs."""
        first, layout = self.video.tags, self.video.layout
        if tags_of(picture) == first:
            return picture
        tags = [mine if mine not in untold else own for mine, own, untold in zip(tags_of(picture), first, UNTOLD, strict=True)]
        changed = [mine != own not in untold for mine, own, untold in zip(tags, first, UNTOLD, strict=True)]
        if not any(changed):
            return picture
        self.report.note(f"{self.path}: colours change in it: range and matrix become the first picture's, whose primaries and transfer are told")
        if layout.planes < 3 or not any(changed[:2]):
            return picture
        mine, own = ([5 if matrix == 6 else matrix, full] for full, matrix, *_ in (tags, first))  # PyAV knows BT.601 by one of its numbers
        matrices = {"src_colorspace": mine[0], "dst_colorspace": own[0] if changed[1] else mine[0]}
        return picture.reformat(format=layout.name, **matrices, src_color_range=mine[1], dst_color_range=own[1] if changed[0] else mine[1])

    def _conclude(self) -> None:
        begin = 0 if self._among(FROM_ZERO) else self.container.start_time or 0
        declared = Fraction(begin + (self.container.duration or 0), 1_000_000)
        if self._among(DECLARED) and self.end is None and declared - self._seen > SHORT:
            self.report.note(f"{self.path}: ends at {float(self._seen):.2f} s of {float(declared):.2f} s; was it cut off?")
        if (recordings := len(self._joints.moves)) > 1:
            self.report.note(f"{self.path}: {recordings} recordings in one, each with a clock of its own: they follow each other now")
        if self.report.damaged:
            self.report.note(f"{self.path}: {self.report.damaged} damaged packets, whose frames are missing")
        if self._times.guessed:
            self.report.note(f"{self.path}: {self._times.guessed} frames without a time of their own: spaced at {float(self.rate):g} frames/s")
        if self._times.moved:
            self.report.note(f"{self.path}: {self._times.moved} frames not later than the one before: moved by one tick")


def _last(packet: Packet, step: Fraction) -> Fraction:
    """Where a packet ends, in seconds. step: how long it lasts where it does not tell."""
    begin = packet.pts if packet.pts is not None else packet.dts
    if begin is None or not packet.time_base:
        return Fraction(0)
    return begin * packet.time_base + (packet.duration * packet.time_base if packet.duration else step)


@contextmanager
def open_source(
    path: Path, span: Span, report: Report, limit: int = LIMIT, hardware: bool = False, keep: Keep | None = None
) -> Iterator[Source]:
    """Opens a video file. OpenError if it is not there, not a video, without a picture, or larger than `limit` pixels.

    hardware: decode it on the GPU where that works. keep: keeps what is decoded there.
    """
    try:
        container = open_video(path, hardware, keep is not None, options={"max_pixels": str(limit)} if limit else {}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise OpenError(f"{path}: {_why(path, error)}") from error
    with container:
        if container.format.name == "tty":
            raise OpenError(f"{path}: is text, not a video")
        yield Source(container, path, span, report, limit, keep)


def _why(path: Path, error: Exception) -> str:
    if not path.exists():
        return "no such file"
    if isinstance(error, av.InvalidDataError):
        return "not a video, or cut off before its index; play it, or fetch it again"
    return line(error)


def _main_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    """The first video stream that is not cover art."""
    streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    usable = [s for s in streams if s.codec_context is not None]
    if not usable:
        what = "its video codec is not known to this FFmpeg" if streams else "there is no video stream in it"
        raise OpenError(f"{path}: {what}")
    usable[0].thread_type = "AUTO"  # frames as well as slices
    return usable[0]
