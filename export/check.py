"""Every runtime and precision against torch fp32 on the same frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..models.spec import NETWORKS
from . import parity, runtime
from .errors import ExportError, GraphError, RuntimeMissing
from .parity import Parity
from .probe import Probe
from .runtime import Runtime
from .runtime.base import Clean


@dataclass(frozen=True)
class Row:
    """One runtime and precision. parity: of all patterns' pictures, None where it could not run, for the reason in `note`."""

    runtime: str
    precision: str
    parity: Parity | None
    scores: float = 0.0
    note: str = ""

    @property
    def fits(self) -> bool:
        return self.parity is None or parity.fits(self.parity, self.precision)

    def __str__(self) -> str:
        head = f"{self.runtime:9} {self.precision:5}"
        if self.parity is None:
            return f"{head} not run: {self.note}"
        p = self.parity
        verdict = "ok" if self.fits else f"too far: at least {parity.LEAST_DB[self.precision]:.0f} dB is wanted"
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
    """One row for each runtime and precision that is offered. All frames have one peak."""
    with source.open("torch", "fp32") as reference:
        wanted, scores = _pictures(reference, frames), _scores(reference, frames)
    for name in names:
        for precision in runtime.OFFERED[name]:
            if precision in precisions:
                yield _row(name, precision, frames, source, wanted, scores)


def _row(name: str, precision: str, frames: Sequence[Probe], source: Source, wanted: list[Clean], scores: list[float]) -> Row:
    try:
        with source.open(name, precision) as other:
            got, other_scores = _pictures(other, frames), _scores(other, frames)
    except (RuntimeMissing, GraphError) as error:
        return Row(name, precision, None, note=_first(error))
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
