"""Rain rendered over clean frames, with its parameters known.

Two looks over wide ranges: drops in a volume in front of the camera (Marshall & Palmer 1948 drop sizes, Atlas et al. 1973 fall speeds,
perspective, exposure, defocus), and thresholded noise under motion blur. A storm is a seamless tile of streaks rendered once and
rolled for every frame, anew or by how it falls. On top: veil, then what cameras do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..spec import PATTERNS

TILE = 512
"""Side of a storm's tile in pixels."""

VISIBLE = 0.06
"""Opacity from which a streak counts as seen."""

COVERAGE = {"light": (0.008, 0.07), "heavy": (0.10, 0.55), "downpour": (0.10, 0.65)}
"""Share of pixels under visible streaks that makes a pattern; a downpour also has veil."""

TRANSMISSION = {"light": (0.95, 1.0), "heavy": (0.92, 1.0), "downpour": (0.45, 0.78)}
"""Share of the scene's light that the veil lets through at its middle height."""

CLOUDBURST = 0.25
"""Share of heavy rain and downpours in which three to five storms fall at once and little of the scene is left."""

STEADY = 0.5
"""Share of clips in which a storm falls on from frame to frame."""


@dataclass(frozen=True)
class Storm:
    """One kind of rain: its tile of opacities and what a caption can say of it.

    tile: (TILE, TILE) float16 in 0..1, seamless; coverage: share of visible pixels; angle: degrees from straight down, right positive;
    length: of a typical streak in pixels; width: its sigma in pixels; lines: of the picture that it would fall in.
    """

    tile: Tensor
    coverage: float
    angle: float
    length: float
    width: float
    lines: int


Storms = dict[str, list[Storm]]
"""By pattern."""


@dataclass(frozen=True)
class Weather:
    """Rain over a clip: the storms at once, how they mix with the scene, and the veil."""

    pattern: str
    storms: tuple[Storm, ...]
    opacity: float
    brightness: float
    additive: bool
    transmission: float
    airlight: float

    def caption(self) -> str:
        """One line on density, orientation and intensity, as CLIP learns it."""
        return caption(self)


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One number in low..high."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def log_uniform(generator: torch.Generator, low: float, high: float) -> float:
    """One number in low..high, each octave as likely."""
    return math.exp(uniform(generator, math.log(low), math.log(high)))


def storm(generator: torch.Generator, coverage: float, lines: int = 480) -> Storm:
    """Renders a storm that covers about `coverage` of a picture of so many lines, by one of the two looks."""
    angle = max(-65.0, min(65.0, 28 * float(torch.randn((), generator=generator))))
    look = _volume if uniform(generator, 0, 1) < 0.6 else _noise
    tile, length, width = look(generator, coverage, math.radians(angle), lines / 480)
    tile = tile.clamp(0, 1)
    return Storm(tile.half(), float((tile > VISIBLE).float().mean()), angle, length, width, lines)


