"""The sample clip: small, what its script says it is, and derained by the networks that ship."""

from __future__ import annotations

import importlib.util
from itertools import islice
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from derain_video.benchmarks import methods, metrics
from derain_video.benchmarks.footage import from_rgb, read
from derain_video.export.runtime import load

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SAMPLE = EXAMPLES / "sample.mp4"
FRAMES = 8


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_sample", EXAMPLES / "make_sample.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_is_small_and_has_pictures_and_a_tone(script: ModuleType) -> None:
    assert SAMPLE.stat().st_size < 1_000_000
    with av.open(str(SAMPLE)) as box:
        assert [stream.codec_context.name for stream in box.streams] == ["h264", "aac"]
        assert sum(1 for _ in box.decode(video=0)) == script.FRAMES


@pytest.fixture(scope="module")
def truth(script: ModuleType) -> np.ndarray:
    """Luma of the dry frames."""
    return np.stack([from_rgb(picture)[0] for picture in islice(script.pan(), FRAMES)])


@pytest.mark.parametrize(("runtime", "model"), [("auto", "fast"), ("torch", "quality")])
def test_the_shipped_networks_derain_it(truth: np.ndarray, runtime: str, model: str) -> None:
    sample = read(SAMPLE, FRAMES)
    with load(runtime, model=model) as networks:
        clean = methods.ours(networks)(sample)
    before, after = (np.mean([metrics.psnr(a, b) for a, b in zip(clip.y, truth, strict=True)]) for clip in (sample, clean.clip))
    assert after > before + 3, f"{before:.2f} -> {after:.2f} dB, {clean.patterns}"


def test_dry_it_is_left_alone(truth: np.ndarray) -> None:
    sample = read(SAMPLE, FRAMES)
    dry = sample.with_planes(truth, np.full_like(sample.uv, 128))
    with load() as runtime:
        result = methods.ours(runtime)(dry).clip
    assert np.mean([metrics.psnr(a, b) for a, b in zip(result.y, truth, strict=True)]) > 45
