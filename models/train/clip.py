"""Trains the small CLIP by contrast on rendered rain and captions."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from ..perception import SMALL, Perceiver, blank, pattern_embeddings
from ..spec import PATTERNS
from ..store import save, stamp
from ..views import SIDE, views
from .camera import compress
from .data import render
from .feed import Feed
from .footage import Scene
from .loop import command, commit
from .rain import Storm, bank, uniform

SHARES = {"clear": 0.34, "light": 0.28, "heavy": 0.19, "downpour": 0.19}
"""How often each pattern is seen: dry and nearly dry scenes are the hard ones."""

LARGE = 352
"""Side of the rendered frame, in pixels, that a shrunken view shows."""

CLEAR = ("a photo of a dry scene without rain", "a photo without any streaks of rain")

View = tuple[NDArray[np.uint8], str, int]
"""(3, SIDE, SIDE) RGB, its caption, and the index of its pattern."""


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
    gain = 1 + 0.15 * torch.randn(len(image), 3, 1, 1, generator=g) * torch.tensor([1.0, 0.3, 0.3])[None, :, None, None].mean()
    return (image * gain).clamp(0, 255)


def loss_of(model: nn.Module, images: Tensor, captions: list[str], patterns: Tensor, tokenizer: open_clip.SimpleTokenizer) -> Tensor:
    """Contrast of views with captions, equal captions counted as matches, plus cross-entropy of the routed patterns."""
    unique = sorted(set(captions))
    owner = torch.tensor([unique.index(caption) for caption in captions])
    image = model.encode_image(images, normalize=True).float()  # type: ignore[operator]
    text = model.encode_text(tokenizer(unique), normalize=True).float()  # type: ignore[operator]
    scale = model.logit_scale.exp().clamp(max=50)  # type: ignore[operator,union-attr]
    logits = scale * image @ text.T  # (N, unique)
    same = functional.one_hot(owner, len(unique)).float()
    per_text = -((logits.T.log_softmax(-1)) * (same / same.sum(0)).T).sum(-1).mean()
    routed = functional.cross_entropy(scale * image @ pattern_embeddings(model).float().T, patterns, label_smoothing=0.02)
    return 0.5 * (functional.cross_entropy(logits, owner) + per_text) + routed


def train(folders: list[Path], val: list[Scene], minutes: float, folder: Path, runs: Path, batch: int = 48, seed: int = 1, workers: int = 1) -> Path:
    """Trains for `minutes`, or goes on from the checkpoint in `runs`; returns the weights file, float16."""
    torch.manual_seed(seed)
    model, tokenizer, made_by = blank().train(), open_clip.get_tokenizer(SMALL), commit()
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05, betas=(0.9, 0.98))
    runs.mkdir(parents=True, exist_ok=True)
    checkpoint, seconds, step, saved = runs / f"{SMALL}.pt", 0.0, 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        seconds, step = state["seconds"], state["step"]
    frames = frames_to_judge(val) if val else []
    g = torch.Generator().manual_seed(seed + step)
    with Feed(make, folders, SHARES, seed + step, workers) as feed, (runs / f"{SMALL}.jsonl").open("a") as log:
        pool = [feed.get() for _ in range(4 * batch)]
        bar = tqdm(total=round(60 * minutes), initial=round(seconds), unit="s", desc=SMALL, mininterval=5)
        while seconds < 60 * minutes:
            started = time.monotonic()
            for _ in range(batch // 4):
                pool[int(uniform(g, 0, len(pool)))] = feed.get()
            for group in optimiser.param_groups:
                group["lr"] = 1e-3 * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * seconds / (60 * minutes)))
            picks = [pool[k] for k in torch.randperm(len(pool), generator=g)[:batch].tolist()]
            images = _shake(g, torch.from_numpy(np.stack([view for view, _, _ in picks])).float())
            with torch.autocast("cpu", torch.bfloat16):
                loss = loss_of(model, normal(images), [c for _, c, _ in picks], torch.tensor([p for _, _, p in picks]), tokenizer)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            step, seconds = step + 1, seconds + time.monotonic() - started
            bar.update(round(seconds) - bar.n)
            if seconds - saved > 90 or seconds >= 60 * minutes:
                saved = seconds
                line = {"step": step, "minutes": round(seconds / 60, 2), "loss": round(float(loss.detach()), 4), **accuracy(model, frames)}
                bar.write(json.dumps(line))
                log.write(json.dumps(line) + "\n")
                torch.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "seconds": seconds, "step": step}, checkpoint)
        bar.close()
    target = folder / f"{SMALL}.safetensors"
    half = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    save(target, half, stamp(command(), made_by, minutes=minutes, steps=step, **accuracy(model, frames)))
    return target


def normal(images: Tensor) -> Tensor:
    """CLIP's normalisation of (N, 3, H, W) in 0..255."""
    mean, spread = (torch.tensor(values)[:, None, None] * 255 for values in _moments())
    return (images - mean) / spread


def _moments() -> tuple[tuple[float, ...], tuple[float, ...]]:
    return open_clip.constants.OPENAI_DATASET_MEAN, open_clip.constants.OPENAI_DATASET_STD


def frames_to_judge(scenes: list[Scene], each: int = 33, side: int = 352, seed: int = 7_000_001) -> list[tuple[NDArray[np.uint8], int]]:
    """Views and pattern of rendered frames of every pattern."""
    g = torch.Generator().manual_seed(seed)
    storms, frames = bank(g, 60), []
    for pattern in PATTERNS:
        for k in range(each):
            clip = render(g, scenes[k % len(scenes)], storms, pattern, frames=1, side=side)
            y, uv = compress(g, *(_bytes(plane) for plane in (clip.rainy_y, clip.rainy_uv)))
            frames.append((views(y[0], uv[0]), PATTERNS.index(pattern)))
    return frames


def accuracy(model: nn.Module, frames: list[tuple[NDArray[np.uint8], int]]) -> dict[str, float]:
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
