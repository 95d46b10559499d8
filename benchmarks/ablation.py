"""What routing is worth: one network for all rain against routed specialists of the same cost, and against oracle and random routing."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..export.errors import RuntimeMissing
from ..export.graph import Graph
from ..export.runtime.base import Clean, Network, Planes
from ..export.runtime.threads import cores, share
from ..models.spec import GENERALIST, RAINY
from .quality import Row, Summary, overall, summary

METHODS = ("single", "routed", "true", "best", "random")
"""One network; perception; the pattern that was rendered; what came out best on the clip, passing through too; a network drawn at random."""

ORDER = ("input", *METHODS, *RAINY)

Key = tuple[str, str]
"""Kind and clip."""


class Generalist:
    """A Runtime in torch fp32 that derains every pattern with the one network that the specialists started from.

    folder: of weights; None for those that ship. FileNotFoundError if `MODEL_generalist.safetensors` is not there.
    """

    name, precision = "torch", "fp32"

    def __init__(self, model: str, folder: Path | None, threads: int) -> None:
        try:
            from ..export.runtime.torch_ import open_backend
        except ModuleNotFoundError as error:
            raise RuntimeMissing(f"{error.name} is not installed: pip install 'derain-video[train]'") from error
        self._backend = open_backend(folder, self.precision, threads or share(cores()))
        self._net: Network = self._backend.network(Graph(model, GENERALIST, "u8"))
        self.model, self.device = model, self._backend.device

    def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise NotImplementedError("one network for all rain asks for no pattern")

    def derain(self, pattern: str, y: Planes, uv: Planes, near: Planes, peak: int, model: str = "") -> Clean:
        return Clean(*self._net({"y": y, "uv": uv, "near": near, "peak": np.array([peak], np.float32)}))

    def close(self) -> None:
        self._backend.close()

    def __enter__(self) -> Generalist:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def routed_otherwise(found: Sequence[Row], truth: Mapping[Key, str], seed: int = 0) -> list[Row]:
    """Rows of the methods `true`, `best` and `random`, taken from those of every specialist. truth: true patterns; clear is the input."""
    by_key: dict[Key, dict[str, Row]] = {}
    for row in found:
        by_key.setdefault((row.kind, row.clip), {})[row.method] = row
    draw, rows = random.Random(seed), []
    for key, each in by_key.items():
        known = "input" if truth[key] == "clear" else truth[key]
        best = max(("input", *RAINY), key=lambda name: each[name].psnr)
        picks = {"true": known, "best": best, "random": draw.choice(RAINY)}
        rows += [replace(each[name], method=method) for method, name in picks.items()]
    return rows


def by_pattern(found: Sequence[Row], truth: Mapping[Key, str]) -> list[Summary]:
    """Summaries per true pattern of rain in place of kind."""
    patterns = [name for name in RAINY if name in truth.values()]
    moved = [replace(row, kind=truth[row.kind, row.clip], clip=f"{row.kind}/{row.clip}") for row in found]
    return [summary(pattern, method, moved) for pattern in patterns for method in ORDER]


def verdict(parts: Sequence[Summary]) -> str:
    """What routing gains on the mean of the kinds of rain in `parts`, one line; empty without rain."""
    if not parts:
        return ""
    means = {method: overall(method, parts).gain for method in METHODS}
    over = ", ".join(f"{method} {means[method] - means['single']:+.2f}" for method in METHODS[1:])
    return f"over one network, in dB on the mean of all kinds of rain: {over}"
