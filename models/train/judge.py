"""Figures of a network on frames rendered once and kept: what training watches."""

from __future__ import annotations

import torch
from torch import Tensor

from ..spec import PATTERNS
from ..subnet import DerainNet
from .data import Making, Sample, make
from .footage import Scene
from .precision import autocast
from .rain import bank


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of two planes in 0..1, in dB."""
    return float(-10 * torch.log10((a - b).square().mean().clamp(min=1e-7)))


class Judge:
    """`each` samples of every pattern over validation scenes, from a seed of their own. making: as the network's recipe has it."""

    def __init__(self, scenes: list[Scene], each: int = 12, making: Making = make, seed: int = 7_000_001) -> None:
        g = torch.Generator().manual_seed(seed)
        storms = bank(g, 40)
        picks = [scenes[k % len(scenes)] for k in range(each)]
        self.samples: list[Sample] = [making(g, scene, storms, pattern) for pattern in PATTERNS for scene in picks]

    def figures(self, net: DerainNet) -> dict[str, float]:
        """Gain of PSNR-Y over the rainy input for each rainy pattern, in dB; for `clear`, the PSNR-Y of the output to its input."""
        rows: dict[str, list[float]] = {pattern: [] for pattern in PATTERNS}
        net.eval()
        device = next(net.parameters()).device
        for one in self.samples:
            y, uv, near, clean = one.seen(device)
            with torch.no_grad(), autocast(device):
                out = (y + net(y, uv, near).y.float()).clamp(0, 1)
            dry = PATTERNS[one.pattern] == "clear"
            rows[PATTERNS[one.pattern]].append(psnr(out, y) if dry else psnr(out, clean) - psnr(y, clean))
        return {pattern: round(sum(row) / len(row), 2) for pattern, row in rows.items()}
