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
    """A runtime that notes the memory in use at each thumbnail and each frame, and keeps none of what it is given."""

    name, model, precision, device = "measured", "fast", "fp32", "cpu"

    def __init__(self) -> None:
        self.used: list[float] = []

    def perceive(self, views: np.ndarray) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[2]

    def derain(self, pattern: str, y: np.ndarray, uv: np.ndarray, near: np.ndarray, peak: int, model: str = "") -> Clean:
        self.used.append(resident())
        return Clean(y + 1, uv.copy(), np.full(y.shape, 255, np.uint8))

    def close(self) -> None: ...


@pytest.mark.skipif(not RESIDENT.exists(), reason="memory in use is read from /proc")
def test_memory_is_flat_over_3000_frames(clip, tmp_path):
    runtime = Measured()
    run(Job(clip(times=[i * 512 for i in range(3000)], sound=True), tmp_path / "out.mp4"), runtime)
    assert len(runtime.used) == 2 * 3000
    assert np.mean(runtime.used[-200:]) - np.mean(runtime.used[600:800]) < 20


def test_pictures_are_freed_without_waiting_for_garbage_collection(clip, runtime, tmp_path):
    source = clip(times=[i * 512 for i in range(100)])
    gc.collect()
    gc.disable()
    try:
        run(Job(source, tmp_path / "out.mp4"), runtime)
        left = Counter(type(thing) for thing in gc.get_objects())  # all threads have ended: listing objects under their hands breaks them
    finally:
        gc.enable()
    assert left[av.VideoFrame] <= 5 and left[Frame] <= 5
