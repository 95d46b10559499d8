"""What the networks are: rain patterns, plane contract and sizes. Imports nothing heavy, so that every runtime can read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PATTERNS = ("clear", "light", "heavy", "downpour")
"""Rain patterns in the order of the perception scores. `clear` has no network: its frames pass through."""

RAINY = PATTERNS[1:]
"""Patterns that own a sub-network."""

STILL = "still"
"""The sub-network of frames without neighbours, whatever their rain: it goes by the look of streaks alone. Of every size it is the largest one."""

PAST = "past"
"""The sub-network of live streams, whose neighbours all lie before a frame, whatever its rain."""

NETWORKS = (*RAINY, PAST, STILL)
"""All sub-networks."""

GENERALIST = "generalist"
"""The network that others start from; of a size that has one network alone, that one."""

DRY = 0.57
"""Score of `clear` above which a scene counts as dry."""


def routed(scores: Sequence[float]) -> str:
    """The pattern that perception's scores, one for each of PATTERNS with sum 1, route to.

    `clear` if its score is above DRY, else the likeliest rain. The paper (arXiv:2506.01366) takes the likeliest of all; that passes rain
    as clear where the scores doubt only which rain it is.
    """
    if scores[0] > DRY:
        return PATTERNS[0]
    return max(zip(scores[1:], RAINY, strict=True), key=lambda pair: pair[0])[1]


NEIGHBOURS = 4
"""Luma planes of temporal state that each sub-network sees beside the frame."""

AROUND = 6
"""Frames around it, at most, that these planes are drawn from."""

MULTIPLE = 8
"""Height and width of the planes that a sub-network takes are multiples of this many luma pixels."""

WINDOW = 64
"""Luma pixels of the side of the largest window that a sub-network divides its picture into."""


ATTENTIONS = ("masked", "plain", "none")
"""Guided by the rain mask (MGCA), what ships; and, for ablations, self-attention of the same cost that no mask guides, or none at all."""

BLOCKS = ("full", "depthwise", "branched")
"""3x3 convolutions of residual blocks: full ones, what ships; and, for ablations, depthwise ones with 1x1 ones after them, or full ones
that a 1x1 branch runs beside in training, summed into one kernel (structural re-parameterisation; Ding et al. 2021, arXiv:2101.03697)."""


@dataclass(frozen=True)
class NetSpec:
    """Shape of one sub-network.

    widths: channels at half, quarter and eighth resolution.
    depths: residual blocks on the way down and up at half and quarter resolution, and at the bottom.
    window: side of the attention window at eighth resolution, in pixels there; 8 * window divides WINDOW.
    attention: one of ATTENTIONS; block: one of BLOCKS. alone: one network serves every pattern and live streams.
    """

    name: str
    widths: tuple[int, int, int]
    depths: tuple[int, int, int]
    window: int = 8
    attention: str = "masked"
    block: str = "full"
    alone: bool = False


FAST = NetSpec("fast", widths=(32, 48, 64), depths=(0, 1, 1))
QUALITY = NetSpec("quality", widths=(80, 128, 192), depths=(1, 3, 3), alone=True)
SPECS = {spec.name: spec for spec in (FAST, QUALITY)}
