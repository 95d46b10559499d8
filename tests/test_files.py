"""Files that are not nice: for each kind, what arrives and what is said. `python tests/test_files.py` writes the table of docs/files.md."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition

sys.path.insert(0, str(Path(__file__).parent))
from conftest import Clip, FakeRuntime, write_clip

from derain_video.pipeline.codec import Settings
from derain_video.pipeline.decode import ANY_CLOCK
from derain_video.pipeline.errors import FAULTS
from derain_video.pipeline.hdr import Hdr, hdr_of
from derain_video.pipeline.run import Job, run
from derain_video.pipeline.sidedata import display_matrix, side_data
from derain_video.pipeline.tracks import told

TABLE = Path(__file__).parents[1] / "docs" / "files.md"
HEAD = "| file | written as | kept | not as it was | what is said |\n| --- | --- | --- | --- | --- |\n"

EVEN = [i * 512 for i in range(20)]
HDR10 = Hdr(
    tuple(Fraction(n, 50000) for n in (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450)), (Fraction(1, 200), Fraction(1000)), (993, 402)
)

Maker = Callable[[Path], Path]


def made(name: str, **made_of: Any) -> Maker:
    return lambda folder: write_clip(folder / name, Clip(**made_of))


def joined(name: str, *parts: tuple[str, Clip], more: Callable[[av.container.OutputContainer], None] | None = None) -> Maker:
    """A file with every stream of several clips."""

    def make(folder: Path) -> Path:
        with av.open(str(folder / name), "w") as out:
            for source, clip in parts:
                _copy(out, write_clip(folder / source, clip))
            if more:
                more(out)
            for source, _ in parts:
                _mux(out, folder / source)
        return folder / name

    streams: dict[tuple[str, int], av.stream.Stream] = {}

    def _copy(out: av.container.OutputContainer, path: Path) -> None:
        with av.open(str(path)) as given:
            for stream in given.streams:
                streams[path.name, stream.index] = out.add_stream_from_template(stream, opaque=True)

    def _mux(out: av.container.OutputContainer, path: Path) -> None:
        with av.open(str(path)) as given:
            for packet in given.demux():
                if packet.size:
                    packet.stream = streams[path.name, packet.stream_index]
                    out.mux_one(packet)

    return make


def attached(name: str) -> Maker:
    return joined(name, ("a.mkv", Clip(sound=True)), more=lambda out: out.add_attachment("font.ttf", "font/ttf", b"\0\1\0\0" + bytes(60)))


def covered(name: str) -> Maker:
    def make(folder: Path) -> Path:
        write_clip(folder / "cover.mkv", Clip(codec="mjpeg", pixels="yuvj420p", times=[0, 512]))
        write_clip(folder / "film.mp4", Clip())
        with av.open(str(folder / name), "w") as out, av.open(str(folder / "film.mp4")) as film, av.open(str(folder / "cover.mkv")) as art:
            video = out.add_stream_from_template(film.streams.video[0], opaque=True)
            cover = out.add_stream_from_template(art.streams.video[0], opaque=True)
            cover.disposition = Disposition.attached_pic
            picture = next(packet for packet in art.demux() if packet.size)
            picture.stream = cover
            out.mux_one(picture)
            for packet in film.demux():
                if packet.size:
                    packet.stream = video
                    out.mux_one(packet)
        return folder / name

    return make


def with_data(name: str, codec: str) -> Maker:
    """A track of data, one packet a frame."""

    def make(folder: Path) -> Path:
        write_clip(folder / "film.mp4", Clip())
        with av.open(str(folder / name), "w") as out, av.open(str(folder / "film.mp4")) as film:
            video, data = out.add_stream_from_template(film.streams.video[0], opaque=True), out.add_data_stream(codec)
            for packet in film.demux():
                if packet.size:
                    packet.stream = video
                    out.mux_one(packet)
                    extra = av.Packet(b"wind 3 m/s")
                    extra.stream, extra.time_base, extra.pts, extra.dts = data, Fraction(1, 12800), packet.dts + 2000, packet.dts + 2000
                    out.mux_one(extra)
        return folder / name

    return make


def concatenated(name: str, *clips: Clip) -> Maker:
    """Clips one after the other, byte by byte: MPEG-TS and raw streams allow that."""

    def make(folder: Path) -> Path:
        data = b"".join(write_clip(folder / f"{i}{Path(name).suffix}", clip).read_bytes() for i, clip in enumerate(clips))
        (folder / name).write_bytes(data)
        return folder / name

    return make


def changed(make: Maker, change: Callable[[bytes], bytes]) -> Maker:
    def made(folder: Path) -> Path:
        path = make(folder)
        path.write_bytes(change(path.read_bytes()))
        return path

    return made


def muxed(name: str, options: dict[str, str], shift: int = 0, clip: Clip | None = None) -> Maker:
    """A clip copied into a container with options of its own, `shift` ticks of 1/12800 s later."""

    def make(folder: Path) -> Path:
        write_clip(folder / "given.mp4", clip or Clip(sound=True))
        with av.open(str(folder / "given.mp4")) as given, av.open(str(folder / name), "w", container_options=options) as out:
            streams = [out.add_stream_from_template(stream, opaque=True) for stream in given.streams]
            for packet in given.demux():
                if packet.size:
                    moved = round(shift * Fraction(1, 12800) / packet.time_base)
                    packet.pts, packet.dts, packet.stream = packet.pts + moved, packet.dts + moved, streams[packet.stream_index]
                    out.mux_one(packet)
        return folder / name

    return make


def zeroed(data: bytes) -> bytes:
    return data[: len(data) // 2] + bytes(300) + data[len(data) // 2 + 300 :]


CAPTION = b"\0\0\0\1\x06\x04\x0e\xb5\0\x31GA94\x03\x41\xff\xfc\x94\x20\xff\x80"
"""A closed caption as ATSC A/53 puts it before an H.264 picture."""


def captioned(data: bytes) -> bytes:
    """Before the first slice of a raw H.264 stream."""
    at = data.index(b"\0\0\1\x65")
    return data[:at].rstrip(b"\0") + CAPTION + data[at - 1 :]


def _matroska(path: Path) -> Path:
    """A file of ours with its cover as an attachment."""
    run(Job(path, path.with_name("a.mkv")), FakeRuntime(["clear"]))
    return path.with_name("a.mkv")


FILES: dict[str, tuple[Maker, str]] = {
    "HDR10": (made("a.mp4", codec="libx265", pixels="yuv420p10le", tags=(1, 9, 9, 16), hdr=HDR10), "mp4"),
    "HDR10, AV1": (made("a.mkv", codec="libsvtav1", pixels="yuv420p10le", tags=(1, 9, 9, 16), hdr=HDR10), "mkv"),
    "HDR10, to a codec without a place for it": (
        made("a.mp4", codec="libx265", pixels="yuv420p10le", tags=(1, 9, 9, 16), hdr=HDR10), "mkv ffv1",
    ),
    "HLG": (made("a.mp4", codec="libx265", pixels="yuv420p10le", tags=(1, 9, 9, 18)), "mp4"),
    "10 bits, 4:2:2": (made("a.mov", pixels="yuv422p10le"), "mov"),
    "12 bits": (made("a.mkv", codec="ffv1", pixels="yuv420p12le"), "mkv"),
    "full range": (made("a.mp4", tags=(2, 1, 1, 1)), "mp4"),
    "BT.601": (made("a.mp4", tags=(1, 5, 5, 6)), "mp4"),
    "BT.709": (made("a.mp4", tags=(1, 1, 1, 1)), "mp4"),
    "BT.2020": (made("a.mp4", pixels="yuv420p10le", tags=(1, 9, 9, 14)), "mp4"),
    "rotated": (made("a.mp4", rotation=90), "mp4"),
    "rotated, to Matroska": (made("a.mp4", rotation=90), "mkv"),
    "begins after 0.7 s": (made("a.mp4", times=[t + 9000 for t in EVEN]), "mp4"),
    "begins late, to Matroska": (made("a.mp4", times=[t + 9000 for t in EVEN]), "mkv"),
    "edit list that hides the beginning": (muxed("a.mp4", {"avoid_negative_ts": "disabled", "movie_timescale": "12800"}, -2560), "mp4"),
    "uneven times (VFR)": (made("a.mp4", times=[0, 512, 700, 1500, 1513, 2600, 4000, 4096, 5000, 7777, 9000]), "mp4"),
    "B-pyramid": (made("a.mp4", options={"preset": "medium", "x264-params": "bframes=7:b-pyramid=normal:b-adapt=0"}), "mp4"),
    "open GOP": (made("a.mp4", options={"preset": "medium", "x264-params": "open-gop=1:keyint=8:min-keyint=4:bframes=3:b-adapt=0"}), "mp4"),
    "interlaced": (made("a.mp4", options={"flags": "+ildct+ilme", "x264-params": "tff=1"}), "mp4"),
    "odd size": (made("a.mkv", codec="ffv1", width=95, height=63), "mkv"),
    "odd size, to H.264": (made("a.mkv", codec="ffv1", width=95, height=63), "flv"),
    "pixels that are not square": (made("a.mp4", aspect=Fraction(64, 45)), "mp4"),
    "two videos, two sounds, two subtitles": (
        joined("a.mkv", ("1.mkv", Clip(sound=True, subtitles=True, language="fra")), ("2.mkv", Clip(sound=True, subtitles=True))), "mkv",
    ),
    "the same, to MP4": (
        joined("a.mkv", ("1.mkv", Clip(sound=True, subtitles=True, language="fra")), ("2.mkv", Clip(sound=True, subtitles=True))), "mp4",
    ),
    "time code": (made("a.mov", timecode="01:02:03:04"), "mov"),
    "time code, to Matroska": (made("a.mov", timecode="01:02:03:04"), "mkv"),
    "data track (KLV)": (with_data("a.ts", "klv"), "ts"),
    "data track, to MP4": (with_data("a.ts", "klv"), "mp4"),
    "attachment": (attached("a.mkv"), "mkv"),
    "attachment, to MP4": (attached("a.mkv"), "mp4"),
    "cover art": (covered("a.mp4"), "mp4"),
    "cover art, to Matroska": (covered("a.mp4"), "mkv"),
    "cover art, to MPEG-TS": (covered("a.mp4"), "ts"),
    "cover art in Matroska": (lambda folder: _matroska(covered("b.mp4")(folder)), "mkv"),
    "chapters, title, comment": (made("a.mp4", chapters=True, metadata={"title": "Rain", "comment": "in May"}), "mp4"),
    "the same, to MPEG-TS": (made("a.mp4", chapters=True, metadata={"title": "Rain", "comment": "in May"}), "ts"),
    "no time stamps": (made("a.h264"), "mp4"),
    "size changes in mid-stream": (concatenated("a.h264", Clip(), Clip(width=64, height=48)), "mp4"),
    "two recordings joined": (concatenated("a.ts", Clip(sound=True), Clip(sound=True)), "mp4"),
    "one frame": (made("a.mp4", times=[0]), "mp4"),
    "one frame, to HEVC": (made("a.mp4", times=[0]), "mp4 libx265"),
    "two frames, to HEVC": (made("a.mp4", times=[0, 512]), "mkv libx265"),
    "no duration": (muxed("a.mkv", {"live": "1"}), "mkv"),
    "cut off, MP4 with its index in front": (
        changed(muxed("a.mp4", {"movflags": "faststart"}, clip=Clip(times=[i * 512 for i in range(100)])), lambda data: data[: len(data) // 2]),
        "mp4",
    ),
    "cut off, MP4 with its index at the end": (changed(made("a.mp4"), lambda data: data[: len(data) // 2]), "mp4"),
    "cut off, Matroska": (changed(made("a.mkv", times=[i * 512 for i in range(100)]), lambda data: data[: len(data) // 2]), "mkv"),
    "cut off, MPEG-TS": (changed(made("a.ts", times=[i * 512 for i in range(100)]), lambda data: data[: len(data) // 2]), "ts"),
    "damaged packets": (changed(made("a.mp4", times=[i * 512 for i in range(100)]), zeroed), "mp4"),
    "closed captions in the video": (changed(made("a.h264"), captioned), "mp4"),
    "to AVI": (made("a.mp4", sound=True), "avi"),
    "uneven times, to AVI": (made("a.mp4", times=[0, 512, 700, 1500, 1513, 2600, 4000, 4096, 5000, 7777, 9000]), "avi"),
    "to ASF": (made("a.mp4", sound=True), "wmv"),
    "to NUT": (made("a.mp4", sound=True), "nut"),
    "to FLV": (made("a.mp4", sound=True), "flv"),
    "transparency": (made("a.mkv", codec="ffv1", pixels="yuva420p"), "mkv"),
    "4:4:4 RGB": (made("a.mkv", codec="ffv1", pixels="bgr0"), "mkv"),
}


def facts(path: Path) -> dict[str, object]:
    """What can be told of a file; nothing where there is nothing to lose."""
    with av.open(str(path), metadata_errors="replace") as container:
        stream = next(s for s in container.streams.video if not s.disposition & Disposition.attached_pic)
        pictures, others = _read(container, stream)
        first = pictures[0]
        moved = any(name in ANY_CLOCK for name in container.format.name.split(","))
        times = [None if p.pts is None else _ms(p.pts * p.time_base) for p in pictures]
        begin = times[0] or 0
        told_of = {
            "frames": len(pictures),
            "start": 0 if moved else begin // 250 / 4,
            "times": [None if time is None else time - begin for time in times],
            "size": sorted({(p.width, p.height) for p in pictures}),
            "layout": first.format.name,
            "colour": _tags(first),
            "HDR": _rounded(hdr_of(dict(side_data(first)))),
            "rotation": display_matrix(side_data(first)),
            "pixel shape": stream.sample_aspect_ratio if stream.sample_aspect_ratio not in (None, 1) else None,
            "interlacing": any(p.interlaced_frame for p in pictures),
            "captions": any(name == "A53_CC" for p in pictures for name, _ in side_data(p)),
            "chapters": [(float(c["start"] * c["time_base"]), c["metadata"]) for c in container.chapters()],
            "metadata": {key.lower(): value for key, value in told(container.metadata).items()},
            "language": _language(stream),
            "time code": {key.lower(): value for key, value in stream.metadata.items()}.get("timecode"),
        }
        chapters = bool(told_of["chapters"])  # of which QuickTime makes a data track
        for kind in ("audio", "subtitle", "data", "attachment", "video"):
            mine = [_track(s, others, begin) for s in container.streams if s.type == kind and s is not stream and not (chapters and kind == "data")]
            told_of[NAMES[kind]] = mine
    if told_of["time code"]:
        told_of[NAMES["data"]] = []  # the track that tells it
    return {name: value for name, value in told_of.items() if value}


NAMES = {"audio": "sound", "subtitle": "subtitles", "data": "data track", "attachment": "attachment", "video": "further video"}


def _read(container: av.container.InputContainer, main: av.VideoStream) -> tuple[list[av.VideoFrame], dict[int, list[av.Packet]]]:
    pictures, others = [], {}
    main.thread_type = "NONE"
    for packet in _packets(container):
        if packet.stream is main:
            try:
                pictures += packet.decode()
            except av.FFmpegError:
                continue
        elif packet.size:
            others.setdefault(packet.stream_index, []).append(packet)
    return pictures, others


def _packets(container: av.container.InputContainer) -> Iterator[av.Packet]:
    try:
        yield from container.demux()
    except av.FFmpegError:
        return


def _track(stream: av.stream.Stream, others: dict[int, list[av.Packet]], begin: int) -> tuple[object, ...]:
    packets = others.get(stream.index, [])
    name = stream.codec_context.name if stream.codec_context else stream.type
    cover = bool(stream.disposition & Disposition.attached_pic)
    times = [] if cover else [_ms(p.pts * p.time_base) - begin for p in packets]
    return name, _language(stream), [bytes(p) for p in packets], times, cover


def _language(stream: av.stream.Stream) -> str:
    return stream.metadata.get("language", "und").replace("und", "")


def _ms(seconds: Fraction) -> int:
    return round(seconds * 1000)


def _tags(picture: av.VideoFrame) -> tuple[int, ...] | None:
    tags = int(picture.color_range), int(picture.colorspace), int(picture.color_primaries), int(picture.color_trc)
    return None if tags in ((0, 2, 2, 2), (1, 2, 2, 2)) else tags


def _rounded(hdr: Hdr) -> object:
    """To a thousandth: AV1 counts in other steps than HEVC."""
    numbers = [round(float(value), 3) for value in (*(hdr.points or ()), *(hdr.luminance or ()))]
    return (numbers, hdr.light) if hdr else None


def row(name: str, folder: Path) -> str:
    """The table's line for one kind of file."""
    make, ending = FILES[name]
    ending, _, codec = ending.partition(" ")
    source, out = make(folder), folder / f"out.{ending}"
    log: list[str] = []
    try:
        log = run(Job(source, out, settings=Settings(codec)), FakeRuntime()).notes
    except FAULTS as error:
        log = [f"refused: {error}"]
    said = "; ".join(text.replace(f"{source}: ", "").replace(f"{out}: ", "") for text in log)
    if not out.exists():
        return f"| {name} ({source.suffix[1:]}) | nothing | | | {said} |"
    before, after = facts(source), facts(out)
    kept = [key for key, value in before.items() if after.get(key) == value]
    lost = [_difference(key, before.get(key), after.get(key)) for key in {**before, **after} if before.get(key) != after.get(key)]
    return f"| {name} ({source.suffix[1:]}) | {ending}, {_codec(out)} | {', '.join(kept)} | {', '.join(lost)} | {said} |"


