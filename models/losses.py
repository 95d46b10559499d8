"""Losses of the sub-networks: dynamic loss scheduling (or a fixed loss) on the picture, cross-entropy on the masks of every scale."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


class DynamicLossSchedule:
    """Dynamic loss scheduling (DLS; Guan & Yoshie 2025, arXiv:2506.01366).

    From the paper: the loss adapts its gradients to the state of training and serves better than plain l1 or l2. The formula is our
    reading: Barron's general robust loss (CVPR 2019), whose exponent falls from near 2 (l2) to 1 (l1-like) as the running error
    falls below its first value, and whose scale follows the running error.
    """

    def __init__(self, momentum: float = 0.99, smallest: float = 1 / 255, settled: bool = False) -> None:
        """settled: the network comes trained, so the schedule begins at its end."""
        self.momentum, self.smallest, self.settled = momentum, smallest, settled
        self.first = 0.0
        self.running = 0.0

    @property
    def exponent(self) -> float:
        """1.9 at the start, 1 once the running error is a third of the first."""
        share = self.running / self.first if self.first else 1.0
        return 1.0 + 0.9 * min(1.0, max(0.0, 1.5 * share - 0.5))

    def __call__(self, error: Tensor, weight: Tensor) -> Tensor:
        """error: output minus truth, any shape, 0..1 for peak; weight: of each element, same shape. Returns a scalar."""
        size = float((error.detach().abs() * weight).sum() / weight.sum())
        self.running = size if not self.first else self.momentum * self.running + (1 - self.momentum) * size
        self.first = self.first or (3 * size if self.settled else size)
        scale, exponent = max(self.running, self.smallest), self.exponent
        spread = abs(exponent - 2)
        value = scale * spread / exponent * (((error / scale) ** 2 / spread + 1) ** (exponent / 2) - 1)
        return (value * weight).sum() / weight.sum()

    def state(self) -> dict[str, float]:
        """What a resumed run needs."""
        return {"first": self.first, "running": self.running}

    def resume(self, state: dict[str, float]) -> None:
        """Takes `state()` back."""
        self.first, self.running = state["first"], state["running"]


FIXED: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": torch.abs,
    "l2": lambda error: error.square() * (255 / 5),
    "charbonnier": lambda error: (error.square() + 1e-6).sqrt(),
}
"""What DLS is measured against. l2 is scaled to equal l1 at 5 code values, so that it weighs as much beside the loss of the masks."""

LOSSES = ("dls", *FIXED)


class FixedLoss:
    """A loss of FIXED by name, weighted as DynamicLossSchedule is."""

    exponent = math.nan

    def __init__(self, name: str) -> None:
        self.of = FIXED[name]

    def __call__(self, error: Tensor, weight: Tensor) -> Tensor:
        """error, weight: as of DynamicLossSchedule. Returns a scalar."""
        return (self.of(error) * weight).sum() / weight.sum()

    def state(self) -> dict[str, float]:
        return {}

    def resume(self, state: dict[str, float]) -> None:
        """It has no state."""


def picture_loss(name: str, settled: bool = False) -> DynamicLossSchedule | FixedLoss:
    """The loss of LOSSES that `name` says; settled: for DLS."""
    return DynamicLossSchedule(settled=settled) if name == "dls" else FixedLoss(name)


def mask_loss(logits: tuple[Tensor, ...], mask: Tensor) -> Tensor:
    """Binary cross-entropy of the masks of every scale, in the mean.

    logits: (N, 1, H/s, W/s) each; mask: (N, 1, H, W) truth in 0..1, averaged to each scale.
    """
    losses = [
        functional.binary_cross_entropy_with_logits(logit.float(), functional.avg_pool2d(mask, mask.shape[-1] // logit.shape[-1])) for logit in logits
    ]
    return torch.stack(losses).mean()
