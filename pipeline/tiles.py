"""A frame that is too large for one call of a network, in tiles whose seams do not show.

Tiles begin at multiples of WINDOW, so that attention windows are those of the whole frame, and each reaches MARGIN past its seams:
one window for attention and one for the convolutions before and after it. So a tile's pixels are those of the whole frame.
Where a frame ends within a window, all tiles are longer by what that window has of the frame, so that all are of one size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..export.runtime.base import Clean, Runtime
from ..models.spec import WINDOW

MARGIN = 2 * WINDOW
"""Luma pixels that a tile sees past a seam: more than one network reaches."""

BUDGET = {"cpu": 5 << 19, "cuda": 1 << 24}
"""Most luma pixels of one call, by the runtime's device: 1080p whole and 4K in four tiles; on a GPU 4K whole."""

Planes = NDArray[Any]


@dataclass(frozen=True)
class Part:
    """A tile along one axis: it covers begin..end, of which first..last is its own."""

    begin: int
    end: int
    first: int
    last: int


def parts(length: int, count: int, margin: int) -> list[Part]:
    """`count` tiles of one size along `length`; fewer where they would add nothing."""
    size = _size(length, count, margin)
    step = size - length % WINDOW - 2 * margin
    begins = list(dict.fromkeys(min(i * step, length - size) for i in range(count)))
    seams = [0, *(begin + margin for begin in begins[1:]), length]
    return [Part(begin, begin + size, first, last) for begin, first, last in zip(begins, seams[:-1], seams[1:], strict=True)]


def _size(length: int, count: int, margin: int) -> int:
    """Length of a tile: the shortest, in whole windows and the frame's last one, with which `count` overlap by two margins at each seam."""
    rest = length % WINDOW
    windows = -(-(length - rest + (count - 1) * 2 * margin) // (count * WINDOW))
    return min(length, windows * WINDOW + rest)


def grid(height: int, width: int, budget: int, margin: int) -> tuple[int, int]:
    """Rows and columns of tiles of at most `budget` pixels, with the fewest pixels in all; the finest grid if none fits."""
    rows, columns = (range(1, max(1, side // (margin + WINDOW)) + 1) for side in (height, width))
    sizes = {(r, c): _size(height, r, margin) * _size(width, c, margin) for r, c in product(rows, columns)}
    fitting = [shape for shape, size in sizes.items() if size <= budget]
    return min(fitting, key=lambda shape: sizes[shape] * shape[0] * shape[1]) if fitting else min(sizes, key=sizes.__getitem__)


def tiles(height: int, width: int, budget: int, margin: int = MARGIN) -> Iterator[tuple[Part, Part]]:
    """Down and across, row by row."""
    rows, columns = grid(height, width, budget, margin)
    return product(parts(height, rows, margin), parts(width, columns, margin))


def derain(runtime: Runtime, pattern: str, y: Planes, uv: Planes, near: Planes, peak: int, budget: int = 0) -> Clean:
    """What runtime.derain gives, in tiles where the frame has more than `budget` luma pixels; 0: BUDGET of the device."""
    height, width = y.shape[-2:]
    budget = budget or BUDGET.get(runtime.device, BUDGET["cpu"])
    if height * width <= budget:
        return runtime.derain(pattern, y, uv, near, peak)
    whole = Clean(np.empty_like(y), np.empty_like(uv), np.empty(y.shape, np.uint8))
    for down, across in tiles(height, width, budget, MARGIN):
        part = runtime.derain(pattern, _cut(y, down, across), _cut(uv, down, across, 2), _cut(near, down, across), peak)
        for target, source, scale in ((whole.y, part.y, 1), (whole.uv, part.uv, 2), (whole.mask, part.mask, 1)):
            _lay(target, source, down, across, scale)
    return whole


def _cut(plane: Planes, down: Part, across: Part, scale: int = 1) -> Planes:
    rows, columns = (slice(part.begin // scale, part.end // scale) for part in (down, across))
    return np.ascontiguousarray(plane[..., rows, columns])


def _lay(target: Planes, source: Planes, down: Part, across: Part, scale: int) -> None:
    """Puts a tile's own pixels in their place."""
    rows, columns = (slice(part.first // scale, part.last // scale) for part in (down, across))
    top, left = ((part.first - part.begin) // scale for part in (down, across))
    target[..., rows, columns] = source[..., top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]
