"""How far two forms of one network are apart, in code values and decibels, and how far they may be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from .errors import ParityError
from .runtime.base import Clean, Planes

EQUAL_DB = 120.0
"""Stands for the endless PSNR of equal pictures."""

LEAST_DB = {"fp32": 70.0, "bf16": 50.0, "fp16": 50.0, "int8": 42.0}
"""PSNR that a precision must keep against torch fp32."""

MOST_FP32 = 1
"""Code values of 8 bits that fp32 may be off, from sums that land between two; 4 of 10 bits. Not less there, because the mask is rounded to
steps of 1/255, and where it lands between two, what it lets through changes by as much."""


@dataclass(frozen=True)
class Parity:
    """Largest and mean error in code values, and PSNR in dB of `peak`."""

    most: int
    mean: float
    psnr: float
    peak: int = 255

    def entry(self) -> dict[str, float]:
        """For the manifest."""
        return {name: round(value, 6) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        return f"max {self.most}, mean {self.mean:.4f} code values, {self.psnr:.1f} dB"


def between(pairs: Iterable[tuple[Planes, Planes]], peak: int) -> Parity:
    """Over all planes of all pairs together."""
    errors = np.concatenate([np.abs(a.astype(np.int64) - b).reshape(-1) for a, b in pairs])
    square = float(np.mean(errors**2))
    psnr = min(EQUAL_DB, 10 * math.log10(peak**2 / square)) if square else EQUAL_DB
    return Parity(int(errors.max()), float(errors.mean()), psnr, peak)


def pictures(reference: Clean, other: Clean) -> list[tuple[Planes, Planes]]:
    """The pairs of planes that are compared."""
    return [(reference.y, other.y), (reference.uv, other.uv)]


def fits(parity: Parity, precision: str) -> bool:
    """Whether `precision` may be that far from torch fp32."""
    return parity.psnr >= LEAST_DB[precision] and (precision != "fp32" or parity.most <= MOST_FP32 * parity.peak // 255)


def demand(parity: Parity, precision: str, what: str) -> None:
    """ParityError unless `what` is as close to torch as its precision must be."""
    if not fits(parity, precision):
        limit = f"at most {MOST_FP32 * parity.peak // 255}" if precision == "fp32" else f"at least {LEAST_DB[precision]:.0f} dB"
        remedy = "; take its ranges from other footage, --frames" if precision == "int8" else ""
        raise ParityError(f"{what}: {parity} from torch, {precision} is to keep {limit}; it was not kept{remedy}")
