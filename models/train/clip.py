"""Trains the small CLIP by contrast on rendered rain and captions."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from ..origin import commit
from ..perception import SMALL, Perceiver, awaken, blank, pattern_embeddings, tokenizer
from ..spec import PATTERNS, routed
from ..store import checkpoint, drafted, halved, known_as, save, stamp
from ..views import SIDE
from .feed import Feed, Rendered
from .footage import Scene
from .growth import begun
from .loop import Place, command
from .precision import autocast
from .rain import uniform
from .specimen import SHARES, Frame, View, frames_to_judge, make

RATE = 2e-3

AVERAGE = 0.995
"""Of the model's running average, how much stays at each step."""

SHARPNESS = math.log(20), math.log(60)
"""Least and most that matching is sharpened by, as logarithms; weight decay alone would blur it."""

PARTS = ("model", "mean", "drawer", "gauge", "optimiser")
"""What a checkpoint holds of Training."""

DRAWING, MATCHING = 0.25, 0.6
"""Shares of the time: until the first the image tower only learns to draw rain, until the second only its later stages learn."""


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
    return (image * gain.to(image.device)).clamp(0, 255), rain


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
    owner = torch.tensor([unique.index(caption) for caption in captions], device=image.device)
    image = functional.normalize(image, dim=-1)
    text = model.encode_text(tokenizer()(unique).to(image.device), normalize=True)
    scale = model.logit_scale.exp()
    logits = scale * image @ text.T  # (N, unique)
    same = functional.one_hot(owner, len(unique)).float()
    per_text = -((logits.T.log_softmax(-1)) * (same / same.sum(0)).T).sum(-1).mean()
    routed = functional.cross_entropy(scale * image @ pattern_embeddings(model).T, patterns, label_smoothing=0.02)
    total: Tensor = 0.5 * (functional.cross_entropy(logits, owner) + per_text) + routed
    return total


class Training:
    """State of the CLIP's run: model, optimiser and the clock."""

    def __init__(self, minutes: float, seed: int, start: Path | None = None, device: str = "cpu") -> None:
        """start: weights to begin from, whose first stages know rain: all learn from the first step on, at half the rate."""
        torch.manual_seed(seed)
        model = begun(start) if start else blank()
        self.device = torch.device(device)
        self.model = model.train().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not start:
            awaken(self.model)
        self.rate, self.drawing, self.matching = (RATE / 2, 0.0, 0.0) if start else (RATE, DRAWING, MATCHING)
        self.mean = deepcopy(self.model).eval().requires_grad_(False)
        self.drawer = Drawer(self.model.visual).to(self.device)
        visual: Any = self.model.visual
        self.gauge = Gauge(visual.output_dim).to(self.device)
        self.parameters = [*self.model.parameters(), *self.drawer.parameters(), *self.gauge.parameters()]
        self.optimiser = torch.optim.AdamW(self.parameters, self.rate, weight_decay=0.05, betas=(0.9, 0.98), fused=True)
        self.minutes, self.seconds, self.step = minutes, 0.0, 0
        self.asked = {"seed": str(seed), "start": known_as(start) if start else "none"}

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
        images, masks = _shake(g, self._here(shots).float(), self._here(rain)[:, None])
        if self.progress < self.drawing:
            images, masks = _crop(g, images, masks)
        images = normal(images).contiguous(memory_format=torch.channels_last)
        with autocast(self.device):
            with torch.set_grad_enabled(not self.drawing <= self.progress < self.matching):
                stages = look(self.model.visual, images)
            found = embed(self.model.visual, stages) if self.progress >= self.drawing else None
        loss = self.drawer(stages, masks)
        if found is not None:
            loss = loss + contrast(self.model, found, captions, torch.tensor(patterns, device=self.device))
            loss = loss + self.gauge(found, self._here(measured))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(*SHARPNESS)
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        self._follow()
        return float(loss.detach())

    def _here(self, arrays: Sequence[NDArray[Any]]) -> Tensor:
        """Arrays of one shape as a tensor on the device."""
        return torch.from_numpy(np.stack(arrays)).to(self.device)

    def _follow(self) -> None:
        """Moves the running average of the model, which is what ships; faster at the start."""
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        slow, quick = ([part for part in model.state_dict().values() if part.is_floating_point()] for model in (self.mean, self.model))
        get_ema_multi_avg_fn(keep)(slow, quick, self.step)  # type: ignore[no-untyped-call]

    def keep(self, path: Path) -> None:
        """Writes a checkpoint."""
        parts = {name: getattr(self, name).state_dict() for name in PARTS}
        with drafted(path) as draft:
            torch.save({**parts, "seconds": self.seconds, "step": self.step, "asked": self.asked}, draft)

    def resume(self, path: Path) -> None:
        """Takes a checkpoint back. WeightsError if it is damaged, or another run's."""
        with checkpoint(path, self.device, self.asked) as state:
            for name in PARTS:
                getattr(self, name).load_state_dict(state[name])
            self.seconds, self.step = state["seconds"], state["step"]


def train(place: Place, val: list[Scene], minutes: float, start: Path | None, batch: int, seed: int) -> Path:
    """Trains for `minutes`, from the weights `start` if given; goes on from a checkpoint; returns the weights file, float16."""
    training, made_by = Training(minutes, seed, start, place.device), commit()
    training.asked |= {"batch": str(batch), "source": place.named}
    place.runs.mkdir(parents=True, exist_ok=True)
    checkpoint = place.runs / f"{SMALL}.pt"
    if checkpoint.exists():
        training.resume(checkpoint)
    frames = frames_to_judge(val) if val else []
    views_of = Rendered(make, place.folders, SHARES, place.storms)
    with Feed(views_of, seed + training.step, place.workers) as feed, (place.runs / f"{SMALL}.jsonl").open("a", buffering=1) as log:
        _spend(training, feed, frames, batch, checkpoint, log.write)
    target = place.weights / f"{SMALL}.safetensors"
    facts = accuracy(training.mean, frames)
    save(target, halved(training.mean.state_dict()), stamp(command(), made_by, minutes=minutes, steps=training.step, **facts))
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
    mean, spread = (torch.tensor(values, device=images.device)[:, None, None] * 255 for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return (images - mean) / spread


def accuracy(model: nn.Module, frames: list[Frame]) -> dict[str, float]:
    """Share of the frames whose pattern is named rightly, in all and for each pattern. model: in evaluation mode."""
    if not frames:
        return {}
    with torch.no_grad():
        text = pattern_embeddings(model)
        perceive = Perceiver(model, text).to(text.device)
        right = [(p, routed(perceive(torch.from_numpy(v).to(text.device)).tolist()) == PATTERNS[p]) for v, p in frames]
    rows = {name: [hit for p, hit in right if p == k] for k, name in enumerate(PATTERNS)}
    shares = {name: round(sum(row) / len(row), 3) for name, row in rows.items()}
    return {"right": round(sum(hit for _, hit in right) / len(right), 3), **shares}
