"""Clips of our own making, and a runtime that answers at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from derain_video.export.runtime.base import Clean
from derain_video.models.align import darker
from derain_video.models.spec import PATTERNS
from derain_video.pipeline.hdr import Hdr
from derain_video.pipeline.hdr import options as hdr_options
from derain_video.pipeline.report import Report
from derain_video.pipeline.run import Job, run


@dataclass
class Clip:
    """What a test clip is made of. times: pts of the frames in ticks of time_base; scene: frame number -> brightness offset."""

    width: int = 96
    height: int = 64
    pixels: str = "yuv420p"
    codec: str = "libx264"
    times: list[int] = field(default_factory=lambda: [i * 512 for i in range(20)])
    time_base: Fraction = Fraction(1, 12800)
    tags: tuple[int, int, int, int] | None = None
    hdr: Hdr = Hdr()
    aspect: Fraction | None = None
    rotation: int = 0
    sound: bool = False
    subtitles: bool = False
    chapters: bool = False
    metadata: dict[str, str] = field(default_factory=dict)
    language: str = ""
    timecode: str = ""
    options: dict[str, str] = field(default_factory=dict)
    scene: Callable[[int], int] = lambda i: 0


def luma(width: int, height: int, number: int, bits: int) -> np.ndarray:
    """A smooth picture that moves by two pixels a frame, in the middle half of the range."""
    x, y = np.meshgrid(np.arange(width) + 2 * number, np.arange(height))
    wave = 0.5 + 0.22 * np.sin(x / 9) + 0.22 * np.cos(y / 7)
    return (wave * ((1 << bits) - 1)).astype(np.uint8 if bits == 8 else np.uint16)


def picture(clip: Clip, number: int) -> av.VideoFrame:
    frame = av.VideoFrame(clip.width, clip.height, clip.pixels)
    bits = frame.format.components[0].bits
    dtype = np.uint8 if bits == 8 else np.uint16
    for i, plane in enumerate(frame.planes):
        rows = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // np.dtype(dtype).itemsize)
        if frame.format.is_rgb:
            each = plane.line_size // plane.width  # bytes a pixel
            rows[:, : clip.width * each] = luma(clip.width, rows.shape[0], number, bits).repeat(each, 1)
        elif i == 0:
            rows[: clip.height, : clip.width] = luma(clip.width, clip.height, number, bits) + clip.scene(number)
        else:
            rows[...] = (1 << bits) // 2 + 10 * i
    frame.pts, frame.time_base = clip.times[number], clip.time_base
    later = clip.times[number + 1] if number + 1 < len(clip.times) else 2 * clip.times[number] - clip.times[number - 1]
    frame.duration = later - clip.times[number]
    return frame


def write_clip(path: Path, clip: Clip) -> Path:
    exact = {"movie_timescale": "12800"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", container_options=exact) as out:
        out.metadata.update(clip.metadata)
        video = out.add_stream(clip.codec, rate=25)
        context = video.codec_context
        context.width, context.height, context.pix_fmt = clip.width, clip.height, clip.pixels
        context.time_base = video.time_base = clip.time_base
        context.options = {"crf": "10", "preset": "ultrafast", "x265-params": "log-level=none"} if "26" in clip.codec else {}
        for key, words in hdr_options(clip.codec, clip.hdr).items():
            context.options |= {key: f"log-level=none:{words}" if clip.codec == "libx265" else words}
        context.options |= clip.options
        if clip.tags:
            context.color_range, context.colorspace, context.color_primaries, context.color_trc = clip.tags
        if clip.aspect:
            context.sample_aspect_ratio = video.sample_aspect_ratio = clip.aspect
        if clip.rotation:
            video.set_display_rotation(clip.rotation)
        if clip.language:
            video.metadata["language"] = clip.language
        if clip.timecode:
            video.metadata["timecode"] = clip.timecode
        sound = add_sound(out, clip) if clip.sound else None
        subtitles = add_subtitles(out) if clip.subtitles else None
        if clip.chapters:
            base = Fraction(1, 1000)
            out.set_chapters(
                [{"id": i, "start": i * 300, "end": i * 300 + 300, "time_base": base, "metadata": {"title": f"part {i}"}} for i in range(2)]
            )
        for number in range(len(clip.times)):
            out.mux(context.encode(picture(clip, number)))
        out.mux(context.encode(None))
        if sound:
            mux_sound(out, sound, float(clip.times[-1] * clip.time_base))
        if subtitles:
            mux_subtitles(out, subtitles)
    return path


def add_sound(out: av.container.OutputContainer, clip: Clip) -> av.AudioStream:
    sound = out.add_stream("aac", rate=48000, layout="mono")
    if clip.language:
        sound.metadata["language"] = clip.language
    return sound


def mux_sound(out: av.container.OutputContainer, sound: av.AudioStream, seconds: float) -> None:
    for start in range(0, int(seconds * 48000), 1024):
        tone = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)[None] * 0.2
        frame = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        out.mux(sound.encode(frame))
    out.mux(sound.encode(None))


def add_subtitles(out: av.container.OutputContainer) -> av.stream.Stream:
    stream = out.add_mux_stream("subrip")
    stream.metadata["language"] = "deu"
    stream.time_base = Fraction(1, 1000)
    return stream


def mux_subtitles(out: av.container.OutputContainer, stream: av.stream.Stream) -> None:
    for start in (100, 400):
        packet = av.Packet(f"line {start}".encode())
        packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = stream, Fraction(1, 1000), start, start, 200
        out.mux_one(packet)


@pytest.fixture
def clip(tmp_path: Path) -> Callable[..., Path]:
    """Writes a clip: clip("a.mp4", sound=True) -> its path."""

    def make(name: str = "in.mp4", **made_of: object) -> Path:
        return write_clip(tmp_path / name, Clip(**made_of))

    return make


class FakeRuntime:
    """A runtime whose network lowers the left half of the luma by 8 and its chroma by 4, and whose rain is what it is told."""

    name, model, precision, device = "fake", "fast", "fp32", "cpu"

    def __init__(self, patterns: list[str] | None = None, broken: int = -1) -> None:
        self.patterns, self.broken = patterns or ["heavy"], broken
        self.calls: list[tuple[str, tuple[int, ...], np.dtype, int]] = []
        self.states: list[np.ndarray] = []
        self.models: list[str] = []
        self.looks = 0
        self.closed = False

    def perceive(self, views: np.ndarray) -> np.ndarray:
        assert views.shape[1:] == (3, 224, 224) and views.dtype == np.uint8
        scores = np.full(4, 0.1, np.float32)
        scores[PATTERNS.index(self.patterns[min(self.looks, len(self.patterns) - 1)])] = 0.7
        self.looks += 1
        return scores

    def derain(self, pattern: str, y: np.ndarray, uv: np.ndarray, near: np.ndarray, peak: int, model: str = "") -> Clean:
        assert y.shape[2] % 8 == 0 and y.shape[3] % 8 == 0 and uv.shape[2] * 2 == y.shape[2] and near.shape[1] == 4
        if len(self.calls) == self.broken:
            raise RuntimeError("the network broke")
        self.calls.append((pattern, y.shape, y.dtype, peak))
        self.states.append(near)
        self.models.append(model)
        mask = np.zeros(y.shape, np.uint8)
        mask[..., :48] = 255
        clean_uv = uv.copy()
        clean_uv[..., :24] -= 4
        return Clean(np.where(mask > 0, y - 8, y).astype(y.dtype), clean_uv, mask)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> FakeRuntime:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeRuntime]:
    """Runtimes that are not asked about thumbnails, so that their calls are the frames'."""
    monkeypatch.setattr("derain_video.pipeline.derain.thumbnails", lambda runtime, pattern, live: darker)
    return FakeRuntime


