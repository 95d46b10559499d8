"""From file to file: what goes in comes out, but for the rain."""

import os
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from conftest import go

from derain_video.export.errors import GraphError
from derain_video.pipeline import part
from derain_video.pipeline.codec import Settings
from derain_video.pipeline.errors import DerainError, OpenError, OptionError, WriteError
from derain_video.pipeline.frame import LAYOUTS, planes_of
from derain_video.pipeline.run import Interrupted, Job, run
from derain_video.pipeline.video import Span


def test_an_output_is_written_by_one_run_alone(clip, runtime, look):
    source, tries = clip(times=[i * 512 for i in range(60)]), []

    class Shown:
        def __enter__(self):
            return self.again

        def again(self, frame):
            if frame.pts == 30 * 512:
                for resume in (False, True):
                    with pytest.raises(WriteError, match=r"out.mp4: another run is writing it; let it end") as caught:
                        go(source, runtime, resume=resume)
                    tries.append(caught)
                    assert any(entry.name == "check_targets" for entry in caught.traceback), "before the input is opened"

        def __exit__(self, *fault):
            return None

    run(Job(source, source.with_name("out.mp4")), runtime, shown=lambda video: Shown())
    assert len(tries) == 2 and len(look(source.with_name("out.mp4")).pictures) == 60
    assert sorted(os.listdir(source.parent)) == ["in.mp4", "out.mp4"]


def test_a_lock_that_was_removed_meanwhile_keeps_nobody_away(tmp_path, monkeypatch):
    out = tmp_path / "out.mp4"

    def taken(descriptor):
        part.lock(out).unlink()
        return True

    monkeypatch.setattr(part, "_take", taken)
    with pytest.raises(WriteError, match="another run is writing it"), part.alone(out):
        pass


def test_text_is_no_film(tmp_path, runtime):
    (tmp_path / "notes.txt").write_text("Rain, and more rain.\n" * 100)
    with pytest.raises(OpenError, match=r"notes.txt: is text, not a video"):
        go(tmp_path / "notes.txt", runtime)


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (2, 1, 1, 1), (1, 9, 9, 16), (1, 5, 5, 6)], ids=["709", "full", "hdr", "601"])
def test_colour_tags(clip, runtime, look, tags):
    source = clip(tags=tags, pixels="yuv420p10le" if tags[1] == 9 else "yuv420p")
    picture = look(go(source, runtime)[0]).pictures[0]
    assert (picture.color_range, picture.colorspace, picture.color_primaries, picture.color_trc) == tags


def test_aspect_and_rotation(clip, runtime, look):
    seen = look(go(clip(aspect=Fraction(4, 3), rotation=90), runtime)[0])
    assert seen.video.sample_aspect_ratio == Fraction(4, 3)
    assert seen.pictures[0].rotation == 90


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuvj420p"])
def test_layout_and_depth_are_kept(clip, runtime, look, pixels):
    out, report = go(clip(pixels=pixels), runtime)
    assert look(out).pictures[0].format.name == pixels
    assert not report.notes


@pytest.mark.parametrize("pixels", ["gray", "gray10le", "yuv420p9le", "yuv422p12le", "yuv440p", "yuv444p16le"])
def test_layout_and_depth_are_kept_without_loss(clip, runtime, look, pixels):
    source = clip("in.mkv", codec="ffv1", pixels=pixels)
    out, report = go(source, runtime, "out.mkv")
    assert look(out).pictures[0].format.name == pixels
    assert not report.notes
    a, b = (planes_of(look(path).pictures[5], LAYOUTS[pixels])[0].astype(int) for path in (source, out))
    assert (a[:, :48] - b[:, :48] == 8).all() and (a[:, 48:96] == b[:, 48:96]).all()


@pytest.mark.parametrize("codec, ending, stored", [("ffv1", ".mkv", "yuv420p"), ("libvpx-vp9", ".webm", "yuv420p"), ("ffv1", ".mp4", "yuv420p")])
def test_odd_sizes(clip, runtime, look, codec, ending, stored):
    out, report = go(clip("in.mkv", codec=codec, width=95, height=63), runtime, "out" + ending)
    picture = look(out).pictures[0]
    assert (picture.width, picture.height, picture.format.name) == (95, 63, stored)
    assert not report.notes


