"""What a video is to those who read, change and write it: its description, its packets, and the part of it that is taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

import av

from .errors import OpenError, OptionError
from .frame import Layout
from .hdr import Hdr

Packet: TypeAlias = "av.Packet[Any]"

Tags: TypeAlias = tuple[int, int, int, int]
"""Range, matrix, primaries and transfer, in FFmpeg's numbers."""

LIMIT = 8192 * 8192
"""Most pixels in a picture, unless told otherwise: more is taken for a decompression bomb."""

LONGEST = 1e9
"""Most seconds of a span, 30 years."""


@dataclass(frozen=True)
class Span:
    """The part of a file to take, in seconds from its beginning. duration None: to the end."""

    start: float = 0.0
    duration: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start <= LONGEST or not (self.duration is None or 0 < self.duration <= LONGEST):  # nan, too
            raise OptionError(f"start {self.start:g} s, duration {self.duration} s: start at 0 or later and take more than 0 s")


@dataclass(frozen=True)
class Video:
    """What an encoder must know of the frames before the first one. resident: they are on the GPU."""

    width: int
    height: int
    layout: Layout
    time_base: Fraction = Fraction(1, 25)
    rate: Fraction = Fraction(25)
    frames: int = 0
    codec: str = ""
    tags: Tags = (0, 2, 2, 2)
    aspect: Fraction | None = None
    matrix: tuple[int, ...] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: int = 0
    hdr: Hdr = Hdr()
    resident: bool = False


def tags_of(picture: av.VideoFrame | av.VideoCodecContext) -> Tags:
    """What a picture, or a stream, tells of its colours."""
    return int(picture.color_range), int(picture.colorspace), int(picture.color_primaries), int(picture.color_trc)


def convert(picture: av.VideoFrame, layout: Layout, width: int, height: int) -> av.VideoFrame:
    """The picture in that layout and size: itself if it is so already."""
    if picture.format.name == layout.name and (picture.width, picture.height) == (width, height):
        return picture
    return picture.reformat(width, height, layout.name)


def check_size(width: int, height: int, limit: int, path: object) -> None:
    """OpenError for a picture of more than `limit` pixels; 0 takes any. path: what it is from."""
    if limit and width * height > limit:
        raise OpenError(f"{path}: {width}x{height} is more than {limit} pixels; raise --max-pixels if the file is to be trusted")
