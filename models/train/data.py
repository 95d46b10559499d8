"""Training samples made beside the training step: one process renders, the trainer draws crops from a pool of what it rendered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..align import Seen, near
from ..spec import AROUND, NEIGHBOURS, PATTERNS
from .camera import compress, expose, shoot
from .clutter import passed, strewn
from .feed import Feed, Make
from .footage import Scene, cut
from .rain import Storms, Weather, compose, falls, haze, uniform, weather

SIDE = 256
"""Side of a rendered clip in pixels."""

MOST_LINES = 1080
"""Lines of the largest picture that motion is looked at as in: beyond, a rendered clip's thumbnails would be too small for it."""

FRAMES = AROUND + 1
See = Callable[..., Seen]
"""How a derainer sees a frame: Seen, with the arguments that it would have."""

Making = Make["Sample"]
"""Makes one sample of a scene under rain of a pattern, as `make` does."""

Window = tuple[int, int, int]
"""First frame, last + 1, and the one that a derainer sees."""

EDGES = ((0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 3))
"""Frames before and after one near a shot's edge in a file. The end of a shot looks as its beginning does: neighbours are sorted."""

STREWN = 0.3
"""Share of the stills, seen by a camera that moves, that thin things which are no rain are painted on."""

PASSED = 0.2
"""Share of clips that marks pass through."""

SEEN = 3 / 255
"""Change of luma from which a pixel is certainly rain."""


