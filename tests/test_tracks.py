"""Sound, subtitles, chapters and tags: copied beside the pictures, or told of."""

import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from conftest import go

from derain_video.pipeline.video import Span


@pytest.mark.parametrize("codec, ending", [("flac", ".mkv"), ("pcm_s16le", ".mov"), ("subrip", ".mkv")])
@pytest.mark.parametrize("target", ["out.ts", "out.mpg"])
def test_what_mpeg_has_no_number_for_is_said(clip, runtime, look, codec, ending, target):
    source = clip("in" + ending, subtitles=codec == "subrip")
    if codec != "subrip":
        with av.open(str(source)) as given, av.open(str(source.with_name("with" + ending)), "w") as out:
            video = out.add_stream_from_template(given.streams.video[0])
            sound = out.add_stream(codec, rate=48000, layout="mono")
            for packet in given.demux(video=0):
                if packet.size:
                    packet.stream = video
                    out.mux(packet)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4608), np.int16), "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
            for packet in (*sound.encode(frame), *sound.encode(None)):
                out.mux(packet)
        source = source.with_name("with" + ending)
    out, report = go(source, runtime, target)
    assert not look(out).packets
    assert any("not kept" in note and f"cannot hold {codec}" in note for note in report.notes)


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_titles_of_tracks_are_kept(clip, runtime, look, ending):
    with av.open(str(clip("plain.mkv", sound=True))) as given, av.open(str(clip().with_name(f"in.{ending}")), "w") as out:
        streams = [out.add_stream_from_template(stream) for stream in given.streams]
        for stream, title in zip(streams, ("Front", "Microphone"), strict=True):
            stream.metadata["title"] = title
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
        source = Path(out.name)
    seen = look(go(source, runtime, f"out.{ending}")[0]).container.streams
    assert [stream.metadata.get("name" if ending != "mkv" else "title") for stream in seen] == ["Front", "Microphone"]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
def test_sound_is_copied_to_the_byte(clip, runtime, look, ending):
    source = clip("in" + ending, sound=True, language="fra")
    out, _ = go(source, runtime, "out" + ending)
    assert look(out).packets == look(source).packets
    assert len(look(out).packets[0][1]) > 30
    assert look(out).container.streams.audio[0].language == "fra"
    assert look(out).container.streams.video[0].language == "fra"


def test_subtitles_are_copied_and_what_does_not_fit_is_said(clip, runtime, look):
    source = clip("in.mkv", subtitles=True, sound=True)
    out, report = go(source, runtime, "out.mkv")
    assert look(out).packets == look(source).packets
    assert look(out).container.streams.subtitles[0].language == "deu"
    assert not report.notes
    _, report = go(source, runtime, "out.mp4")
    assert report.notes == ["not kept: subtitles (stream 2): mp4 cannot hold srt"]


def test_subtitles_end_with_the_part(clip, runtime, look):
    """They are shown from 0.1 and 0.4 s on, for 0.2 s each."""
    seen = look(go(clip("in.mkv", subtitles=True), runtime, "out.mkv", span=Span(0.0, 0.5))[0]).container
    with av.open(seen.name) as part:
        shown = [(p.pts * p.time_base, p.duration * p.time_base) for p in part.demux(subtitles=0) if p.size]
    assert [(round(float(begin), 2), round(float(length), 2)) for begin, length in shown] == [(0.1, 0.2), (0.4, 0.1)]


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_chapters_and_metadata(clip, runtime, look, ending):
    source = clip("in" + ending, chapters=True, metadata={"title": "Rain", "comment": "in May"})
    seen = look(go(source, runtime, "out" + ending)[0]).container
    assert [float(c["start"] * c["time_base"]) for c in seen.chapters()] == [0, 0.3]
    assert [c["metadata"]["title"] for c in seen.chapters()] == ["part 0", "part 1"]
    metadata = {key.lower(): value for key, value in seen.metadata.items()}
    assert (metadata["title"], metadata["comment"]) == ("Rain", "in May")


def test_what_the_container_forgets_is_said(clip, runtime):
    source = clip("in.mkv", metadata={"title": "Rain"}, language="swe")
    _, report = go(source, runtime, "out.mov")
    assert report.notes == ["not kept by mov: language swe of stream 0"]
    _, report = go(source, runtime, "out.ts")
    assert report.notes == ["not kept by mpegts: title", "not kept by mpegts: language swe of stream 0"]


@pytest.mark.parametrize("ending", [".ts", ".mkv", ".mp4"])
def test_sound_from_a_transport_stream(clip, runtime, look, ending):
    source = clip("in.ts", sound=True)
    seen, given = look(go(source, runtime, "out" + ending)[0]), look(source)
    assert len(seen.packets[0][1]) == len(given.packets[0][1]) > 30
    header = 0 if ending == ".ts" else 7  # ADTS, which other containers tell once
    assert [data for data, _ in seen.packets[0][1]] == [data[header:] for data, _ in given.packets[0][1]]
    apart = [given.packets[0][1][i][1] - seen.packets[0][1][i][1] for i in range(30)]
    assert max(apart) - min(apart) < 0.002 and abs(apart[0] - float(given.times[0] - seen.times[0])) < 0.002