def _codec(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.codec.canonical_name


def _difference(key: str, before: object, after: object) -> str:
    if key == "times" and isinstance(before, list) and isinstance(after, list):
        return "times"
    if isinstance(before, (int, str)) and isinstance(after, (int, str)):
        return f"{key}: {before} -> {after}"
    return key


def table() -> str:
    rows = []
    for name in FILES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(row(name, Path(folder)))
    return HEAD + "\n".join(rows) + "\n"


@pytest.mark.parametrize("name", FILES)
def test_the_table_tells_what_happens(name, tmp_path):
    seen = row(name, tmp_path)
    assert seen in TABLE.read_text(encoding="utf-8").splitlines(), f"python tests/test_files.py writes the table anew:\n{seen}"
    *_, lost, said, _ = (cell.strip() for cell in seen.split("|"))
    assert said or not lost, f"lost without a word: {lost}"


def test_the_table_has_no_other_rows():
    rows = [text for text in TABLE.read_text(encoding="utf-8").splitlines() if text.startswith("| ")]
    assert len(rows) == len(FILES) + 2


if __name__ == "__main__":
    head, _, rest = TABLE.read_text(encoding="utf-8").partition(HEAD)
    TABLE.write_text(f"{head}{table()}\n{rest.partition(chr(10) * 2)[2]}", encoding="utf-8")
