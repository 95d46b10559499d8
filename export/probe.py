"""Frames to compare networks on: drawn from a seed, or read from footage. Each is what a sub-network and perception take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from ..models import align, planes
from ..models.spec import AROUND, NEIGHBOURS, STILL
from ..models.views import views
from .errors import GraphError
from .runtime.base import Planes

SAMPLE = Path(__file__).parent.parent / "examples" / "sample.mp4"
WINDOW = AROUND // 2
"""Frames before and after one that its state is made of, as in files."""


@dataclass(frozen=True)
class Probe:
    """One frame: padded planes as `Runtime.derain` takes them, and `views` as `Runtime.perceive` does."""

    y: Planes
    uv: Planes
    near: Planes
    peak: int
    views: NDArray[np.uint8]

    def seen_by(self, network: str) -> Probe:
        """The frame as that sub-network sees it: that of stills sees it as its own neighbours."""
        if network != STILL:
            return self
        near: Planes = np.concatenate([self.y] * NEIGHBOURS, axis=1)
        return replace(self, near=near)

    def feed(self, dtype: str = "") -> dict[str, NDArray[Any]]:
        """Inputs of a sub-network's graph, planes as numpy `dtype`."""
        named = {"y": self.y, "uv": self.uv, "near": self.near}
        feed: dict[str, NDArray[Any]] = {name: plane.astype(dtype or plane.dtype) for name, plane in named.items()}
        return {**feed, "peak": np.array([self.peak], np.float32)}


def drawn(height: int = 192, width: int = 256, peak: int = 255, seed: int = 0) -> Probe:
    """A window of frames of soft shapes under bright streaks. Values reach from 0 to `peak`; uint8 if that is 255, else uint16."""
    random = np.random.default_rng(seed)
    scene = cv2.resize(random.random((9, 12)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    lumas = [_scaled(np.maximum(scene, _streaks(random, height, width)), peak) for _ in range(2 * WINDOW + 1)]
    chroma = random.random((2, 5, 7)).astype(np.float32)
    uv = _scaled(np.stack([cv2.resize(plane, (width // 2, height // 2)) for plane in chroma]), peak)
    return _probe(lumas, uv, WINDOW, peak)


def footage(path: Path, count: int, peak: int = 255) -> list[Probe]:
    """`count` frames spread over the first hundred of a video, read as 4:2:0 with `peak` = 255 (8 bits) or 1023 (10 bits).

    GraphError names a file that is not a video.
    """
    try:
        frames = list(islice(_decode(path, "yuv420p" if peak == 255 else "yuv420p10le"), 100))
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise GraphError(f"{path}: no frames could be read from it ({error}); give a video with --frames") from None
    if not frames:
        raise GraphError(f"{path}: there is no frame in it; give a video with --frames")
    if len({luma.shape for luma, _ in frames}) > 1:
        raise GraphError(f"{path}: its frames change in size; give another video with --frames")
    centres = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    return [_at(frames, int(centre), peak) for centre in centres]


def _at(frames: list[tuple[Planes, Planes]], centre: int, peak: int) -> Probe:
    first = max(0, centre - WINDOW)
    lumas = [luma for luma, _ in frames[first : centre + WINDOW + 1]]
    return _probe(lumas, frames[centre][1], centre - first, peak)


def _probe(lumas: list[Planes], uv: Planes, centre: int, peak: int) -> Probe:
    near = align.near([align.Seen(luma, peak) for luma in lumas], centre)
    return Probe(*planes.pad(lumas[centre], uv, near), peak, views(lumas[centre], uv, peak))


def _decode(path: Path, layout: str) -> Iterator[tuple[Planes, Planes]]:
    """Luma (H, W) and chroma (2, H/2, W/2) of each frame; odd sizes lose their last row or column."""
    with av.open(str(path)) as box:
        for frame in box.decode(video=0):
            height, width = frame.height // 2 * 2, frame.width // 2 * 2
            packed: Any = frame.reformat(width, height, layout).to_ndarray()
            yield packed[:height], packed[height:].reshape(2, height // 2, width // 2)


def _streaks(random: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    sparks = (random.random((height, width)) > 0.996).astype(np.float32)
    return cv2.filter2D(sparks, -1, np.eye(9, dtype=np.float32)).astype(np.float32)


def _scaled(plane: NDArray[np.float32], peak: int) -> Planes:
    scaled = (plane.clip(0, 1) * peak).round()
    return scaled.astype(np.uint8) if peak == 255 else scaled.astype(np.uint16)
