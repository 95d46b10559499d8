"""Rain perception by visual-language matching (Guan & Yoshie 2025, arXiv:2506.01366): s_i = softmax(I . T_i), argmax routes.

Any model of open_clip can perceive, by name and pretrained tag or checkpoint; what ships is a small CLIP of our own, given as an
open_clip model config. Ours: several views of a frame, most at native resolution, whose embeddings are averaged.
"""

from __future__ import annotations

import logging
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional

from .prompts import PROMPTS
from .spec import PATTERNS
from .store import WEIGHTS, load
from .views import SIDE

SMALL = "derain-small"
"""The CLIP that ships: its open_clip model config is `derain-small.json`, its weights `derain-small.safetensors`."""


class ClipError(OSError):
    """A CLIP that open_clip cannot give; one line that names it and says what there is."""


def clip(name: str = SMALL, pretrained: str | None = None) -> nn.Module:
    """A CLIP with both towers, float32 on the CPU, in evaluation mode.

    name: any model of open_clip, e.g. `ViT-B-32`; pretrained: one of its tags, e.g. `openai`, or a checkpoint file.
    The small CLIP comes with the weights that ship unless a file is given. ClipError if there is no such model, tag or file.
    """
    if name != SMALL:
        return _named(name, pretrained).eval()
    model, path = blank(), Path(pretrained) if pretrained else WEIGHTS / f"{SMALL}.safetensors"
    try:
        model.load_state_dict(stored(path))
    except RuntimeError as error:  # of another shape
        raise ClipError(f"{path}: not weights of {SMALL}; give those that `derain-train clip` made, or leave them out") from error
    return model.eval()


def stored(path: Path) -> dict[str, Tensor]:
    """The small CLIP's state from a file of weights, in float32. FileNotFoundError names the file."""
    return {key: value.float() if value.is_floating_point() else value for key, value in load(path)[0].items()}


def _named(name: str, pretrained: str | None) -> nn.Module:
    _check_known(name)
    try:
        model: nn.Module = open_clip.create_model(name, pretrained=pretrained)
    except (OSError, RuntimeError, ValueError) as error:  # no such tag; no network to fetch it by; not a checkpoint of this model
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ClipError(f"--clip-pretrained {pretrained}: {str(error).splitlines()[0]}; a checkpoint file of {name}, or one of: {tags}") from error
    return model


def _check_known(name: str) -> None:
    if name not in open_clip.list_models():
        raise ClipError(f"--clip {name}: open_clip has no such model; it has {', '.join(open_clip.list_models()[:5])} and more, or leave it out")


def blank() -> nn.Module:
    """The small CLIP before training."""
    open_clip.add_model_config(Path(__file__).parent / f"{SMALL}.json")
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns on the root logger that no pretrained tag was given
    try:
        model: nn.Module = open_clip.create_model(SMALL)
    finally:
        logging.getLogger().setLevel(level)
    return model


def awaken(model: Any) -> None:
    """Fits the small CLIP's first state to a short training on faint streaks.

    Three quarters of its first filters become blind to flat areas, which drown streaks; residual branches, which open_clip starts at
    zero, start open; matching starts sharp.
    """
    filters = model.visual.conv1.weight.data
    sharp = filters[: 3 * len(filters) // 4]
    sharp -= sharp.mean((2, 3), keepdim=True)
    for name, weight in model.named_parameters():
        if name.endswith("bn3.weight"):
            nn.init.ones_(weight)
        if name == "logit_scale":
            nn.init.constant_(weight, math.log(25))


@lru_cache(maxsize=2)
def tokenizer(name: str = SMALL) -> Any:
    """open_clip's tokenizer of a model; kept, since it takes longer to build than a step of training."""
    return open_clip.get_tokenizer(name)


def pattern_embeddings(model: nn.Module, name: str = SMALL) -> Tensor:
    """One normalised text embedding per pattern: the mean over its prompts, (4, D)."""
    words_of = tokenizer(name)
    rows, device = [], next(model.parameters()).device
    for pattern in PATTERNS:
        words = model.encode_text(words_of(list(PROMPTS[pattern])).to(device), normalize=True)  # type: ignore[operator]
        rows.append(functional.normalize(words.mean(0), dim=-1))
    return torch.stack(rows)


class Perceiver(nn.Module):
    """The image tower with the patterns' text embeddings baked in, the graph that is exported."""

    mean: Tensor
    spread: Tensor
    text: Tensor

    def __init__(self, model: nn.Module, text: Tensor) -> None:
        super().__init__()
        self.visual = model.visual
        self.scale = float(model.logit_scale.detach().exp())  # type: ignore[operator]
        self.register_buffer("text", text.detach())
        habit = open_clip.get_model_preprocess_cfg(model)
        self.side = habit["size"][0] if isinstance(habit["size"], tuple) else habit["size"]
        self.register_buffer("mean", torch.tensor(habit["mean"])[:, None, None] * 255)
        self.register_buffer("spread", torch.tensor(habit["std"])[:, None, None] * 255)

    def forward(self, views: Tensor) -> Tensor:
        """views: (N, 3, 224, 224) uint8 RGB of one frame. Returns scores, (4,) float32, one per pattern, that sum to 1."""
        images = (views.float() - self.mean) / self.spread
        if self.side != SIDE:
            images = functional.interpolate(images, (self.side, self.side), mode="bilinear")
        embeddings = functional.normalize(self.visual(images), dim=-1)  # type: ignore[operator]
        image = functional.normalize(embeddings.mean(0), dim=-1)
        return (self.scale * self.text @ image).softmax(-1)


def perceiver(name: str = SMALL, pretrained: str | None = None) -> Perceiver:
    """Perception by the CLIP of that name, ready to run. ClipError, too, for a model of open_clip without pretrained weights."""
    if name != SMALL and not pretrained:
        _check_known(name)
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name))
        raise ClipError(f"--clip {name}: give its --clip-pretrained, a checkpoint file or one of: {tags or 'none known'}")
    model = clip(name, pretrained)
    with torch.no_grad():
        text = pattern_embeddings(model, name)
    return Perceiver(model, text).eval().requires_grad_(False)
