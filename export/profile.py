"""Optimisation profiles: the range of shapes that one TensorRT engine serves, and the one it is tuned for."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.spec import MULTIPLE, NEIGHBOURS
from ..models.views import PLACES, SIDE
from .graph import PERCEPTION, Graph

Shape = tuple[int, ...]
Range = tuple[Shape, Shape, Shape]
"""Smallest, tuned for, largest."""

BUCKETS = ((360, 640), (576, 1024), (720, 1280), (1080, 1920), (1440, 2560), (2160, 3840))
"""Padded heights and widths up to which frames share an engine, lying; standing ones are tuned for these turned round."""


@dataclass(frozen=True)
class Profile:
    """Frames from MULTIPLE square up to height x width luma pixels, tuned for the largest."""

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def ranges(self, graph: Graph) -> dict[str, Range]:
        """For each input of the graph."""
        if graph.network == PERCEPTION:
            most = (len(PLACES) + 1, 3, SIDE, SIDE)
            return {"views": ((1, *most[1:]), most, most)}
        return {
            "y": self._planes(1, 1),
            "uv": self._planes(2, 2),
            "near": self._planes(NEIGHBOURS, 1),
            "peak": ((1,), (1,), (1,)),
        }

    def _planes(self, channels: int, shrink: int) -> Range:
        least = (1, channels, MULTIPLE // shrink, MULTIPLE // shrink)
        most = (1, channels, self.height // shrink, self.width // shrink)
        return least, most, most


def profile(graph: Graph, height: int, width: int) -> Profile:
    """The smallest bucket that holds a padded frame of that size; a frame larger than all has a profile of its own. Perception has one alone."""
    if graph.network == PERCEPTION:
        return Profile(SIDE, SIDE)
    turned = [(w, h) for h, w in BUCKETS]
    sizes = sorted((h * w, h, w) for h, w in (*BUCKETS, *turned) if h >= height and w >= width)
    return Profile(*sizes[0][1:]) if sizes else Profile(height, width)
