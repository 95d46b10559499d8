"""Films as the input of a stream, and recordings as its output: every frame and the sound beside it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from live_peers import film, job_of

from derain_video.pipeline.live import intake
from derain_video.pipeline.live.state import LiveReport
from derain_video.pipeline.live.stream import run_live


def test_waiting_keeps_each_frame_of_a_file_and_its_end_is_the_end(clip, runtime, tmp_path):
    source = clip(times=[i * 512 for i in range(40)], sound=True)
    report = LiveReport()
    (tmp_path / "hls").mkdir()
    begin = time.monotonic()
    assert run_live(job_of(source, tmp_path / "rec.mkv", tmp_path / "hls" / "live.m3u8"), runtime, report)
    assert time.monotonic() - begin > 1.2
    (recorded,) = tmp_path.glob("rec*.mkv")
    assert (report.arrived, report.frames, report.dropped, len(film(recorded)[0])) == (40, 40, 0, 40)
    assert "#EXTINF" in (tmp_path / "hls" / "live.m3u8").read_text() and len(film(tmp_path / "hls" / "live-0.ts")[0]) == 40
    assert len(heard(recorded)) > 40


@pytest.mark.parametrize("codec, options", [("libx265", {"preset": "medium"}), ("libx264", {"preset": "medium"})])
def test_what_a_decoder_holds_back_arrives_too_and_the_sound_beside_it(clip, runtime, tmp_path, codec, options):
    source = clip("in.ts", codec=codec, options=options, times=[i * 512 for i in range(40)], sound=True)
    report = LiveReport()
    assert run_live(job_of(source, tmp_path / "rec.mkv"), runtime, report)
    (recorded,) = tmp_path.glob("rec*.mkv")
    assert (report.arrived, report.dropped, len(film(recorded)[0])) == (40, 0, 40)
    late = [heard(path)[0] - film(path)[0][0] for path in (recorded, source)]
    assert late[0] == pytest.approx(late[1], abs=0.05)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_aac_of_a_transport_stream_is_told_as_its_container_tells_it(clip, runtime, tmp_path, ending):
    source = clip("in.ts", times=[i * 512 for i in range(60)], sound=True)
    report = LiveReport()
    assert run_live(job_of(source, tmp_path / f"rec{ending}"), runtime, report)
    (recorded,) = tmp_path.glob(f"rec*{ending}")
    with av.open(str(source)) as before, av.open(str(recorded)) as after:
        assert after.streams.audio[0].codec_context.extradata or ending == ".ts"
        given, kept = ([bytes(packet) for packet in each.demux(audio=0) if packet.size] for each in (before, after))
        assert sum(len(frame.to_ndarray()[0]) for frame in av.open(str(recorded)).decode(audio=0)) > 48000
    kept = [packet[7:] for packet in kept] if ending == ".ts" else kept
    assert len(film(recorded)[0]) == 60 and len(kept) >= len(given) - 3
    assert set(kept) <= {packet[7:] for packet in given}


def test_sound_that_cannot_be_handed_on_is_left_out(clip, runtime, tmp_path, monkeypatch):
    def refused(stream):
        raise ValueError("'nut' format does not support 'g726le' codec")

    monkeypatch.setattr(intake, "Sound", refused)
    source, report = clip("in.mkv", sound=True), LiveReport()
    assert run_live(job_of(source, tmp_path / "rec.mp4"), runtime, report)
    (recorded,) = tmp_path.glob("rec*.mp4")
    assert len(film(recorded)[0]) == 20
    assert f"{source}: not kept: sound: 'nut' format does not support 'g726le' codec" in report.notes


def test_rgb_keeps_its_colours(clip, runtime, tmp_path):
    source = clip("in.mkv", codec="ffv1", pixels="bgr0")
    assert run_live(job_of(source, tmp_path / "rec.mkv"), runtime)
    (recorded,) = tmp_path.glob("rec*.mkv")
    a, b = (next(av.open(str(path)).decode(video=0)).to_ndarray(format="rgb24").astype(int) for path in (source, recorded))
    assert abs((a - b)[:, 48:].mean((0, 1))).max() < 3


def heard(path):
    """When its packets of sound are played, in seconds."""
    with av.open(str(path)) as container:
        return [float(packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.size]


def test_sound_that_goes_on_after_the_last_picture_is_kept(clip, runtime, tmp_path):
    short = tmp_path / "short.mkv"
    with av.open(str(clip(times=[i * 512 for i in range(40)], sound=True))) as whole, av.open(str(short), "w") as out:
        streams = [out.add_stream_from_template(stream) for stream in whole.streams]
        for packet in whole.demux():
            if packet.size and (packet.stream.type == "audio" or packet.dts * packet.time_base < 0.8):
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    assert run_live(job_of(short, tmp_path / "rec.mkv"), runtime)
    (recorded,) = tmp_path.glob("rec*.mkv")
    after = [[at - film(path)[0][-1] for at in heard(path)[-30:]] for path in (short, recorded)]
    assert after[1] == pytest.approx(after[0], abs=0.003) and after[0][-1] > 0.7


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_recordings_join_without_a_gap(clip, runtime, tmp_path, ending):
    source = clip(times=[i * 512 for i in range(75)])
    report = LiveReport()
    assert run_live(job_of(source, tmp_path / f"rec.{ending}", segment=1.0), runtime, report)
    parts = [film(path)[0] for path in sorted(tmp_path.glob(f"rec*.{ending}"))]
    assert len(parts) == 3 and sum(map(len, parts)) == 75
    assert all(times[0] == 0 and np.allclose(np.diff(times), 0.04, atol=1e-4) for times in parts)


@pytest.mark.skipif(os.name == "nt", reason="names without colons")
def test_names_with_colons(clip, runtime, tmp_path):
    source = clip("in.ts").rename(tmp_path / "14:00.ts")
    assert run_live(job_of(source, tmp_path / "rec %H:%M.mkv"), runtime)
    (recorded,) = tmp_path.glob("rec*:*.mkv")
    assert len(film(recorded)[0]) == 20


def piped(source, out, *options):
    """The program, with a network that answers at once, from stdin to stdout."""
    fake = Path(__file__).with_name("fake_worker.py")
    with source.open("rb") as given:
        return subprocess.Popen([sys.executable, str(fake), "-", "-", *options], stdin=given, stdout=out, stderr=subprocess.PIPE)


def test_who_stops_reading_a_pipe_for_a_while_gets_every_frame(clip, tmp_path):
    source = clip("in.ts", width=320, height=240, times=[i * 512 for i in range(300)])
    program, got = piped(source, subprocess.PIPE, "--crf", "0.1"), b""
    with program:
        time.sleep(5)  # longer than a server may say nothing
        while piece := program.stdout.read(50_000):
            got += piece
    (tmp_path / "got.ts").write_bytes(got)
    assert len(film(tmp_path / "got.ts")[0]) == 300


def test_a_pipe_that_takes_nothing_is_a_fault(clip, tmp_path):
    with open("/dev/full", "wb") as full, piped(clip("in.ts"), full) as program:
        said = program.stderr.read().decode()
    assert program.returncode == 2 and "took none of 20 frames" in said and "no room left on the disk" in said


def test_a_pipe_whose_reader_has_gone_is_the_end(clip):
    with piped(clip("in.ts", width=320, height=240, times=[i * 512 for i in range(300)]), subprocess.PIPE, "--crf", "0.1") as program:
        program.stdout.read(50_000)
        program.stdout.close()
        said = program.stderr.read().decode()
    assert program.returncode == 2 and said.splitlines()[-1].startswith("derain-video: -: whoever read it has gone, after ")
    assert "trying again" not in said
