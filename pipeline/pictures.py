"""Still pictures: one file, a numbered sequence (img_%04d.png) or a folder, read and written like a video."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import cast

import av

from . import embedded
from .embedded import Embedded
from .errors import OpenError, WriteError, line
from .films import filmed
from .frame import LAYOUTS, Frame, Layout, nearest, picture_of, planes_of
from .place import file_url
from .report import Report
from .stored import stored
from .video import LIMIT, Packet, Span, Tags, Video, check_size, convert, tags_of

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
NUMBER = re.compile(r"%0?(\d*)d")

ENCODERS = {".png": "png", ".jpg": "mjpeg", ".jpeg": "mjpeg", ".bmp": "bmp", ".tif": "tiff", ".tiff": "tiff", ".webp": "libwebp"}
OPTIONS = {"mjpeg": {"flags": "+qscale", "global_quality": "236"}, "libwebp": {"quality": "95"}}
"""JPEG at FFmpeg's quality 2 (118 units a step), the best that is not wasteful."""

JFIF = 5
"""FFmpeg's number for the matrix of JPEG (JFIF) and WebP files, that of BT.601: nothing in them tells another."""

LINEAR = 8
"""FFmpeg's number for values in proportion to light."""

ORDER = {"png": {"rgb48le": "rgb48be", "gray16le": "gray16be"}, "bmp": {"rgb24": "bgr24"}}
"""Where an encoder wants the same values in another order."""


def kind(path: Path, like: str = "") -> str:
    """What a path means: folder, sequence, picture or video. like: the kind of the input, for an output that is not there yet."""
    if path.is_dir() or str(path).endswith(("/", os.sep)) or (not path.suffix and like == "folder"):
        return "folder"
    if path.suffix.lower() in ENDINGS:
        return "sequence" if NUMBER.search(path.name) and not path.exists() else "picture"
    return "video"


class PictureSource:
    """Pictures in order. A sequence is a film at `rate` frames/s; in a folder those that follow each other as in a film are its shots.

    alike: all are brought to the first one's size and layout, as those of a sequence are, for a film.
    """

    zero = Fraction(0)

    def __init__(self, path: Path, span: Span, report: Report, limit: int = LIMIT, rate: Fraction = Fraction(25), alike: bool = False) -> None:
        self.path, self.report, self.limit = path, report, limit
        self.kind = kind(path)
        self._film, self._alike = alike, alike or self.kind == "sequence"
        self.copied: deque[Packet] = deque()
        first = int(Fraction(span.start).limit_denominator(1_000_000) * rate)
        last = None if span.duration is None else first + max(1, round(span.duration * rate))
        self.paths = listed(path, self.kind)[first:last]
        if not self.paths:
            raise OpenError(f"{path}: no picture there; {', '.join(ENDINGS)} are read")
        if self.kind == "folder" and (others := _others(path)):
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            self.report.note(f"{path}: left out, since no pictures of a kind that is read: {', '.join(others[:3])}{more}")
        picture, beside = self._load(self.paths[0])
        layout = nearest(picture.format)
        full, matrix, primaries, transfer = tags_of(picture)
        tags = (full, JFIF if layout.planes == 3 else matrix, primaries, transfer)
        self.video = Video(picture.width, picture.height, layout, 1 / rate, rate, len(self.paths), tags=tags, matrix=embedded.matrix_of(beside.exif))

    def read(self) -> Iterator[Frame]:
        frames = self.report.timed("decode", (self._frame(path, pts) for pts, path in enumerate(self.paths)))
        if self.kind != "folder":
            yield from frames
            return
        following = 0
        for frame in filmed(frames):
            following += not frame.cut
            yield frame
        if following:
            self.report.note(f"{self.path}: {following} of {len(self.paths)} pictures follow the one before as in a film: derained as its frames")

    def _frame(self, path: Path, pts: int) -> Frame:
        picture, beside = self._load(path)
        layout = self.video.layout if self._alike else nearest(picture.format)
        size = (self.video.width, self.video.height) if self._alike else (picture.width, picture.height)
        if size != (picture.width, picture.height):
            self.report.note(f"{path}: {picture.width}x{picture.height} is scaled to the first picture's {size[0]}x{size[1]}")
        picture = convert(picture, layout, *size)
        name = _number(path, self.path) if self.kind == "sequence" else path.name
        planes = planes_of(picture, layout)
        if self._film and (lost := beside.unfilmed()):
            self.report.note(f"{self.path}: not kept in a film: {'; '.join(lost)}")
        beside = beside.suited(gray=layout.planes == 1 and not layout.rgb)
        return Frame(planes, layout, pts, self.video.time_base, 1, picture=picture, name=name, embedded=beside)

    def _load(self, path: Path) -> tuple[av.VideoFrame, Embedded]:
        try:
            with av.open(file_url(path), options={"max_pixels": str(self.limit)} if self.limit else {}) as container:
                stream = container.streams.video[0]
                check_size(stream.width, stream.height, self.limit, path)
                if stream.codec_context.name == "tiff" and embedded.jpeg_in_tiff(path):
                    raise OpenError(f"{path}: compressed as JPEG, which is not read; save it with LZW")
                if jpeg := stream.codec_context.name == "mjpeg":
                    stream.codec_context.options = {"err_detect": "explode"}  # else what is cut off comes gray or green
                picture = next(container.decode(stream))
        except (av.FFmpegError, OSError, ValueError, IndexError, StopIteration) as error:
            if isinstance(error, OpenError):
                raise
            why = f"not a picture, or damaged, or larger than {self.limit} pixels (--max-pixels)" if path.exists() else "no such file"
            raise OpenError(f"{path}: {why}") from error
        beside = embedded.read(path)
        if picture.rotation and not beside.exif:
            self.report.note(f"{path}: not kept: the orientation of the camera; turn the picture first")
        if not jpeg and _transparent(picture):  # CMYK comes with a fourth component, too
            self.report.note(f"{path}: not kept: transparency")
        return picture, beside


