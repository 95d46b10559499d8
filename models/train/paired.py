"""Samples of paired public sets, each for the specialist that the router would send it to.

A still is a window of one; a frame of a clip has its neighbours, aligned as in use (align.py). Pictures become planes as the pipeline makes them
of RGB: BT.601 in full range, chroma halved by the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ..align import Seen, near
from ..spec import AROUND, GENERALIST, PATTERNS, routed
from ..views import look
from .data import MOST_LINES, SEEN, SIDE, Sample, See
from .footage import LEAST
from .pairs import RGB, Pair, PairError, find
from .rain import pattern_at

REACH = AROUND // 2
"""Neighbours of a frame each way."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Spot:
    """One frame of a pair."""

    pair: Pair
    index: int


Shelves = dict[str, list[Spot]]
"""Frames by the pattern that perception decides for them; every pattern is there."""


def shelves(root: Path, perceive: Callable[[Tensor], Tensor]) -> Shelves:
    """Every frame of the pairs below `root`. A clip is looked at once, in its middle, and stays together.

    perceive: views (N, 3, 224, 224) uint8 -> scores (4,). PairError for folders that do not pair up and pictures that cannot be read.
    """
    pairs = [pair for group in find(root) for pair in group.pairs]
    found: Shelves = {pattern: [] for pattern in PATTERNS}
    for pair in tqdm(pairs, unit="look", desc="routing", leave=False):
        found[_pattern(pair, perceive)] += [Spot(pair, k) for k in range(len(pair.rainy))]
    return found


def _pattern(pair: Pair, perceive: Callable[[Tensor], Tensor]) -> str:
    rainy, _ = _pictures(pair, len(pair.rainy) // 2)
    with torch.no_grad():
        return routed(look(lambda shots: perceive(torch.from_numpy(shots)).tolist(), *planes(rainy)))


def _pictures(pair: Pair, index: int) -> tuple[RGB, RGB]:
    rainy, clean = pair.pictures(index)
    if min(rainy.shape[:2]) < LEAST:
        height, width = rainy.shape[:2]
        raise PairError(f"{pair.rainy[index]}: it has {width}x{height} pixels, less than {LEAST} a side; take the pair out of the set")
    return rainy, clean


def told(shelves: Shelves) -> str:
    """How many frames each pattern has, as one line."""
    return ", ".join(f"{pattern} {len(shelf)}" for pattern, shelf in shelves.items())


def shares(shelves: Shelves, pattern: str, wanted: dict[str, float]) -> dict[str, float]:
    """How often to draw each pattern: for `generalist` as often as it is there, else as `wanted`, without those that have no frame.

    ValueError if `pattern` has none.
    """
    if pattern == GENERALIST:
        return {name: float(len(shelf)) for name, shelf in shelves.items()}
    if not shelves[pattern]:
        raise ValueError(f"--pattern {pattern}: perception sends no frame there ({told(shelves)}); train another one, or give another --clip")
    return {name: share for name, share in wanted.items() if shelves[name]}


@dataclass(frozen=True)
class Paired:
    """A source for a Feed: samples of random frames, the patterns drawn by `shares`, without end."""

    shelves: Shelves
    shares: dict[str, float]
    see: See = Seen

    def __call__(self, seed: int) -> Iterator[Sample]:
        g = torch.Generator().manual_seed(seed)
        while True:
            pattern = pattern_at(g, self.shares)
            shelf = self.shelves[pattern]
            yield sample(g, shelf[int(torch.randint(len(shelf), (), generator=g))], pattern, self.see)


def sample(g: torch.Generator, spot: Spot, pattern: str, see: See = Seen) -> Sample:
    """A random SIDE x SIDE window of a frame, with its state and its truth; smaller pictures repeat their edge. PairError as Pair.pictures."""
    first, last = max(0, spot.index - REACH), min(len(spot.pair.rainy), spot.index + REACH + 1)
    pictures = [_pictures(spot.pair, k) for k in range(first, last)]
    if len({rainy.shape for rainy, _ in pictures}) > 1:
        raise PairError(f"{spot.pair.rainy[spot.index]}: frames of one clip differ in size")
    top, left = (int(torch.randint(max(1, side - SIDE + 1), (), generator=g)) for side in pictures[0][0].shape[:2])
    rainy = [planes(_cut(picture, top, left)) for picture, _ in pictures]
    (y, uv), centre = rainy[spot.index - first], spot.index - first
    clean_y = planes(_cut(pictures[centre][1], top, left))[0]
    lines = min(MOST_LINES, *pictures[0][0].shape[:2])
    state = near([see(shot, lines=lines) for shot, _ in rainy], centre)
    mask = (cv2.absdiff(y, clean_y) / SEEN).clip(0, 255).round().astype(np.uint8)
    luma, chroma, others, truth, rain = map(torch.from_numpy, (y[None], uv, state, clean_y[None], mask[None]))
    return Sample(luma, chroma, others, truth, rain, PATTERNS.index(pattern))


def _cut(picture: RGB, top: int, left: int) -> RGB:
    part = np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE])
    down, right = SIDE - part.shape[0], SIDE - part.shape[1]
    return np.asarray(cv2.copyMakeBorder(part, 0, down, 0, right, cv2.BORDER_REPLICATE), np.uint8) if down or right else part


def planes(rgb: RGB) -> tuple[Bytes, Bytes]:
    """y (H, W) and uv (2, H/2, W/2) of RGB (H, W, 3), all uint8; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in rgb.shape[:2])
    y, cr, cb = cv2.split(cv2.cvtColor(np.ascontiguousarray(rgb[:height, :width]), cv2.COLOR_RGB2YCrCb))
    half = [cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for plane in (cb, cr)]
    return np.asarray(y, np.uint8), np.stack(half).astype(np.uint8)
