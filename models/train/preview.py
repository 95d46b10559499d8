"""A contact sheet of rendered rain with its captions: look at it before you train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..picture import write
from ..spec import RAINY
from .data import Clip, render
from .footage import Scene
from .rain import bank

WIDE = 4
"""Clips in a row; each shows two frames, one above the other."""


def sheet(scenes: list[Scene], path: Path, seed: int = 1, rows: int = 2, kinds: int = 60) -> None:
    """Writes a PNG: `rows` rows of clips for each rainy pattern, from `kinds` storms. OSError if `path` cannot be written."""
    g = torch.Generator().manual_seed(seed)
    storms = bank(g, kinds)
    picks = torch.randint(len(scenes), (len(RAINY) * rows, WIDE), generator=g).tolist()
    lines = []
    for k, row in enumerate(picks):
        clips = [render(g, scenes[pick], storms, RAINY[k // rows], frames=2) for pick in row]
        lines.append(np.concatenate([_cell(clip) for clip in clips], 1))
    write(path, np.concatenate(lines))


def _cell(clip: Clip) -> NDArray[Any]:
    frames = [_bgr(y.numpy(), uv.numpy()) for y, uv in zip(clip.rainy_y, clip.rainy_uv, strict=True)]
    label = np.zeros((18, frames[0].shape[1], 3), np.uint8)
    text = clip.weather.caption().removeprefix("a photo of ") if clip.weather else "dry"
    cv2.putText(label, text, (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.3, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([*frames, label])


def _bgr(y: NDArray[np.float32], uv: NDArray[np.float32]) -> NDArray[Any]:
    side = y.shape[0]
    packed = np.concatenate([y, uv.reshape(side // 2, side)])
    return cv2.cvtColor((packed * 255).round().astype(np.uint8), cv2.COLOR_YUV2BGR_I420)
