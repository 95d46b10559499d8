"""When pictures are shown, and which part of a file is taken."""

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from conftest import go

from derain_video.pipeline.codec import Settings
from derain_video.pipeline.run import Job, run
from derain_video.pipeline.video import Span

VARIABLE = [0, 512, 700, 1500, 1513, 2600, 4000, 4096, 5000, 7777]

LONG = np.cumsum(np.random.default_rng(3).choice([300, 512, 900], 150)).tolist()
"""Several fragments of MP4."""


@pytest.mark.parametrize(
    "times", [[i * 512 for i in range(20)], VARIABLE, [t + 9000 for t in VARIABLE], LONG], ids=["cfr", "vfr", "late start", "long"]
)
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_every_frame_keeps_its_time(clip, runtime, look, times, codec):
    source = clip(times=times, codec=codec)
    out, report = go(source, runtime)
    assert look(out).times == look(source).times == [Fraction(t, 12800) for t in times]
    assert report.frames == len(times)


@pytest.mark.parametrize("count", [8, 26, 29, 51])
def test_the_last_frame_is_kept_where_a_fragment_begins_among_its_b_frames(clip, runtime, look, count):
    source = clip(times=[i * 512 for i in range(count)])
    out, _ = go(source, runtime)
    assert look(out).times == look(source).times
    assert look(out).video.duration == look(source).video.duration


@pytest.mark.parametrize(
    "codec, ending", [("libx264", "mp4"), ("libx265", "mp4"), ("libx264", "mov"), ("libx264", "mkv"), ("libx264", "avi"), ("mpeg2video", "mp4")]
)
@pytest.mark.parametrize("count", [1, 2, 3, 26, 51])
def test_films_tell_their_own_rate(clip, runtime, look, codec, ending, count):
    out, _ = go(clip(times=[i * 512 for i in range(count)]), runtime, f"out.{ending}", settings=Settings(codec))
    assert look(out).video.average_rate == 25
    assert [time - look(out).times[0] for time in look(out).times] == [Fraction(i, 25) for i in range(count)]


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_uneven_times_last_as_long(clip, runtime, look, ending):
    times = [0, 512, 1024, *range(25600, 29696, 512)]
    source = clip(f"in.{ending}", times=times, options={"bframes": "3", "b-adapt": "0", "preset": "medium"})
    out, _ = go(source, runtime, f"out.{ending}")
    assert look(out).times == look(source).times
    assert abs(look(out).container.duration - 2_320_000) < 2000


def test_a_part_of_a_transport_stream_begins_where_it_should(clip, runtime, look):
    """A seek there lands between key frames, of which the first half has one."""
    source = clip("in.ts", times=[i * 512 for i in range(100)], options={"g": "50", "sc_threshold": "0"}, codec="libx264")
    whole = look(go(source, runtime, "whole.mkv", settings=Settings("ffv1"))[0]).pictures
    for start, first in ((1.0, 25), (2.6, 65)):
        part = look(go(source, runtime, f"{first}.mkv", span=Span(start, 1.0), settings=Settings("ffv1"))[0])
        assert len(part.pictures) == 25 and part.times[0] < 0.04
        assert np.array_equal(part.pictures[0].to_ndarray(), whole[first].to_ndarray())


def test_a_part_begins_with_the_picture_that_is_shown_then(clip, runtime, look):
    source = clip("in.mkv", codec="ffv1", times=[0, 512, 128000, 128512])
    out, _ = go(source, runtime, "out.mkv", span=Span(4.0), settings=Settings("ffv1"))
    assert [round(float(time), 2) for time in look(out).times] == [0, 6, 6.04]
    assert np.array_equal(look(out).pictures[0].to_ndarray()[:64, 48:], look(source).pictures[1].to_ndarray()[:64, 48:])


@pytest.mark.parametrize("start, duration, wanted", [(25.0, 3.0, [3.0]), (25.0, 20.0, [15.0, 5.0]), (45.0, None, [15.0]), (45.0, 5.0, [5.0])])
def test_a_part_of_a_slide_show(clip, runtime, look, tmp_path, start, duration, wanted):
    """Three pictures of 20 s each."""
    source = tmp_path / "in.mp4"
    with av.open(str(clip("plain.mkv", times=[0, 256000, 512000], codec="mpeg4"))) as given, av.open(str(source), "w") as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream, packet.duration = stream, round(20 / packet.time_base)
                made.mux(packet)
    out, _ = go(source, runtime, "out.mp4", span=Span(start, duration))
    seen = look(out)
    assert len(seen.times) == len(wanted) and seen.times[0] == 0
    assert float(seen.video.duration * seen.video.time_base) == pytest.approx(sum(wanted), abs=0.01)