@dataclass(frozen=True)
class Sample:
    """A rendered frame with its aligned state and its truth; uint8 planes of SIDE x SIDE.

    y, clean_y, mask: (1, H, W); uv: (2, H/2, W/2); near: (4, H, W); pattern: index into PATTERNS.
    """

    y: Tensor
    uv: Tensor
    near: Tensor
    clean_y: Tensor
    mask: Tensor
    pattern: int

    def seen(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """y, uv, near - y and clean y, (1, C, H, W) float32 on `device`, 0..1 for black to peak: what a network takes, and its truth."""
        y, uv, near, clean = (plane[None].to(device).float() / 255 for plane in (self.y, self.uv, self.near, self.clean_y))
        return y, uv, near - y, clean


@dataclass(frozen=True)
class Clip:
    """A rendered clip: luma (T, H, W) and chroma (T, 2, H/2, W/2), float32 0..1; its weather, None when dry."""

    rainy_y: Tensor
    rainy_uv: Tensor
    clean_y: Tensor
    mask: Tensor
    weather: Weather | None


def render(g: torch.Generator, scene: Scene, storms: Storms, pattern: str, frames: int = FRAMES, side: int = SIDE) -> Clip:
    """`frames` frames of `scene` under rain of `pattern`."""
    if frames > 1 == len(scene.y) and uniform(g, 0, 1) < STREWN:  # neighbours tell them from rain
        scene = replace(scene, y=strewn(g, scene.y[0])[None])
    y, uv = cut(g, scene, frames, side)
    if frames > 1 and uniform(g, 0, 1) < PASSED:
        y = passed(g, y)
    y = expose(g, y)
    if pattern == "clear":
        y, _ = shoot(g, y, y)
        return Clip(y, uv, y, torch.zeros_like(y), None)
    now = weather(g, storms, pattern, float(y.mean()))
    veil, mirror = haze(g, now, side, side), uniform(g, 0, 1) < 0.5
    if now.pattern != "downpour":  # a thin haze belongs to the scene: nobody could tell it from one that was always there
        hazy = [compose(now, torch.zeros(side, side), veil, a, b) for a, b in zip(y, uv, strict=True)]
        y, uv = (torch.stack(planes) for planes in zip(*hazy, strict=True))
        veil = torch.ones(side, side)
    layers = falls(g, now, frames, side, side, mirror)
    fallen = [compose(now, layer, veil, a, b) for layer, a, b in zip(layers, y, uv, strict=True)]
    rainy_y, rainy_uv = (torch.stack(planes) for planes in zip(*fallen, strict=True))
    mask = ((rainy_y - y).abs() / SEEN).clamp(0, 1)
    y, rainy_y = shoot(g, y, rainy_y)
    return Clip(rainy_y, rainy_uv, y, mask, now)


def sample(g: torch.Generator, clip: Clip, window: Window, see: See) -> Sample:
    """The frame of a rendered clip that a derainer sees, with the state that it would have.

    Rain of a large picture is met by motion looked at as coarsely as it would be there.
    """
    y, uv = compress(g, whole(clip.rainy_y), whole(clip.rainy_uv))
    first, last, centre = window
    lines = min(MOST_LINES, max(storm.lines for storm in clip.weather.storms)) if clip.weather else 0
    seen = [see(np.ascontiguousarray(frame), lines=lines) for frame in y[first:last]]
    state = near(seen, centre - first, after=last - 1 - centre)
    return Sample(
        torch.from_numpy(y[centre].copy())[None],
        torch.from_numpy(uv[centre].copy()),
        torch.from_numpy(state),
        torch.from_numpy(whole(clip.clean_y[centre]))[None],
        torch.from_numpy(whole(clip.mask[centre]))[None],
        PATTERNS.index(clip.weather.pattern if clip.weather else "clear"),
    )


def whole(plane: Tensor) -> NDArray[np.uint8]:
    """A plane of 0..1 in whole code values of 8 bits."""
    return (plane * 255).round().clamp(0, 255).byte().numpy()


def make(g: torch.Generator, scene: Scene, storms: Storms, pattern: str, see: See = Seen) -> Sample:
    """One sample of `scene` under rain of `pattern`: three frames each way mostly, else at a shot's edge."""
    clip, middle = render(g, scene, storms, pattern), FRAMES // 2
    if uniform(g, 0, 1) < 0.8:
        return sample(g, clip, (0, FRAMES, middle), see)
    before, after = EDGES[int(torch.randint(len(EDGES), (), generator=g))]
    return sample(g, clip, (middle - before, middle + 1 + after, middle), see)


def make_past(g: torch.Generator, scene: Scene, storms: Storms, pattern: str, see: See = Seen) -> Sample:
    """One sample whose neighbours all lie before it: as many as are used mostly, else fewer."""
    clip, last = render(g, scene, storms, pattern), FRAMES - 1
    first = 0 if uniform(g, 0, 1) < 0.8 else int(torch.randint(1, last, (), generator=g))
    return sample(g, clip, (first, FRAMES, last), see)


def make_still(g: torch.Generator, scene: Scene, storms: Storms, pattern: str, see: See = Seen) -> Sample:
    """One sample without neighbours."""
    return sample(g, render(g, scene, storms, pattern, frames=1), (0, 1, 0), see)


def make_moving(g: torch.Generator, scene: Scene, storms: Storms, pattern: str, see: See = Seen) -> Sample:
    """One sample with the neighbours that a frame of a film may have: for a network that serves files and live streams."""
    return (make if uniform(g, 0, 1) < 0.75 else make_past)(g, scene, storms, pattern, see)


class Pool:
    """The latest `size` samples of a feed, kept on a device as the uint8 that they are, and batches of random crops of them."""

    def __init__(self, feed: Feed[Sample], seed: int, size: int, device: torch.device | str) -> None:
        self.feed, self.size, self.device, self.made = feed, size, device, 0
        self.luma: list[Tensor] = []  # (7, H, W) each: y, near, clean y, mask
        self.chroma: list[Tensor] = []  # (2, H/2, W/2) each: uv
        self.generator = torch.Generator().manual_seed(seed)
        while len(self.luma) < size // 4:
            self._take(feed.get())

    def _take(self, sample: Sample) -> None:
        luma = torch.cat([sample.y, sample.near, sample.clean_y, sample.mask]).to(self.device)
        chroma = sample.uv.to(self.device)
        if len(self.luma) < self.size:
            self.luma.append(luma)
            self.chroma.append(chroma)
        else:
            place = self.made % self.size
            self.luma[place], self.chroma[place] = luma, chroma
        self.made += 1

    def batch(self, count: int, side: int) -> tuple[Tensor, ...]:
        """`count` random crops: y, uv, near - y, clean y and mask, float32 0..1 on the pool's device. At most an eighth are new."""
        for _ in range(max(1, count // 8)):
            if self.feed.ready():
                self._take(self.feed.get())
        picks = torch.randint(len(self.luma), (count,), generator=self.generator).tolist()
        corners = torch.randint((SIDE - side) // 2 + 1, (count, 2), generator=self.generator).tolist()
        luma = _crops([self.luma[pick] for pick in picks], corners, 2, side)
        y, near, clean_y, mask = torch.split(luma, [1, NEIGHBOURS, 1, 1], 1)
        return y, _crops([self.chroma[pick] for pick in picks], corners, 1, side // 2), near - y, clean_y, mask


def _crops(planes: list[Tensor], corners: list[list[int]], unit: int, side: int) -> Tensor:
    """Squares of planes, (N, C, side, side) float32 in 0..1, the first half of them mirrored; corners: of each, in units of `unit` pixels."""
    parts = [plane[:, unit * top : unit * top + side, unit * left : unit * left + side] for plane, (top, left) in zip(planes, corners, strict=True)]
    crops = torch.stack(parts).float().div_(255)
    mirrored = len(parts) // 2
    return torch.cat([crops[:mirrored].flip(-1), crops[mirrored:]])
