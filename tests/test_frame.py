from fractions import Fraction

import av
import numpy as np
import pytest

from derain_video.pipeline.frame import LAYOUTS, Frame, nearest, picture_of, planes_of


@pytest.mark.parametrize(
    "pixels, ours",
    [
        ("yuv420p", "yuv420p"), ("nv12", "yuv420p"), ("p010le", "yuv420p10le"), ("yuva420p", "yuv420p"), ("yuyv422", "yuv422p"),
        ("yuv411p", "yuv422p"), ("gbrp", "rgb24"), ("rgba", "rgb24"), ("pal8", "rgb24"), ("rgb48be", "rgb48le"), ("gbrp10le", "rgb48le"),
        ("gray16be", "gray16le"), ("ya8", "gray"), ("yuvj422p", "yuvj422p"), ("nv24", "yuv444p"), ("yuv420p12be", "yuv420p12le"),
        ("grayf32le", "gray16le"), ("gbrpf32le", "rgb48le"),
    ],
)  # fmt: skip
def test_nearest_layout(pixels, ours):
    assert nearest(av.VideoFormat(pixels)).name == ours


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("size", [(64, 96), (63, 95)])
def test_planes_make_a_round_trip(name, size):
    layout, rng = LAYOUTS[name], np.random.default_rng(0)
    planes = tuple(rng.integers(0, layout.peak + 1, layout.shape(i, *size)).astype(layout.dtype) for i in range(layout.planes))
    picture = picture_of(Frame(planes, layout, pts=7, time_base=Fraction(1, 50), duration=2))
    assert (picture.format.name, picture.height, picture.width, picture.pts, picture.duration) == (name, *size, 7, 2)
    for ours, theirs in zip(planes, planes_of(picture, layout), strict=True):
        assert np.array_equal(ours, theirs)


def test_views_are_read_only_and_outlive_the_picture():
    picture = picture_of(Frame((np.full((64, 64), 9, np.uint8),), LAYOUTS["gray"]))
    (view,) = planes_of(picture, LAYOUTS["gray"])
    del picture
    assert view.sum() == 9 * 64 * 64
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0] = 1


def test_a_frame_checks_itself():
    y, half = np.zeros((64, 96), np.uint8), np.zeros((32, 48), np.uint8)
    Frame((y, half, half), LAYOUTS["yuv420p"])
    with pytest.raises(ValueError, match="yuv444p"):
        Frame((y, half, half), LAYOUTS["yuv444p"])
    with pytest.raises(ValueError, match="uint8"):
        Frame((y, half, half), LAYOUTS["yuv420p10le"])
