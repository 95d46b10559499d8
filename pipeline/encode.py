"""Frames into a video file: written under a temporary name beside it, renamed when it is whole."""

from __future__ import annotations

import contextlib
import errno
import math
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.stream import Disposition
from av.video.frame import PictureType

from . import codec, fragments, hdr, hwaccel, part
from .decode import Source
from .durations import Durations, Places
from .errors import FullError, OptionError, WriteError, line
from .frame import Frame, picture_of
from .part import Facts, Kept
from .place import file_url
from .report import Report
from .stored import in_layout, stored, untold
from .tracks import FRAGMENTED, Tracks, titled, told
from .video import Packet, Video, tags_of

COMMON_KEYS = frozenset(
    "title artist album_artist album comment genre date copyright description synopsis show episode_id network composer grouping "
    "keywords lyrics track disc creation_time location location-eng".split()
)
"""Metadata that these write the way every player reads it."""

COARSE = {"matroska": Fraction(1, 1000), "webm": Fraction(1, 1000), "flv": Fraction(1, 1000)}
"""Containers with a clock of their own, which times are rounded to."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room: on the disk, for the user, or in a file."""

DELAY = 2
"""Pictures that an encoder with B-frames holds back, as ours are set."""

LAST = 2
"""Pictures at the end of a film that are no B-frames, nor have any before them that are stored after: so the one shown last is stored last."""


