"""A rainy test clip of any size, as planes and as a file: what the speed benchmark runs on."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np

from .footage import Bytes, Clip, frame, from_rgb, read, resized, to_and_fro
from .kinds import named, render

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
"""Width and height by name."""

SHOT = 24
"""Different frames; longer clips play them to and fro."""


def scene(size: tuple[int, int], clip: Path | None = None) -> Clip:
    """SHOT rainy frames of a size: a pan over a made picture, or the frames of a clip brought to that size."""
    clean = resized(read(clip, SHOT), size) if clip else _pan(size)
    return render(named("depths"), clean)[0]


def _pan(size: tuple[int, int]) -> Clip:
    """A camera that moves 2 pixels a frame over blots of every size, which cost an encoder about what a street does."""
    width, height = size
    rng = np.random.default_rng(1)
    wide = np.full((height, width + 2 * SHOT, 3), 110, np.float32)
    for cells in (4, 16, 64, 256):
        blots = rng.normal(0, 22, (cells * height // width + 1, cells, 3)).astype(np.float32)
        wide += cv2.resize(blots, wide.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    picture = wide.clip(0, 255).astype(np.uint8)
    return _clip([from_rgb(picture[:, 2 * t : 2 * t + width]) for t in range(SHOT)])


def _clip(planes: list[tuple[Bytes, Bytes]]) -> Clip:
    y, uv = (np.stack(each) for each in zip(*planes, strict=True))
    return Clip("scene", y, uv)


def write(path: Path, clip: Clip, count: int) -> None:
    """`count` frames of the clip, to and fro, as H.264."""
    with av.open(str(path), "w") as box:
        stream = box.add_stream("libx264", rate=25, options={"crf": "20", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *clip.y.shape[1:], "yuv420p"
        for t in to_and_fro(len(clip), count):
            box.mux(stream.encode(frame(clip.y[t], clip.uv[t])))
        box.mux(stream.encode(None))
