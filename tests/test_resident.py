"""Frames that stay where they were decoded: here in the processor's memory, which is all the same to tensors; on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch

from derain_video.benchmarks.footage import Clip
from derain_video.benchmarks.kinds import named, render
from derain_video.export.runtime import Runtime, load
from derain_video.models import carry
from derain_video.models.align import FINE, Seen, near, sources
from derain_video.models.planes import pad
from derain_video.pipeline import codec, decode, hwaccel, resident, run
from derain_video.pipeline.codec import Settings
from derain_video.pipeline.derain import derain
from derain_video.pipeline.frame import LAYOUTS, Frame
from derain_video.pipeline.report import Report
from derain_video.pipeline.resident import Resident, copied, of
from derain_video.pipeline.run import Job

FRAMES = 9


@pytest.fixture(scope="module")
def torches() -> Iterator[Runtime]:
    with load("torch", precision="fp32") as runtime:
        yield runtime


def moving(height: int = 144, width: int = 192) -> list[np.ndarray]:
    """Rainy luma of a camera that moves."""
    noise = np.random.default_rng(0).integers(0, 256, (height + 40, width + 40)).astype(np.float32)
    wide = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 30, 200, cv2.NORM_MINMAX).astype(np.uint8)
    clean = np.stack([wide[k : k + height, 2 * k : 2 * k + width] for k in range(FRAMES)])
    gray = np.full((FRAMES, 2, -(-height // 2), -(-width // 2)), 128, np.uint8)
    return list(render(named("gusts"), Clip("moving", clean, gray))[0].y)


def frames(there: bool, pattern: str = "heavy") -> Iterator[Frame]:
    """there: where a GPU would be, too."""
    for number, y in enumerate(moving()):
        u, v = (np.full((72, 96), value, np.uint8) for value in (90 + 5 * number, 150))
        kept = of(nv12(y, u, v)) if there else None
        yield Frame((y, u, v), LAYOUTS["yuv420p"], number, cut=not number, pattern=pattern, resident=kept)


def nv12(y: np.ndarray, u: np.ndarray, v: np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.concatenate([part.reshape(-1, y.shape[1]) for part in (y, u, v)]), "yuv420p").reformat(format="nv12")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


@pytest.mark.parametrize("shape", [(144, 192), (147, 201), (145, 190)])
@pytest.mark.parametrize(("at", "after"), [(4, 9), (2, 9), (4, 0)])
@pytest.mark.parametrize("scale", [1, 3])
def test_state_of_tensors_is_that_of_arrays(shape: tuple[int, int], at: int, after: int, scale: int) -> None:
    sight = replace(FINE, lines=shape[0] // scale)
    window = [Seen(y, sight=sight) for y in moving(*shape)]
    found = sources(window, at, after=after)
    assert window[0].scale == scale and any(flow is not None for _, flow in found)
    state = carry.state([torch.from_numpy(seen.luma) for seen, _ in found], [flow for _, flow in found], scale).numpy()
    expected = near(window, at, after=after)
    assert state.dtype == np.uint8 and np.abs(state.astype(int) - expected).max() <= 1
    assert psnr(state, expected) > 70


@pytest.mark.parametrize("shape", [(144, 192), (10, 26), (1, 1)])
def test_tensors_are_padded_as_arrays_are(shape: tuple[int, int]) -> None:
    state = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    padded = pad(state[0], np.zeros((2, -(-shape[0] // 2), -(-shape[1] // 2)), np.uint8), state)[2]
    assert np.array_equal(carry.padded(torch.from_numpy(state)).numpy(), padded)


def test_pictures_change_hands_unharmed_and_in_one_piece() -> None:
    frame = next(frames(there=True))
    assert frame.resident
    landed, picture = frame.replace(planes=()).landed(), frame.resident.picture()
    assert landed.resident is None and all(np.array_equal(a, b) for a, b in zip(landed.planes, frame.planes, strict=True))
    assert np.array_equal(picture.reformat(format="yuv420p").to_ndarray()[:144], frame.planes[0])
    assert frame.resident.uv.data_ptr() - frame.resident.y.data_ptr() == picture.planes[0].line_size * 144


def test_rows_begin_where_nvenc_can_read_them() -> None:
    y, uv = torch.arange(480 * 854).view(480, 854).to(torch.uint8), torch.arange(240 * 854).view(240, 427, 2).to(torch.uint8)
    kept = resident.of(nv12(y.numpy(), uv[..., 0].numpy(), uv[..., 1].numpy()))
    picture = kept.picture()
    assert all(plane.line_size % 256 == 0 for plane in picture.planes)
    assert torch.equal(kept.y, y) and torch.equal(kept.uv, uv)
    assert all(np.array_equal(a, b) for a, b in zip(resident.of(picture).planes(), kept.planes(), strict=True))


def test_derained_where_they_are_they_are_what_they_would_be_elsewhere(torches: Runtime) -> None:
    here, there = (list(derain(frames(there), torches, Report())) for there in (False, True))
    assert len(here) == len(there) == FRAMES
    for number, (one, other) in enumerate(zip(here, there, strict=True)):
        assert other.resident and not other.planes and other.pts == one.pts
        found = other.landed().planes
        assert psnr(found[0], moving()[number]) < 40, "nothing was derained"
        assert min(psnr(a, b) for a, b in zip(found, one.planes, strict=True)) > 60


def test_clear_frames_are_the_very_frames(torches: Runtime) -> None:
    came = list(frames(there=True, pattern="clear"))
    assert all(one is other for one, other in zip(derain(iter(came), torches, Report()), came, strict=True))


def test_a_shot_of_one_frame_is_derained_in_the_processors_memory(torches: Runtime) -> None:
    (clean,) = derain(iter([next(frames(there=True))]), torches, Report())
    assert clean.planes and clean.resident is None


@pytest.mark.parametrize(
    ("changed", "runtime", "keeps"),
    [
        ({}, ("torch", "cuda"), True),
        ({}, ("tensorrt", "cuda"), True),
        ({}, ("torch", "cpu"), False),
        ({}, ("onnx", "cuda"), False),
        ({"hardware": False}, ("torch", "cuda"), False),
        ({"compare": "side"}, ("torch", "cuda"), False),
        ({"mask": Path("mask.mp4")}, ("torch", "cuda"), False),
    ],
)
def test_who_keeps_frames_there(fake: Any, changed: dict[str, Any], runtime: tuple[str, str], keeps: bool) -> None:
    one = fake()
    one.name, one.device = runtime
    keep = run.keeper(replace(Job(Path("in.mp4"), Path("out.mp4"), hardware=True), **changed), one)
    assert keep is (copied if keeps else None)


def test_what_is_not_on_a_gpu_is_not_kept_there() -> None:
    frame = next(frames(there=True))
    assert frame.resident and copied(frame.resident.picture()) is None


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Resident]:
    """Pictures are taken to be on a GPU, though they are decoded in software; those that were derained there."""
    derained: list[Resident] = []
    work = Resident.derained

    def watched(*given: Any) -> Resident:
        derained.append(work(*given))
        return derained[-1]

    monkeypatch.setattr(Resident, "derained", watched)
    monkeypatch.setattr(run, "keeper", lambda job, runtime: lambda picture: of(picture.reformat(format="nv12")))
    monkeypatch.setattr(decode, "open_video", lambda path, hardware, stay, **how: av.open(str(path), **how))
    return derained


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("pattern", ["heavy", "clear"])
def test_a_film_is_what_it_would_be_elsewhere(
    clip: Callable[..., Path],
    torches: Runtime,
    kept: list[Resident],
    look: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    on_gpu: bool,
    pattern: str,
) -> None:
    """on_gpu: the encoder is taken for one that is on the GPU."""
    source = clip(width=160, height=120, times=[i * 512 for i in range(FRAMES)], sound=True)
    monkeypatch.setitem(codec.DEFAULTS, "libx264", {"crf": "0", "preset": "ultrafast"})
    if on_gpu:
        monkeypatch.setattr(hwaccel, "NVENC", {"libx264": "libx264"})
        monkeypatch.setattr(hwaccel, "staying", lambda: None)
    run.run(Job(source, tmp_path / "there.mp4", pattern=pattern), torches)
    assert len(kept) == (FRAMES if pattern == "heavy" else 0)
    monkeypatch.setattr(run, "keeper", lambda job, runtime: None)
    run.run(Job(source, tmp_path / "here.mp4", pattern=pattern), torches)
    there, here = look(tmp_path / "there.mp4"), look(tmp_path / "here.mp4")
    assert there.times == here.times and there.packets == here.packets
    for one, other in zip(here.pictures, there.pictures, strict=True):
        assert psnr(one.to_ndarray(), other.to_ndarray()) > (60 if pattern == "heavy" else 100)


def test_pictures_are_written_of_a_film_that_stays_there(
    clip: Callable[..., Path], torches: Runtime, kept: list[Resident], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clip(width=160, height=120, times=[i * 512 for i in range(FRAMES)])
    run.run(Job(source, tmp_path / "there_%d.webp", pattern="heavy"), torches)
    run.run(Job(source, tmp_path / "there_%d.png", pattern="heavy"), torches)
    assert len(kept) == 2 * FRAMES
    monkeypatch.setattr(run, "keeper", lambda job, runtime: None)
    run.run(Job(source, tmp_path / "here_%d.png", pattern="heavy"), torches)
    assert len(list(tmp_path.glob("there_*.webp"))) == FRAMES
    for number in range(1, FRAMES + 1):
        there, here = (cv2.imread(str(tmp_path / f"{name}_{number}.png")) for name in ("there", "here"))
        assert there is not None and here is not None and psnr(there, here) > 55


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU")


@needs_gpu
def test_on_a_gpu_tensors_give_what_arrays_give() -> None:
    y, uv, state = pad(moving()[0], np.full((2, 72, 96), 128, np.uint8), np.stack(moving()[1:5]))
    with load("torch") as runtime:
        arrays = runtime.derain("heavy", y, uv, state, 255)
        given: list[Any] = [torch.from_numpy(planes).cuda() for planes in (y, uv, state)]
        tensors: Any = runtime.derain("heavy", *given, 255)
    assert np.array_equal(arrays.y, tensors.y.cpu().numpy()) and np.array_equal(arrays.uv, tensors.uv.cpu().numpy())


@needs_gpu
def test_on_a_gpu_a_film_is_what_it_would_be_elsewhere(clip: Callable[..., Path], look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NVDEC; with NVENC where that opens."""
    source = clip(width=320, height=240)
    seen: list[Resident | None] = []
    monkeypatch.setattr(resident, "copied", lambda picture: seen.append(copied(picture)) or seen[-1])
    with load("torch", model="fast") as runtime:
        for name, hardware in (("there", True), ("here", False)):
            run.run(Job(source, tmp_path / f"{name}.mp4", pattern="heavy", hardware=hardware, settings=Settings(hardware=hardware)), runtime)
    if not any(seen):
        pytest.skip("NVDEC does not decode here")
    there, here = look(tmp_path / "there.mp4"), look(tmp_path / "here.mp4")
    assert there.times == here.times
    for one, other in zip(here.pictures, there.pictures, strict=True):
        assert psnr(one.to_ndarray(), other.to_ndarray()) > 38, "two encoders, each near-transparent"
