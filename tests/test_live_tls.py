"""rtsps and rtmps, by a TLS relay (tls_relay.py) before servers that have none."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from live_peers import Publisher, Reader, grows, job_of, live, until
from rtsp_server import Running
from tls_relay import OPENSSL, Relay

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="needs the openssl program, to make a certificate")


def test_rtsps_in_and_out_and_a_kick(runtime, tmp_path):
    with Running() as server, Relay(server.port, tmp_path) as relay:
        url = f"rtsps://127.0.0.1:{relay.port}"
        with Publisher(server.url("in")), Reader(server.url("out")) as reader, live(job_of(f"{url}/in", f"{url}/out"), runtime) as report:
            until(lambda: len(reader.numbers) > 25)
            server.tell("kick")
            seen = len(reader.numbers)
            until(lambda: len(reader.numbers) > seen + 25 and report.reconnects >= 1)
    assert grows([number for number, _, _, _ in reader.numbers]) and len(reader.sound) > 50
    assert report.outputs[0].reconnects >= 1 and report.damaged == 0


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program, as an RTMP server: PyAV cannot be one")
def test_rtmps_in_and_out(runtime, tmp_path):
    packets, source, target = "udp://127.0.0.1:23463?pkt_size=1316", "rtmp://127.0.0.1:23464/live/secret", "rtmp://127.0.0.1:23465/live/secret"
    serve = ["ffmpeg", "-v", "quiet", "-fflags", "nobuffer", "-i", packets, "-c", "copy", "-f", "flv", "-listen", "1", source]
    with (
        Relay(23464, tmp_path) as near,
        Relay(23465, tmp_path) as far,
        Publisher(packets, "mpegts"),
        Reader(target, listen="1") as reader,
        subprocess.Popen(serve, stdin=subprocess.DEVNULL) as camera,
    ):
        try:
            job = job_of(f"rtmps://127.0.0.1:{near.port}/live/secret", f"rtmps://127.0.0.1:{far.port}/live/secret")
            with live(job, runtime) as report:
                until(lambda: len(reader.numbers) > 50, 40)
        finally:
            camera.kill()
    assert grows([seconds for _, seconds, _, _ in reader.numbers]) and grows([number for number, _, _, _ in reader.numbers])
    assert len(reader.sound) > 50 and report.damaged == 0
