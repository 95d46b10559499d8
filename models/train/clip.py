"""Trains the small CLIP by contrast on rendered rain and captions."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from ..perception import SMALL, Perceiver, awaken, blank, pattern_embeddings
from ..spec import PATTERNS
from ..store import save, stamp
from ..views import SIDE, views
from .camera import compress
from .data import render
from .feed import Feed, Rendered
from .footage import Scene
from .loop import Place, command, commit
from .rain import Storm, bank, uniform

SHARES = {"clear": 0.34, "light": 0.28, "heavy": 0.19, "downpour": 0.19}
"""How often each pattern is seen: dry and nearly dry scenes are the hard ones."""

LARGE = 352
"""Side of the rendered frame, in pixels, that a shrunken view shows."""

CLEAR = ("a photo of a dry scene without rain", "a photo without any streaks of rain")

View = tuple[NDArray[np.uint8], str, int]
"""(3, SIDE, SIDE) RGB, its caption, and the index of its pattern."""

Frame = tuple[NDArray[np.uint8], int]
"""All views of one frame, (N, 3, SIDE, SIDE), and the index of its pattern."""

RATE = 2e-3


def make(g: torch.Generator, scene: Scene, storms: dict[str, list[Storm]], pattern: str) -> View:
    """One view: a native crop mostly, else a whole frame shrunken."""
    whole = uniform(g, 0, 1) < 0.25
    clip = render(g, scene, storms, pattern, frames=1, side=LARGE if whole else SIDE)
    y, uv = compress(g, *(_bytes(plane) for plane in (clip.rainy_y, clip.rainy_uv)))
    caption = clip.weather.caption() if clip.weather else CLEAR[int(uniform(g, 0, 2))]
    return views(y[0], uv[0])[-1 if whole else 0], caption, PATTERNS.index(pattern)


def _bytes(plane: Tensor) -> NDArray[np.uint8]:
    return (plane * 255).round().clamp(0, 255).byte().numpy()


def _shake(g: torch.Generator, image: Tensor) -> Tensor:
    """Mirror, gain and colour of a batch of views, which leave the pattern as it is; (N, 3, SIDE, SIDE) float 0..255."""
    if uniform(g, 0, 1) < 0.5:
        image = image.flip(-1)
    gain = 1 + 0.08 * torch.randn(len(image), 3, 1, 1, generator=g)
    return (image * gain).clamp(0, 255)


def loss_of(model: nn.Module, images: Tensor, captions: list[str], patterns: Tensor, tokenizer: open_clip.SimpleTokenizer) -> Tensor:
    """Contrast of views with captions, equal captions counted as matches, plus cross-entropy of the routed patterns."""
    unique = sorted(set(captions))
    owner = torch.tensor([unique.index(caption) for caption in captions])
    image = model.encode_image(images, normalize=True).float()  # type: ignore[operator]
    text = model.encode_text(tokenizer(unique), normalize=True).float()  # type: ignore[operator]
    scale = model.logit_scale.exp().clamp(20, 60)  # type: ignore[operator]
    logits = scale * image @ text.T  # (N, unique)
    same = functional.one_hot(owner, len(unique)).float()
    per_text = -((logits.T.log_softmax(-1)) * (same / same.sum(0)).T).sum(-1).mean()
    routed = functional.cross_entropy(scale * image @ pattern_embeddings(model).float().T, patterns, label_smoothing=0.02)
    total: Tensor = 0.5 * (functional.cross_entropy(logits, owner) + per_text) + routed
    return total


class Training:
    """State of the CLIP's run: model, optimiser and the clock."""

    def __init__(self, minutes: float, seed: int) -> None:
        torch.manual_seed(seed)
        self.model, self.tokenizer = blank().train().to(memory_format=torch.channels_last), open_clip.get_tokenizer(SMALL)
        awaken(self.model)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), RATE, weight_decay=0.05, betas=(0.9, 0.98))
        self.minutes, self.seconds, self.step = minutes, 0.0, 0

    @property
    def progress(self) -> float:
        """Share of the time that is spent, 0..1."""
        return min(1.0, self.seconds / (60 * self.minutes))

    def learn(self, g: torch.Generator, batch: list[View]) -> float:
        """One step; returns the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (self.step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * self.progress))
        shots, captions, patterns = zip(*batch, strict=True)
        images = _shake(g, torch.from_numpy(np.stack(shots)).float()).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(self.model, normal(images), list(captions), torch.tensor(patterns), self.tokenizer)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.step += 1
        return float(loss.detach())

    def keep(self, path: Path) -> None:
        """Writes a checkpoint."""
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(), "seconds": self.seconds, "step": self.step}
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    def resume(self, path: Path) -> None:
        """Takes a checkpoint back."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.seconds, self.step = state["seconds"], state["step"]


