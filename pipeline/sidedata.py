"""What rides on a decoded picture beside its pixels."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer

if TYPE_CHECKING:
    from av.sidedata.sidedata import SideData

SPOKEN = {
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient light that the picture was made for",
    "A53_CC": "closed captions inside the video stream",
    "AFD": "the active format description",
    "PANSCAN": "pan and scan windows",
    "S12M_TIMECODE": "time code in the frames",
    "GOP_TIMECODE": "time code in the frames",
    "STEREO3D": "3D layout",
    "SPHERICAL": "spherical projection",
    "ICC_PROFILE": "the colour profile",
}
"""What rides on frames and is not handed on: in our words."""

NAMED = ("png", "apng")
"""Decoders that give a colour profile its name: PyAV 18 frees that twice, and the process ends, once the profile was looked at."""


def display_matrix(told: Iterable[tuple[str, bytes]]) -> tuple[int, ...] | None:
    """The display matrix, 9 numbers, if a picture with that side data is to be turned or mirrored for display."""
    for name, data in told:
        if name == "DISPLAYMATRIX":
            return tuple(int(value) for value in np.frombuffer(data, np.int32))
    return None


def turn(picture: av.VideoFrame) -> tuple[int, ...] | None:
    """The display matrix of a picture that is to be turned, by its angle: mirroring is lost."""
    angle = math.radians(picture.rotation)
    cosine, sine = round(math.cos(angle) * (1 << 16)), round(math.sin(angle) * (1 << 16))
    return (cosine, -sine, 0, sine, cosine, 0, 0, 0, 1 << 30) if picture.rotation else None


def side_data(picture: av.VideoFrame) -> Iterator[tuple[str, bytes]]:
    """What rides on a frame, by name; nothing where PyAV has no name for one of them (EXIF, in pictures).

    Not by `picture.side_data`: the picture keeps that, and that the picture, in a circle that only a late garbage collection opens.
    """
    with contextlib.suppress(ValueError):
        for data in cast("Iterable[SideData]", SideDataContainer(picture)):  # type: ignore[call-arg]
            yield data.type.name, bytes(data)
