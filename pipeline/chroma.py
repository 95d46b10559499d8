"""Any layout as the 4:2:0 planes that a network takes, and its answer back into that layout.

4:2:0 goes through as it is. Otherwise luma does, chroma is halved for the network, and what the network changed in it is
enlarged and added to the full chroma where the mask is not zero: nothing else of the picture is touched.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .frame import Frame, Plane

Change = NDArray[np.int32]


def luma(frame: Frame) -> Plane:
    """Y' of a frame, (H, W) in its dtype; of RGB, BT.601 in full range."""
    return _ycc(frame.planes[0])[..., 0] if frame.layout.rgb else frame.planes[0]


def split(frame: Frame) -> tuple[Plane, Plane]:
    """y (H, W) and uv (2, ceil(H/2), ceil(W/2)) of a frame, in its dtype."""
    if frame.layout.rgb:
        ycc = _ycc(frame.planes[0])
        return np.ascontiguousarray(ycc[..., 0]), np.stack([_halve(ycc[..., 2], 0, 0), _halve(ycc[..., 1], 0, 0)])
    if frame.layout.planes == 1:
        size = (2, (frame.height + 1) // 2, (frame.width + 1) // 2)
        return frame.planes[0], np.full(size, (frame.layout.peak + 1) // 2, frame.layout.dtype)
    across, down = frame.layout.across, frame.layout.down
    return frame.planes[0], np.stack([_halve(plane, across, down) for plane in frame.planes[1:]])


def merge(frame: Frame, uv: Plane, clean_y: Plane, clean_uv: Plane, mask: NDArray[np.uint8]) -> tuple[Plane, ...]:
    """Planes of `frame` with the clean luma and the change of chroma put in.

    clean_y, mask: (H, W); uv, from split, and clean_uv: (2, ceil(H/2), ceil(W/2)).
    """
    if frame.layout.rgb:
        return (_merge_rgb(frame, uv, clean_y, clean_uv, mask),)
    if frame.layout.planes == 1:
        return (clean_y,)
    if frame.layout.across and frame.layout.down:
        return (clean_y, clean_uv[0], clean_uv[1])
    change = clean_uv.astype(np.int32) - uv
    return (clean_y, *(_add(p, c, mask, frame) for p, c in zip(frame.planes[1:], change, strict=True)))


def _add(plane: Plane, change: Change, mask: NDArray[np.uint8], frame: Frame) -> Plane:
    height, width = plane.shape
    touched = mask[:: 1 << frame.layout.down, :: 1 << frame.layout.across][:height, :width] != 0
    grown = _enlarge(change, height, width, 1 - frame.layout.down, 1 - frame.layout.across)
    return np.where(touched, np.clip(plane + grown, 0, frame.layout.peak), plane).astype(plane.dtype)


def _merge_rgb(frame: Frame, uv: Plane, clean_y: Plane, clean_uv: Plane, mask: NDArray[np.uint8]) -> Plane:
    rgb = frame.planes[0]
    dy = clean_y.astype(np.float32) - _ycc(rgb)[..., 0]
    half = clean_uv.astype(np.int32) - uv
    db, dr = (_enlarge(c, frame.height, frame.width, 1, 1) for c in half)
    change = np.stack([dy + 1.402 * dr, dy - 0.344136 * db - 0.714136 * dr, dy + 1.772 * db], axis=-1)
    change[mask == 0] = 0
    clean: Plane = np.clip(np.rint(rgb + change), 0, frame.layout.peak).astype(rgb.dtype)
    return clean


def _ycc(rgb: Plane) -> Plane:
    """RGB (H, W, 3) as Y, Cr, Cb in full range."""
    ycc: Plane = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
    return ycc


def _halve(plane: Plane, across: int, down: int) -> Plane:
    """Chroma at half resolution each way, by the mean; odd sides repeat their edge."""
    if across and down:
        return plane
    height, width = plane.shape
    even = cv2.copyMakeBorder(
        np.ascontiguousarray(plane), 0, 0 if down else height % 2, 0, 0 if across else width % 2, cv2.BORDER_REPLICATE
    )
    size = (even.shape[1] if across else even.shape[1] // 2, even.shape[0] if down else even.shape[0] // 2)
    return cv2.resize(even, size, interpolation=cv2.INTER_AREA)


def _enlarge(change: Change, height: int, width: int, down: int, across: int) -> Change:
    return change.repeat(1 + down, 0).repeat(1 + across, 1)[:height, :width]
