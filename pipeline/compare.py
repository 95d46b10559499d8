"""Pictures about the result: before and after in one frame, and the rain mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from .embedded import Embedded
from .frame import LAYOUTS, Frame, Plane
from .hdr import Hdr
from .video import Video

WAYS = ("side", "split")


def widened(video: Video, way: str) -> Video:
    """The description of the frames that `compared` makes."""
    if way != "side":
        return video
    return replace(video, width=2 * video.width) if _across(video)[0] else replace(video, height=2 * video.height)


def compared(frames: Iterator[Frame], way: str, video: Video) -> Iterator[Frame]:
    """Frames with the rainy picture on the left and the clean one on the right: whole ones side by side, or half of each.

    video: of the frames; left and right are as its matrix turns them.
    """
    axis, forth = _across(video)
    for frame in frames:
        before = frame.before or frame
        height, width = frame.height * (2 - axis), frame.width * (1 + axis)
        planes = []
        for i, (rainy, clean) in enumerate(zip(before.planes, frame.planes, strict=True)):
            first, second = (rainy, clean) if forth else (clean, rainy)
            planes.append(_side(first, second, axis, frame.layout.shape(i, height, width)) if way == "side" else _split(first, second, axis))
        yield frame.replace(planes=tuple(planes), picture=None)


def _across(video: Video) -> tuple[int, bool]:
    """The axis of the stored picture that runs across the shown one, and whether it runs from left to right. Matrix: ISO/IEC 14496-12."""
    a, c = (video.matrix[0], video.matrix[3]) if video.matrix else (1, 0)
    return (1, a > 0) if a else (0, c > 0)


def _side(first: Plane, second: Plane, axis: int, shape: tuple[int, ...]) -> Plane:
    return np.concatenate([first, second], axis)[: shape[0], : shape[1]]


def _split(first: Plane, second: Plane, axis: int) -> Plane:
    middle = first.shape[axis] // 2
    halves = (first[:, :middle], second[:, middle:]) if axis else (first[:middle], second[middle:])
    return np.concatenate(halves, axis)


MASK = LAYOUTS["yuvj420p"]


def mask_video(video: Video) -> Video:
    """The description of the frames that `mask_of` makes."""
    return replace(video, layout=MASK, tags=(2, video.tags[1], 2, 2), metadata={}, hdr=Hdr())


def mask_of(frame: Frame) -> Frame:
    """The rain mask of a frame as a picture: black where nothing was changed."""
    height, width = MASK.shape(1, frame.height, frame.width)
    neutral = np.full((height, width), 128, np.uint8)
    mask = np.zeros((frame.height, frame.width), np.uint8) if frame.mask is None else frame.mask
    return frame.replace(planes=(mask, neutral, neutral), layout=MASK, picture=None, before=None, embedded=Embedded(frame.embedded.exif))


def aside(frames: Iterator[Frame], write: Callable[[Frame], None]) -> Iterator[Frame]:
    """The same frames; the mask of each is written on the way."""
    for frame in frames:
        write(mask_of(frame))
        yield frame
