"""Static HDR metadata arrives in the output, or a line says that it does not."""

from fractions import Fraction

import av
import pytest

from derain_video.pipeline import codec
from derain_video.pipeline.codec import Settings
from derain_video.pipeline.hdr import Hdr, hdr_of, lost, options
from derain_video.pipeline.run import Job, run
from derain_video.pipeline.sidedata import side_data

P3 = tuple(Fraction(n, 50000) for n in (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450))
HDR10 = Hdr(P3, (Fraction(1, 200), Fraction(1000)), (993, 402))
PQ = (1, 9, 9, 16)


def test_the_words_of_the_encoders():
    assert options("libx265", HDR10) == {
        "x265-params": "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=993,402"
    }
    assert options("libx264", Hdr(light=(993, 402))) == {"x264-params": "cll=993,402"}
    assert options("ffv1", HDR10) == options("libx265", Hdr()) == {}
    assert codec.options("libx264", Settings(), "mp4", light=Hdr(light=(993, 402)))["x264-params"] == "sync-lookahead=0:cll=993,402"


@pytest.mark.parametrize(
    "encoder, hdr, words",
    [
        ("libx265", HDR10, []),
        ("libx265", Hdr(points=P3), ["HDR mastering data"]),
        ("ffv1", HDR10, ["HDR mastering data", "HDR light levels"]),
        ("ffv1", Hdr(), []),
    ],
)
def test_what_is_lost(encoder, hdr, words):
    assert lost(encoder, hdr) == words


@pytest.mark.parametrize("given, stored", [("libx265", ""), ("libx264", ""), ("libsvtav1", ""), ("libx265", "libsvtav1"), ("libsvtav1", "libx265")])
def test_mastering_display_and_light_levels_arrive(clip, runtime, look, given, stored):
    source = clip(codec=given, pixels="yuv420p10le", tags=PQ, hdr=HDR10)
    report = run(Job(source, source.with_name("out.mp4"), settings=Settings(stored)), runtime)
    assert report.notes == []
    picture = look(source.with_name("out.mp4")).pictures[0]  # H.264 tells it with key frames only
    assert _near(hdr_of(dict(side_data(picture))), HDR10)
    assert (picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc) == PQ


def _near(one: Hdr, other: Hdr) -> bool:
    """Equal to the steps of AV1, 2**-16 for the points and 2**-14 cd/m² for the least luminance."""
    apart = [abs(a - b) for a, b in zip((*one.points, *one.luminance), (*other.points, *other.luminance), strict=True)]
    return max(apart) < Fraction(1, 16384) and one.light == other.light


def test_an_encoder_without_words_for_it_is_told_of(clip, runtime):
    source = clip(codec="libx265", pixels="yuv420p10le", tags=PQ, hdr=HDR10)
    out = source.with_name("out.mkv")
    assert run(Job(source, out, settings=Settings("ffv1")), runtime).notes == [
        f"{out}: not kept by ffv1: HDR mastering data",
        f"{out}: not kept by ffv1: HDR light levels",
    ]
    out = source.with_name("out_%d.png")
    assert f"{out}: not kept: HDR metadata, which pictures have no place for" in run(Job(source, out), runtime).notes


def test_the_mask_is_no_hdr_film(clip, runtime):
    source = clip(codec="libx265", pixels="yuv420p10le", tags=PQ, hdr=HDR10)
    assert run(Job(source, source.with_name("out.mp4"), mask=source.with_name("mask.mp4")), runtime).notes == []
    with av.open(str(source.with_name("mask.mp4"))) as mask:
        assert not hdr_of(dict(side_data(next(mask.decode(video=0)))))
