"""How many threads a network gets."""

from __future__ import annotations

import os

MOST = 32
"""More threads than this wait for each other on the small convolutions of a frame."""


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share(number: int) -> int:
    """Threads for the network on `number` cores: one core in four is left to decoding and encoding, none of two or three."""
    return min(MOST, max(1, number - number // 4))
