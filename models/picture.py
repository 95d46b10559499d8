"""Picture files, read and written through bytes: given a name that is not UTF-8, OpenCV itself ends the process."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def read(path: Path) -> Bytes | None:
    """(H, W, 3) uint8 BGR, or None for what is no picture. OSError if there is no such file."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error:  # more pixels than OpenCV takes
        return None
    return None if picture is None else np.asarray(picture, np.uint8)


def write(path: Path, picture: Bytes) -> None:
    """Writes (H, W, 3) uint8 BGR by the ending of the name. OSError if it cannot be written."""
    _, data = cv2.imencode(path.suffix, picture)
    path.write_bytes(data.tobytes())