class Sink:
    """An open output. Give it frames in order; leave the `with` of open_sink to finish it.

    source: its other streams, chapters and metadata are taken over; None: there are none.
    kept: pictures of an earlier run, which stand for the first frames. remedy: what a full disk leaves to do.
    """

    def __init__(
        self,
        container: av.container.OutputContainer,
        path: Path,
        video: Video,
        settings: codec.Settings,
        report: Report,
        source: Source | None = None,
        kept: Kept | None = None,
        remedy: str = "begin anew",
    ) -> None:
        self.container, self.path, self.report, self.kept = container, path, report, kept
        self._remedy = remedy
        self._dts = -(1 << 62)
        self._held: Packet | None = None
        self._encoded_frames = 0
        self._ending = deque[Frame]()
        self._begun, self._waiting = False, deque[Packet]()
        try:
            self.encoder = codec.choose_encoder(video, settings, _supported(container), container.format.name)
        except OptionError as error:
            raise OptionError(f"{path}: {error}") from error
        self._counts = self.encoder in codec.COUNTING
        even = container.format.name == "avi" and bool(source and source.even) and not self._counts
        if self._counts:
            video = codec.counted(video)
        elif even:  # AVI's clock is the rate, too, where that is the same throughout
            video = replace(video, time_base=1 / video.rate)
        self._places = Places(video.rate, filled=self._counts) if self._counts or even else None
        self._durations = Durations(video, source.ends if source else None, container.format.name in FRAGMENTED)
        self.layout = codec.choose_layout(self.encoder, video)
        self._on_gpu = video.resident and self.encoder in hwaccel.NVENC.values()
        self._limited, matrix = self.encoder in codec.LIMITED, codec.MATRIX.get(self.encoder, 0)
        self.tags, self.video = video.tags, in_layout(video, self.layout, matrix, self._limited)
        self._matrix = self.video.tags[1] if video.layout.rgb else matrix
        self._say_changes(video)
        self.tracks = Tracks(source, container, report) if source else None
        if self.tracks:
            self.tracks.open(before=True)
        self.stream = self._add_stream(settings)
        if self.tracks:
            self.tracks.open(before=False)
        self._set_container_options()
        self._open_encoder()

    def copy(self, packets: deque[Packet]) -> None:
        """Sends packets of the other streams, and leaves `packets` empty. They wait for the first picture: by the first packet
        FFmpeg decides how far a container that cannot begin before 0 is moved, and pictures begin earliest."""
        self._waiting = packets
        if self.tracks and self._begun:
            with self._faults():
                self.tracks.send(packets)

    def write(self, frame: Frame) -> None:
        """Encodes a frame, or takes it from the earlier run."""
        with self._faults():
            for each in self._places.put(frame) if self._places else (frame,):
                self._durations.note(each)
                kept = self.kept and not self.kept.done
                for packet in self.kept.take(each) if self.kept and kept else self._encoded(each):
                    self._mux(packet)

    def finish(self) -> None:
        """Writes what the encoder still holds, and the end of the file."""
        if self.kept and not self.kept.done:
            raise WriteError(f"{self.kept.path}: has more frames than the input; leave --resume out, -y starts anew")
        with self._faults():
            begun, few = self._begun, self._encoded_frames + len(self._ending) <= DELAY
            for packet in self._flushed():
                if few:
                    packet.dts = packet.pts  # x265 gives any number where the film is shorter than what it holds back
                self._mux(packet)
            if self._held:
                self._send(self._held, self._durations.rest(self._held))
            if self.tracks and not begun:
                self.tracks.send(self._waiting)
            self.container.close()

    def check(self, path: Path) -> None:
        """Says what the finished file does not tell. WriteError if it cannot be read."""
        try:
            done = av.open(file_url(path), metadata_errors="replace")
        except av.EOFError:
            return  # of two or three even frames, in MPEG-TS: too few bytes for FFmpeg to know it by
        except av.FFmpegError as error:
            raise WriteError(f"{self.path}: what was written cannot be read back ({line(error)}); give another --codec or .mkv") from error
        with done:
            context = cast("av.VideoCodecContext", done.streams[self.stream.index].codec_context)
            for what in untold(self.video, tags_of(context)):
                self.report.note(f"{self.path}: not kept by {self.container.format.name}: {what}")
            if self.tracks:
                self.tracks.check(done)

    def facts(self) -> Facts:
        """What a later run must have in common with this one to continue it."""
        return {"stream": self.stream.index, "encoder": self.encoder, "headers": (self.stream.codec_context.extradata or b"").hex()}

    def _encoded(self, frame: Frame) -> Iterator[Packet]:
        """Packets of the frames before it: the last ones wait."""
        self._ending.append(frame)
        if len(self._ending) > LAST:
            yield from self.stream.codec_context.encode(self._picture(self._ending.popleft()))

    def _flushed(self) -> Iterator[Packet]:
        """The packets of the last frames, and what the encoder still holds."""
        for frame in self._ending:
            picture = self._picture(frame)
            picture.pict_type = PictureType.P
            yield from self.stream.codec_context.encode(picture)
        yield from self.stream.codec_context.encode(None)

    def _picture(self, frame: Frame) -> av.VideoFrame:
        self._encoded_frames += 1
        frame = frame if self._on_gpu else frame.landed()
        picture = picture_of(stored(frame, self.layout, self.tags, self._matrix, self._limited))
        picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc = self.video.tags  # ProRes takes each picture's
        return picture

    def _mux(self, packet: Packet) -> None:
        """Sends the packet before this one."""
        if self.kept and packet.dts is not None:
            packet.dts = self._dts = max(packet.dts, self._dts + 1)  # where two encoders meet
        held, self._held = self._held, packet
        if held:
            self._send(held, self._durations.of(held, packet))

    def _send(self, packet: Packet, duration: int) -> None:
        packet.stream, packet.duration = self.stream, max(0, duration)
        self._begun = True
        self.container.mux_one(packet)

    def _add_stream(self, settings: codec.Settings) -> av.VideoStream:
        video = self.video
        how: dict[str, Any] = {"hwaccel": hwaccel.staying()} if self._on_gpu else {}
        with self._faults():
            stream = cast("av.VideoStream", self.container.add_stream(self.encoder, rate=video.rate.limit_denominator(1001 * 60), **how))
        context = stream.codec_context
        context.options = codec.options(self.encoder, settings, self.container.format.name, self.layout.name, video.hdr)
        context.width, context.height = video.width, video.height
        context.pix_fmt = codec.ORDER.get((self.encoder, self.layout.name), "nv12" if self._on_gpu else self.layout.name)
        context.time_base = stream.time_base = video.time_base
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = video.tags
        context.thread_type = "AUTO"
        if context.codec.canonical_name == "hevc" and self.container.format.name in FRAGMENTED:
            context.codec_tag = "hvc1"  # players of Apple's take no hev1
        if video.aspect:
            context.sample_aspect_ratio = stream.sample_aspect_ratio = video.aspect
        stream.set_display_matrix(video.matrix)
        stream.metadata.update(titled(told(video.metadata)))
        stream.disposition = Disposition(video.disposition)
        return stream

    def _open_encoder(self) -> None:
        with self._faults():
            self.stream.codec_context.open()
        if self.kept and self.stream.codec_context.has_b_frames:
            self.kept.delay = max(self.kept.delay, DELAY)

    def _set_container_options(self) -> None:
        """Little is held back, so that a part can be played. For MP4 and its kin: fragments, a clock on which every start
        can be told exactly, and keys that are not among the common."""
        self.container.container_options.update({"flush_packets": "1", "max_interleave_delta": "500000"})
        if self.container.format.name in ("matroska", "webm"):
            self.container.container_options["cluster_time_limit"] = "250"
        if self.container.format.name not in FRAGMENTED:
            return
        flags = "hybrid_fragmented+delay_moov"
        if not COMMON_KEYS.issuperset(self.container.metadata):
            flags += "+use_metadata_tags"  # holds any key, but players look there less often
        bases = [stream.time_base for stream in self.container.streams if stream.time_base]
        ticks = math.lcm(1000, *(base.denominator for base in bases))
        self.container.container_options.update({"movflags": flags, "frag_duration": "250000"})
        self.container.container_options["movie_timescale"] = str(ticks if ticks < 1 << 31 else self.video.time_base.denominator)

    def _say_changes(self, video: Video) -> None:
        ours, theirs = self.layout, video.layout
        if ours.name != theirs.name.replace("yuvj", "yuv") and ours.name != theirs.name:
            why = " because its size is odd" if ours.bits == theirs.bits and not theirs.rgb and codec.odd(theirs, video) else ""
            self.report.note(f"{self.path}: {theirs.name} is stored as {ours.name} by {self.encoder}{why}")
        for what in hdr.lost(self.encoder, video.hdr):
            self.report.note(f"{self.path}: not kept by {self.encoder}: {what}")
        counting = "AVI" if self.container.format.name == "avi" else self.encoder if self._counts else ""
        if video.matrix and self.container.format.name not in (*FRAGMENTED, "matroska", "webm"):
            self.report.note(f"{self.path}: not kept by {self.container.format.name}: that the picture is turned for display; give .mp4 or .mkv")
        if counting:
            self.report.note(f"{self.path}: times are rounded to {float(1 / video.rate) * 1000:g} ms, a frame: {counting} has no other clock")
        if self.container.format.name == "asf":
            self.report.note(f"{self.path}: ASF tells when to decode a picture and not when to show it: it may be shown a frame late")
        tick = COARSE.get(self.container.format.name.split(",")[0])
        if tick and (video.time_base / tick).denominator != 1 and (1 / (video.rate * tick)).denominator != 1:
            self.report.note(f"{self.path}: times are rounded to {float(tick) * 1000:g} ms, the clock of {self.container.format.name}")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) in FULL:
                raise FullError(f"{self.path}: no room left on the disk; free some, and {self._remedy}") from error
            raise WriteError(f"{self.path}: {self._reason(error)}") from error

    def _reason(self, error: Exception) -> str:
        if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
            return f"cannot be written: {line(error)}"
        return f"{self.encoder} or the container refuses this: {line(error)}"


