"""Pictures about the result: before and after in one frame, and the rain mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from .decode import Video
from .frame import LAYOUTS, Frame, Plane
from .hdr import Hdr

WAYS = ("side", "split")


def widened(video: Video, way: str) -> Video:
    """The description of the frames that `compared` makes."""
    return replace(video, width=2 * video.width) if way == "side" else video


def compared(frames: Iterator[Frame], way: str) -> Iterator[Frame]:
    """Frames with the rainy picture on the left and the clean one on the right: whole ones side by side, or half of each."""
    join = {"side": _side, "split": _split}[way]
    for frame in frames:
        before = frame.before or frame
        planes = tuple(
            join(rainy, clean, frame.layout.shape(i, frame.height, 2 * frame.width)[1])
            for i, (rainy, clean) in enumerate(zip(before.planes, frame.planes, strict=True))
        )
        yield frame.replace(planes=planes, picture=None)


def _side(rainy: Plane, clean: Plane, width: int) -> Plane:
    return np.concatenate([rainy, clean], 1)[:, :width]


def _split(rainy: Plane, clean: Plane, width: int) -> Plane:
    middle = clean.shape[1] // 2
    return np.concatenate([rainy[:, :middle], clean[:, middle:]], 1)


MASK = LAYOUTS["yuvj420p"]


def mask_video(video: Video) -> Video:
    """The description of the frames that `mask_of` makes."""
    return replace(video, layout=MASK, tags=(2, *video.tags[1:]), metadata={}, hdr=Hdr())


def mask_of(frame: Frame) -> Frame:
    """The rain mask of a frame as a picture: black where nothing was changed."""
    height, width = MASK.shape(1, frame.height, frame.width)
    neutral = np.full((height, width), 128, np.uint8)
    mask = np.zeros((frame.height, frame.width), np.uint8) if frame.mask is None else frame.mask
    return frame.replace(planes=(mask, neutral, neutral), layout=MASK, picture=None, before=None)


def aside(frames: Iterator[Frame], write: Callable[[Frame], None]) -> Iterator[Frame]:
    """The same frames; the mask of each is written on the way."""
    for frame in frames:
        write(mask_of(frame))
        yield frame