def _volume(g: torch.Generator, coverage: float, angle: float, size: float) -> tuple[Tensor, float, float]:
    """Drops in a volume, deep or shallow: focal length, exposure, wind and rain rate drawn; drawn until `coverage` is reached.

    size: of the picture against 480 lines.
    """
    focal = size * log_uniform(g, 350, 1400)
    exposure = log_uniform(g, 1 / 600, 1 / 25)
    rate = log_uniform(g, 2, 120)  # mm/h
    nearest, focus, aperture = log_uniform(g, 0.5, 3), log_uniform(g, 4, 40), size * log_uniform(g, 0.2, 3)
    reach, scatter = log_uniform(g, 1, 24), log_uniform(g, 0.02, 0.12)  # shallow rain is near: short and thick at a fast shutter
    strength = log_uniform(g, 0.5, 4)
    ripple = uniform(g, 0, 1) ** 2, log_uniform(g, 5, 40)
    tile, mean_length, mean_width, seen = torch.zeros(TILE, TILE), 0.0, 0.0, 0.0
    for _ in range(12):
        drops = max(12, int(450 * coverage))
        diameter = 0.6 - torch.log(torch.rand(drops, generator=g)) / (4.1 * rate**-0.21)  # mm
        depth = nearest * (1 + reach * torch.rand(drops, generator=g) ** 0.5)  # m
        speed = (9.65 - 10.3 * torch.exp(-0.6 * diameter)).clamp(min=1)  # m/s
        length = (focal * speed * exposure / depth).clamp(3, TILE / 3)
        sharp = focal * diameter * 1e-3 / depth / 2.5
        width = (sharp**2 + (aperture * (1 / depth - 1 / focus).abs()) ** 2 + 0.45**2).sqrt().clamp(max=12)
        opacity = (strength * sharp / width * (40 / length).clamp(max=2)).clamp(0.05, 1)
        tilt = angle + scatter * torch.randn(drops, generator=g)
        tile = tile + _streaks(g, length, width, opacity, tilt, ripple)
        mean_length, mean_width = float(length.median()), float(width.median())
        seen = float((tile > VISIBLE).float().mean())
        if seen >= coverage:
            break
    return tile, mean_length, mean_width


def _streaks(g: torch.Generator, length: Tensor, width: Tensor, opacity: Tensor, tilt: Tensor, ripple: tuple[float, float]) -> Tensor:
    """Streaks at random places of a seamless tile: points along each, blurred by class of width.

    ripple: depth, 0..1, and length in pixels of the waves that a drop's oscillation leaves along its streak (Garg & Nayar 2006).
    """
    tile = torch.zeros(TILE, TILE)
    start = torch.rand(2, len(length), generator=g) * TILE
    phase = torch.rand(len(length), generator=g) * 2 * math.pi
    edges = [0.0, 0.6, 0.9, 1.3, 1.9, 2.8, 4.2, 6.0, 8.5, 99.0]
    for low, high in zip(edges, edges[1:], strict=False):
        chosen = (width >= low) & (width < high)
        if not bool(chosen.any()):
            continue
        sigma = float(width[chosen].mean())
        lines = _points(start[:, chosen], length[chosen], opacity[chosen], tilt[chosen], ripple, phase[chosen])
        tile = tile + blur(lines, sigma) * sigma * math.sqrt(2 * math.pi)
    return tile


def _points(
    start: Tensor, length: Tensor, opacity: Tensor, tilt: Tensor, ripple: tuple[float, float] = (0.0, 1.0), phase: float | Tensor = 0.0
) -> Tensor:
    """Lines of unit-spaced points that fade at both ends, splatted bilinearly with wrap-around; (TILE, TILE). ripple: as of `_streaks`."""
    steps = torch.arange(int(length.max()) + 1, dtype=torch.float32)[:, None]
    along = steps / length
    wave = 1 - ripple[0] * (0.5 + 0.5 * torch.sin(2 * math.pi / ripple[1] * steps + phase))
    weight = opacity * wave * (along <= 1) * (4 * along * (1 - along)).clamp(min=0).sqrt()
    x = start[0] + steps * torch.sin(tilt)
    y = start[1] + steps * torch.cos(tilt)
    tile = torch.zeros(TILE * TILE)
    for dx in (0, 1):
        for dy in (0, 1):
            share = (1 - (x - x.floor() - dx).abs()) * (1 - (y - y.floor() - dy).abs())
            place = (y.floor() + dy).long() % TILE * TILE + (x.floor() + dx).long() % TILE
            tile.index_add_(0, place.reshape(-1), (weight * share).reshape(-1))
    return tile.reshape(TILE, TILE)


