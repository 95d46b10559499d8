"""Against GStreamer's RTSP server (gst_rtsp.py), where Debian's packages of it are installed."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from live_peers import film, grows, job_of, live, until

PYTHON = "/usr/bin/python3"
"""Debian's, which its packages are for."""

NEEDED = """
import gi
gi.require_version("Gst", "1.0"), gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert all(map(Gst.ElementFactory.find, ("x264enc", "x265enc", "rtph264pay", "rtph265pay", "matroskamux")))
"""


def has_gstreamer():
    return Path(PYTHON).exists() and subprocess.run([PYTHON, "-c", NEEDED], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_gstreamer(), reason="needs Debian's gir1.2-gst-rtsp-server-1.0, python3-gi and gstreamer1.0-plugins-*")
@pytest.mark.parametrize("codec, transport", [("h264", "tcp"), ("h264", "udp"), ("h265", "tcp")])
def test_read_from_and_publish_to_gstreamer(runtime, tmp_path, codec, transport):
    kept = tmp_path / "kept.mkv"
    with subprocess.Popen([PYTHON, Path(__file__).with_name("gst_rtsp.py"), codec, kept], stdout=subprocess.PIPE, text=True) as server:
        url = f"rtsp://127.0.0.1:{int(server.stdout.readline())}"
        try:
            with live(job_of(f"{url}/cam", f"{url}/clean", tmp_path / "rec.mkv", transport=transport), runtime) as report:
                until(lambda: report.outputs[0].sent > 100 and kept.stat().st_size > 20_000, 40)
        finally:
            server.terminate()
    assert report.reconnects == 0 and report.damaged == 0
    (recorded,) = tmp_path.glob("rec*")
    assert grows(film(recorded)[0]) and len(film(recorded)[0]) == report.outputs[1].sent
    kept_too = len(film(kept)[0])  # not its times: GStreamer sets them by when packets came
    assert report.outputs[0].sent - 60 < kept_too <= report.outputs[0].sent  # the last second or two is lost with the server
