"""Frames that plainly show one pattern, with a caption: what the small CLIP learns from, and is judged by."""

from __future__ import annotations

from itertools import count

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..spec import PATTERNS
from ..views import SIDE, views
from .camera import compress
from .clutter import barred
from .data import Clip, render, whole
from .footage import Scene
from .rain import Storms, bank, uniform

SHARES = {"clear": 0.32, "light": 0.24, "heavy": 0.26, "downpour": 0.18}
"""How often each pattern is seen: dry and nearly dry scenes are the hard ones."""

LARGE = 352
"""Side of the rendered frame, in pixels, that a shrunken view shows."""

CLEAR = ("a photo of a dry scene without rain", "a photo without any streaks of rain")

SEEN = 10 / 255
"""Light that a streak adds from which it is certainly seen."""

BARRED = 0.15
"""Share of views with bars in them."""

UNSEEN, SPARSE, THICK = 0.002, (0.008, 0.06), 0.1
"""Shares of a frame under streaks: below the first nobody sees rain, the second makes it light, from the third it is heavy."""

VEILED = 0.1
"""Light that the veil of a downpour adds to a scene of middling brightness, 0..1 for peak, from which it is seen."""

DRAWS = 40
"""Times that rain is drawn anew for a scene before it is given up."""

View = tuple[NDArray[np.uint8], str, int, NDArray[np.float32], NDArray[np.float32]]
"""(3, SIDE, SIDE) RGB, its caption, the index of its pattern, the share of rain in cells of 4 x 4 pixels, (SIDE/4, SIDE/4) in 0..1,
and how much rain and veil there is, as `amounts` has it."""

Frame = tuple[NDArray[np.uint8], int]
"""All views of one frame, (N, 3, SIDE, SIDE), and the index of its pattern."""


def make(g: torch.Generator, scene: Scene, storms: Storms, pattern: str) -> View:
    """One view: a native crop mostly, else a whole frame shrunken."""
    shrunken = uniform(g, 0, 1) < 0.25
    clip, rain, name, caption = plain(g, scene, storms, pattern, LARGE if shrunken else SIDE)
    seen = barred(g, clip.rainy_y) if uniform(g, 0, 1) < BARRED else clip.rainy_y
    y, uv = compress(g, whole(seen), whole(clip.rainy_uv))
    small = functional.adaptive_avg_pool2d(rain[None], SIDE // 4)[0].numpy()
    return views(y[0], uv[0])[-1 if shrunken else 0], caption, PATTERNS.index(name), small, amounts(clip, rain)


def plain(g: torch.Generator, scene: Scene, storms: Storms, pattern: str, side: int) -> tuple[Clip, Tensor, str, str]:
    """A frame that plainly shows one pattern, drawn until it does: clip, where streaks are, the pattern's name, a caption.

    A scene on which the rain of `pattern` is not seen, a white one say, is shown dry.
    """
    for draw in count():
        clip = render(g, scene, storms, pattern if draw < DRAWS else "clear", frames=1, side=side)
        rain = streaks(clip)
        if (name := told(clip, rain)) == "clear":
            return clip, rain, name, CLEAR[int(uniform(g, 0, 2))]
        if name and clip.weather:
            return clip, rain, name, clip.weather.caption()
    raise AssertionError("dry scenes are plain")


def veil(clip: Clip) -> float:
    """Light that the veil adds, 0..1 for peak."""
    now = clip.weather
    return (1 - now.transmission) * max(0.0, now.airlight - float(clip.clean_y.mean())) if now else 0.0


def amounts(clip: Clip, rain: Tensor) -> NDArray[np.float32]:
    """(2,): rain and veil, each about 0..1, faint rain spread out."""
    return np.array([float(rain.mean()) ** 0.5, 4 * veil(clip)], np.float32)


def streaks(clip: Clip) -> Tensor:
    """Where the first frame shows streaks, (H, W) in 0..1: light that rain adds and its surroundings do not have."""
    added = (clip.rainy_y[0] - clip.clean_y[0]).numpy()
    return torch.from_numpy((added - cv2.blur(added, (31, 31))) / SEEN).clamp(0, 1)


def told(clip: Clip, rain: Tensor) -> str:
    """Pattern of a frame as an eye would tell; empty where it lies between two, and nobody could."""
    share = float(rain.mean())
    if clip.weather is None or (share < UNSEEN and clip.weather.pattern == "light"):
        return "clear"
    fits = {"light": SPARSE[0] < share < SPARSE[1], "heavy": share > THICK, "downpour": share > THICK and veil(clip) > VEILED}
    return clip.weather.pattern if fits[clip.weather.pattern] else ""


def frames_to_judge(scenes: list[Scene], each: int = 33, side: int = 352, seed: int = 7_000_001) -> list[Frame]:
    """Views and pattern of rendered frames, `each` of every pattern drawn; none that lies between two patterns."""
    g = torch.Generator().manual_seed(seed)
    storms, frames = bank(g, 60), []
    for pattern in PATTERNS:
        for k in range(each):
            clip, _, name, _ = plain(g, scenes[k % len(scenes)], storms, pattern, side)
            y, uv = compress(g, *(whole(plane) for plane in (clip.rainy_y, clip.rainy_uv)))
            frames.append((views(y[0], uv[0]), PATTERNS.index(name)))
    return frames