def _noise(g: torch.Generator, coverage: float, angle: float, size: float) -> tuple[Tensor, float, float]:
    """Thresholded noise under motion blur, raised until `coverage` is reached."""
    width = size**0.8 * log_uniform(g, 0.45, 2.8)
    length = min(TILE / 2, max(size * log_uniform(g, 7, 90), 7 * width))  # shorter ones would be snow
    grain = log_uniform(g, 1, 3)
    side = int(TILE / grain)
    noise = torch.rand(side, side, generator=g)
    threshold = 1 - min(0.4, 1.5 * coverage / length * grain)
    dots = functional.interpolate(((noise - threshold) / (1 - threshold)).clamp(min=0)[None, None], (TILE, TILE), mode="bilinear")[0, 0]
    steps = torch.arange(int(length) + 1, dtype=torch.float32)[:, None]
    kernel = _points(torch.zeros(2, 1), torch.tensor([length]), torch.ones(1), torch.tensor([angle]))
    streaks = blur(torch.fft.irfft2(torch.fft.rfft2(dots) * torch.fft.rfft2(kernel)), width) / len(steps)
    edge = torch.quantile(streaks.reshape(-1)[::7], 1 - coverage)
    top = torch.quantile(streaks.reshape(-1)[::7], 1 - coverage / 20)
    peak = uniform(g, 0.3, 1.0)
    return ((streaks - edge) / (top - edge).clamp(min=1e-6)).clamp(0, 1.2) * peak + VISIBLE * (streaks > edge), length, width


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of a (H, W) image with wrap-around."""
    radius = max(1, math.ceil(3 * sigma))
    line = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    line = line / line.sum()
    image = functional.pad(image[None, None], (radius,) * 4, mode="circular")
    image = functional.conv2d(image, line[None, None, None, :])
    return functional.conv2d(image, line[None, None, :, None])[0, 0]


def bank(generator: torch.Generator, count: int) -> Storms:
    """`count` storms by the pattern that their coverage makes, two fifths of them `light`; `heavy` serves `downpour` too."""
    light = max(1, 2 * count // 5)
    shares = {"light": light, "heavy": max(1, count - light)}
    return {pattern: [_fitting(generator, pattern) for _ in range(share)] for pattern, share in shares.items()}


def _fitting(generator: torch.Generator, pattern: str) -> Storm:
    """A storm whose coverage came out as its pattern has it."""
    low, high = COVERAGE[pattern]
    while True:
        lines = round(480 * log_uniform(generator, 0.7, 2.2 if uniform(generator, 0, 1) < 0.5 else 4.5))
        made = storm(generator, log_uniform(generator, 1.05 * low, 0.95 * high), lines)
        if 0.8 * low <= made.coverage <= 1.1 * high:
            return made


def weather(generator: torch.Generator, storms: Storms, pattern: str, mean: float) -> Weather:
    """Draws rain of one pattern over a scene whose mean luma is `mean` (0..1)."""
    g = generator
    shelf = storms["light" if pattern == "light" else "heavy"]
    count, least = _force(g, pattern)
    chosen = tuple(shelf[int(torch.randint(len(shelf), (), generator=g))] for _ in range(count))
    return Weather(
        pattern,
        chosen,
        opacity=uniform(g, least, 1.0),
        brightness=min(1.0, max(0.35, mean + uniform(g, 0.15, 0.75))),
        additive=uniform(g, 0, 1) < 0.4,
        transmission=uniform(g, *TRANSMISSION[pattern]),
        airlight=min(0.95, max(0.3, mean + uniform(g, 0.1 if pattern == "downpour" else 0.0, 0.4))),  # mist as grey as the scene is not seen
    )


def _force(g: torch.Generator, pattern: str) -> tuple[int, float]:
    """How many storms fall at once, and the least opacity that they may have."""
    if pattern == "light":
        return 1, 0.35
    if uniform(g, 0, 1) < CLOUDBURST:
        return int(uniform(g, 3, 6)), 0.7
    return (1 if uniform(g, 0, 1) < 0.65 else 2 + int(uniform(g, 0, 1) < 0.4)), 0.4


def falls(generator: torch.Generator, weather: Weather, frames: int, height: int, width: int, mirror: bool) -> list[Tensor]:
    """Opacity of the rain of each frame, (H, W) in 0..1."""
    courses = [_course(generator, one, frames) for one in weather.storms]
    return [_layer(weather, places, height, width, mirror) for places in zip(*courses, strict=True)]


def _course(g: torch.Generator, storm: Storm, frames: int) -> list[list[int]]:
    """Row and column of a storm's tile at the top left of each frame: anywhere anew, or further down its own way, since drops that are seen
    in several frames fall by more than a streak's length from one to the next."""
    places = torch.randint(TILE, (frames, 2), generator=g)
    if uniform(g, 0, 1) < STEADY:
        step, angle = storm.length * log_uniform(g, 1.2, 8), math.radians(storm.angle)
        way = step * torch.tensor([math.cos(angle), math.sin(angle)])
        places = places[0] - (torch.arange(frames)[:, None] * way).round().long()
    return places.tolist()


