"""Memory does not grow with the length of a video."""

import gc
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from derain_video.export.runtime.base import Clean
from derain_video.pipeline.frame import Frame
from derain_video.pipeline.run import Job, run

RESIDENT = Path("/proc/self/statm")


def resident() -> float:
    """MB of memory of this process that are in use."""
    return int(RESIDENT.read_text().split()[1]) * 4096 / 1e6


class Measured:
    """Wraps a runtime; notes the memory in use at each frame, and keeps none of what it is given."""

    name, precision, device = "measured", "fp32", "cpu"

    def __init__(self) -> None:
        self.used: list[float] = []

    def perceive(self, views: np.ndarray) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[2]

    def derain(self, pattern: str, y: np.ndarray, uv: np.ndarray, near: np.ndarray, peak: int) -> Clean:
        self.used.append(resident())
        return Clean(y + 1, uv.copy(), np.full(y.shape, 255, np.uint8))

    def close(self) -> None: ...


@pytest.mark.skipif(not RESIDENT.exists(), reason="memory in use is read from /proc")
def test_memory_is_flat_over_3000_frames(clip, tmp_path):
    runtime = Measured()
    run(Job(clip(times=[i * 512 for i in range(3000)], sound=True), tmp_path / "out.mp4"), runtime)
    assert len(runtime.used) == 3000
    assert np.mean(runtime.used[-100:]) - np.mean(runtime.used[300:400]) < 20


class Counted(Measured):
    """Counts the pictures that there are at each frame."""

    def __init__(self) -> None:
        self.most: Counter[type] = Counter()

    def derain(self, pattern: str, y: np.ndarray, uv: np.ndarray, near: np.ndarray, peak: int) -> Clean:
        self.most |= Counter(kind for kind in map(type, gc.get_objects()) if kind in (av.VideoFrame, Frame))
        return Clean(y + 1, uv.copy(), np.full(y.shape, 255, np.uint8))


def test_pictures_are_freed_without_waiting_for_garbage_collection(clip, tmp_path):
    runtime = Counted()
    gc.collect()
    gc.disable()
    try:
        run(Job(clip(times=[i * 512 for i in range(100)]), tmp_path / "out.mp4"), runtime)
    finally:
        gc.enable()
    assert 5 <= runtime.most[Frame] <= 40 and runtime.most[av.VideoFrame] <= 40
