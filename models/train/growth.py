"""The small CLIP begun from weights that are there: its own shape's, or a smaller tower's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..perception import SMALL, ClipError, blank, stored

BLOCK = re.compile(r"visual\.layer\d\.[1-9]")
"""Names of the weights of a stage's further blocks, which open_clip starts as doing nothing."""

PARTING = 0.1
"""Noise between channels that began as one, relative to their weights."""


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
