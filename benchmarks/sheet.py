"""A contact sheet: for each kind of weather rainy, ours, truth, and four times their difference, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..models.picture import write as save
from .footage import Bytes, Clip, rgb
from .kinds import Kind, render
from .methods import Method

WIDTH = 480
"""Width of one picture in pixels."""


def write(path: Path, kinds: Sequence[Kind], clips: Sequence[Clip], method: Method) -> None:
    """One row for each kind, each on another clip, as PNG or JPEG. OSError if it cannot be written."""
    rows = [_row(kind, clips[i % len(clips)], method) for i, kind in enumerate(kinds)]
    save(path, np.vstack(rows)[..., ::-1])


def _row(kind: Kind, clip: Clip, method: Method) -> Bytes:
    seen, truth = render(kind, clip)
    result = method(seen)
    t = len(clip) // 2
    rainy, ours, wanted = (rgb(each.y[t], each.uv[t]) for each in (seen, result.clip, truth))
    difference = np.minimum(255, 4 * np.abs(ours.astype(np.int16) - wanted)).astype(np.uint8)
    pattern = result.patterns[t] if result.patterns else ""
    labels = (f"{kind.name}: {clip.name}", f"ours {pattern}", "truth", "4 x difference")
    return np.hstack([_labelled(each, label) for each, label in zip((rainy, ours, wanted, difference), labels, strict=True)])


def _labelled(picture: Bytes, label: str) -> Bytes:
    label = label.encode("ascii", "replace").decode()  # what OpenCV draws
    size = (WIDTH, round(picture.shape[0] * WIDTH / picture.shape[1]))
    small: Bytes = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    cv2.rectangle(small, (0, 0), (9 * len(label) + 12, 26), (0, 0, 0), cv2.FILLED)
    cv2.putText(small, label, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return small
