"""The camera's side: a thread that reads one input for ever, and connects again whenever it goes away."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import av
from av.stream import Discard

from ..carried import wears_headers
from ..errors import DerainError, OpenError, line
from ..frame import LAYOUTS, Frame, nearest, planes_of
from ..video import Packet, Video, check_size, convert, tags_of
from . import adts
from .address import SILENCE, Address, redacted
from .clock import JUMP, STANDING, TICK, Backoff, Timeline
from .fault import reason
from .mailbox import Mailbox
from .programme import Piece, Sound
from .state import LiveReport

NEWEST, KEPT = 2, 8
"""Frames that wait for the networks: newest wins, or each is kept."""

SOUND_HELD = 500
"""Packets of sound that wait for their pictures, at most; about ten seconds."""

KEY_WAIT = 30.0
"""Seconds of packets in which a first picture must come: some cameras send a key frame that rarely."""

HEALTHY = 10.0
"""Seconds of pictures after which a connection counts as good, and the next fault is tried again at once."""

CLOCKLESS = ("mpjpeg",)
"""FFmpeg's containers that tell no times, and are given 25 frames/s by it: what cameras send as MJPEG over HTTP."""

STOOD, STILL = 1.0, 5
"""Seconds and pictures after which a clock that does not go on counts as standing."""

LISTS = ("hls", "dash")
"""FFmpeg's containers of live video in segments."""

LIMITED = BT709 = 1
"""FFmpeg's numbers for that range, and for that matrix, primaries and transfer."""

log = logging.getLogger("derain_video")


@dataclass(frozen=True)
class Arrival:
    """A frame with what an encoder must know of it. at: when it came, seconds of time.monotonic(). session: number of its connection."""

    frame: Frame
    video: Video
    sound: Sound | None
    at: float
    session: int


@dataclass(frozen=True)
class Reading:
    """How to read. transport: tcp or udp, for RTSP. wait: keep each frame. attempts: connections in a row without a picture to give up after,
    0 for never. backoff: makes the waits between them."""

    transport: str = "tcp"
    wait: bool = False
    attempts: int = 0
    limit: int = 0
    backoff: Callable[[], Backoff] = Backoff


class Ended(DerainError):
    """The input gave no more, and is not to be tried again."""