def test_uneven_times_in_avi_stay_beside_their_sound(clip, runtime, look):
    """Eight seconds at 5 frames/s, then eight at 50, which is told of by nothing but the frames."""
    times = [*range(0, 8 * 12800, 2560), *range(8 * 12800, 16 * 12800, 256)]
    for name in ("in.ts", "in.mp4", "in.mkv"):
        out, _ = go(clip(name, times=times), runtime, "out.avi", pattern="clear")
        assert float(look(out).times[-1]) == pytest.approx(16, abs=0.3)
        assert len(look(out).times) == len(times)


def test_a_film_that_begins_late_is_not_cut_off(clip, runtime):
    source = clip("in.mkv", times=[64000 + i * 512 for i in range(20)])
    assert not go(source, runtime)[1].notes


def test_duration_is_kept(clip, runtime):
    source = clip(sound=True)
    out, _ = go(source, runtime)
    with av.open(str(source)) as a, av.open(str(out)) as b:
        assert a.duration == b.duration
        assert a.streams.video[0].duration * a.streams.video[0].time_base == b.streams.video[0].duration * b.streams.video[0].time_base


def test_a_part_begins_at_zero(clip, runtime, look):
    source = clip(sound=True, chapters=True, times=[i * 512 for i in range(50)])
    out, _ = go(source, runtime, span=Span(0.4, 1.0))
    seen = look(out)
    assert seen.times == [Fraction(i * 512, 12800) for i in range(25)]
    ours, theirs = seen.packets[0][1], look(source).packets[0][1]
    kept = [data for data, seconds in theirs if 0.4 - 1024 / 48000 < seconds < 1.4]
    assert [data for data, _ in ours] == kept
    assert abs(ours[-1][1] - theirs[[d for d, _ in theirs].index(kept[-1])][1] + 0.4) < 1e-3
    assert [float(c["start"] * c["time_base"]) for c in seen.container.chapters()] == [0]


def test_a_part_of_a_stream_without_times(clip, fake, look, tmp_path):
    run(Job(clip("in.h264"), tmp_path / "out.mp4", Span(0.4)), fake(["clear"]))
    assert len(look(tmp_path / "out.mp4").pictures) == 10


@pytest.mark.parametrize("name, codec", [("out.mpg", "mpeg1video"), ("out.vob", "mpeg2video"), ("out.mxf", "mpeg2video"), ("out.ts", "mpeg2video")])
@pytest.mark.parametrize("rate, tick", [(25, 40), (15, 41.7083), (50, 20), (48, 20)])
def test_encoders_that_count_frames_fill_every_place(clip, runtime, look, name, codec, rate, tick):
    times = [512 * i * 25 // rate for i in range(20)]
    source = clip(times=times)
    out, report = go(source, runtime, name, settings=Settings("mpeg2video" if name == "out.ts" else ""))
    seen = look(out)
    assert seen.video.codec_context.name == codec and f"{out}: times are rounded to {tick} ms, a frame: {codec} has no other clock" in report.notes
    assert np.allclose(np.diff([float(time) for time in seen.times]), tick / 1000, atol=1e-4)
    assert abs(len(seen.times) - (times[-1] / 12800 / (tick / 1000) + 1)) < 1


@pytest.mark.parametrize("ending, span", [("mov", Span()), ("mp4", Span()), ("mkv", Span()), ("mov", Span(0.4))])
def test_time_code_is_kept_but_for_a_part(clip, fake, tmp_path, ending, span):
    code = "01:02:03:04"
    source = clip("camera.mov", timecode=code)
    with av.open(str(source)) as made:
        assert [each.type for each in made.streams] == ["video", "data"]
    report = run(Job(source, tmp_path / f"out.{ending}", span), fake(["clear"]))
    with av.open(str(tmp_path / f"out.{ending}")) as done:
        found = {key.lower(): value for key, value in done.streams.video[0].metadata.items()}
        assert found.get("timecode") == (None if span.start else code)
        assert len(done.streams) == (2 if ending in ("mov", "mp4") and not span.start else 1)
    assert any("time code" in note for note in report.notes) == bool(span.start)
