"""A live run under test, and its other ends: a publisher whose pictures carry their number, and a reader that reads it back."""

from __future__ import annotations

import contextlib
import threading
import time
from fractions import Fraction
from functools import partial

import av
import numpy as np

from derain_video.pipeline.live.address import Address
from derain_video.pipeline.live.clock import Backoff
from derain_video.pipeline.live.intake import Reading
from derain_video.pipeline.live.state import LiveReport
from derain_video.pipeline.live.stream import LiveJob, run_live

WIDTH, HEIGHT, BITS, CELL = 128, 64, 16, 8
ENCODER = {
    "libx264": {"preset": "ultrafast", "tune": "zerolatency"},
    "libx265": {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"},
}
TICK = Fraction(1, 50000)
"""MPEG-4 can count no finer than 1/65535 s."""

RTSP = {"rtsp_transport": "tcp", "timeout": "3000000"}


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> av.VideoFrame:
    """A gray picture with `number` as 16 black or white cells in its lower right quarter, where the fake network changes nothing."""
    y = np.full((height, width), 120, np.uint8)
    for bit in range(BITS):
        row, column = height - 2 * CELL + CELL * (bit // 8), width - 8 * CELL + CELL * (bit % 8)
        y[row : row + CELL, column : column + CELL] = 220 if number >> bit & 1 else 30
    rest = np.full((height // 2, width), 128, np.uint8)
    return av.VideoFrame.from_ndarray(np.vstack([y, rest]), "yuv420p")


def number_of(picture: av.VideoFrame) -> int:
    y = picture.to_ndarray(format="gray")
    height, width = y.shape
    cells = [
        y[height - 2 * CELL + CELL * (b // 8) + 2 :, width - 8 * CELL + CELL * (b % 8) + 2 :][: CELL - 4, : CELL - 4].mean() for b in range(BITS)
    ]
    return sum(int(cell > 125) << bit for bit, cell in enumerate(cells))


class Publisher:
    """Pushes numbered pictures, and a tone, to an address in real time until it is stopped; begins anew when it is kicked.

    sent: when each number was handed over, time.monotonic(). kind: size, frames/s and encoder; another one begins anew too.
    """

    def __init__(
        self, url: str, form: str = "rtsp", size: tuple[int, int] = (WIDTH, HEIGHT), rate: int = 25, sound: bool = True, codec: str = "libx264"
    ) -> None:
        self.url, self.form, self.with_sound = url, form, sound
        self.kind = (size, rate, codec)
        self.sent: dict[int, float] = {}
        self.number = 0
        self.halt, self.paused = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.halt.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self.halt.is_set():
            try:
                self._publish()
            except (av.FFmpegError, OSError):
                self.halt.wait(0.3)

    def _publish(self) -> None:
        options = RTSP if self.form == "rtsp" else {}
        kind = size, rate, codec = self.kind
        with av.open(self.url, "w", format=self.form, options=options) as out:
            video = out.add_stream(codec, rate=rate, options={"g": str(rate), **ENCODER.get(codec, {})})
            video.width, video.height = size
            video.codec_context.time_base = TICK
            sound = out.add_stream("aac", rate=48000, layout="mono") if self.with_sound else None
            out.start_encoding()
            begin, count, heard = time.monotonic(), 0, 0
            while not self.halt.is_set() and kind == self.kind:
                if self.paused.is_set():
                    time.sleep(0.05)
                    continue
                picture = numbered(self.number, *size)
                picture.pts, picture.time_base = count * 50000 // rate, TICK
                self.sent[self.number] = time.monotonic()
                out.mux(video.encode(picture))
                while sound and heard < count / rate * 48000:
                    frame = av.AudioFrame.from_ndarray(np.sin(np.arange(heard, heard + 1024) / 20).astype(np.float32)[None] * 0.2, "fltp", "mono")
                    frame.sample_rate, frame.pts, frame.time_base = 48000, heard, Fraction(1, 48000)
                    out.mux(sound.encode(frame))
                    heard += 1024
                self.number, count = (self.number + 1) % (1 << BITS), count + 1
                time.sleep(max(0.0, begin + count / rate - time.monotonic()))


class Reader:
    """Reads an address until it is stopped; opens it again whenever it ends. numbers: (number, pts in seconds, when, session)."""

    def __init__(self, url: str, **options: str) -> None:
        self.url, self.options = url, options
        self.numbers: list[tuple[int, float, float, int]] = []
        self.sound: list[float] = []
        self.sizes: list[tuple[int, int]] = []
        self.sessions = 0
        self.halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.halt.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self.halt.is_set():
            with contextlib.suppress(av.FFmpegError, OSError):
                self._read()
            self.halt.wait(0.2)

    def _read(self) -> None:
        small = {"analyzeduration": "200000", "probesize": "200000", "fflags": "nobuffer"}
        options = {**(RTSP if self.url.startswith("rtsp") else {}), **small, **self.options}
        with av.open(self.url, options=options, timeout=(4, 2)) as container:
            self.sessions += 1
            for packet in container.demux():
                if self.halt.is_set():
                    return
                if packet.stream.type == "audio":
                    self.sound += [float(packet.pts * packet.time_base)] if packet.pts is not None else []
                    continue
                for picture in packet.decode():
                    self._see(picture)

    def _see(self, picture: av.VideoFrame) -> None:
        seconds = float(picture.pts * picture.time_base) if picture.pts is not None else -1.0
        self.numbers.append((number_of(picture), seconds, time.monotonic(), self.sessions))
        if (picture.width, picture.height) not in self.sizes[-1:]:
            self.sizes.append((picture.width, picture.height))


@contextlib.contextmanager
def live(job, runtime, **options):
    """A live run in a thread: (report, stop). It is stopped at the end, within two seconds, and leaves no thread and balanced counts."""
    report, stop, done = LiveReport(), threading.Event(), []
    thread = threading.Thread(target=lambda: done.append(run_live(job, runtime, report, stop, **options)), name="live")
    thread.start()
    try:
        yield report
    finally:
        begin = time.monotonic()
        stop.set()
        thread.join(10)
        spent = time.monotonic() - begin
    assert done == [True] and spent < 2.0
    assert report.arrived == report.frames + report.dropped
    for output in report.outputs:
        assert report.frames == output.sent + output.dropped
    assert not [t.name for t in threading.enumerate() if t.name.startswith("derain")]


def job_of(source, *targets, **options):
    reading = Reading(backoff=partial(Backoff, 0.2, 1.0), **{k: options.pop(k) for k in ("wait", "attempts", "transport") if k in options})
    return LiveJob(Address(str(source)), tuple(Address(str(t)) for t in targets), reading, **options)


def until(condition, seconds=40.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


def grows(times):
    return all(b > a for a, b in zip(times, times[1:], strict=False))


def film(path):
    """Times in seconds and numbers of a recorded file."""
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    return [float(p.pts * p.time_base) for p in pictures], [number_of(p) for p in pictures]
