"""Which pictures of a folder are frames of one film: those that hardly differ from the one before, but for their rain."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import cv2
import numpy as np
from numpy.typing import NDArray

from .chroma import luma
from .frame import Frame
from .route import THUMB

THIN = 40
"""Of a frame's lines, the share that bright things must be wide to count: rain is thinner."""

APART, ALIKE = 12.0, 0.6
"""Thumbnails of neighbours in a film differ by less, in 8-bit code values, and correlate by more: those of all 82 clips of training and 9 of
validation (models/weights/README.md) do, under three kinds of rain. Of 128,000 pairs of unrelated stills none do, of the same at a third of their
brightness 0.2 %."""


def filmed(pictures: Iterator[Frame]) -> Iterator[Frame]:
    """Pictures with a cut before each that does not follow the one before it as in a film. Two alone are no film: it takes three in a row."""
    held: Ground | None = None
    following = before = False
    for ground in chain(map(Ground, pictures), (None,)):
        if held:
            later = ground is not None and ground.follows(held)
            yield held.frame.replace(cut=not (following and (before or later)))
            following, before = later, following
        held = ground


class Ground:
    """A picture, and a thumbnail of it without rain, and without all else that is bright and thin."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        y = luma(frame)
        dark = cv2.erode(y, np.ones((1, max(1, min(y.shape) // THIN)), np.uint8))
        self.thumb = cv2.resize(dark, THUMB, interpolation=cv2.INTER_AREA).astype(np.float32) * (255 / frame.layout.peak)

    def follows(self, other: Ground) -> bool:
        """Whether it looks as if it came after the other in a film."""
        if (self.frame.layout, self.frame.planes[0].shape) != (other.frame.layout, other.frame.planes[0].shape):
            return False
        return float(np.abs(self.thumb - other.thumb).mean()) < APART and _correlation(self.thumb, other.thumb) > ALIKE


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """1 for equal ones; 0 where one is all alike."""
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(1e-6, np.sqrt((a * a).sum() * (b * b).sum())))