class PictureSink:
    """Writes each frame as a picture into the folder `part`; `finish` moves all of them to their place."""

    def __init__(self, path: Path, like: str, video: Video, part: Path, report: Report, inputs: Sequence[Path] = ()) -> None:
        self.path, self.video, self.part, self.report = path, video, part, report
        self._inputs = {each.resolve() for each in inputs}
        self._told = _told(path, video)
        if video.hdr:
            report.note(f"{path}: not kept: HDR metadata, which pictures have no place for")
        if video.aspect and video.aspect != 1:
            report.note(f"{path}: not kept: the shape of the pixels, {video.aspect}")
        self.kind = kind(path, like)
        self.written: list[str] = []
        ending = path.suffix.lower()
        if self.kind != "folder" and not _known(ENCODERS[ending]):
            raise WriteError(f"{path}: this FFmpeg has no encoder for {ending}; write .png")

    def copy(self, packets: deque[Packet]) -> None:
        if packets:
            self.report.note(f"{self.path}: not kept: sound and everything else beside the pictures")
        packets.clear()

    def write(self, frame: Frame) -> None:
        if self.kind == "picture" and self.written:
            raise WriteError(f"{self.path}: one picture cannot hold a film; write img_%04d.png, or a video")
        name = self._name(frame)
        if (self._folder / name).resolve() in self._inputs:
            raise WriteError(f"{self._folder / name}: is an input; give the output another folder or name")
        if not frame.name:  # of a film: pictures have their own
            frame = frame.replace(embedded=self._told)
        try:
            (self.part / name).write_bytes(encoded(frame.landed(), Path(name).suffix.lower(), self.video.tags, self.report))
        except (OSError, av.FFmpegError, ValueError) as error:
            raise WriteError(f"{self.path}: {line(error)}") from error
        self.written.append(name)

    @property
    def _folder(self) -> Path:
        return self.path if self.kind == "folder" else self.path.parent

    def finish(self) -> None:
        folder = self._folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in self.written:
                os.replace(self.part / name, folder / name)
        except OSError as error:
            raise WriteError(f"{self.path}: {line(error)}") from error

    def _name(self, frame: Frame) -> str:
        if self.kind == "picture":
            return self.path.name
        if self.kind == "folder":
            return frame.name if Path(frame.name).suffix else f"frame_{len(self.written) + 1:06d}.png"
        number = int(frame.name) if frame.name.isdigit() else len(self.written) + 1
        return NUMBER.sub(lambda found: str(number).zfill(int(found[1] or 0)), self.path.name, count=1)