def test_odd_sizes_in_h264_take_full_chroma(clip, runtime, look):
    out, report = go(clip("in.mkv", codec="ffv1", width=95, height=63), runtime, settings=Settings("h264", crf=0))
    picture = look(out).pictures[0]
    assert (picture.width, picture.height, picture.format.name) == (95, 63, "yuv444p")
    assert report.notes == [f"{out}: yuv420p is stored as yuv444p by libx264 because its size is odd"]


def test_the_network_gets_the_planes_and_its_answer_is_written(clip, runtime, look):
    source = clip("in.mkv", codec="ffv1")
    before, after = look(source).pictures, look(go(source, runtime, "out.mkv")[0]).pictures
    assert len(runtime.calls) == 20
    assert runtime.calls[0] == ("heavy", (1, 1, 64, 96), np.dtype(np.uint8), 255)
    for a, b in zip(before, after, strict=True):
        change = a.to_ndarray().astype(int) - b.to_ndarray()
        y, uv = change[:64], change[64:].reshape(2, 32, 48)
        assert (y[:, :48] == 8).all() and not y[:, 48:].any()
        assert (uv[..., :24] == 4).all() and not uv[..., 24:].any()


def test_a_dry_clip_passes_through_untouched(clip, fake, look):
    runtime = fake(["clear"])
    source = clip("in.mkv", codec="ffv1")
    out, report = go(source, runtime, "out.mkv")
    assert not runtime.calls
    assert report.patterns == {"clear": 20}
    for a, b in zip(look(source).pictures, look(out).pictures, strict=True):
        assert np.array_equal(a.to_ndarray(), b.to_ndarray())


def test_side_by_side_and_split_and_mask(clip, runtime, look):
    source = clip("in.mkv", codec="ffv1")
    out, _ = go(source, runtime, "side.mkv", compare="side")
    side = look(out).pictures[3].to_ndarray()[:64].astype(int)
    assert side.shape == (64, 192)
    assert (side[:, :48] - side[:, 96:144] == 8).all() and (side[:, 48:96] == side[:, 144:]).all()
    out, _ = go(source, runtime, "split.mkv", compare="split", mask=source.with_name("mask.mkv"))
    assert np.array_equal(look(out).pictures[3].to_ndarray(), look(source).pictures[3].to_ndarray())
    mask = look(source.with_name("mask.mkv")).pictures[3]
    assert mask.format.name == "yuvj420p" or mask.color_range == 2
    y = mask.to_ndarray()[:64]
    assert (y[:, :48] == 255).all() and not y[:, 48:].any()


