"""Frames in the layout, range and matrix that an encoder takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .frame import Frame, Layout, Plane, picture_of, planes_of
from .video import Tags, Video

BT709, BT2020 = 1, 9
"""FFmpeg's numbers for their primaries and matrices."""

COLOURS = ("full range", "the matrix", "the primaries", "the transfer")
"""What tags tell of."""

UNTOLD, SDR = (0, 2), (0, 1, 2, 5, 6)
"""FFmpeg's numbers for no matrix, primaries or transfer that are told, and for those that nobody misses: light as in BT.601 and BT.709."""

BT601 = frozenset((5, 6))
"""FFmpeg's numbers for the matrix of BT.601, of 625 lines and of 525: the same."""


def stored(frame: Frame, layout: Layout, tags: Tags, matrix: int = 0, limited: bool = False) -> Frame:
    """The frame in the encoder's layout. Between Y'CbCr of equal depth, range and matrix no value changes: chroma is repeated, or neutral for gray.

    tags: of the frame. matrix: that Y'CbCr shall have; 0: the frame's. limited: it shall have video range.
    """
    if not frame.planes:
        return frame  # on the GPU alone, whose encoder takes it as it is
    mine = frame.layout
    now = tags[1] if tags[1] not in UNTOLD else supposed(frame.height)
    matrices = now, matrix or now
    turned = mine.planes == layout.planes == 3 and not (matrices[0] == matrices[1] or BT601.issuperset(matrices))
    ranged = _spreads(mine, layout, tags) or (limited and _full(mine, tags))
    if mine.name == layout.name and not turned and not ranged:
        return frame
    if turned or ranged or mine.bits != layout.bits or mine.rgb or layout.rgb or _less_chroma(mine, layout):
        return _converted(frame, layout, tags, *matrices, limited)
    chroma = [_repeated(plane, mine, layout, frame) for plane in frame.planes[1:]] or _neutral(frame, layout)
    return frame.replace(planes=(frame.planes[0], *chroma[: layout.planes - 1]), layout=layout, picture=None)


def _less_chroma(mine: Layout, layout: Layout) -> bool:
    return mine.planes > layout.planes or (mine.planes == 3 and (layout.across > mine.across or layout.down > mine.down))


def _spreads(mine: Layout, layout: Layout, tags: Tags) -> bool:
    """Whether video range must become full range."""
    return mine.planes == 3 and layout.name.startswith("yuvj") and not _full(mine, tags)


def _full(layout: Layout, tags: Tags) -> bool:
    return layout.rgb or layout.name.startswith("yuvj") or tags[0] == 2 or (layout.planes == 1 and tags[0] != 1)


def _repeated(plane: Plane, mine: Layout, layout: Layout, frame: Frame) -> Plane:
    height, width = layout.shape(1, frame.height, frame.width)
    return plane.repeat(1 + mine.down - layout.down, 0).repeat(1 + mine.across - layout.across, 1)[:height, :width]


def _neutral(frame: Frame, layout: Layout) -> list[Plane]:
    grey = np.full(layout.shape(1, frame.height, frame.width), (layout.peak + 1) // 2, layout.dtype)
    return [grey, grey]


def _converted(frame: Frame, layout: Layout, tags: Tags, now: int, matrix: int, limited: bool) -> Frame:
    """By FFmpeg's scaler, from the one matrix to the other."""
    full = _full(frame.layout, tags)
    kept = full and not frame.layout.rgb and not limited
    picture = picture_of(frame).reformat(
        format=layout.name,
        src_colorspace=now,
        dst_colorspace=matrix,
        src_color_range=2 if full else 1,
        dst_color_range=2 if layout.rgb or layout.name.startswith("yuvj") or kept else 1,
    )
    return frame.replace(planes=planes_of(picture, layout), layout=layout, picture=picture)


def in_layout(video: Video, layout: Layout, matrix: int = 0, limited: bool = False) -> Video:
    """The description of the frames once they are `stored` so. Pictures in RGB become Y'CbCr of BT.709, or of BT.2020 where their primaries are; gray
    is full range where nothing is told."""
    full, coded, primaries, transfer = video.tags
    if video.layout.rgb and not layout.rgb:
        full, coded = 1, BT2020 if primaries == BT2020 else BT709
        primaries, transfer = (BT709 if each in (0, 2) else each for each in (primaries, transfer))
    if not layout.rgb:
        coded = matrix or coded or 2
    if layout.name.startswith("yuvj") or (full == 0 and video.layout.planes == 1 and not video.layout.rgb):
        full = 2
    return replace(video, layout=layout, tags=(1 if limited and not layout.rgb else full, coded, primaries, transfer))


def supposed(lines: int) -> int:
    """The matrix that players take untagged pictures to have: BT.709's where they are high, else BT.601's."""
    return BT709 if lines >= 720 else 5


def untold(video: Video, found: Tags) -> list[str]:
    """What of the colours a file does not tell, where players would not take it for granted. video: as it should be; found: tags as they are."""
    matrices = video.tags[1], found[1] if found[1] not in UNTOLD else supposed(video.height)
    usual = (0, 1), UNTOLD if not BT601.issuperset(matrices) else BT601, SDR, SDR
    has = found[0], matrices[1], *found[2:]
    return [f"{name} of the colours" for name, each, wanted, got in zip(COLOURS, usual, video.tags, has, strict=True) if wanted not in (*each, got)]
