"""Frames in the layout, range and matrix that an encoder takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .frame import Frame, Layout, Plane, picture_of, planes_of
from .video import Video

BT601 = frozenset((5, 6))
"""FFmpeg's numbers for the matrix of BT.601, of 625 lines and of 525: the same."""


def stored(frame: Frame, layout: Layout, tags: tuple[int, int, int, int], matrix: int = 0) -> Frame:
    """The frame in the encoder's layout. Between Y'CbCr of equal depth and matrix no value changes: chroma is repeated, or neutral for gray.

    tags: range, matrix, primaries and transfer of the frame, as in Video. matrix: that Y'CbCr shall have; 0: the frame's.
    """
    if not frame.planes:
        return frame  # on the GPU alone, whose encoder takes it as it is
    mine = frame.layout
    now = tags[1] if tags[1] not in (0, 2) else (1 if frame.height >= 720 else 5)  # untagged: BT.709 where the picture is high, else BT.601
    matrices = now, matrix or now
    turned = mine.planes == layout.planes == 3 and not (matrices[0] == matrices[1] or BT601.issuperset(matrices))
    if mine.name == layout.name and not turned:
        return frame
    if turned or mine.bits != layout.bits or mine.rgb or layout.rgb or _less_chroma(mine, layout) or _spreads(mine, layout, tags):
        return _converted(frame, layout, tags, *matrices)
    chroma = [_repeated(plane, mine, layout, frame) for plane in frame.planes[1:]] or _neutral(frame, layout)
    return frame.replace(planes=(frame.planes[0], *chroma[: layout.planes - 1]), layout=layout, picture=None)


def _less_chroma(mine: Layout, layout: Layout) -> bool:
    return mine.planes > layout.planes or (mine.planes == 3 and (layout.across > mine.across or layout.down > mine.down))


def _spreads(mine: Layout, layout: Layout, tags: tuple[int, int, int, int]) -> bool:
    """Whether video range must become full range."""
    return mine.planes == 3 and layout.name.startswith("yuvj") and not _full(mine, tags)


def _full(layout: Layout, tags: tuple[int, int, int, int]) -> bool:
    return layout.rgb or layout.name.startswith("yuvj") or tags[0] == 2 or (layout.planes == 1 and tags[0] != 1)


def _repeated(plane: Plane, mine: Layout, layout: Layout, frame: Frame) -> Plane:
    height, width = layout.shape(1, frame.height, frame.width)
    return plane.repeat(1 + mine.down - layout.down, 0).repeat(1 + mine.across - layout.across, 1)[:height, :width]


def _neutral(frame: Frame, layout: Layout) -> list[Plane]:
    grey = np.full(layout.shape(1, frame.height, frame.width), (layout.peak + 1) // 2, layout.dtype)
    return [grey, grey]


def _converted(frame: Frame, layout: Layout, tags: tuple[int, int, int, int], now: int, matrix: int) -> Frame:
    """By FFmpeg's scaler, from the one matrix to the other."""
    full = _full(frame.layout, tags)
    picture = picture_of(frame).reformat(
        format=layout.name,
        src_colorspace=now,
        dst_colorspace=matrix,
        src_color_range=2 if full else 1,
        dst_color_range=2 if layout.rgb or layout.name.startswith("yuvj") or (full and not frame.layout.rgb) else 1,
    )
    return frame.replace(planes=planes_of(picture, layout), layout=layout, picture=picture)


def in_layout(video: Video, layout: Layout) -> Video:
    """The description of the frames once they are in `layout`: pictures in RGB become tagged BT.709; gray, which is full range where nothing is
    told, as such."""
    tags = (1, 1, 1, 1) if video.layout.rgb and not layout.rgb else video.tags
    if not layout.rgb and tags[1] == 0:
        tags = (tags[0], 2, *tags[2:])
    if video.layout.planes == 1 and not video.layout.rgb and tags[0] == 0:
        tags = (2, *tags[1:])
    if layout.name.startswith("yuvj"):
        tags = (2, *tags[1:])
    return replace(video, layout=layout, tags=tags)
