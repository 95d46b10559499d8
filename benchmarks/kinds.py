"""Kinds of validation rain, drawn by a renderer that training has never seen.

Streak textures (streaks.py) scroll over the frames and are laid on by screen blending towards white; training renders particles and
filtered noise instead (models/train/rain.py), with parameters of its own. The same clip under the same kind is the same rain each time.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from .footage import Bytes, Clip, FootageError, decode, frame
from .streaks import Floats, Layer, texture

BLACK, WHITE = 16.0, 235.0
CAMERA = {"preset": "fast", "tune": "zerolatency", "weightp": "0", "threads": "1"}


@dataclass(frozen=True)
class Kind:
    """One kind of weather over a clip.

    layers: rain from far to near. gust: how far the wind swings the lean, degrees. veil: largest share of the scene lost to mist, 0..1.
    night: the scene is first darkened, and rain shines where lamps do. crf: H.264 quality that the rainy clip went through (0: none).
    grain: sigma of film grain, code values. Without layers it is dry, and the truth is the clip as it goes in, grain and all.
    """

    name: str
    layers: tuple[Layer, ...] = ()
    gust: float = 0.0
    veil: float = 0.0
    night: bool = False
    crf: int = 0
    grain: float = 0.0

    @property
    def dry(self) -> bool:
        return not self.layers


KINDS = (
    Kind("drizzle", (Layer(2600, 9, 0.6, 0.34), Layer(900, 16, 0.75, 0.38, beads=0.1)), gust=4),
    Kind("thin-long", (Layer(700, 75, 0.65, 0.6, lean=9), Layer(260, 110, 0.85, 0.7, lean=11)), gust=2),
    Kind("thick-short", (Layer(650, 22, 1.7, 0.6, lean=-6), Layer(190, 30, 2.6, 0.7, lean=-8)), gust=3),
    Kind("depths", (Layer(4000, 10, 0.6, 0.4, lean=14), Layer(800, 34, 1.0, 0.6, lean=16), Layer(70, 85, 3.2, 0.55, lean=18))),
    Kind("gusts", (Layer(1500, 28, 0.8, 0.6, lean=12, scatter=4), Layer(280, 60, 1.4, 0.65, lean=14, scatter=5)), gust=24),
    Kind(
        "dense",
        (
            Layer(1800, 26, 0.8, 0.4, lean=-18, scatter=3),
            Layer(1100, 38, 0.9, 0.45, lean=8, scatter=3),
            Layer(400, 60, 1.3, 0.5, lean=26, scatter=4),
        ),
        gust=5,
        veil=0.22,
    ),
    Kind("night", (Layer(1800, 30, 0.8, 0.9, lean=6), Layer(320, 70, 1.3, 1.0, lean=8)), gust=5, night=True),
    Kind("low-rate", (Layer(900, 40, 0.9, 0.65, lean=-12), Layer(160, 70, 1.6, 0.65, lean=-14)), gust=4, crf=33),
    Kind("clean"),
    Kind("grain", grain=6.0),
    Kind("dry-night", night=True),
)
"""Rain first, then dry weather that must be left alone."""

EXTREMES = (
    Kind("pouring", (Layer(7000, 30, 0.8, 0.7, lean=8, scatter=3), Layer(3000, 45, 1.1, 0.8, lean=10, scatter=3)), gust=8),
    Kind(
        "cloudburst",
        (
            Layer(9000, 22, 0.7, 0.85, lean=10, scatter=8),
            Layer(5000, 32, 0.9, 0.9, lean=-4, scatter=8),
            Layer(2500, 40, 1.1, 0.9, lean=20, scatter=8),
        ),
        gust=5,
    ),
)
"""Rain that leaves little of the scene, about 14 and 11 dB: measured where they are named, and not in the mean of all kinds."""

BY_NAME = {kind.name: kind for kind in (*KINDS, *EXTREMES)}


def chosen(names: Iterable[str] | None) -> list[Kind]:
    """The kinds named, or KINDS. FootageError, one line, for a name that is not known."""
    return [named(name) for name in names] if names else list(KINDS)


def named(name: str) -> Kind:
    """FootageError, one line, for a name that is not known."""
    if name not in BY_NAME:
        raise FootageError(f"kind {name!r} is not known; choose from {', '.join(BY_NAME)}")
    return BY_NAME[name]


def render(kind: Kind, clip: Clip) -> tuple[Clip, Clip]:
    """(weather, truth): the clip as the camera saw it, and what a perfect deraining of that gives."""
    rng = np.random.default_rng(zlib.crc32(f"{kind.name}/{clip.name}".encode(errors="surrogateescape")))
    truth = _night(clip) if kind.night else clip
    if kind.dry:
        dry = _grainy(truth, kind.grain, rng) if kind.grain else truth
        return dry, dry
    rainy = _rain(kind, truth, rng)
    return (_compressed(rainy, kind.crf) if kind.crf else rainy), truth


def _rain(kind: Kind, clip: Clip, rng: np.random.Generator) -> Clip:
    falls = [_fall(kind, layer, clip, rng) for layer in kind.layers]
    mist = _mist(clip.y.shape[1:], rng)
    lamps = rng.uniform(0.9, 1.1)
    frames = []
    for t in range(len(clip)):
        through = np.prod([1 - fall(t) for fall in falls], axis=0, dtype=np.float32)
        opacity = 1 - through
        if kind.night:
            opacity = np.minimum(0.95, opacity * _light(clip.y[t]) * lamps).astype(np.float32)
        frames.append(lay_on(clip.y[t], clip.uv[t], opacity, kind.veil * mist))
    y, uv = (np.stack(each) for each in zip(*frames, strict=True))
    return clip.with_planes(y, uv)


def _fall(kind: Kind, layer: Layer, clip: Clip, rng: np.random.Generator) -> Callable[[int], Floats]:
    """t -> (H, W) opacity of one layer. Streaks move by more than their length per frame, so hardly one is seen twice."""
    height, width = clip.y.shape[1:]
    scale = max(0.5, min(height, width) / 360)
    side = int(np.ceil(max(height, width) / 64) * 64) + 64
    seed, phase, pace = int(rng.integers(1 << 30)), rng.uniform(0, 6.3), rng.uniform(0.7, 1.4)
    step = layer.length * scale * rng.uniform(1.3, 2.2)
    jumps = rng.integers(0, side, (len(clip), 2))

    def at(t: int) -> Floats:
        gust = kind.gust * (0.7 * np.sin(phase + 2 * pace * t / clip.fps * 2.2) + 0.3 * np.sin(3.1 * phase + 7 * t / clip.fps))
        lean = round((layer.lean + gust) / 2) * 2
        sheet = texture(layer, lean, side, scale, seed)
        down, right = (np.cos(np.deg2rad(lean)), np.sin(np.deg2rad(lean)))
        jump = jumps[t // 3]  # three frames of one shower, then another part of the texture
        shift = (int(jump[0] + t * step * down), int(jump[1] + t * step * right))
        return np.roll(sheet, shift, (0, 1))[:height, :width]

    return at


def _mist(size: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """(H, W) share of the veil, 0..1: patchy, and thicker towards the top, where it is farther."""
    height, width = size
    patches = cv2.resize(rng.uniform(0.6, 1, (3, 4)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    thinning = np.linspace(1, 0.55, height, dtype=np.float32)[:, None]
    return np.asarray((patches * thinning).clip(0, 1), np.float32)


def lay_on(y: Bytes, uv: Bytes, opacity: Floats, veil: Floats) -> tuple[Bytes, Bytes]:
    """Screen blending with white by `opacity`, behind it a grey veil. In Y'CbCr, white draws luma up and chroma to neutral."""
    luma = y * (1 - veil) + 178 * veil
    luma = luma + (WHITE - luma).clip(0) * opacity
    kept = cv2.resize((1 - veil) * (1 - opacity), uv.shape[:0:-1], interpolation=cv2.INTER_AREA)
    return _bytes(luma), _bytes(128 + (uv.astype(np.float32) - 128) * kept)


