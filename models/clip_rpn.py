"""CLIP-RPN on one picture (Guan & Yoshie 2025, arXiv:2506.01366): perceive the rain pattern, route, derain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .align import Seen, near
from .perception import SMALL, Perceiver, perceiver
from .planes import Planes, crop, pad
from .spec import PATTERNS, RAINY, STILL, routed
from .store import subnet
from .subnet import PlaneNet
from .views import look


@dataclass(frozen=True)
class Picture:
    """A derained picture. y: (H, W); uv: (2, ceil(H/2), ceil(W/2)); mask: (H, W) uint8; pattern: the one routed to; scores: of each pattern, none if
    it was told."""

    y: Planes
    uv: Planes
    mask: NDArray[np.uint8]
    pattern: str
    scores: dict[str, float]


class ClipRpn(nn.Module):
    """The composed model: hard routing, so that one sub-network runs at most."""

    def __init__(self, perceiver: Perceiver, subnets: dict[str, PlaneNet]) -> None:
        super().__init__()
        self.perceiver = perceiver
        self.subnets = nn.ModuleDict(subnets)

    @torch.no_grad()
    def forward(self, y: Planes, uv: Planes, pattern: str | None = None, peak: int = 255) -> Picture:
        """Derains one picture. y: (H, W) and uv: (2, ceil(H/2), ceil(W/2)), uint8 or uint16 up to `peak`; pattern: spares perception."""
        scores: dict[str, float] = {}
        if pattern is None:
            found = look(lambda shots: self.perceiver(torch.from_numpy(shots)).tolist(), y, uv, peak)
            scores, pattern = dict(zip(PATTERNS, found, strict=True)), routed(found)
        if pattern == "clear":
            return Picture(y, uv, np.zeros(y.shape, np.uint8), pattern, scores)
        planes = [torch.from_numpy(plane) for plane in pad(y, uv, near([Seen(y, peak)], 0))]
        clean_y, clean_uv, mask = (plane.numpy() for plane in self.subnets[pattern](*planes, torch.tensor([float(peak)])))
        chroma = crop(clean_uv, *uv.shape[1:])
        return Picture(crop(clean_y, *y.shape)[0], chroma, crop(mask, *y.shape)[0], pattern, scores)


def clip_rpn(size: str = "fast", clip: str = SMALL, pretrained: str | None = None) -> ClipRpn:
    """The model with the weights that ship; `clip` and `pretrained` choose another CLIP of open_clip.

    A picture has no neighbours, so one sub-network, that of stills, serves every pattern here; ClipRpn itself takes one for each.
    """
    return ClipRpn(perceiver(clip, pretrained), dict.fromkeys(RAINY, PlaneNet(subnet(STILL, size))))
