"""Trains the small CLIP by contrast on rendered rain and captions."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from ..perception import SMALL, ClipError, Perceiver, awaken, blank, pattern_embeddings, stored, tokenizer
from ..spec import PATTERNS, routed
from ..store import save, stamp
from ..views import SIDE, views
from .camera import compress
from .data import Clip, render
from .feed import Feed, Rendered
from .footage import Scene
from .loop import Place, command, commit
from .precision import autocast
from .rain import Storm, bank, log_uniform, uniform

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

BLOCK = re.compile(r"visual\.layer\d\.[1-9]")
"""Names of the weights of a stage's further blocks, which open_clip starts as doing nothing."""

PARTING = 0.1
"""Noise between channels that began as one, relative to their weights."""

RATE = 2e-3

AVERAGE = 0.995
"""Of the model's running average, how much stays at each step."""

PARTS = ("model", "mean", "drawer", "gauge", "optimiser")
"""What a checkpoint holds of Training."""

DRAWING, MATCHING = 0.25, 0.6
"""Shares of the time: until the first the image tower only learns to draw rain, until the second only its later stages learn."""


def make(g: torch.Generator, scene: Scene, storms: dict[str, list[Storm]], pattern: str) -> View:
    """One view: a native crop mostly, else a whole frame shrunken."""
    whole = uniform(g, 0, 1) < 0.25
    clip, rain, name, caption = plain(g, scene, storms, pattern, LARGE if whole else SIDE)
    seen = barred(g, clip.rainy_y) if uniform(g, 0, 1) < BARRED else clip.rainy_y
    y, uv = compress(g, _bytes(seen), _bytes(clip.rainy_uv))
    small = functional.adaptive_avg_pool2d(rain[None], SIDE // 4)[0].numpy()
    return views(y[0], uv[0])[-1 if whole else 0], caption, PATTERNS.index(name), small, amounts(clip, rain)


def plain(g: torch.Generator, scene: Scene, storms: dict[str, list[Storm]], pattern: str, side: int) -> tuple[Clip, Tensor, str, str]:
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


def told(clip: Clip, rain: Tensor) -> str:
    """Pattern of a frame as an eye would tell; empty where it lies between two, and nobody could."""
    share = float(rain.mean())
    if clip.weather is None or (share < UNSEEN and clip.weather.pattern == "light"):
        return "clear"
    fits = {"light": SPARSE[0] < share < SPARSE[1], "heavy": share > THICK, "downpour": share > THICK and veil(clip) > VEILED}
    return clip.weather.pattern if fits[clip.weather.pattern] else ""


def _bytes(plane: Tensor) -> NDArray[np.uint8]:
    return (plane * 255).round().clamp(0, 255).byte().numpy()


def _crop(g: torch.Generator, image: Tensor, rain: Tensor) -> tuple[Tensor, Tensor]:
    """The same quarter of each view and of its rain."""
    top, left = (4 * int(torch.randint(SIDE // 8 + 1, (), generator=g)) for _ in range(2))
    view = image[..., top : top + SIDE // 2, left : left + SIDE // 2]
    return view, rain[..., top // 4 : top // 4 + SIDE // 8, left // 4 : left // 4 + SIDE // 8]


def _shake(g: torch.Generator, image: Tensor, rain: Tensor) -> tuple[Tensor, Tensor]:
    """Mirror, gain and colour of a batch of views, which leave the pattern as it is; (N, 3, SIDE, SIDE) float 0..255."""
    if uniform(g, 0, 1) < 0.5:
        image, rain = image.flip(-1), rain.flip(-1)
    gain = 1 + 0.08 * torch.randn(len(image), 3, 1, 1, generator=g)
    return (image * gain).clamp(0, 255), rain


class Drawer(nn.Module):
    """Draws the rain mask from the image tower's first two stages: it teaches them what a streak is, and is thrown away."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        heads: list[Any] = [nn.Conv2d(stage[-1].conv3.out_channels, 1, 1) for stage in (visual.layer1, visual.layer2)]
        for head in heads:
            nn.init.constant_(head.bias, -2.0)  # most of a picture is no streak
        self.heads = nn.ModuleList(heads)

    def forward(self, stages: tuple[Tensor, Tensor], rain: Tensor) -> Tensor:
        """Binary cross-entropy against `rain`, (N, 1, H, W) in 0..1 of the first stage's size, and of half of it."""
        drawn = [head(stage.float()) for head, stage in zip(self.heads, stages, strict=True)]
        truths = (rain, functional.avg_pool2d(rain, 2))
        return torch.stack([functional.binary_cross_entropy_with_logits(d, t) for d, t in zip(drawn, truths, strict=True)]).sum()


class Gauge(nn.Module):
    """Reads how much rain and veil there is from an embedding: it teaches the tower degrees where patterns are but four; thrown away, too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, 2)

    def forward(self, found: Tensor, amounts: Tensor) -> Tensor:
        """found: (N, D) embeddings; amounts: (N, 2) truth. Returns the loss, a scalar."""
        return functional.smooth_l1_loss(self.head(functional.normalize(found, dim=-1) * 8), amounts, beta=0.1)


def look(visual: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """What the image tower's first two stages see."""
    first = visual.layer1(visual.stem(images))
    return first, visual.layer2(first)


def embed(visual: Any, stages: tuple[Tensor, Tensor]) -> Tensor:
    """The image tower's embeddings of what its first two stages saw, (N, D) float32."""
    found: Tensor = visual.attnpool(visual.layer4(visual.layer3(stages[1])))
    return found.float()


def contrast(model: Any, image: Tensor, captions: Sequence[str], patterns: Tensor) -> Tensor:
    """Contrast of embeddings with captions, equal captions counted as matches, plus cross-entropy of the routed patterns.

    All in float32: patterns' embeddings lie closer to each other than bfloat16 resolves.
    """
    unique = sorted(set(captions))
    owner = torch.tensor([unique.index(caption) for caption in captions])
    image = functional.normalize(image, dim=-1)
    text = model.encode_text(tokenizer()(unique), normalize=True)
    scale = model.logit_scale.exp().clamp(20, 60)
    logits = scale * image @ text.T  # (N, unique)
    same = functional.one_hot(owner, len(unique)).float()
    per_text = -((logits.T.log_softmax(-1)) * (same / same.sum(0)).T).sum(-1).mean()
    routed = functional.cross_entropy(scale * image @ pattern_embeddings(model).T, patterns, label_smoothing=0.02)
    total: Tensor = 0.5 * (functional.cross_entropy(logits, owner) + per_text) + routed
    return total


def begun(start: Path) -> Any:
    """The small CLIP with weights of its own shape, or of one with fewer blocks or channels.

    Blocks that it has more do nothing until they learn to. Channels are had more by doubling some, and what reads both reads half of
    each, so that it sees as before; a little noise lets the two part (Chen et al. 2016, arXiv:1511.05641).
    """
    model = blank()
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    kept = stored(start)
    known = kept.keys() <= shapes.keys() and all(BLOCK.match(key) for key in shapes.keys() - kept.keys())
    if not known or not all(_fits(key, value.shape, shapes[key]) for key, value in kept.items()):
        raise ClipError(f"--start {start}: not weights of {SMALL}; give a derain-small.safetensors")
    model.load_state_dict({key: _widened(key, value, shapes[key]) for key, value in kept.items()}, strict=False)
    return model


def _fits(key: str, have: torch.Size, shape: torch.Size) -> bool:
    """Whether a stored weight has `shape`, or belongs to a narrower image tower."""
    narrower = key.startswith("visual.") and len(have) == len(shape) and all(a <= b for a, b in zip(have, shape, strict=True))
    return have == shape or narrower


def _widened(key: str, weight: Tensor, shape: torch.Size) -> Tensor:
    """A weight of the image tower with channels doubled up to `shape`."""
    if weight.shape == shape:
        return weight
    for axis, size in enumerate(shape[:2]):
        source = torch.arange(size) % weight.shape[axis]
        weight = weight.index_select(axis, source)
        if axis == 1 and key.endswith("weight"):  # inputs
            weight = weight / torch.bincount(source)[source].view(1, -1, *[1] * (weight.ndim - 2))
    return weight * (1 + PARTING * torch.randn(shape)) if weight.ndim > 1 else weight


class Training:
    """State of the CLIP's run: model, optimiser and the clock."""

    def __init__(self, minutes: float, seed: int, start: Path | None = None) -> None:
        """start: weights to begin from, whose first stages know rain: all learn from the first step on, at half the rate."""
        torch.manual_seed(seed)
        model = begun(start) if start else blank()
        self.model = model.train().to(memory_format=torch.channels_last)
        if not start:
            awaken(self.model)
        self.rate, self.drawing, self.matching = (RATE / 2, 0.0, 0.0) if start else (RATE, DRAWING, MATCHING)
        self.mean = deepcopy(self.model).eval().requires_grad_(False)
        self.drawer = Drawer(self.model.visual)
        visual: Any = self.model.visual
        self.gauge = Gauge(visual.output_dim)
        self.parameters = [*self.model.parameters(), *self.drawer.parameters(), *self.gauge.parameters()]
        self.optimiser = torch.optim.AdamW(self.parameters, self.rate, weight_decay=0.05, betas=(0.9, 0.98))
        self.minutes, self.seconds, self.step = minutes, 0.0, 0

    @property
    def progress(self) -> float:
        """Share of the time that is spent, 0..1."""
        return min(1.0, self.seconds / (60 * self.minutes))

    def learn(self, g: torch.Generator, batch: list[View]) -> float:
        """One step; returns the loss.

        At first the tower draws rain in crops alone, then its later stages learn to match on what the first ones see, at last all
        learn both: on a processor this is several times quicker than both from the start.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * min(1.0, (self.step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * self.progress))
        shots, captions, patterns, rain, measured = zip(*batch, strict=True)
        images, masks = _shake(g, torch.from_numpy(np.stack(shots)).float(), torch.from_numpy(np.stack(rain))[:, None])
        if self.progress < self.drawing:
            images, masks = _crop(g, images, masks)
        images = normal(images).contiguous(memory_format=torch.channels_last)
        with autocast(torch.device("cpu")):
            with torch.set_grad_enabled(not self.drawing <= self.progress < self.matching):
                stages = look(self.model.visual, images)
            found = embed(self.model.visual, stages) if self.progress >= self.drawing else None
        loss = self.drawer(stages, masks)
        if found is not None:
            loss = loss + contrast(self.model, found, captions, torch.tensor(patterns))
            loss = loss + self.gauge(found, torch.from_numpy(np.stack(measured)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        return float(loss.detach())

    def _follow(self) -> None:
        """Moves the running average of the model, which is what ships; faster at the start."""
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        pairs = zip(self.mean.state_dict().values(), self.model.state_dict().values(), strict=True)
        for slow, quick in pairs:
            if slow.is_floating_point():
                slow.lerp_(quick, 1 - keep)

    def keep(self, path: Path) -> None:
        """Writes a checkpoint."""
        parts = {name: getattr(self, name).state_dict() for name in PARTS}
        state = {**parts, "seconds": self.seconds, "step": self.step}
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    def resume(self, path: Path) -> None:
        """Takes a checkpoint back."""
        state = torch.load(path, weights_only=True)
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        self.seconds, self.step = state["seconds"], state["step"]


def train(place: Place, val: list[Scene], minutes: float, start: Path | None = None, batch: int = 32, seed: int = 1) -> Path:
    """Trains for `minutes`, from the weights `start` if given; goes on from a checkpoint; returns the weights file, float16. It runs on the CPU."""
    training, made_by = Training(minutes, seed, start), commit()
    place.runs.mkdir(parents=True, exist_ok=True)
    checkpoint = place.runs / f"{SMALL}.pt"
    if checkpoint.exists():
        training.resume(checkpoint)
    frames = frames_to_judge(val) if val else []
    views_of = Rendered(make, place.folders, SHARES, place.storms)
    with Feed(views_of, seed + training.step, place.workers) as feed, (place.runs / f"{SMALL}.jsonl").open("a", buffering=1) as log:
        _spend(training, feed, frames, batch, checkpoint, log.write)
    target = place.weights / f"{SMALL}.safetensors"
    half = {key: value.half() if value.is_floating_point() else value for key, value in training.mean.state_dict().items()}
    save(target, half, stamp(command(), made_by, minutes=minutes, steps=training.step, **accuracy(training.mean, frames)))
    return target


def _spend(training: Training, feed: Feed[View], frames: list[Frame], batch: int, checkpoint: Path, write: Callable[[str], object]) -> None:
    """Steps until the time is spent; a checkpoint and a line of the log every four minutes. At most a quarter of each batch is new."""
    g = torch.Generator().manual_seed(training.step)
    pool = [feed.get() for _ in range(16 * batch)]
    bar = tqdm(total=round(60 * training.minutes), initial=round(training.seconds), unit="s", desc=SMALL, mininterval=5)
    saved = training.seconds
    while training.progress < 1:
        started = time.monotonic()
        for _ in range(batch // 4):
            if feed.ready():
                pool[int(uniform(g, 0, len(pool)))] = feed.get()
        loss = training.learn(g, [pool[k] for k in torch.randperm(len(pool), generator=g)[:batch].tolist()])
        training.seconds += time.monotonic() - started
        bar.update(round(training.seconds) - bar.n)
        if training.seconds - saved > 240 or training.progress >= 1:
            saved = training.seconds
            line = {"step": training.step, "minutes": round(saved / 60, 2), "loss": round(loss, 4), **accuracy(training.mean, frames)}
            bar.write(json.dumps(line))
            write(json.dumps(line) + "\n")
            training.keep(checkpoint)
    bar.close()


def normal(images: Tensor) -> Tensor:
    """CLIP's normalisation of (N, 3, H, W) in 0..255."""
    mean, spread = (torch.tensor(values)[:, None, None] * 255 for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return (images - mean) / spread


def frames_to_judge(scenes: list[Scene], each: int = 33, side: int = 352, seed: int = 7_000_001) -> list[Frame]:
    """Views and pattern of rendered frames, `each` of every pattern drawn; none that lies between two patterns."""
    g = torch.Generator().manual_seed(seed)
    storms, frames = bank(g, 60), []
    for pattern in PATTERNS:
        for k in range(each):
            clip, _, name, _ = plain(g, scenes[k % len(scenes)], storms, pattern, side)
            y, uv = compress(g, *(_bytes(plane) for plane in (clip.rainy_y, clip.rainy_uv)))
            frames.append((views(y[0], uv[0]), PATTERNS.index(name)))
    return frames


def accuracy(model: nn.Module, frames: list[Frame]) -> dict[str, float]:
    """Share of the frames whose pattern is named rightly, in all and for each pattern. model: in evaluation mode."""
    if not frames:
        return {}
    with torch.no_grad():
        perceive = Perceiver(model, pattern_embeddings(model))
        right = [(p, routed(perceive(torch.from_numpy(v)).tolist()) == PATTERNS[p]) for v, p in frames]
    rows = {name: [hit for p, hit in right if p == k] for k, name in enumerate(PATTERNS)}
    shares = {name: round(sum(row) / len(row), 3) for name, row in rows.items()}
    return {"right": round(sum(hit for _, hit in right) / len(right), 3), **shares}