@pytest.mark.parametrize("rotation, shown", [(90, (192, 64)), (-90, (192, 64)), (180, (192, 64))])
def test_before_is_on_the_left_as_it_is_shown(clip, runtime, look, rotation, shown):
    """64 x 96 as it is stored, or 96 x 64 half way round."""
    sizes = {"width": 96, "height": 64} if rotation == 180 else {"width": 64, "height": 96}
    source = clip("in.mp4", rotation=rotation, options={"crf": "0"}, **sizes)
    plain, _ = go(source, runtime, "plain.mp4", settings=Settings("libx264", crf=0))

    def seen(path: Path) -> np.ndarray:
        video = look(path)
        return np.rot90(video.pictures[3].to_ndarray(format="gray").astype(int), rotation // 90)

    before, after = seen(source), seen(plain)
    assert (before != after).any()
    side = seen(go(source, runtime, "side.mp4", compare="side", settings=Settings("libx264", crf=0))[0])
    assert side.shape[::-1] == shown
    assert np.array_equal(side, np.concatenate([before, after], 1))
    split = seen(go(source, runtime, "split.mp4", compare="split", settings=Settings("libx264", crf=0))[0])
    assert np.array_equal(split, np.concatenate([before[:, :48], after[:, 48:]], 1))


def test_an_error_of_any_stage_reaches_the_caller_and_leaves_nothing(clip, fake):
    source = clip()
    with pytest.raises(RuntimeError, match="the network broke"):
        go(source, fake(broken=7))
    assert os.listdir(source.parent) == ["in.mp4"]


def test_stopping_leaves_a_playable_file_of_what_was_done(clip, runtime, look):
    source, stop = clip(times=[i * 512 for i in range(200)], sound=True), threading.Event()
    job = Job(source, source.with_name("out.mp4"), mask=source.with_name("mask.mp4"))

    class Shown:
        def __enter__(self):
            return lambda frame: stop.set() if frame.pts == 30 * 512 else None

        def __exit__(self, *fault):
            return None

    report = run(job, runtime, stop=stop, shown=lambda video: Shown())
    assert report.interrupted
    assert look(job.target).times == look(job.mask).times == [Fraction(i * 512, 12800) for i in range(31)]
    assert look(job.target).packets[0][1][-1][1] > 1.2  # to the end of the last frame, 1.24 s


def test_stopping_before_the_first_frame_leaves_nothing(clip, runtime):
    source, stop = clip(), threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        run(Job(source, source.with_name("out.mp4")), runtime, stop=stop)
    assert os.listdir(source.parent) == ["in.mp4"]


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    short = path.with_name("short.mp4")
    short.write_bytes(data[: int(len(data) * share)])
    return short


BAD = {
    "no such file": (lambda clip: clip().with_name("absent.mp4"), "out.mp4", {}, OpenError, "no such file"),
    "not a video": (lambda clip: _text(clip().with_name("x.mp4")), "out.mp4", {}, OpenError, "not a video"),
    "truncated": (lambda clip: cut(clip(), 0.5), "out.mp4", {}, OpenError, "cut off"),
    "no video stream": (lambda clip: _sound(clip().with_name("x.mp4")), "out.mp4", {}, OpenError, "no video stream"),
    "identical": (lambda clip: clip(), "in.mp4", {}, WriteError, "is the input"),
    "a part of the output": (lambda clip: clip("out.part.mp4"), "out.mp4", {}, WriteError, "out.part.mp4, as which it is begun, is the input"),
    "no folder": (lambda clip: clip(), "absent/out.mp4", {}, WriteError, "folder"),
    "unknown ending": (lambda clip: clip(), "out.xyz", {}, WriteError, "ending"),
    "unknown codec": (lambda clip: clip(), "out.mp4", {"settings": Settings("h999")}, OptionError, "h999"),
    "codec that does not fit": (lambda clip: clip(), "out.webm", {"settings": Settings("h264")}, OptionError, "--codec libvpx-vp9"),
    "crf where there is none": (lambda clip: clip(), "out.mp4", {"settings": Settings("mpeg4", crf=3)}, OptionError, "--crf 3: mpeg4 has no such"),
    "preset where there is none": (lambda clip: clip(), "out.mkv", {"settings": Settings("ffv1", preset="slow")}, OptionError, "ffv1 has no such"),
    "crf beyond the encoder's": (lambda clip: clip(), "out.mp4", {"settings": Settings("h264", crf=60)}, OptionError, "libx264 has 0 to 51"),
    "unknown preset": (lambda clip: clip(), "out.mp4", {"settings": Settings(preset="warp")}, OptionError, "warp: libx264 has ultrafast"),
    "unknown pattern": (lambda clip: clip(), "out.mp4", {"pattern": "hail"}, OptionError, "hail"),
    "begins after the end": (lambda clip: clip(), "out.mp4", {"span": Span(99)}, OpenError, "from 99 s"),
    "ends before the first picture": (lambda clip: clip(), "out.mp4", {"span": Span(0.01, 0.001)}, OpenError, "within 0.001 s .* longer --duration"),
    "too many pixels": (lambda clip: clip(), "out.mp4", {"limit": 1000}, OpenError, "--max-pixels"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(clip, runtime, case):
    make, target, options, kind, message = BAD[case]
    source = make(clip)
    before = sorted(p.name for p in source.parent.iterdir())
    with pytest.raises(kind, match=message) as fault:
        go(source, runtime, target, **options)
    assert isinstance(fault.value, (DerainError, OptionError)) and "\n" not in str(fault.value)
    assert sorted(p.name for p in source.parent.iterdir()) == before


def _text(path: Path) -> Path:
    path.write_text("rain, rain, go away\n" * 50)
    return path


def _sound(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000, layout="mono")
        for start in range(0, 48000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 48000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line(clip, runtime, tmp_path):
    source = clip()
    (tmp_path / "out.part.mkv").symlink_to("/dev/full")
    with pytest.raises(WriteError, match="no room left"):
        go(source, runtime, "out.mkv")
    assert not (tmp_path / "out.mkv").exists()


def test_rgb_video_is_kept_without_loss(clip, runtime, look):
    source = clip("in.mkv", codec="ffv1", pixels="bgr0")
    out, report = go(source, runtime, "out.mkv")
    assert not report.notes and look(out).pictures[0].format.name == "bgr0"
    a, b = (look(path).pictures[2].to_ndarray(format="rgb24").astype(int) for path in (source, out))
    assert np.array_equal(a[:, 48:], b[:, 48:]) and (a[:, :48] != b[:, :48]).all(-1).mean() > 0.9


@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_hevc_has_the_tag_that_all_players_take(clip, runtime, look, ending):
    source = clip(codec="libx265")
    run(Job(source, source.with_name(f"out.{ending}")), runtime)
    seen = look(source.with_name(f"out.{ending}"))
    assert seen.video.codec_context.codec_tag == "hvc1" and len(seen.pictures) == 20


def test_a_change_of_depth_is_said(clip, fake, tmp_path):
    deep, joined = clip("deep.h264", pixels="yuv420p10le"), tmp_path / "joined.h264"
    joined.write_bytes(clip("plain.h264").read_bytes() + deep.read_bytes())
    report = run(Job(joined, tmp_path / "out.mkv"), fake(["clear"]))
    assert f"{joined}: pictures of yuv420p10le are stored as the first one's yuv420p" in report.notes


@pytest.mark.parametrize("codec, pixels, stored", [("libx264", "yuv420p12le", "yuv420p10le"), ("libx265", "yuv444p16le", "yuv444p12le")])
def test_most_bits_are_kept(clip, runtime, look, codec, pixels, stored):
    out, _ = go(clip("in.mkv", codec="ffv1", pixels=pixels), runtime, settings=Settings(codec))
    assert look(out).pictures[0].format.name == stored


def test_mov_gets_a_codec_that_it_takes(clip, runtime, look):
    out, _ = go(clip("in.webm", codec="libvpx-vp9"), runtime, "out.mov")
    assert look(out).video.codec_context.name == "h264"


def test_x265_is_given_no_small_frames(clip, runtime, look):
    """It would write beyond its memory."""
    source = clip("in.mkv", width=48, height=48)
    with pytest.raises(OptionError, match=r"--codec libx265: libx265 takes no frames of less than 64 pixels a side"):
        go(source, runtime, settings=Settings("libx265"))


@pytest.mark.parametrize("pixels, stored", [("yuv420p", "yuv422p"), ("yuv422p10le", "yuv422p10le"), ("yuv444p10le", "yuv444p10le")])
def test_dnxhr_of_any_size(clip, runtime, look, pixels, stored):
    out, _ = go(clip("in.mkv", codec="ffv1", pixels=pixels, width=256, height=128), runtime, "out.mov", settings=Settings("dnxhd"))
    pictures = look(out).pictures
    assert len(pictures) == 20 and pictures[0].format.name == stored


@pytest.mark.parametrize("pixels, stored", [("yuv420p", "yuvj420p"), ("yuv422p", "yuvj422p"), ("bgr0", "yuvj420p")])
def test_motion_jpeg_is_of_full_range(clip, fake, look, pixels, stored):
    source = clip("in.mkv", codec="ffv1", pixels=pixels)
    out, _ = go(source, fake(["clear"]), "out.avi", settings=Settings("mjpeg"))
    picture = look(out).pictures[2]
    assert (picture.format.name, picture.color_range) == (stored, 2)
    a, b = (look(path).pictures[2].to_ndarray(format="rgb24").astype(int) for path in (source, out))
    assert np.abs(a - b).mean() < 4


def test_what_is_more_than_a_file_is_refused(clip, runtime):
    with pytest.raises(WriteError, match="more than one file"):
        go(clip(), runtime, "out.m3u8")


def test_a_fault_of_the_runtime_keeps_its_name(clip, fake):
    class Broken(fake):
        def perceive(self, views):
            raise GraphError("no graphs there")

    source = clip()
    for target in ("out.mp4", "out_%d.png"):
        with pytest.raises(GraphError, match=r"^no graphs there$"):
            go(source, Broken(), target)
    assert os.listdir(source.parent) == ["in.mp4"]


def test_transparency_beside_the_pictures_is_told_of_and_not_claimed(clip, runtime):
    source = clip("in.webm", codec="libvpx-vp9", pixels="yuva420p")
    _, report = go(source, runtime, "out.webm")
    assert f"{source}: not kept: transparency" in report.notes
    with av.open(str(source)) as before, av.open(str(source.with_name("out.webm"))) as after:
        assert before.streams.video[0].metadata["alpha_mode"] == "1" and "alpha_mode" not in map(str.lower, after.streams.video[0].metadata)
