"""Dry footage that looks like rain: what perception must not fall for, and what must come to no harm where it does."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import cv2
import numpy as np

from .footage import Bytes, Clip
from .kinds import Kind, lay_on, named, render
from .streaks import Floats

Dress = Callable[[Clip, np.random.Generator], Clip]


def snow(clip: Clip, rng: np.random.Generator) -> Clip:
    """Flakes: soft round spots that sink and sway, each seen in many frames."""
    height, width = clip.y.shape[1:]
    count = max(1, height * width // 500)
    x, y = rng.uniform(0, width, count), rng.uniform(0, height, count)
    size, speed, sway = rng.uniform(0.8, 3.2, count), rng.uniform(2, 7, count), rng.uniform(-2, 2, count)

    def at(t: int) -> Floats:
        sheet = np.zeros((height, width), np.float32)
        places = zip((x + sway * t) % width, (y + speed * t) % height, size, strict=True)
        for across, down, radius in places:
            cv2.circle(sheet, (int(across), int(down)), round(radius), 0.25 + 0.2 * radius, cv2.FILLED, cv2.LINE_AA)
        return _soft(sheet, 0.7)

    return _laid(clip, at)


def film_grain(clip: Clip, rng: np.random.Generator) -> Clip:
    """The grain of pushed film, stronger than `grain` of the kinds and strongest in mid-tones."""
    frames = []
    for plane in clip.y:
        noise = cv2.GaussianBlur(rng.normal(0, 24, plane.shape).astype(np.float32), (0, 0), 0.7)
        frames.append(plane + noise * (1 - np.abs(plane / 127.5 - 1)))
    return clip.with_planes(np.stack(frames).round().clip(0, 255).astype(np.uint8), clip.uv)


def night_lamps(clip: Clip, rng: np.random.Generator) -> Clip:
    """Night, with lamps that glow and draw thin star-like rays on the lens."""
    dark, _ = render(named("dry-night"), clip)
    height, width = clip.y.shape[1:]
    sheet = np.zeros((height, width), np.float32)
    for _ in range(14):
        x, y, reach = int(rng.uniform(0, width)), int(rng.uniform(0, 0.7 * height)), int(rng.uniform(0.03, 0.12) * height)
        cv2.circle(sheet, (x, y), 2 + reach // 8, 1.0, cv2.FILLED, cv2.LINE_AA)
        for turn in rng.uniform(0, np.pi) + np.arange(4) * np.pi / 4:
            right, down = int(reach * np.cos(turn)), int(reach * np.sin(turn))
            cv2.line(sheet, (x - right, y - down), (x + right, y + down), 0.45, 1, cv2.LINE_AA)
    lamps = np.maximum(sheet, 2.5 * _soft(sheet, height / 40)).clip(0, 1).astype(np.float32)
    return _laid(dark, lambda t: lamps)


def fence(clip: Clip, rng: np.random.Generator) -> Clip:
    """A pale fence of thin leaning bars between camera and scene."""
    height, width = clip.y.shape[1:]
    sheet = np.zeros((height, width), np.float32)
    step, lean = rng.uniform(9, 26), rng.uniform(-0.25, 0.25)
    for foot in np.arange(-width, 2 * width, step):
        cv2.line(sheet, (int(foot), height), (int(foot + lean * height), height // 5), 0.75, 1 + int(step > 16), cv2.LINE_AA)
    for rail in (0.3, 0.85):
        cv2.line(sheet, (0, int(rail * height)), (width, int(rail * height)), 0.75, 2, cv2.LINE_AA)
    bars = _soft(sheet, 0.5)
    return _laid(clip, lambda t: bars)


LOOKALIKES: dict[str, Dress] = {"snow": snow, "film-grain": film_grain, "night-lamps": night_lamps, "fence": fence}


def dressed(name: str, clip: Clip) -> Clip:
    """A clip as the lookalike of that name has it; the same each time."""
    return LOOKALIKES[name](clip, np.random.default_rng(zlib.crc32(f"{name}/{clip.name}".encode())))


def shown(weather: Kind | str, clip: Clip) -> Clip:
    """A clip in a kind of weather, or as the lookalike of a name."""
    return dressed(weather, clip) if isinstance(weather, str) else render(weather, clip)[0]


def _laid(clip: Clip, at: Callable[[int], Floats]) -> Clip:
    nothing = np.zeros(clip.y.shape[1:], np.float32)
    frames: list[tuple[Bytes, Bytes]] = [lay_on(clip.y[t], clip.uv[t], at(t), nothing) for t in range(len(clip))]
    y, uv = (np.stack(each) for each in zip(*frames, strict=True))
    return clip.with_planes(y, uv)


def _soft(sheet: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(sheet, (0, 0), sigma).clip(0, 1), np.float32)
