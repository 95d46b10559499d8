"""Streak pictures for the validation rain: sprites stamped into large wrap-around textures that scroll over the frames.

Nothing here is shared with the training renderer, in code or parameters: figures on rain that training never draws are the point.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

VARIANTS = 10
"""Different sprites per texture."""


@dataclass(frozen=True)
class Layer:
    """Rain at one depth. Lengths in pixels of a picture 360 high; they grow with the picture.

    per_mega: streaks per million pixels. length, width: mean streak (width is the sigma across). bright: peak opacity, 0..1.
    lean: degrees from the vertical, to the right at the foot. scatter: standard deviation of the lean from streak to streak, degrees.
    beads: depth of the brightness ripple along a streak, which an oscillating drop leaves, 0..1.
    """

    per_mega: float
    length: float
    width: float
    bright: float
    lean: float = 0.0
    scatter: float = 1.5
    beads: float = 0.3


@lru_cache(maxsize=64)
def texture(layer: Layer, lean: int, side: int, scale: float, seed: int) -> Floats:
    """A (side, side) float32 picture of streak opacity, 0..1, that wraps around at its edges. lean: degrees, in place of the layer's."""
    rng = np.random.default_rng(seed)
    sheet = np.zeros((side, side), np.float32)
    sprites = [_sprite(layer, lean, scale, rng) for _ in range(VARIANTS)]
    for _ in range(rng.poisson(layer.per_mega * side * side / 1e6 / scale**2)):
        _stamp(sheet, sprites[rng.integers(VARIANTS)], rng)
    return sheet


def _sprite(layer: Layer, lean: int, scale: float, rng: np.random.Generator) -> Floats:
    """One streak of peak opacity at most 1: a Gaussian across, a soft-ended rippling profile along."""
    length = layer.length * scale * rng.lognormal(0, 0.3)
    width = max(0.35, layer.width * scale * rng.lognormal(0, 0.2))
    angle = np.deg2rad(lean + rng.normal(0, layer.scatter))
    reach = int(np.ceil(length / 2 + 3 * width)) + 1
    v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    along, across = u * np.sin(angle) + v * np.cos(angle), u * np.cos(angle) - v * np.sin(angle)
    ends = 1 / (1 + np.exp(4 * (np.abs(along) - length / 2) / max(1.0, 0.15 * length)))
    ripple = 1 - layer.beads * (0.5 + 0.5 * np.sin(along * rng.uniform(0.4, 0.9) / scale + rng.uniform(0, 6.3)))
    sprite = layer.bright * ends * ripple * np.exp(-0.5 * (across / width) ** 2)
    return _trim(sprite.astype(np.float32))


def _trim(sprite: Floats) -> Floats:
    rows, columns = np.nonzero(sprite.max(1) > 0.004)[0], np.nonzero(sprite.max(0) > 0.004)[0]
    if not len(rows):
        return sprite[:1, :1]
    return sprite[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _stamp(sheet: Floats, sprite: Floats, rng: np.random.Generator) -> None:
    """The sprite at a random place of the sheet, over its edges, by screen blending."""
    top, left = rng.integers(sheet.shape[0]), rng.integers(sheet.shape[1])
    rows = (top + np.arange(sprite.shape[0])) % sheet.shape[0]
    columns = (left + np.arange(sprite.shape[1])) % sheet.shape[1]
    place = np.ix_(rows, columns)
    sheet[place] = 1 - (1 - sheet[place]) * (1 - sprite * np.float32(rng.uniform(0.4, 1.0)))
