"""Clean clips and stills, decoded once and kept in memory as planes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..picture import read
from .rain import log_uniform, uniform

Plane = NDArray[Any]
"""uint8."""

CLIPS = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v"}
STILLS = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
MOST_FRAMES = 72
"""Frames kept of one clip."""

LEAST = 32
"""Pixels of the shorter side: of less, a window shows nothing."""

ENLARGED, LARGEST = 0.4, 3.0
"""Share of windows that are shown enlarged, and by how much at most."""


@dataclass(frozen=True)
class Scene:
    """A clip, or a still as a clip of one frame. y: (T, H, W) uint8; uv: (T, 2, H/2, W/2) uint8; H and W even."""

    name: str
    y: Plane
    uv: Plane


def load(folders: list[Path]) -> list[Scene]:
    """Every clip and still below `folders`. FileNotFoundError if there is none."""
    paths = sorted(path for folder in folders for path in folder.rglob("*"))
    scenes = [_clip(p) for p in paths if p.suffix.lower() in CLIPS] + [_still(p) for p in paths if p.suffix.lower() in STILLS]
    if not scenes:
        raise FileNotFoundError(f"{', '.join(map(str, folders))}: no clip and no still in it; give a folder of clean footage")
    return scenes


def _clip(path: Path) -> Scene:
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("there is no video in it")
            frames = [_planes(frame) for frame, _ in zip(container.decode(video=0), range(MOST_FRAMES), strict=False)]
        y, uv = (np.stack(planes) for planes in zip(*frames, strict=True))
    except (av.FFmpegError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: cannot be taken as a video of one size: {why}; take it out of the folder") from error
    return Scene(path.stem, y, uv)


def _still(path: Path) -> Scene:
    picture = read(path)
    if picture is None:
        raise ValueError(f"{path}: not a picture that OpenCV reads; take it out of the folder")
    try:
        y, uv = _planes(av.VideoFrame.from_ndarray(picture, format="bgr24"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; take it out of the folder") from error
    return Scene(path.stem, y[None], uv[None])


def _planes(frame: av.VideoFrame) -> tuple[Plane, Plane]:
    if min(frame.height, frame.width) < LEAST:
        raise ValueError(f"it has {frame.width}x{frame.height} pixels, less than {LEAST} a side")
    height, width = frame.height // 2 * 2, frame.width // 2 * 2
    packed = frame.reformat(width=width, height=height, format="yuv420p").to_ndarray()
    return packed[:height].copy(), packed[height:].reshape(2, height // 2, width // 2).copy()


def cut(g: torch.Generator, scene: Scene, frames: int, side: int) -> tuple[Tensor, Tensor]:
    """A random window of `frames` frames and `side` pixels: y (T, side, side), uv (T, 2, side/2, side/2), float32 0..1.

    A still, or a clip smaller than that, is seen by a camera that pans and zooms a little; a clip, now and then, at double speed. Some are
    enlarged: cameras of many lines resolve no more.
    """
    larger = log_uniform(g, 1.15, LARGEST) if uniform(g, 0, 1) < ENLARGED else 1.0
    inner = round(side / larger / 2) * 2
    if len(scene.y) < frames or min(scene.y.shape[1:]) < inner:
        return _panned(g, scene, frames, side, larger)
    pace = 2 if uniform(g, 0, 1) < 0.15 and len(scene.y) >= 2 * frames else 1
    start = int(torch.randint(len(scene.y) - pace * (frames - 1), (), generator=g))
    top, left = (int(torch.randint(max(1, (length - inner) // 2 + 1), (), generator=g)) * 2 for length in scene.y.shape[1:])
    index = slice(start, start + pace * (frames - 1) + 1, pace)
    y = scene.y[index, top : top + inner, left : left + inner]
    uv = scene.uv[index, :, top // 2 : (top + inner) // 2, left // 2 : (left + inner) // 2]
    return _enlarged(y, side), _enlarged(uv.reshape(-1, *uv.shape[2:]), side // 2).reshape(frames, 2, side // 2, side // 2)


def _enlarged(planes: Plane, side: int) -> Tensor:
    """(N, h, h) uint8 planes as (N, side, side) float32 0..1."""
    sized = [cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC) for plane in planes] if planes.shape[-1] != side else planes
    return torch.from_numpy(np.stack(list(sized)).astype(np.float32) / 255)


def _panned(g: torch.Generator, scene: Scene, frames: int, side: int, larger: float) -> tuple[Tensor, Tensor]:
    height, width = scene.y.shape[1:]
    zoom = uniform(g, 0.8, 1.0) * min(1 / larger, (min(height, width) - 8) / side)
    speed = uniform(g, 0, 1) ** 2 * 8 * (uniform(g, 0, 1) < 0.75)
    course, growth = uniform(g, 0, 2 * np.pi), 1 + uniform(g, -0.01, 0.01)
    centre = np.array([uniform(g, 0.5, 0.5 + max(0.0, 1 - side * zoom / edge) / 2) for edge in (width, height)])
    centre = np.where([uniform(g, 0, 1) < 0.5 for _ in range(2)], centre, 1 - centre) * (width, height)
    moves = [centre + (t - frames // 2) * speed * np.array([np.cos(course), np.sin(course)]) for t in range(frames)]
    shots = [_shot(scene, move, zoom * growth**t, side) for t, move in enumerate(moves)]
    y, uv = np.stack([y for y, _ in shots]), np.stack([uv for _, uv in shots])
    return torch.from_numpy(y.astype(np.float32) / 255), torch.from_numpy(uv.astype(np.float32) / 255)


def _shot(scene: Scene, centre: NDArray[np.float64], zoom: float, side: int) -> tuple[Plane, Plane]:
    """Side x side pixels around `centre`, each `zoom` source pixels wide."""

    def warp(plane: Plane, scale: int) -> Plane:
        x, y = centre / scale - zoom * side / scale / 2
        matrix = np.array([[zoom, 0, x], [0, zoom, y]])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(plane, matrix, (side // scale, side // scale), flags=flags, borderMode=cv2.BORDER_REFLECT)

    return warp(scene.y[0], 1), np.stack([warp(plane, 2) for plane in scene.uv[0]])