@pytest.fixture
def runtime(fake: type[FakeRuntime]) -> FakeRuntime:
    return fake()


@pytest.fixture(autouse=True)
def _no_thread_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    left = [thread.name for thread in threading.enumerate() if thread.name == "derain-ahead"]
    assert not left, f"{request.node.name} left {left}"


def go(source: Path, runtime: FakeRuntime, target: str = "out.mp4", **options: Any) -> tuple[Path, Report]:
    """The output, beside its input, and the report of a job."""
    job = Job(source, source.parent / target, **options)
    return job.target, run(job, runtime)


@dataclass
class Seen:
    """What a file holds. packets: of every stream but the video, as (type, [(bytes, seconds)])."""

    times: list[Fraction]
    pictures: list[av.VideoFrame]
    packets: list[tuple[str, list[tuple[bytes, float]]]]
    video: av.VideoStream
    container: av.container.InputContainer


@pytest.fixture
def look() -> Callable[[Path], Seen]:
    return look_at


def look_at(path: Path) -> Seen:
    container = av.open(str(path))
    video = container.streams.video[0]
    pictures, packets = [], {s.index: (s.type, []) for s in container.streams if s.index != video.index}
    for packet in container.demux():
        if packet.stream is video:
            pictures += packet.decode()
        elif packet.size:
            packets[packet.stream_index][1].append((bytes(packet), round(float(packet.pts * packet.time_base), 4)))
    return Seen([p.pts * p.time_base for p in pictures], pictures, list(packets.values()), video, container)