class Intake:
    """Frames in `frames`, newest first to stay; sound in `sound`. Use it in a `with`."""

    def __init__(self, address: Address, reading: Reading, report: LiveReport) -> None:
        self.address, self.reading, self.report = address, reading, report
        wait = reading.wait or address.finite
        self.frames: Mailbox[Arrival] = Mailbox(KEPT if wait else NEWEST, wait)
        self.sound: deque[Piece] = deque(maxlen=SOUND_HELD)
        self._early: deque[Packet] = deque(maxlen=SOUND_HELD)
        self._pictured, self._wears = 0.0, False  # when the first picture of a connection came; whether its sound is AAC with headers
        self._clocked, self._paced = True, False  # whether its pictures tell their time, and must be given it here
        self._waited, self.burst = 0, 0  # pictures that wait for sound to be told, and those that came at once thereafter, in all
        self._read_at, self._moved, self._still = -math.inf, 0.0, 0  # the time told last, when it last went on, and pictures since then
        self.fault: Exception | None = None
        self._backoff, self._failures = reading.backoff(), 0
        own = math.inf if wait else JUMP  # what is read at another speed than it was sent tells its time by its own clock alone
        self._timeline, self._session = Timeline(ahead=STANDING if address.finite else JUMP, off=own), 0
        self._first, self._seen = 0.0, 0.0
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="derain-intake", daemon=True)

    def __enter__(self) -> Intake:
        self._thread.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.halt()

    def halt(self) -> None:
        self._halt.set()
        self.frames.close()

    def join(self, timeout: float) -> bool:
        """Whether the thread has gone."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def watch(self) -> None:
        """Says it once if a camera device hangs. FFmpeg waits in its driver, and cannot be called off there."""
        if self.address.scheme == "device" and self.report.input_up and time.monotonic() - self._seen > SILENCE:
            self.report.input_up = False
            log.warning("%s: nothing came for %g s; its driver hangs", self.address, SILENCE)

    def _run(self) -> None:
        try:
            while not self._halt.is_set():
                self._connect()
        except Exception as error:  # every fault is raised in the thread that waits for frames
            self.fault = error
        self.frames.close()

    def _connect(self) -> None:
        """One connection from its opening to its end, and the wait before the next."""
        self._pictured, why = 0.0, "the stream ended"
        try:
            with self._open() as container:
                self._read(container)
        except (av.FFmpegError, OpenError, OSError, ValueError) as error:
            why = redacted(reason(error, self.address.scheme))
        if self._halt.is_set():
            return
        if self._pictured and time.monotonic() - self._pictured > HEALTHY:
            self._backoff.reset()
        self._give_up(why)
        delay = self._backoff.next()
        self.report.reconnects += 1
        self.report.input_up = False
        log.warning("%s: %s; trying again in %.1f s", self.address, why, delay)
        self._halt.wait(delay)

    def _give_up(self, why: str) -> None:
        if self.address.finite:
            raise Ended(f"{self.address}: {why}")
        self._failures = 0 if self._pictured else self._failures + 1
        if self.reading.attempts and self._failures >= self.reading.attempts:
            raise Ended(f"{self.address}: {why}; gave up after {self.reading.attempts} failures in a row, --attempts")

    @contextlib.contextmanager
    def _open(self) -> Iterator[av.container.InputContainer]:
        options = self.address.read_options(self.reading.transport, self.reading.limit)
        form = "v4l2" if self.address.scheme == "device" else None
        with av.open(self.address.to_open(), format=form, options=options, timeout=(2 * SILENCE, SILENCE), metadata_errors="replace") as container:
            yield container

    def _read(self, container: av.container.InputContainer) -> None:
        streams = [s for s in container.streams.video if s.codec_context is not None]
        if not streams:
            raise OpenError("there is no video that can be decoded in it")
        video, sounds = max(streams, key=lambda s: s.width * s.height), [s for s in container.streams.audio if s.codec_context is not None][:1]
        for other in container.streams:
            if other not in (video, *sounds):
                other.discard = Discard.all  # of a playlist of several sizes only one is fetched then
        packets, sound = self._heard(container.demux([video, *sounds]), sounds)
        video.thread_type = "SLICE"  # frame threads would hold frames back
        self._timeline.reset()
        self.sound.clear()
        self._early.clear()
        self._clocked, self._moved, self._still = container.format.name not in CLOCKLESS, time.monotonic(), 0
        lasts = container.format.name in LISTS or bool(container.duration)  # live video that is no list comes at its own speed
        self._paced = self.address.bursts and (lasts or not self.address.live)
        due = time.monotonic() + KEY_WAIT
        first, begun = True, video.name == "h264"  # which may have no key frames; its decoder knows where to begin
        for packet in packets:
            if self._halt.is_set():
                return
            begun = begun or (packet.stream_index == video.index and packet.is_keyframe)
            if packet.stream_index != video.index:
                self._hear(packet)
            elif begun:
                for picture in self._decoded(packet):
                    if first:
                        self._welcome(picture)
                    self._see(picture, video, sound)
                    first, due = False, time.monotonic() + SILENCE
            if time.monotonic() > due and not self.address.finite:
                raise OpenError("packets come, but no picture can be made of them")  # another codec, most likely: see what it is now

    def _heard(self, packets: Iterator[Packet], sounds: list[av.AudioStream]) -> tuple[Iterator[Packet], Sound | None]:
        """The packets, and what their sound is, if there is any that can be handed on."""
        self._wears, self._waited = bool(sounds) and wears_headers(sounds[0]), 0
        if not sounds:
            return packets, None
        try:
            if not self._wears:
                return packets, Sound(sounds[0])
            due = time.monotonic() + SILENCE
            early, first = adts.ahead(packets, sounds[0], lambda: self._halt.is_set() or time.monotonic() > due)
            packets, self._waited = chain(early, packets), sum(packet.stream_index != sounds[0].index for packet in early)
            if first is None:
                raise ValueError("none came")
            with adts.described(sounds[0], first) as told:
                return packets, Sound(told)
        except (av.FFmpegError, ValueError) as error:
            self.report.note(f"{self.address}: not kept: sound: {line(error)}")
            return packets, None

    def _decoded(self, packet: Packet) -> list[av.VideoFrame]:
        try:
            with self.report.clock("decode"):
                return list(packet.decode())
        except av.EOFError:
            return []
        except av.FFmpegError as error:
            self.report.damaged += 1
            log.debug("%s: a packet cannot be decoded: %s", self.address, line(error))
            return []

    def _see(self, picture: av.VideoFrame, stream: av.VideoStream, sound: Sound | None) -> None:
        self._seen = at = time.monotonic()
        self._pictured = self._pictured or at
        self.report.input_up = True
        video = describe(picture, stream)
        seconds = self._told(picture, at)
        duration = round(1 / (video.rate * TICK))
        stamp = self._timeline.picture(seconds, duration if self.address.finite else 0)
        while self._early and self._timeline.runs:
            self._hear(self._early.popleft())
        if self._paced:
            self._halt.wait(max(0.0, float(stamp * TICK) - (at - self._begun(at))))  # at the speed of a camera
            at = time.monotonic()
        if nearest(picture.format).rgb:  # FFmpeg would take BT.601
            picture = picture.reformat(video.width, video.height, video.layout.name, dst_colorspace=BT709, dst_color_range=LIMITED)
        picture = convert(picture, video.layout, video.width, video.height)
        frame = Frame(planes_of(picture, video.layout), video.layout, stamp, TICK, duration, picture=picture)
        self.report.arrived += 1
        if self._waited:
            self._waited, self.burst = self._waited - 1, self.burst + 1
        self.frames.put(Arrival(frame, video, sound, at, self._session))
        self.report.dropped = self.frames.dropped

    def _told(self, picture: av.VideoFrame, at: float) -> float | None:
        """The picture's time on the connection's clock, if there is one that goes on."""
        if picture.pts is None or not picture.time_base or not self._clocked:
            return None
        seconds = float(picture.pts * picture.time_base)
        if seconds != self._read_at:
            self._read_at, self._moved, self._still = seconds, at, 0
        self._still += 1
        if self._still > STILL and at - self._moved > STOOD and not self.address.finite:
            self._clocked = False
            self.report.note(f"{self.address}: its clock stands still: pictures get the time at which they come")
            return None
        return seconds

    def _begun(self, at: float) -> float:
        """When the first frame came."""
        self._first = self._first or at
        return self._first

    def _welcome(self, picture: av.VideoFrame) -> None:
        check_size(picture.width, picture.height, self.reading.limit, self.address)
        self._session += 1
        log.info("%s: connected, %dx%d %s", self.address, picture.width, picture.height, picture.format.name)

    def _hear(self, packet: Packet) -> None:
        if packet.pts is None or not packet.size or not packet.time_base:
            return
        if not self._timeline.runs:  # decoders hold pictures back: what is heard meanwhile goes with them
            self._early.append(packet)
            return
        stamp = self._timeline.sound(float(packet.pts * packet.time_base))
        if stamp is not None:
            duration = round((packet.duration or 0) * packet.time_base / TICK)
            data = adts.bare(bytes(packet)) if self._wears else bytes(packet)
            self.sound.append(Piece(False, data, stamp, duration, True, time.monotonic()))


def describe(picture: av.VideoFrame, stream: av.VideoStream) -> Video:
    """The picture as the outputs will have it: 4:2:0 with 8 bits and even sides, which every player takes."""
    rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
    tags = tags_of(picture)
    name = picture.format.name if picture.format.name in ("yuv420p", "yuvj420p") else "yuv420p"
    if nearest(picture.format).rgb:
        tags = (LIMITED, BT709, BT709, BT709)
    width, height = max(2, picture.width & ~1), max(2, picture.height & ~1)
    return Video(width, height, LAYOUTS[name], TICK, rate if 1 <= rate <= 240 else Fraction(25), tags=tags, aspect=stream.sample_aspect_ratio)
