"""Without an NVIDIA GPU: the way back to software. `present` pretends that a GPU answers, so that FFmpeg itself is asked, and fails."""

import av
import numpy as np
import pytest

from derain_video.export.runtime import gpu
from derain_video.pipeline import codec, hwaccel
from derain_video.pipeline.codec import Settings
from derain_video.pipeline.errors import OpenError
from derain_video.pipeline.run import Job, run

without_gpu = pytest.mark.skipif(gpu.count() > 0, reason="a GPU answers")


def test_none_asks_no_gpu(monkeypatch):
    monkeypatch.setattr(gpu, "count", lambda: 1 / 0)
    assert hwaccel.usable("none") is False


def test_where_no_gpu_answers_one_line_says_so(monkeypatch, caplog):
    monkeypatch.setattr(gpu, "count", lambda: 0)
    assert hwaccel.usable("auto") is False
    assert caplog.messages == ["--hwaccel auto: no NVIDIA GPU answers: decoding and encoding in software"]


@without_gpu
def test_what_fails_is_done_in_software_with_the_same_pictures(clip, runtime, look, tmp_path, caplog):
    source = clip()
    run(Job(source, tmp_path / "soft.mp4", settings=Settings(crf=0)), runtime)  # lossless: x264 may write other bytes for the same frames
    assert not caplog.messages
    run(Job(source, tmp_path / "tried.mp4", settings=Settings(crf=0, hardware=True), hardware=True), runtime)
    assert len(caplog.messages) == 2 and "decoding in software" in caplog.text and "h264_nvenc fails" in caplog.text
    soft, tried = look(tmp_path / "soft.mp4"), look(tmp_path / "tried.mp4")
    assert tried.times == soft.times
    assert all(np.array_equal(a.to_ndarray(), b.to_ndarray()) for a, b in zip(soft.pictures, tried.pictures, strict=True))


def test_a_codec_that_nvdec_does_not_take_is_said(tmp_path, runtime, caplog):
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=64, height=48, pix_fmt="yuv420p")
        for packet in (*stream.encode(av.VideoFrame.from_ndarray(np.full((72, 64), 90, np.uint8), "yuv420p")), *stream.encode(None)):
            container.mux(packet)
    run(Job(tmp_path / "in.mkv", tmp_path / "out.mkv", hardware=True), runtime)
    assert caplog.messages == [f"{tmp_path / 'in.mkv'}: decoding in software, NVDEC is not used for ffv1"]


@without_gpu
def test_a_missing_file_is_no_matter_of_the_gpu(runtime, tmp_path, caplog):
    with pytest.raises(OpenError, match="no such file"):
        run(Job(tmp_path / "none.mp4", tmp_path / "out.mp4", hardware=True), runtime)
    assert not caplog.messages


@pytest.mark.parametrize("asked", [("libvpx-vp9", "yuv420p", 640, 360), ("libx264", "yuv420p10le", 640, 360), ("libx264", "yuv420p", 641, 360)])
def test_what_nvenc_is_not_given(asked, caplog):
    assert hwaccel.encoder(*asked, hwaccel.OPTIONS) == asked[0]
    assert not caplog.messages


def test_quality_goes_by_nvencs_name():
    assert codec.options("h264_nvenc", Settings(crf=23), "mp4")["cq"] == "23"
    assert "crf" not in codec.options("hevc_nvenc", Settings(crf=23), "mp4")
