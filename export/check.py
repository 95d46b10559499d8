"""Every runtime and precision against torch fp32 on the same frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..models.spec import NETWORKS
from . import parity, runtime
from .errors import ExportError, GraphError, GraphMissing, RuntimeMissing
from .parity import Parity
from .probe import Probe
from .runtime import Runtime
from .runtime.base import Clean

MOST_SCORE = 0.02
"""How far a score of perception may be off, in every precision; OpenVINO's bf16 is by 0.0075."""


@dataclass(frozen=True)
class Row:
    """One runtime and precision. parity: of all patterns' pictures, None where it could not run, for the reason in `note`.

    fault: it should have run.
    """

    runtime: str
    precision: str
    parity: Parity | None
    scores: float = 0.0
    note: str = ""
    fault: bool = False

    @property
    def fits(self) -> bool:
        if self.parity is None:
            return not self.fault
        return parity.fits(self.parity, self.precision) and self.scores <= MOST_SCORE

    def __str__(self) -> str:
        head = f"{self.runtime:9} {self.precision:5}"
        if self.parity is None:
            return f"{head} not run: {self.note}"
        p = self.parity
        limits = f"at least {parity.LEAST_DB[self.precision]:.0f} dB and a score error of at most {MOST_SCORE}"
        verdict = "ok" if self.fits else f"too far: {limits} are wanted"
        return f"{head} {p.most:4d} {p.mean:9.4f} {p.psnr:9.1f} {self.scores:11.4f}  {verdict}"


HEADER = f"{'runtime':9} {'prec.':5} {'max':>4} {'mean':>9} {'PSNR dB':>9} {'score error':>11}"


@dataclass(frozen=True)
class Source:
    """Where networks come from: None for what ships."""

    model: str = "fast"
    graphs: Path | None = None
    weights: Path | None = None

    def open(self, name: str, precision: str) -> Runtime:
        folder = self.weights if name == "torch" else self.graphs
        return runtime.load(name, model=self.model, precision=precision, folder=folder)


def rows(frames: Sequence[Probe], source: Source, names: Sequence[str], precisions: Sequence[str]) -> Iterator[Row]:
    """One row for each runtime and precision that is offered. All frames have one peak.

    precisions: those that must be there; without any, all of which there are graphs.
    """
    with source.open("torch", "fp32") as reference:
        wanted, scores = _pictures(reference, frames), _scores(reference, frames)
    for name in names:
        for precision in runtime.OFFERED[name]:
            if not precisions or precision in precisions:
                try:
                    yield _row(name, precision, frames, source, wanted, scores)
                except (RuntimeMissing, GraphError) as error:
                    excused = isinstance(error, RuntimeMissing) or (isinstance(error, GraphMissing) and not precisions)
                    yield Row(name, precision, None, note=_first(error), fault=not excused)


def _row(name: str, precision: str, frames: Sequence[Probe], source: Source, wanted: list[Clean], scores: list[float]) -> Row:
    """RuntimeMissing or GraphError where it does not run."""
    with source.open(name, precision) as other:
        got, other_scores = _pictures(other, frames), _scores(other, frames)
    pairs = [pair for a, b in zip(wanted, got, strict=True) for pair in parity.pictures(a, b)]
    apart = max(abs(a - b) for a, b in zip(scores, other_scores, strict=True))
    return Row(name, precision, parity.between(pairs, frames[0].peak), apart)


def _pictures(network: Runtime, frames: Sequence[Probe]) -> list[Clean]:
    seen = [(pattern, frame.seen_by(pattern)) for frame in frames for pattern in NETWORKS]
    return [network.derain(pattern, f.y, f.uv, f.near, f.peak) for pattern, f in seen]


def _scores(network: Runtime, frames: Sequence[Probe]) -> list[float]:
    return [float(score) for frame in frames for score in network.perceive(frame.views)]


def _first(error: ExportError) -> str:
    return str(error).splitlines()[0]
