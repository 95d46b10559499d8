"""Sound, subtitles, data and chapters of a file, copied into another packet by packet."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext

from .carried import refusal, wears_headers
from .decode import Source
from .place import file_url
from .report import Report
from .video import Packet

OWN_KEYS = re.compile(
    r"(software|alpha_mode|major_brand|minor_version|compatible_brands|encoder|vendor_id|duration|bps|number_of_\w+|_statistics_\w+)(-\w+)?$", re.I
)
"""Metadata that a muxer writes itself, or that tells of the bytes which are replaced."""

FRAGMENTED = ("mp4", "mov", "ipod", "3gp", "3g2", "f4v")
"""Containers that are written in fragments, so that after a power cut all but the last second can be played."""

COVERS = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png"), "bmp": ("bmp", "image/bmp"), "webp": ("webp", "image/webp")}
"""Codec of a cover -> ending and type of its file."""

KINDS = {"audio": "sound", "subtitle": "subtitles", "data": "data", "attachment": "attachment", "video": "video"}


def told(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata that is still true of the result."""
    return {key: value for key, value in metadata.items() if not OWN_KEYS.match(key)}


def titled(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata of a stream with its title by the name that FFmpeg writes it by: from MP4 and MOV it reads it as another."""
    return {"title" if key == "name" else key: value for key, value in metadata.items()}


@dataclass(frozen=True)
class _Track:
    """Where packets of a stream go: by how many ticks earlier, and through which filter. end: tick after which nothing is shown, if any."""

    stream: av.stream.Stream
    shift: int
    end: int | None = None
    bare: BitStreamFilterContext | None = None


class Tracks:
    """The streams of `source` beside its video, as far as the container `output` takes them; the rest is said."""

    def __init__(self, source: Source, output: av.container.OutputContainer, report: Report) -> None:
        self.source, self.output, self.report = source, output, report
        self._tracks: dict[int, _Track] = {}
        self.chapters = self.covers = 0
        self.languages: list[str] = []

    def open(self, before: bool) -> None:
        """Adds the streams that lie before the derained one in the file, or those after it, so that their order is kept."""
        for stream in self.source.others:
            if (stream.index < self.source.stream.index) == before:
                self._open(stream)
        if not before:
            self.output.metadata.update(told(self.source.container.metadata))
            self._chapters()
            self.languages = [stream.metadata.get("language", "und") for stream in self.output.streams]

    def send(self, packets: deque[Packet]) -> None:
        """Muxes what has come so far, and leaves `packets` empty."""
        while packets:
            packet = packets.popleft()
            if track := self._tracks.get(packet.stream_index):
                for one in track.bare.filter(packet) if track.bare else (packet,):
                    self.output.mux_one(_moved(one, track))

    def check(self, done: av.container.InputContainer) -> None:
        """Says what the finished file does not tell: muxers drop tags that they have no place for, and say nothing."""
        kept = {key.lower() for key in done.metadata}
        lost = [key for key in told(self.source.container.metadata) if key.lower() not in kept]
        for language, stream in zip(self.languages, done.streams, strict=False):
            if language not in ("und", stream.metadata.get("language")):
                lost.append(f"language {language} of stream {stream.index}")
        if self.covers > sum(_is_cover(stream) for stream in done.streams):
            lost.append("cover art")
        if self.chapters > len(done.chapters()):
            lost.append("chapters")
        for what in lost:
            self.report.note(f"not kept by {self.output.format.name}: {what}")

    def _open(self, stream: av.stream.Stream) -> None:
        if stream.type == "data" and stream.discard >= av.stream.Discard.all and self.source.container.chapters():
            return  # QuickTime's form of the chapters, which are copied as such
        if stream.type == "data" and "timecode" in stream.metadata and self.output.format.name in (*FRAGMENTED, "matroska"):
            return  # the video has it as a tag, of which FFmpeg makes such a track anew
        if _is_cover(stream) and self._attach(stream):
            return
        form, ending = self.output.format.name, Path(self.output.name).suffix
        refused = "its codec is not known" if stream.type == "unknown" else refusal(stream, form, ending)
        if refused:
            self.report.note(f"not kept: {KINDS.get(stream.type, 'stream')} (stream {stream.index}): {refused}")
            return
        if stream.type == "video" and not _is_cover(stream):
            self.report.note(f"copied as it is: a second video (stream {stream.index})")
        added = self.output.add_stream_from_template(stream, opaque=True)
        added.metadata.update(titled(told(stream.metadata)))
        added.disposition = stream.disposition
        if stream.time_base:
            bare = BitStreamFilterContext("aac_adtstoasc", stream) if self._needs_bare_aac(stream) else None
            last = self.source.end if stream.type == "subtitle" else None
            end = None if last is None else round((last - self.source.zero) / stream.time_base)
            self._tracks[stream.index] = _Track(added, round(self.source.zero / stream.time_base), end, bare)

    def _attach(self, stream: av.stream.Stream) -> bool:
        """Whether the cover art needs no track any more: Matroska holds it as an attached file, and MP4 beside the tracks."""
        name = self.output.format.name
        if name in FRAGMENTED:
            self.covers += 1
            self.report.note(f"cover art is kept; FFmpeg leaves an empty track beside it in {name}")
            return False
        kind = COVERS.get(stream.codec_context.name if stream.codec_context else "")
        if name == "matroska" and kind:
            self.covers += 1
            self.output.add_attachment(stream.metadata.get("filename", f"cover.{kind[0]}"), kind[1], _cover(self.source, stream.index))
        else:
            self.report.note(f"not kept: cover art (stream {stream.index}): {name} has no place for it")
        return True

    def _needs_bare_aac(self, stream: av.stream.Stream) -> bool:
        """AAC from MPEG-TS wears a header on every packet, which MP4 tells once for all; FFmpeg does not see to it in fragments."""
        return self.output.format.name in FRAGMENTED and wears_headers(stream)

    def _chapters(self) -> None:
        chapters = self.source.container.chapters()
        kept = [moved for chapter in chapters if (moved := self._trimmed(chapter))]
        if kept:
            self.output.set_chapters(kept)
        self.chapters = len(kept)

    def _trimmed(self, chapter: av.container.core.Chapter) -> av.container.core.Chapter | None:
        base = chapter["time_base"] or Fraction(1, 1000)
        shift, last = round(self.source.zero / base), chapter["end"]
        if self.source.span.duration is not None:
            last = min(last, shift + round(Fraction(self.source.span.duration) / base))
        begin, end = max(0, chapter["start"] - shift), last - shift
        return {**chapter, "start": begin, "end": end} if end > begin else None


def _is_cover(stream: av.stream.Stream) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _cover(source: Source, index: int) -> bytes:
    """The picture, read ahead of everything else: an attachment lies before the first frame."""
    with av.open(file_url(source.path), metadata_errors="replace") as container:
        return next((bytes(packet) for packet in container.demux(container.streams[index]) if packet.size), b"")


def _moved(packet: Packet, track: _Track) -> Packet:
    """The packet on its new stream and clock; what began before the span begins with it, and what is shown longer ends with it."""
    if track.shift:
        early = max(0, track.shift - packet.pts) if packet.pts is not None else 0
        packet.pts = None if packet.pts is None else packet.pts - track.shift + early
        packet.dts = None if packet.dts is None else packet.dts - track.shift + early
        packet.duration = max(0, (packet.duration or 0) - early)
    if track.end is not None and packet.pts is not None and packet.duration:
        packet.duration = min(packet.duration, max(0, track.end - packet.pts))
    packet.stream = track.stream
    return packet
