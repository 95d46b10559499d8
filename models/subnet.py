"""DerainNet, the sub-network of one rain pattern: planes of a rainy frame and its aligned neighbours in, clean luma and mask out.

A U-Net at half, quarter and eighth resolution that predicts rain masks at every scale and guides its cross-attention (mgca.py)
by them. What it adds to a pixel is mask * (a weighted pull towards the sorted neighbours + a residual): the neighbours' texture
arrives unblurred, and where the mask is zero the frame is untouched.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .blocks import Down, Up, refines
from .colour import recoloured
from .mgca import MaskGuidedCrossAttention
from .spec import NEIGHBOURS, NetSpec

PIXELS = 4
"""Luma pixels that share one position at half resolution."""

FLOOR = 0.05
"""Mask probabilities below this count as none."""


@dataclass(frozen=True)
class Derained:
    """What a sub-network finds: all float, luma 0..1 for black to peak.

    y: (N, 1, H, W) luma to add, already masked. mask: (N, 1, H, W) in 0..1. half: (N, 2, H/2, W/2), both of them in the mean of 2 x 2 pixels.
    logits: masks before the sigmoid at full, quarter and eighth resolution.
    """

    y: Tensor
    mask: Tensor
    half: Tensor
    logits: tuple[Tensor, Tensor, Tensor]


class DerainNet(nn.Module):
    """One sub-network of the size that `spec` gives."""

    gains: Tensor

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        half, quarter, eighth = spec.widths
        top, middle, bottom = spec.depths
        gains = torch.tensor([1.0] * (PIXELS + 2) + [4.0] * PIXELS * NEIGHBOURS)  # neighbours differ little from the frame
        self.register_buffer("gains", gains[:, None, None], persistent=False)
        self.stem = nn.Conv2d(len(gains), half, 3, padding=1)
        self.down_half = refines(half, top, spec.block)
        self.to_quarter = Down(half, quarter)
        self.down_quarter = refines(quarter, middle, spec.block)
        self.quarter_mask = nn.Conv2d(quarter, 1, 1)
        self.to_eighth = Down(quarter, eighth)
        self.before = refines(eighth, bottom, spec.block)
        self.eighth_mask = nn.Conv2d(eighth, 1, 1)
        self.attention = MaskGuidedCrossAttention(eighth, spec.window)
        self.after = refines(eighth, bottom, spec.block)
        self.from_eighth = Up(eighth, quarter)
        self.up_quarter = refines(quarter, middle, spec.block)
        self.from_quarter = Up(quarter, half)
        self.up_half = refines(half, top + 1, spec.block)
        self.head = nn.Conv2d(half, PIXELS * (NEIGHBOURS + 2), 1)
        self.relu = nn.ReLU()
        self._start_from_median()

    def forward(self, y: Tensor, uv: Tensor, near: Tensor) -> Derained:
        """y: (N, 1, H, W) luma; uv: (N, 2, H/2, W/2) chroma; near: (N, 4, H, W) aligned neighbours minus y. All float, 0..1 for peak."""
        near = functional.pixel_unshuffle(near, 2)  # (N, 16, H/2, W/2), four sub-pixels of each neighbour
        seen = torch.cat([functional.pixel_unshuffle(y, 2) - 0.5, uv - 0.5, near], 1)
        half = self.down_half(self.stem(seen * self.gains))  # runtimes fold the gains into the convolution
        quarter = self.down_quarter(self.to_quarter(half))
        coarse = self.quarter_mask(quarter)  # (N, 1, H/4, W/4)
        eighth = self.before(self.to_eighth(quarter))
        coarser = self.eighth_mask(eighth) + functional.avg_pool2d(coarse, 2)
        eighth = self.after(self._attend(eighth, torch.sigmoid(coarser)))
        quarter = self.up_quarter(quarter + self.from_eighth(eighth))
        half = self.up_half(half + self.from_quarter(quarter))
        return self._combine(self.head(self.relu(half)), near, (coarse, coarser))

    def _attend(self, eighth: Tensor, mask: Tensor) -> Tensor:
        if self.spec.attention == "none":
            return eighth
        return self.attention(eighth, mask if self.spec.attention == "masked" else torch.full_like(mask, 0.5))  # type: ignore[no-any-return]

    def _combine(self, head: Tensor, near: Tensor, masks: tuple[Tensor, Tensor]) -> Derained:
        pull, residual, logit = torch.split(head, [PIXELS * NEIGHBOURS, PIXELS, PIXELS], 1)
        mask = ((torch.sigmoid(logit) - FLOOR) / (1 - FLOOR)).clamp(0, 1)  # (N, 4, H/2, W/2)
        change = residual
        for k in range(NEIGHBOURS):
            part = slice(PIXELS * k, PIXELS * (k + 1))
            change = change + pull[:, part] * near[:, part]
        change = mask * change
        return Derained(
            functional.pixel_shuffle(change, 2),
            functional.pixel_shuffle(mask, 2),
            torch.cat([change.mean(1, keepdim=True), mask.mean(1, keepdim=True)], 1),
            (functional.pixel_shuffle(logit, 2), *masks),
        )

    def _start_from_median(self) -> None:
        """The first output pulls towards the middle of the neighbours, under a mask that is mostly shut."""
        for layer in (self.stem, self.to_quarter.conv, self.to_eighth.conv):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
        nn.init.normal_(self.head.weight, std=3e-2)
        bias = torch.zeros(self.head.out_channels)
        bias[PIXELS : 3 * PIXELS] = 0.5
        bias[PIXELS * (NEIGHBOURS + 1) : PIXELS * (NEIGHBOURS + 2)] = -1.0
        self.head.bias = nn.Parameter(bias)


class Mirrored(nn.Module):
    """A network asked twice, about the frame and about its mirror image, and averaged: for stills, where quality is worth the time."""

    def __init__(self, net: DerainNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, y: Tensor, uv: Tensor, near: Tensor) -> Derained:
        """As of DerainNet."""
        one = self.net(y, uv, near)
        other = self.net(y.flip(-1), uv.flip(-1), near.flip(-1))
        y, mask, half = ((a + b.flip(-1)) / 2 for a, b in ((one.y, other.y), (one.mask, other.mask), (one.half, other.half)))
        return Derained(y, mask, half, one.logits)


class PlaneNet(nn.Module):
    """DerainNet on integer planes, the graph that is exported: scaling, colour and rounding inside, the last sum of whole numbers in float32."""

    def __init__(self, net: DerainNet | Mirrored) -> None:
        super().__init__()
        self.net = net.eval()

    def forward(self, y: Tensor, uv: Tensor, near: Tensor, peak: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """y (N, 1, H, W), uv (N, 2, H/2, W/2), near (N, 4, H, W): all uint8 or all uint16; peak: (1,) float32, 2**bits - 1.

        Returns clean y and uv like the inputs, and the mask, (N, 1, H, W) uint8 in 0..255, rounded up so that 0 means untouched.
        H, W: multiples of MULTIPLE.
        """
        luma, chroma, others = (plane.float() for plane in (y, uv, near))
        scale = 1 / peak
        seen = luma * scale
        found = self.net(seen, chroma * scale, (others - luma) * scale)
        change, mask = torch.split(found.half, 1, 1)
        colour = recoloured(functional.avg_pool2d(seen, 2), change, mask, (chroma - (peak + 1) / 2) * scale)
        clean = (_add(luma, found.y, peak).to(y.dtype), _add(chroma, colour, peak).to(uv.dtype))
        return *clean, (found.mask * 255).ceil().to(torch.uint8)


def _add(plane: Tensor, change: Tensor, peak: Tensor) -> Tensor:
    """Whole numbers in float32 plus a change in units of peak, rounded, kept in 0..peak: exact, as integers are up to 24 bits."""
    return torch.minimum((plane + (change * peak).round()).clamp(min=0), peak)
