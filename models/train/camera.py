"""What cameras do after the rain has fallen: exposure, noise, sharpening, compression."""

from __future__ import annotations

from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .rain import blur, uniform

Plane = NDArray[Any]
"""uint8."""


def expose(g: torch.Generator, y: Tensor) -> Tensor:
    """Gamma and gain of the scene, so that few clips give many lights. y: (T, H, W) in 0..1."""
    if uniform(g, 0, 1) < 0.5:
        return y
    return (y.clamp(min=1e-4) ** uniform(g, 0.7, 1.6) * uniform(g, 0.75, 1.1)).clamp(0, 1)


def shoot(g: torch.Generator, clean: Tensor, rainy: Tensor) -> tuple[Tensor, Tensor]:
    """The same sharpening and the same sensor noise on both clips; (T, H, W) each, 0..1."""
    if uniform(g, 0, 1) < 0.25:
        amount, sigma = uniform(g, 0.2, 0.8), uniform(g, 0.6, 1.2)
        clean, rainy = (torch.stack([f + amount * (f - blur(f, sigma)) for f in clip]) for clip in (clean, rainy))
    if uniform(g, 0, 1) < 0.4:
        level = uniform(g, 0.2, 1) ** 2 * 6 / 255
        noise = torch.randn(clean.shape, generator=g) * level
        clean, rainy = clean + noise, rainy + noise
    return clean.clamp(0, 1), rainy.clamp(0, 1)


def compress(g: torch.Generator, y: Plane, uv: Plane) -> tuple[Plane, Plane]:
    """Half of the clips as they are, the others through JPEG or H.264. y: (T, H, W), uv: (T, 2, H/2, W/2)."""
    draw = uniform(g, 0, 1)
    if draw < 0.5:
        return y, uv
    if draw < 0.7:
        quality = int(uniform(g, 55, 97))
        return np.stack([_jpeg(frame, quality) for frame in y]), uv
    return h264(y, uv, uniform(g, 16, 36))


def _jpeg(plane: Plane, quality: int) -> Plane:
    data = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    back: Plane | None = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert back is not None  # it was encoded on the line above
    return back


def h264(y: Plane, uv: Plane, crf: float) -> tuple[Plane, Plane]:
    """The clip after x264 at `crf`."""
    height, width = y.shape[1:]
    file = BytesIO()
    with av.open(file, "w", format="matroska") as sink:
        stream = sink.add_stream("libx264", rate=Fraction(25), options={"crf": f"{crf:.1f}", "preset": "veryfast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for luma, chroma in zip(y, uv, strict=True):
            packed = np.concatenate([luma, chroma.reshape(height // 2, width)])
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(packed, format="yuv420p")))
        sink.mux(stream.encode(None))
    file.seek(0)
    with av.open(file, "r") as source:
        packed = np.stack([frame.to_ndarray() for frame in source.decode(video=0)])
    return packed[:, :height], packed[:, height:].reshape(len(packed), 2, height // 2, width // 2)
