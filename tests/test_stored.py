"""Colours on their way into a file: range, matrix and tags as its players will take them."""

import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from conftest import go

from derain_video.pipeline import encode
from derain_video.pipeline.codec import Settings
from derain_video.pipeline.errors import OptionError, WriteError
from derain_video.pipeline.frame import LAYOUTS, Frame
from derain_video.pipeline.report import Report
from derain_video.pipeline.video import Video

RED = (200, 40, 40)


def film(path: Path, tags=(1, 1, 1, 1), pixels="yuv420p", codec="ffv1", colour=RED, count=4, size=(96, 64), form=None) -> Path:
    """A film of one colour."""
    with av.open(str(path), "w", format=form) as out:
        stream = out.add_stream(codec, rate=25, options={"qp": "0"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = tags
        for number in range(count):
            whole = av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), colour, np.uint8), "rgb24")
            picture = whole.reformat(format=pixels, dst_colorspace=5 if tags[1] == 6 else tags[1] or None, dst_color_range=tags[0])
            picture.pts, picture.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


def seen(path: Path) -> list[tuple[int, ...]]:
    """The colour of each picture as players show it."""
    with av.open(str(path)) as made:
        return [tuple(int(v) for v in picture.to_ndarray(format="rgb24").reshape(-1, 3).mean(0)) for picture in made.decode(video=0)]


def near(colours, wanted=RED, by=5) -> bool:
    return all(abs(a - b) <= by for colour in colours for a, b in zip(colour, wanted, strict=True))


@pytest.mark.parametrize(
    "name, codec", [("o.mov", "prores"), ("o.mpg", ""), ("o.webm", "vp8"), ("o.mp4", "mpeg4"), ("o.vob", "mpeg2video"), ("o.mp4", "h264")]
)
def test_full_range_is_seen_as_such_whatever_the_codec_tells(tmp_path, fake, name, codec):
    source = film(tmp_path / "in.mkv", (2, 5, 1, 1), colour=(250, 250, 250))
    out, report = go(source, fake(["clear"]), name, settings=Settings(codec=codec))
    assert near(seen(out), (250, 250, 250)) and not [note for note in report.notes if "full range" in note]


@pytest.mark.parametrize("name, codec", [("o.avi", "mjpeg"), ("o.webm", "vp8")])
def test_codecs_of_one_matrix_get_it(tmp_path, fake, name, codec):
    source = film(tmp_path / "in.mkv", size=(96, 720))
    out, _ = go(source, fake(["clear"]), name, settings=Settings(codec=codec))
    assert near(seen(out), by=10)


def test_what_a_container_does_not_tell_of_the_colours_is_said(tmp_path, fake):
    source = film(tmp_path / "in.mkv", (2, 9, 9, 16), "yuv420p10le")
    _, report = go(source, fake(["clear"]), "o.avi", settings=Settings(codec="ffv1"))
    told = [note.rpartition(": ")[2] for note in report.notes if "not kept by avi" in note]
    assert told == ["full range of the colours", "the matrix of the colours", "the primaries of the colours", "the transfer of the colours"]


@pytest.mark.parametrize("matrix, other", [(6, 1), (1, 6)])
def test_a_matrix_that_changes_in_a_film_is_turned(tmp_path, fake, matrix, other):
    parts = [film(tmp_path / f"{m}.h264", (1, m, m, m), codec="libx264", form="h264") for m in (matrix, other)]
    source = tmp_path / "in.h264"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    out, report = go(source, fake(["clear"]), "o.mkv", settings=Settings(codec="ffv1"))
    assert len(seen(out)) == 8 and near(seen(out)) and any("colours change in it" in note for note in report.notes)


@pytest.mark.parametrize("tags, wanted", [((2, 0, 9, 16), (1, 9, 9, 16)), ((2, 0, 12, 13), (1, 1, 12, 13)), ((2, 0, 2, 2), (1, 1, 1, 1))])
def test_rgb_keeps_its_primaries_and_transfer(tmp_path, fake, tags, wanted):
    out, _ = go(film(tmp_path / "in.mkv", tags, "bgr0"), fake(["clear"]), "o.mp4", settings=Settings(codec="h264"))
    with av.open(str(out)) as made:
        context = made.streams.video[0].codec_context
        assert (int(context.color_range), int(context.colorspace), int(context.color_primaries), int(context.color_trc)) == wanted
    assert near(seen(out))


def test_every_picture_of_prores_tells_its_colours(tmp_path, fake):
    out, _ = go(film(tmp_path / "in.mkv", (1, 9, 9, 16), "yuv422p10le"), fake(["heavy"]), "o.mov", settings=Settings(codec="prores"))
    with av.open(str(out)) as made:
        assert {(int(p.colorspace), int(p.color_primaries), int(p.color_trc)) for p in made.decode(video=0)} == {(9, 9, 16)}


def test_a_turned_film_says_where_that_is_lost(clip, fake):
    _, report = go(clip(rotation=90), fake(["clear"]), "o.avi")
    assert any("not kept by avi: that the picture is turned" in note for note in report.notes)


def test_a_short_transport_stream_is_no_fault(tmp_path, fake):
    out, _ = go(film(tmp_path / "in.mp4", codec="libx264", count=3, colour=(60, 60, 60), size=(160, 120)), fake(["clear"]), "o.ts")
    assert out.stat().st_size


def test_what_cannot_be_read_back_is_a_fault(tmp_path, monkeypatch):
    def opened(name, mode="r", **options):
        if mode == "r":
            raise av.InvalidDataError(1, "Invalid data found")
        return av.open(name, mode, **options)

    monkeypatch.setattr(encode, "av", SimpleNamespace(**{**vars(av), "open": opened}))
    gray = LAYOUTS["gray"]
    with (
        pytest.raises(WriteError, match=r"o\.mp4: what was written cannot be read back"),
        encode.open_sink(tmp_path / "o.mp4", Video(96, 64, gray), Settings(), Report()) as sink,
    ):
        sink.write(Frame((np.full((64, 96), 90, np.uint8),), gray))
    assert not list(tmp_path.iterdir())


def test_av1_gets_no_narrow_frames(tmp_path, fake):
    with pytest.raises(OptionError, match="takes no frames of less than 32 pixels"):
        go(film(tmp_path / "in.mkv", size=(16, 128)), fake(["clear"]), "o.mkv", settings=Settings(codec="av1"))