def _supported(container: av.container.OutputContainer) -> set[str]:
    """Names of codecs. FFmpeg asks no question of MPEG-TS and its kin, so what broadcast uses is named here; MOV's list has some that it refuses."""
    broadcast = {"h264", "hevc", "mpeg2video"} if container.format.name in ("mpegts", "hls") else set()
    refused = {"vp8", "vp9", "av1"} if container.format.name == "mov" else set()
    return (set(container.supported_codecs) | broadcast) - refused


@contextmanager
def open_sink(
    path: Path,
    video: Video,
    settings: codec.Settings,
    report: Report,
    source: Source | None = None,
    facts: Facts | None = None,
    kept: Kept | None = None,
) -> Iterator[Sink]:
    """A video file. Under its own name it appears when the `with` is left without an error, and not otherwise.

    facts: of the job, which a later run must agree with to continue this one; None: none can. kept: from such a run; its file is removed in the end.
    """
    first, second = part.names(path)
    mine = second if kept and kept.path == first else first
    with part.alone(path):
        yield from _written(mine, path, video, settings, report, source, facts, kept)


def _written(
    mine: Path, path: Path, video: Video, settings: codec.Settings, report: Report, source: Source | None, facts: Facts | None, kept: Kept | None
) -> Iterator[Sink]:
    """As of open_sink, which sees to it that no other run writes the part `mine`."""
    container = _open(mine, path)
    try:
        with _closed(container):
            sink = Sink(container, path, video, settings, report, source, kept, f"--resume continues {mine}" if facts is not None else "begin anew")
            if kept:
                _check_encoder(sink, part.read_note(path), kept)
            elif facts is not None:
                part.write_note(path, {**facts, **sink.facts()})
            yield sink
            sink.finish()
        sink.check(mine)
        _rename(mine, path)
    except BaseException as error:
        if isinstance(error, FullError) and facts is not None:
            if container.format.name in FRAGMENTED:
                fragments.cut(mine)
            raise
        with contextlib.suppress(OSError):
            mine.unlink()
        if not kept:
            part.clear(path)
        raise
    part.clear(path)


def _check_encoder(sink: Sink, told: Facts, kept: Kept) -> None:
    """WriteError if pictures of this encoder cannot follow those of the part in one stream."""
    if any(told.get(name) != value for name, value in sink.facts().items()):
        raise WriteError(f"{kept.path}: was made by another encoder, or another version of it; leave --resume out, -y starts anew")


@contextmanager
def _closed(container: av.container.OutputContainer) -> Iterator[None]:
    """Closes it in the end. A fault in that would hide the one that led to it; where all went well `finish` has closed it already."""
    try:
        yield
    finally:
        with contextlib.suppress(av.FFmpegError):
            container.close()


def _rename(mine: Path, path: Path) -> None:
    try:
        os.replace(mine, path)
    except OSError as error:
        raise WriteError(f"{path}: cannot be replaced: {line(error)}") from error


def _open(mine: Path, path: Path) -> av.container.OutputContainer:
    try:
        container = av.open(file_url(mine), "w")
    except (av.FFmpegError, OSError, ValueError) as error:
        why = f"no container has the ending {path.suffix!r}; give .mp4 or .mkv, or for pictures name_%04d.png or a folder that is there"
        raise WriteError(f"{path}: cannot be written: {why if isinstance(error, ValueError) else line(error)}") from error
    if container.format.no_file:
        raise WriteError(f"{path}: {container.format.name} is more than one file; give .mp4 or .mkv")
    return container
