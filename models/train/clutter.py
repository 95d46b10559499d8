"""Thin things that are no rain: poles, wires, marks on roads, letters, and marks that pass. What learns to take rain out must see that
they stay."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .rain import log_uniform, uniform

Plane = NDArray[Any]
"""uint8."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def strewn(g: torch.Generator, y: Plane) -> Plane:
    """Luma (H, W) of a scene with up to seven such things painted over it, most of them bright."""
    painted = y.astype(np.float32)
    for _ in range(1 + int(uniform(g, 0, 7))):
        sheet = np.zeros(y.shape, np.uint8)
        (_letters if uniform(g, 0, 1) < 0.15 else _bar)(g, sheet)
        cover = cv2.GaussianBlur(sheet / np.float32(255), (0, 0), uniform(g, 0.3, 1.0)) * uniform(g, 0.4, 1)
        shade = uniform(g, 150, 255) if uniform(g, 0, 1) < 0.7 else uniform(g, 0, 255)
        painted += cover * (shade - painted)
    return painted.round().astype(np.uint8)


def passed(g: torch.Generator, y: Tensor) -> Tensor:
    """Up to four bright marks that pass, as those of a lane do, nearly along themselves. y: (T, H, W) in 0..1.

    Each has its own pace, below its length from frame to frame: drops fall by more.
    """
    frames, height, width = y.shape
    for _ in range(1 + int(uniform(g, 0, 4))):
        angle, length = uniform(g, 0, 2 * math.pi), log_uniform(g, 8, 70)
        course = angle + uniform(g, -0.4, 0.4)
        step = length * uniform(g, 0.1, 0.8) * np.array([math.sin(course), math.cos(course)])
        middle = np.array([uniform(g, 0, width), uniform(g, 0, height)])
        mark = _mark(angle, length, log_uniform(g, 2, 9))
        sheets = [np.zeros((height, width), np.uint8) for _ in range(frames)]
        for t, sheet in enumerate(sheets):
            corners = middle + (t - frames // 2) * step + mark
            cv2.fillConvexPoly(sheet, np.round(corners * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
        sigma, opacity = uniform(g, 0.3, 1.2), uniform(g, 0.6, 1)
        cover = torch.from_numpy(np.stack([cv2.GaussianBlur(sheet, (0, 0), sigma) for sheet in sheets])).float() * (opacity / 255)
        y = y + cover * (uniform(g, 0.55, 1) - y)
    return y


def _mark(angle: float, length: float, thickness: float) -> NDArray[np.float64]:
    """Corners of a rectangle around (0, 0), (4, 2) as (x, y)."""
    along, across = np.array([math.sin(angle), math.cos(angle)]) * length / 2, np.array([math.cos(angle), -math.sin(angle)]) * thickness / 2
    return np.array([along + across, along - across, -along - across, across - along])


def barred(g: torch.Generator, y: Tensor) -> Tensor:
    """Thin things that are no rain in front of the scene: bars, wires or a mesh, evenly spaced, brighter or darker. y: (T, H, W) in 0..1."""
    side = y.shape[-1]
    sheet = np.zeros((side, side), np.float32)
    angle, thick = uniform(g, -0.4, 0.4), 1 + int(uniform(g, 0, 2.5))
    step = log_uniform(g, 7 * thick, 70)
    for turn in (angle, angle + math.pi / 2) if uniform(g, 0, 1) < 0.4 else (angle,):
        along, across = np.array([math.sin(turn), math.cos(turn)]), np.array([math.cos(turn), -math.sin(turn)])
        for place in np.arange(-side, side, step) + uniform(g, 0, step):
            ends = [side / 2 + place * across + reach * along for reach in (-side, side)]
            first, last = (np.round(end).astype(int).tolist() for end in ends)
            cv2.line(sheet, first, last, 1.0, thick, cv2.LINE_AA)
    edge = int(uniform(g, 0, 0.6) * side)  # often over a part of the picture only
    sheet[:, :edge] *= uniform(g, 0, 1) < 0.5
    bars = torch.from_numpy(cv2.GaussianBlur(sheet, (0, 0), uniform(g, 0.3, 1.0))) * uniform(g, 0.4, 1.0)
    return y + bars * (uniform(g, 0, 1) - y)


def _bar(g: torch.Generator, sheet: Plane) -> None:
    """A pole, a wire or a mark: upright half of the time, of any length."""
    height, width = sheet.shape
    draw = uniform(g, 0, 1)
    angle = 0.08 * uniform(g, -1, 1) if draw < 0.5 else uniform(g, 0, math.pi)
    reach = log_uniform(g, 6, max(height, width))
    middle = np.array([uniform(g, 0, width), uniform(g, 0, height)])
    along = reach * np.array([math.sin(angle), math.cos(angle)])
    first, last = (np.round(middle + side * along).astype(int).tolist() for side in (-1, 1))
    cv2.line(sheet, first, last, 255, round(log_uniform(g, 1, 7)), cv2.LINE_AA)


def _letters(g: torch.Generator, sheet: Plane) -> None:
    """A short word, as on a sign."""
    height, width = sheet.shape
    word = "".join(LETTERS[int(uniform(g, 0, len(LETTERS)))] for _ in range(2 + int(uniform(g, 0, 6))))
    place = int(uniform(g, 0, 0.9 * width)), int(uniform(g, 0.1 * height, height))
    cv2.putText(sheet, word, place, cv2.FONT_HERSHEY_SIMPLEX, log_uniform(g, 0.35, 2), 255, 1 + int(uniform(g, 0, 3)), cv2.LINE_AA)