def _night(clip: Clip) -> Clip:
    """The clip with its mid-tones sunk and its lights kept."""
    light = ((clip.y.astype(np.float32) - BLACK) / (WHITE - BLACK)).clip(0, 1)
    y = BLACK + (WHITE - BLACK) * (0.18 * light + 0.82 * light**3.2)
    return clip.with_planes(_bytes(y), _bytes(128 + (clip.uv.astype(np.float32) - 128) * 0.7))


def _light(y: Bytes) -> Floats:
    """(H, W) how much light falls on the rain: the glow around bright places over a faint ground."""
    bright = ((y.astype(np.float32) - 110) / 110).clip(0, 1)
    glow = cv2.GaussianBlur(cv2.resize(bright, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), (0, 0), 12)
    wide = cv2.resize(glow, y.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(1.22 - 1.1 * np.exp(-5 * wide), np.float32)


def _grainy(clip: Clip, sigma: float, rng: np.random.Generator) -> Clip:
    noise = rng.normal(0, sigma * 1.6, clip.y.shape).astype(np.float32)
    soft = np.stack([cv2.GaussianBlur(plane, (0, 0), 0.6) for plane in noise])
    return clip.with_planes(_bytes(clip.y + soft), clip.uv)


def _compressed(clip: Clip, crf: int) -> Clip:
    """The clip after H.264 at a low bit rate, by x264 set as a surveillance camera's encoder is: no B frames, no look-ahead.

    Look-ahead and weighted prediction are off for another reason too: with them x264 gave other bytes now and then for the same frames.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as box:
        stream = box.add_stream("libx264", rate=25, options=CAMERA | {"crf": str(crf)})
        stream.height, stream.width, stream.pix_fmt = *clip.y.shape[1:], "yuv420p"
        for y, uv in zip(clip.y, clip.uv, strict=True):
            box.mux(stream.encode(frame(y, uv)))
        box.mux(stream.encode(None))
    file.seek(0)
    return clip.with_planes(*decode(file))


def _bytes(plane: NDArray[np.floating[Any]]) -> Bytes:
    return np.asarray(np.rint(plane).clip(0, 255), np.uint8)
