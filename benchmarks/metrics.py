"""Picture and video measures of deraining, on luma, as the field reports them.

Luma from RGB is MATLAB's rgb2ycbcr (BT.601, 16..235), as in the published tables; SSIM is Wang et al. 2004 with its 11 x 11 Gaussian
window (sigma 1.5), over the pixels where the whole window fits. All pictures are (H, W) arrays of code values 0..255 unless said.
"""

from __future__ import annotations

import math
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

PEAK = 255.0

LEAST = 11
"""Pixels of the window's side."""

SAME_DB = 100.0
"""PSNR given for pictures that are equal, so that means stay finite."""


def matlab_luma(rgb: Plane) -> Floats:
    """Y' of (H, W, 3) RGB 0..255 as MATLAB's rgb2ycbcr gives it: float64 in 16..235, not rounded."""
    weights = np.array([65.481, 128.553, 24.966]) / 255.0
    return 16.0 + np.asarray(rgb, np.float64) @ weights


def psnr(a: Plane, b: Plane) -> float:
    """Peak signal-to-noise ratio in dB, at most SAME_DB."""
    error = float(np.mean(np.square(np.asarray(a, np.float64) - b)))
    return SAME_DB if error == 0 else min(SAME_DB, 10.0 * math.log10(PEAK**2 / error))


def ssim(a: Plane, b: Plane) -> float:
    """Structural similarity, -1..1. ValueError for pictures of less than LEAST pixels a side."""
    if min(a.shape) < LEAST:
        raise ValueError(f"SSIM needs pictures of at least {LEAST} x {LEAST} pixels, not {a.shape[1]} x {a.shape[0]}")
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    mean_x, mean_y = _window(x), _window(y)
    var_x, var_y = _window(x * x) - mean_x**2, _window(y * y) - mean_y**2
    both = _window(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return float(np.mean(top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def _window(x: Floats) -> Floats:
    """Gaussian mean over 11 x 11, where it fits: (H, W) -> (H-10, W-10)."""
    return cast(Floats, cv2.GaussianBlur(x, (LEAST, LEAST), 1.5)[5:-5, 5:-5])


def temporal_error(now: Plane, before: Plane, truth: Plane, truth_before: Plane) -> float:
    """Mean |(o_t - o_t-1) - (g_t - g_t-1)| in code values: flicker and ghosts that the scene itself does not have."""
    ours = np.asarray(now, np.float32) - before
    theirs = np.asarray(truth, np.float32) - truth_before
    return float(np.mean(np.abs(ours - theirs)))


def detail_kept(out: Plane, truth: Plane) -> float:
    """Share of the truth's fine detail that is still in the picture, 0..1 and more when detail was invented.

    The projection of the picture's high frequencies (what a Gaussian of sigma 1.5 takes away) on those of the truth: rain that was left in
    does not count as detail, blur and erased wires lower it.
    """
    high, wanted = _high(out), _high(truth)
    energy = float(np.sum(wanted * wanted))
    return 1.0 if energy == 0 else float(np.sum(high * wanted)) / energy


def _high(plane: Plane) -> Floats:
    x = np.asarray(plane, np.float64)
    return x - cv2.GaussianBlur(x, (0, 0), 1.5)