def _layer(weather: Weather, places: Sequence[Sequence[int]], height: int, width: int, mirror: bool) -> Tensor:
    layer = torch.zeros(height, width)
    for one, (top, left) in zip(weather.storms, places, strict=True):
        rolled = one.tile.roll((-top, -left), (0, 1)).repeat(-(-height // TILE), -(-width // TILE))
        tile = rolled[:height, :width].float()
        tile = tile.flip(1) if mirror else tile
        layer = 1 - (1 - layer) * (1 - tile)
    return (layer * weather.opacity).clamp(0, 0.95)


def haze(generator: torch.Generator, weather: Weather, height: int, width: int) -> Tensor:
    """Transmission of the veil, (H, W) in 0..1: denser towards the top, where the scene is far, and uneven; one for a whole clip."""
    fade = torch.linspace(-1, 1, height)[:, None] * uniform(generator, 0, 0.4)
    lumps = functional.interpolate(torch.rand(1, 1, 4, 4, generator=generator), (height, width), mode="bicubic")[0, 0] - 0.5
    depth = -math.log(weather.transmission) * (1 - fade + 0.5 * lumps)
    return torch.exp(-depth.clamp(min=0))


def compose(weather: Weather, layer: Tensor, veil: Tensor, y: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
    """Rain and veil over planes. y: (H, W), uv: (2, H/2, W/2), 0..1 with chroma zero at 0.5. Returns the same."""
    veiled = y * veil + weather.airlight * (1 - veil)
    fallen = veiled + layer * (0.7 * weather.brightness if weather.additive else weather.brightness - veiled)
    if not weather.additive:
        fallen = torch.maximum(fallen, veiled - 0.02)
    half = functional.interpolate(torch.stack([veil, layer])[None], scale_factor=0.5, mode="bilinear")[0]  # means of 2 x 2, quickly
    fade = half[0] * (1 - (0.3 if weather.additive else 0.8) * half[1])
    return fallen.clamp(0, 1), 0.5 + (uv - 0.5) * fade


DENSITY = ("sparse", "scattered", "dense", "very dense")


def caption(weather: Weather) -> str:
    """Density, orientation and intensity of the rain in words."""
    coverage = 1 - math.prod(1 - s.coverage for s in weather.storms)
    density = DENSITY[sum(coverage > edge for edge in (0.02, 0.08, 0.3))]
    lean = max((s.angle for s in weather.storms), key=abs)
    way = "vertical" if abs(lean) < 12 else "slanted"
    shape = "long" if weather.storms[0].length > 30 else "short"
    tail = ", veiled by mist" if weather.pattern == "downpour" else ""
    name = {"light": "light rain", "heavy": "heavy rain", "downpour": "a downpour"}[weather.pattern]
    return f"a photo of {name}, {density} {shape} {way} streaks{tail}"


def pattern_at(generator: torch.Generator, shares: dict[str, float]) -> str:
    """A pattern drawn by its share."""
    weights = torch.tensor([shares.get(pattern, 0.0) for pattern in PATTERNS])
    return PATTERNS[int(torch.multinomial(weights, 1, generator=generator))]