@contextmanager
def open_pictures(path: Path, like: str, video: Video, report: Report, inputs: Sequence[Path] = ()) -> Iterator[PictureSink]:
    """Pictures under their own names appear when the `with` is left without an error, and not otherwise. inputs: what none of them may replace."""
    whole = path.resolve()  # `.` has no name
    try:
        part = Path(tempfile.mkdtemp(prefix=f"{whole.name.replace('%', '')}.part", dir=whole.parent))  # never one that is there
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {line(error)}") from error
    try:
        sink = PictureSink(path, like, video, part, report, inputs)
        yield sink
        sink.finish()
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(part)


def encoded(frame: Frame, ending: str, tags: Tags, report: Report) -> bytes:
    """A picture file with these pixels."""
    name = ENCODERS[ending]
    layout = _layout(frame.layout, name)
    if layout.bits < frame.layout.bits:
        report.note(f"{ending} holds 8 bits: {frame.layout.bits - 8} bits of every value are not kept")
    frame = frame.replace(picture=None)  # the decoder's own has an orientation and a profile on it, which encoders would write, too
    picture = picture_of(stored(frame, layout, tags, JFIF if name in ("mjpeg", "libwebp") else 0))
    if other := ORDER.get(name, {}).get(layout.name):
        picture = picture.reformat(format=other)
    context = cast("av.VideoCodecContext", av.CodecContext.create(name, "w"))
    context.width, context.height, context.pix_fmt = picture.width, picture.height, picture.format.name
    context.time_base, context.options = frame.time_base, OPTIONS.get(name, {})
    data = b"".join(bytes(packet) for packet in (*context.encode(picture), *context.encode(None)))
    if lost := frame.embedded.lost(ending):
        report.note(f"{ending}: not kept: {'; '.join(lost)}: it takes less of that, or none")
    return embedded.put(data, frame.embedded)


def _told(path: Path, video: Video) -> Embedded:
    """What pictures of a film tell of it. WriteError if it is in linear light."""
    exif = embedded.turned(video.matrix) if video.matrix else b""
    if video.codec and video.tags[3] == LINEAR:  # pictures have no codec, and stay as they are
        raise WriteError(f"{path}: the input is in linear light, as EXR is, and would come out dark and clipped; save it as 16-bit PNG for display")
    return Embedded(exif, colours=embedded.colours_of(*video.tags[2:]))


def _transparent(picture: av.VideoFrame) -> bool:
    """Whether any of it is: lossless WebP comes with a fourth component that says nothing, and palettes hide theirs."""
    pixels = picture.format
    if not (pixels.has_palette or any(component.is_alpha for component in pixels.components)):
        return False
    return bool(picture.reformat(format="rgba").to_ndarray()[..., 3].min() < 255)


def _layout(layout: Layout, encoder: str) -> Layout:
    if encoder == "libwebp":
        return LAYOUTS["yuv420p"]
    if encoder == "mjpeg":
        chroma = "444" if layout.rgb or "440" in layout.name else (re.findall(r"42[02]|444", layout.name) or ["420"])[0]
        return LAYOUTS[f"yuvj{chroma}p"]
    deep = layout.bits > 8 and encoder != "bmp"
    if layout.planes == 1 and not layout.rgb:
        return LAYOUTS["gray16le" if deep else "gray"]
    return LAYOUTS["rgb48le" if deep else "rgb24"]


def listed(path: Path, what: str) -> list[Path]:
    """The pictures that are there. what: as `kind` tells it."""
    if what == "picture":
        return [path]
    if what == "folder":
        return sorted((p for p in path.iterdir() if p.suffix.lower() in ENDINGS and p.is_file() and not p.name.startswith(".")), key=_counted)
    found = [(int(_number(p, path)), p) for p in path.parent.glob("*") if _number(p, path)]
    return [p for _, p in sorted(found)]


def _others(path: Path) -> list[str]:
    """Names of what else lies in a folder, but for what is hidden."""
    return sorted(p.name for p in path.iterdir() if p.is_file() and p.suffix.lower() not in ENDINGS and not p.name.startswith("."))


def _counted(path: Path) -> list[tuple[int, str]]:
    """Puts 2.png before 10.png."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _number(path: Path, pattern: Path) -> str:
    """The digits that stand for %d in the name; empty if the name does not fit."""
    head, digits, tail = NUMBER.split(pattern.name, maxsplit=1)
    found = re.fullmatch(re.escape(head) + r"(\d+)" + re.escape(tail), path.name)
    return found[1] if found and len(found[1]) >= int(digits or 1) else ""


def _known(encoder: str) -> bool:
    return encoder in av.codecs_available
