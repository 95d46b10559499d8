"""What the outputs get: H.264 with little delay, and the camera's sound as it came, as packets that any container can take."""

from __future__ import annotations

import io
import weakref
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av

from ..codec import Settings
from ..errors import OptionError, line
from ..frame import Frame, picture_of
from ..stored import stored
from ..video import Video
from .clock import TICK

KEY_EVERY = 1.0
"""Seconds between key frames at most: how long a viewer who joins waits."""

SAME_PACE = 1.25
"""Frame rates that differ by less than this factor are taken for one: they are guessed from the first frames of a connection."""

ENCODER = {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "forced-idr": "1", "g": "6000", "x264-params": "repeat-headers=1:scenecut=0"}


@dataclass(frozen=True)
class Piece:
    """A packet for the outputs. pts, duration: ticks of TICK; no picture refers to a later one, so pts is dts.

    at: when its picture came in, seconds of time.monotonic().
    """

    video: bool
    data: bytes
    pts: int
    duration: int
    key: bool
    at: float


class Sound:
    """A template of the camera's sound that outlives the connection. key: tells whether two are the same."""

    def __init__(self, stream: av.AudioStream) -> None:
        context = stream.codec_context
        self.key = (context.name, context.sample_rate, context.layout.name, context.extradata)
        self._holder = av.open(io.BytesIO(), "w", format="nut")
        self.stream = self._holder.add_stream_from_template(stream, opaque=True)


class Programme:
    """One encoder, and the streams that every output copies. It ends when picture size, layout, tags or sound change."""

    def __init__(self, video: Video, sound: Sound | None, settings: Settings, bitrate: int = 0) -> None:
        self.video, self.sound, self.settings, self.bitrate = video, sound, settings, bitrate
        self._holder = av.open(io.BytesIO(), "w", format="nut")
        self.stream = self._holder.add_stream("libx264", rate=video.rate.limit_denominator(60060))
        self.stream.time_base = TICK
        if video.aspect:
            self.stream.sample_aspect_ratio = video.aspect
        self._encoder = self.stream.codec_context
        self._set()
        try:
            self._holder.start_encoding()
        except av.FFmpegError as error:
            raise OptionError(f"libx264 refuses crf {settings.crf}, preset {settings.preset!r}: {line(error)}") from error
        # The holder and its stream know each other: without this an encoder, megabytes of it, would stay until Python looks for such cycles.
        weakref.finalize(self, self._holder.close)
        self._rate = video.rate
        self._last_key: Fraction | None = None

    @staticmethod
    def key(video: Video, sound: Sound | None) -> tuple[object, ...]:
        """Equal for frames and sound that one programme can carry. What is not told counts as limited range and square pixels."""
        tags = (video.tags[0] or 1, *video.tags[1:])
        return video.width, video.height, video.layout.name, tags, video.aspect or 1, sound.key if sound else None

    def pace(self, rate: Fraction) -> None:
        """Goes on for frames that come at `rate`, which the bits for each are reckoned by. Nothing begins anew but the encoder."""
        if 1 / SAME_PACE < rate / self._rate < SAME_PACE:
            return
        self._rate, self._last_key = rate, None
        self._encoder = av.CodecContext.create("libx264", "w")
        self._encoder.framerate = rate.limit_denominator(60060)
        self._set()

    def encode(self, frame: Frame, at: float, fresh: bool = False) -> list[Piece]:
        """Packets of one frame. fresh: some output waits for a key frame."""
        picture = picture_of(stored(frame, self.video.layout, self.video.tags))
        now = frame.pts * frame.time_base
        if fresh or self._last_key is None or now - self._last_key >= KEY_EVERY:
            picture.pict_type = 1
            self._last_key = now
        packets = self._encoder.encode(picture)
        return [Piece(True, bytes(p), cast(int, p.pts), frame.duration, bool(p.is_keyframe), at) for p in packets]

    def _set(self) -> None:
        video, context, settings, bitrate = self.video, self._encoder, self.settings, self.bitrate
        asked = {"crf": f"{settings.crf:g}"} if settings.crf is not None else {}
        asked |= {"preset": settings.preset} if settings.preset else {}
        if bitrate:
            asked |= {"maxrate": str(bitrate), "bufsize": str(bitrate)}
        context.options = {**ENCODER, **asked}
        context.width, context.height, context.pix_fmt = video.width, video.height, video.layout.name
        context.time_base = TICK
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = video.tags
        if video.aspect:
            context.sample_aspect_ratio = video.aspect
