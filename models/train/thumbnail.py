"""Thumbnails in training, derained as the pipeline does it: by a network of the fast size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ..align import Plane
from ..planes import crop, gray
from ..spec import FAST
from ..store import network
from ..subnet import PlaneNet

PEAK = 255


@dataclass(frozen=True)
class Begun:
    """Takes the rain out of thumbnails, as `align.Derain`. A process that it is sent to reads the weights when it first asks.

    weights: of the fast size.
    """

    weights: Path

    def __call__(self, luma: Plane, state: Plane) -> Plane:
        planes = (torch.from_numpy(plane) for plane in gray(luma, state))
        with torch.inference_mode():
            clean = _network(self.weights)(*planes, torch.tensor([float(PEAK)]))[0]
        return np.ascontiguousarray(crop(clean.numpy(), *luma.shape)[0])


@lru_cache(maxsize=1)
def _network(weights: Path) -> PlaneNet:
    return PlaneNet(network(weights, FAST.name))
