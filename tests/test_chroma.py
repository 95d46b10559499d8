import numpy as np
import pytest

from derain_video.pipeline.chroma import luma, merge, split
from derain_video.pipeline.frame import LAYOUTS, Frame

NAMES = ["yuv420p", "yuv422p", "yuv440p", "yuv444p", "yuvj420p", "yuv422p10le", "gray", "gray16le", "rgb24", "rgb48le"]


def frame(name: str, height: int, width: int) -> Frame:
    layout, rng = LAYOUTS[name], np.random.default_rng(3)
    quarter = layout.peak // 4
    planes = [rng.integers(quarter, 3 * quarter, layout.shape(i, height, width)).astype(layout.dtype) for i in range(layout.planes)]
    return Frame(tuple(planes), layout)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 96), (63, 95), (1, 1)])
def test_split_gives_420(name, size):
    picture = frame(name, *size)
    y, uv = split(picture)
    assert y.shape == size and uv.shape == (2, -(-size[0] // 2), -(-size[1] // 2))
    assert y.dtype == uv.dtype == picture.layout.dtype
    assert np.array_equal(y, luma(picture))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 96), (63, 95)])
def test_nothing_outside_the_mask_is_touched(name, size):
    picture = frame(name, *size)
    y, uv = split(picture)
    mask = np.zeros(size, np.uint8)
    mask[:, : size[1] // 4 * 2] = 200
    clean_y, clean_uv = np.where(mask > 0, y - 9, y).astype(y.dtype), uv.copy()
    clean_uv[..., : size[1] // 4] -= 5
    planes = merge(picture, uv, clean_y, clean_uv, mask)
    for i, (before, after) in enumerate(zip(picture.planes, planes, strict=True)):
        edge = size[1] // 4 * 2 >> (picture.layout.across if i else 0)
        assert np.array_equal(before[:, edge:], after[:, edge:])
        assert (before[:, :edge] != after[:, :edge]).mean() > 0.95
        if not picture.layout.rgb:
            assert (before[:, :edge].astype(int) - after[:, :edge] == (5 if i else 9)).all()


def test_rgb_moves_as_its_ycc_does():
    picture = frame("rgb24", 64, 96)
    y, uv = split(picture)
    planes = merge(picture, uv, y - 10, uv, np.full(y.shape, 255, np.uint8))
    assert (picture.planes[0].astype(int) - planes[0] == 10).all()