def train(place: Place, val: list[Scene], minutes: float, batch: int = 32, seed: int = 1) -> Path:
    """Trains for `minutes`, or goes on from the checkpoint; returns the weights file, float16. It runs on the CPU."""
    training, made_by = Training(minutes, seed), commit()
    place.runs.mkdir(parents=True, exist_ok=True)
    checkpoint = place.runs / f"{SMALL}.pt"
    if checkpoint.exists():
        training.resume(checkpoint)
    frames = frames_to_judge(val) if val else []
    views_of = Rendered(make, place.folders, SHARES, place.storms)
    with Feed(views_of, seed + training.step, place.workers) as feed, (place.runs / f"{SMALL}.jsonl").open("a", buffering=1) as log:
        _spend(training, feed, frames, batch, checkpoint, log.write)
    target = place.weights / f"{SMALL}.safetensors"
    half = {key: value.half() if value.is_floating_point() else value for key, value in training.model.state_dict().items()}
    save(target, half, stamp(command(), made_by, minutes=minutes, steps=training.step, **accuracy(training.model, frames)))
    return target


def _spend(training: Training, feed: Feed[View], frames: list[Frame], batch: int, checkpoint: Path, write: Callable[[str], object]) -> None:
    """Steps until the time is spent; a checkpoint and a line of the log every 90 seconds. A quarter of each batch is new."""
    g = torch.Generator().manual_seed(training.step)
    pool = [feed.get() for _ in range(4 * batch)]
    bar = tqdm(total=round(60 * training.minutes), initial=round(training.seconds), unit="s", desc=SMALL, mininterval=5)
    saved = training.seconds
    while training.progress < 1:
        started = time.monotonic()
        for _ in range(batch // 4):
            pool[int(uniform(g, 0, len(pool)))] = feed.get()
        loss = training.learn(g, [pool[k] for k in torch.randperm(len(pool), generator=g)[:batch].tolist()])
        training.seconds += time.monotonic() - started
        bar.update(round(training.seconds) - bar.n)
        if training.seconds - saved > 90 or training.progress >= 1:
            saved = training.seconds
            line = {"step": training.step, "minutes": round(saved / 60, 2), "loss": round(loss, 4), **accuracy(training.model, frames)}
            bar.write(json.dumps(line))
            write(json.dumps(line) + "\n")
            training.keep(checkpoint)
    bar.close()


def normal(images: Tensor) -> Tensor:
    """CLIP's normalisation of (N, 3, H, W) in 0..255."""
    mean, spread = (torch.tensor(values)[:, None, None] * 255 for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD))
    return (images - mean) / spread


def frames_to_judge(scenes: list[Scene], each: int = 33, side: int = 352, seed: int = 7_000_001) -> list[Frame]:
    """Views and pattern of rendered frames of every pattern."""
    g = torch.Generator().manual_seed(seed)
    storms, frames = bank(g, 60), []
    for pattern in PATTERNS:
        for k in range(each):
            clip = render(g, scenes[k % len(scenes)], storms, pattern, frames=1, side=side)
            y, uv = compress(g, *(_bytes(plane) for plane in (clip.rainy_y, clip.rainy_uv)))
            frames.append((views(y[0], uv[0]), PATTERNS.index(pattern)))
    return frames


def accuracy(model: nn.Module, frames: list[Frame]) -> dict[str, float]:
    """Share of the frames whose pattern is named rightly, in all and for each pattern."""
    if not frames:
        return {}
    model.eval()
    with torch.no_grad():
        perceive = Perceiver(model, pattern_embeddings(model))
        right = [(p, int(perceive(torch.from_numpy(v)).argmax()) == p) for v, p in frames]
    model.train()
    rows = {name: [hit for p, hit in right if p == k] for k, name in enumerate(PATTERNS)}
    shares = {name: round(sum(row) / len(row), 3) for name, row in rows.items()}
    return {"right": round(sum(hit for _, hit in right) / len(right), 3), **shares}
