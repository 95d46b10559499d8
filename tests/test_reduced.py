"""Deraining at a smaller size: what is reduced, and what is enlarged."""

from fractions import Fraction

import numpy as np
import pytest

from derain_video.pipeline.derain import derain
from derain_video.pipeline.frame import LAYOUTS, Frame
from derain_video.pipeline.reduced import enlarged, fold, reduced, reduced_chroma
from derain_video.pipeline.report import Report


@pytest.mark.parametrize(("size", "by"), [((1080, 1920), 1), ((1619, 2878), 1), ((1620, 2880), 2), ((3840, 2160), 2), ((3024, 4032), 3)])
def test_frames_of_very_many_lines_are_reduced(size: tuple[int, int], by: int) -> None:
    assert fold(*size) == by


@pytest.mark.parametrize(("size", "by", "small"), [((64, 96), 2, (32, 48)), ((67, 95), 3, (22, 30)), ((67, 95), 1, (67, 95))])
def test_planes_of_odd_sizes_are_reduced_to_even_ones(size: tuple[int, int], by: int, small: tuple[int, int]) -> None:
    y = np.full(size, 90, np.uint8)
    uv = np.full((2, -(-size[0] // 2), -(-size[1] // 2)), 130, np.uint8)
    assert reduced(y, by).shape == small
    assert reduced_chroma(y, uv, by).shape == (2, -(-small[0] // 2), -(-small[1] // 2))


def test_the_change_is_enlarged_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    y, uv = rng.integers(40, 200, (64, 96), np.uint8), np.full((2, 32, 48), 128, np.uint8)
    small = reduced(y, 2), reduced_chroma(y, uv, 2)
    mask = np.zeros((32, 48), np.uint8)
    mask[:, :24] = 255
    clean = np.where(mask > 0, small[0] - 10, small[0]).astype(np.uint8), small[1], mask
    out_y, out_uv, whole = enlarged((y, uv), small, clean, 255)
    change = y.astype(int) - out_y
    assert (change[:, :46] == 10).all() and not change[:, 49:].any() and not change[whole == 0].any()
    assert np.array_equal(out_uv, uv)


@pytest.mark.parametrize("peak, dtype", [(255, np.uint8), (1023, np.uint16)])
def test_changes_end_at_black_and_at_peak(peak: int, dtype: type) -> None:
    y, uv = np.full((32, 32), 4, dtype), np.full((2, 16, 16), peak - 4, dtype)
    small = np.full((16, 16), 100, dtype), np.full((2, 8, 8), 100, dtype)
    clean = small[0] - 50, small[1] + 50, np.full((16, 16), 255, np.uint8)
    out_y, out_uv, _ = enlarged((y, uv), small, clean, peak)
    assert not out_y.any() and (out_uv == peak).all()
    assert (out_y.dtype, out_uv.dtype) == (dtype, dtype)


def test_a_large_still_is_derained_at_smaller_sizes_too(runtime, monkeypatch) -> None:
    monkeypatch.setattr("derain_video.pipeline.derain.LARGE", 30)
    layout = LAYOUTS["yuv420p"]
    planes = tuple(np.full(layout.shape(i, 61, 90), 100, layout.dtype) for i in range(layout.planes))
    frames = [Frame(planes, layout, t, Fraction(1, 25), pattern="heavy") for t in range(2)]
    (out,) = derain(iter(frames[:1]), runtime, Report())
    assert [call[1] for call in runtime.calls] == [(1, 1, 64, 96), (1, 1, 32, 48), (1, 1, 16, 24)]
    assert [plane.shape for plane in out.planes] == [plane.shape for plane in planes] and out.mask.shape == (61, 90)
    monkeypatch.setattr("derain_video.pipeline.derain.SURE", 1.1)
    runtime.calls.clear()
    (dry,) = derain(iter(frames[:1]), runtime, Report())
    assert len(runtime.calls) == 2 and (dry.planes[0][:, :48] == 92).all()  # at half the size it is not sure: what was done before stays
    assert (out.planes[0][:, :48] == 76).all()
    runtime.calls.clear()
    list(derain(iter(frames), runtime, Report()))
    assert {call[1] for call in runtime.calls} == {(1, 1, 64, 96)}  # what has neighbours is not


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p10le", "rgb24"])
@pytest.mark.parametrize("whole", [False, True])
def test_a_large_frame_of_any_layout_is_derained_small_and_keeps_its_size(runtime, monkeypatch, name, whole) -> None:
    monkeypatch.setattr("derain_video.pipeline.reduced.LINES", 30)
    layout = LAYOUTS[name]
    planes = tuple(np.full(layout.shape(i, 61, 90), 100, layout.dtype) for i in range(layout.planes))
    frames = [Frame(planes, layout, t, Fraction(1, 25), pattern="heavy") for t in range(3)]
    out = list(derain(iter(frames), runtime, Report(), whole=whole))
    assert {call[1] for call in runtime.calls} == {(1, 1, 64, 96) if whole else (1, 1, 32, 48)}
    assert [[plane.shape for plane in frame.planes] for frame in out] == [[plane.shape for plane in planes]] * 3
    assert all(frame.mask.shape == (61, 90) and (frame.planes[0].astype(int) != 100).any() for frame in out)
