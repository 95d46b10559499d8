"""Whether a long clip stays as clean as it began: one scene, played to and fro, under rain that never repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from . import metrics
from .footage import Clip, to_and_fro
from .kinds import Kind, render
from .methods import Method

SHOT = 26
"""Frames of the scene; to and fro they come round every 50, so that the two spans show the same pictures."""

SPAN = 50
FRAMES = 300
EARLY, LATE = slice(SPAN, 2 * SPAN), slice(FRAMES - SPAN, FRAMES)


@dataclass(frozen=True)
class Stable:
    """Gain of PSNR-Y over the input in dB, and temporal error in code values, in frames 50-100 and in the last 50 of 300."""

    kind: str
    clip: str
    early: float
    late: float
    early_temporal: float
    late_temporal: float

    @property
    def lost(self) -> float:
        """dB that the end is worse by."""
        return self.early - self.late


def measure(kinds: Sequence[Kind], clips: Sequence[Clip], method: Method) -> Iterator[Stable]:
    """Each kind over each clip; clips have at least SHOT frames."""
    for clip in clips:
        for kind in kinds:
            yield _measured(kind, clip.at(to_and_fro(SHOT, FRAMES)), method)


def _measured(kind: Kind, clip: Clip, method: Method) -> Stable:
    seen, truth = render(kind, clip)
    out = method(seen).clip
    gains = [metrics.psnr(o, g) - metrics.psnr(s, g) for o, s, g in zip(out.y, seen.y, truth.y, strict=True)]
    steps = [0.0] + [metrics.temporal_error(out.y[t], out.y[t - 1], truth.y[t], truth.y[t - 1]) for t in range(1, len(clip))]
    early, late = (float(np.mean(gains[span])) for span in (EARLY, LATE))
    return Stable(kind.name, clip.name, early, late, *(float(np.mean(steps[span])) for span in (EARLY, LATE)))


def table(found: Sequence[Stable]) -> str:
    head = f"{'rain':<12}{'clip':<24}{'50-100':>8}{'250-300':>9}{'lost':>7}{'temporal error':>16}"
    lines = [f"{s.kind:<12}{s.clip:<24}{s.early:+8.2f}{s.late:+9.2f}{s.lost:+7.2f}{s.early_temporal:8.2f}{s.late_temporal:8.2f}" for s in found]
    worst = max(found, key=lambda s: s.lost)
    return "\n".join([head, *lines, f"most lost: {worst.lost:+.2f} dB, {worst.kind} on {worst.clip}"])


def as_json(found: Sequence[Stable]) -> dict[str, object]:
    return {"stability": [asdict(each) for each in found]}
