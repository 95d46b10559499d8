"""Live streams through a real RTSP server: kicks, stalls, new sizes; frames in = frames out + counted drops; nothing left behind."""

import contextlib
import http.server
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from live_peers import Publisher, Reader, film, grows, job_of, live, number_of, numbered, until
from rtsp_server import Running

from derain_video.pipeline.errors import OptionError
from derain_video.pipeline.live.intake import Ended
from derain_video.pipeline.live.state import LiveReport
from derain_video.pipeline.live.stream import run_live


@pytest.fixture
def server():
    with Running() as running:
        yield running


def test_pictures_and_sound_arrive_clean_and_soon(server, runtime):
    with Publisher(server.url("in")) as pub, Reader(server.url("out")) as reader:
        with live(job_of(server.url("in"), server.url("out")), runtime) as report:
            until(lambda: len(reader.numbers) > 60)
        late = [when - pub.sent[number] for number, _, when, _ in reader.numbers]
    assert grows([seconds for _, seconds, _, _ in reader.numbers]) and grows([number for number, _, _, _ in reader.numbers])
    assert grows(reader.sound) and len(reader.sound) > 60
    assert np.median(late) < 1.0
    assert report.patterns["heavy"] == report.frames and len(runtime.calls) == report.frames
    assert 0 < report.percentile(0.5) < 0.5


def test_a_kick_is_survived_on_both_sides_and_time_goes_on(server, runtime, tmp_path):
    job = job_of(server.url("in"), server.url("out"), tmp_path / "rec.mkv", segment=600.0)
    with Publisher(server.url("in")), Reader(server.url("out")) as reader, live(job, runtime) as report:
        until(lambda: len(reader.numbers) > 25)
        server.tell("kick")
        seen = len(reader.numbers)
        until(lambda: len(reader.numbers) > seen + 25 and report.reconnects >= 1)
    assert report.outputs[0].reconnects >= 1 and report.outputs[1].reconnects == 0
    (recorded,) = tmp_path.iterdir()
    times, numbers = film(recorded)
    assert grows(times) and grows(numbers) and len(numbers) == report.outputs[1].sent


def test_a_camera_of_another_size_begins_a_new_programme(server, runtime, tmp_path):
    with Publisher(server.url("in")) as pub, live(job_of(server.url("in"), tmp_path / "rec.mp4", segment=600.0), runtime) as report:
        until(lambda: report.frames > 25)
        pub.kind = ((192, 128), 25, "libx264")
        before = report.frames
        until(lambda: report.frames > before + 25 and report.reconnects >= 1)
    files = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime)
    assert len(files) == 2
    for path, size in zip(files, [(128, 64), (192, 128)], strict=True):
        with av.open(str(path)) as container:
            assert (container.streams.video[0].width, container.streams.video[0].height) == size
    assert sum(len(film(path)[0]) for path in files) == report.outputs[0].sent == report.frames


def test_a_camera_that_sends_over_udp_and_packets_that_never_come(server, runtime, tmp_path):
    job = job_of(server.url("in"), tmp_path / "rec.mkv", segment=600.0, transport="udp")
    with Publisher(server.url("in")), live(job, runtime) as report:
        until(lambda: report.frames > 25)
        server.tell("loss 20")
        until(lambda: report.frames > 100)
        server.tell("loss 0")
        until(lambda: report.frames > 150)
        server.tell("stall")
        until(lambda: report.reconnects >= 1)
        server.tell("unstall")
        before = report.frames
        until(lambda: report.frames > before + 25)
    (recorded,) = tmp_path.iterdir()
    times, numbers = film(recorded)
    assert grows(times) and len(numbers) == report.outputs[0].sent


@pytest.mark.parametrize("kind", [((128, 64), 25, "libx265"), ((128, 64), 50, "mpeg4"), ((128, 64), 10, "libx264")])
def test_a_camera_of_another_codec_or_frame_rate_goes_on_in_the_same_outputs(server, runtime, tmp_path, kind):
    job = job_of(server.url("in"), server.url("out"), tmp_path / "rec.mp4", segment=600.0)
    with Publisher(server.url("in")) as pub, Reader(server.url("out")) as reader, live(job, runtime) as report:
        until(lambda: len(reader.numbers) > 25)
        pub.kind = kind
        until(lambda: report.reconnects >= 1)
        seen = len(reader.numbers)
        until(lambda: len(reader.numbers) > seen + 25)
    assert reader.sessions == 1 and [output.reconnects for output in report.outputs] == [0, 0]
    (recorded,) = tmp_path.iterdir()
    times, numbers = film(recorded)
    assert grows(times) and grows(numbers) and len(numbers) == report.outputs[1].sent
    assert grows([seconds for _, seconds, _, _ in reader.numbers]) and grows(reader.sound)
    assert np.median(np.diff(times)[-15:]) == pytest.approx(1 / kind[1], rel=0.2)


@pytest.mark.parametrize("kind", [((128, 64), 25, "mpeg4"), ((128, 64), 10, "libx264")])
def test_another_codec_or_frame_rate_without_a_break_in_the_connection(runtime, tmp_path, kind):
    camera = Publisher("udp://127.0.0.1:23459?pkt_size=1316", "mpegts")
    with camera, live(job_of("udp://127.0.0.1:23459", tmp_path / "rec.mkv", segment=600.0), runtime) as report:
        until(lambda: report.frames > 25)
        camera.kind = kind
        before = report.frames + 10
        until(lambda: report.frames > before + 25)
    (recorded,) = tmp_path.iterdir()
    times, numbers = film(recorded)
    assert grows(times) and sorted(numbers) == numbers and len(numbers) == report.outputs[0].sent  # a decoder may repeat the last picture
    assert np.median(np.diff(times)[-15:]) == pytest.approx(1 / kind[1], rel=0.2)


def test_a_silent_server_ends_neither_the_other_output_nor_the_stop(server, runtime, tmp_path):
    with Running() as deaf, Publisher(server.url("in")):
        deaf.tell("stall")
        with live(job_of(server.url("in"), deaf.url("out"), tmp_path / "rec.mkv"), runtime) as report:
            until(lambda: report.frames > 60)
            assert report.outputs[1].sent > 40 and not report.outputs[0].up


def test_a_silent_camera_is_a_disconnect(server, runtime, tmp_path):
    with Publisher(server.url("in")) as pub, live(job_of(server.url("in"), tmp_path / "rec.mkv"), runtime) as report:
        until(lambda: report.frames > 10)
        pub.paused.set()
        until(lambda: report.reconnects >= 1)
        pub.paused.clear()
        before = report.frames
        until(lambda: report.frames > before + 10)


def test_garbage_is_a_disconnect_and_harms_nothing(runtime, tmp_path):
    url, halt = "udp://127.0.0.1:23469", threading.Event()

    def babble():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as garbage:
            while not halt.wait(0.005):
                garbage.sendto(random.Random(0).randbytes(1316), ("127.0.0.1", 23469))

    camera, thread = Publisher(f"{url}?pkt_size=1316", "mpegts"), threading.Thread(target=babble)
    with camera, live(job_of(url, tmp_path / "rec.mkv", segment=600.0), runtime) as report:
        until(lambda: report.frames > 25)
        camera.paused.set()
        thread.start()
        until(lambda: report.reconnects >= 2)
        halt.set()
        thread.join()
        camera.paused.clear()
        before = report.frames
        until(lambda: report.frames > before + 25)
    (recorded,) = tmp_path.iterdir()
    assert grows(film(recorded)[0]) and len(film(recorded)[0]) == report.outputs[0].sent


def test_newest_wins_on_a_slow_machine_and_it_degrades_by_plan(server, fake, tmp_path):
    class Slow(fake):
        def derain(self, pattern, y, uv, near, peak, model=""):
            time.sleep(0.2 if y.shape[2] > 64 else 0.12)
            return super().derain(pattern, y, uv, near, peak)

    runtime = Slow()
    with Publisher(server.url("in"), size=(192, 128)), live(job_of(server.url("in"), tmp_path / "rec.mkv", patience=1.0), runtime) as report:
        until(lambda: report.level == "pass")
        before = report.frames
        until(lambda: report.frames > before + 20)
    assert report.dropped > 20
    assert [note.rpartition(": ")[2] for note in report.notes] == ["deraining at half size", "frames pass through"]
    assert {shape for _, shape, _, _ in runtime.calls} == {(1, 1, 128, 192), (1, 1, 64, 96)}


def test_a_playlist_comes_in_bursts_and_goes_out_evenly(server, runtime, tmp_path):
    web = [sys.executable, "-m", "http.server", "18743", "--bind", "127.0.0.1", "-d", str(tmp_path)]
    with subprocess.Popen(web, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process, Publisher(server.url("in")):
        with live(job_of(server.url("in"), tmp_path / "live.m3u8"), runtime):
            until(lambda: len(list(tmp_path.glob("*.ts"))) > 2)
            report, stop = LiveReport(), threading.Event()
            job = job_of("http://127.0.0.1:18743/live.m3u8", tmp_path / "rec.mkv")
            thread = threading.Thread(target=run_live, args=(job, runtime, report, stop))
            thread.start()
            until(lambda: report.frames > 40)
            stop.set()
            thread.join()
        process.terminate()
    assert report.dropped < report.arrived / 4


def test_jpegs_over_http_are_shown_when_they_come(runtime, tmp_path):
    jpeg = cv2.imencode(".jpg", numbered(0).to_ndarray(format="bgr24"))[1].tobytes()
    part = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg + b"\r\n"

    class Camera(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(part)
                    time.sleep(0.1)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as camera:
        threading.Thread(target=camera.serve_forever, daemon=True).start()
        with live(job_of(f"http://127.0.0.1:{camera.server_port}/", tmp_path / "rec.mkv"), runtime) as report:
            until(lambda: report.frames > 50)
        camera.shutdown()
    (recorded,) = tmp_path.iterdir()
    times, _ = film(recorded)
    assert np.median(np.diff(times)) == pytest.approx(0.1, abs=0.02)


def test_transport_streams_over_udp(runtime):
    camera, player = Publisher("udp://127.0.0.1:23457?pkt_size=1316", "mpegts"), Reader("udp://127.0.0.1:23458")
    with camera, player as reader, live(job_of("udp://127.0.0.1:23457", "udp://127.0.0.1:23458"), runtime) as report:
        until(lambda: len(reader.numbers) > 25)
    assert grows([seconds for _, seconds, _, _ in reader.numbers]) and report.arrived > 25


def test_transport_streams_over_tcp_whose_camera_falls_silent(runtime, caplog):
    camera, player = Publisher("tcp://127.0.0.1:23467", "mpegts"), Reader("tcp://127.0.0.1:23468?listen=1")
    with camera, player as reader, live(job_of("tcp://127.0.0.1:23467?listen=1", "tcp://127.0.0.1:23468"), runtime) as report:
        until(lambda: len(reader.numbers) > 25)
        camera.paused.set()
        until(lambda: report.reconnects >= 1)
        camera.paused.clear()
        seen = len(reader.numbers)
        until(lambda: len(reader.numbers) > seen + 25)
    assert grows([seconds for _, seconds, _, _ in reader.numbers]) and grows([number for number, _, _, _ in reader.numbers])
    assert "tcp://127.0.0.1:23467?...: nothing readable came in time; trying again in" in caplog.text


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program, as an RTMP server: PyAV cannot be one")
def test_rtmp_in_and_out(runtime):
    packets, source, target = "udp://127.0.0.1:23460?pkt_size=1316", "rtmp://127.0.0.1:23461/live/secret", "rtmp://127.0.0.1:23462/live/secret"
    serve = ["ffmpeg", "-v", "quiet", "-fflags", "nobuffer", "-i", packets, "-c", "copy", "-f", "flv", "-listen", "1", source]
    with Publisher(packets, "mpegts"), subprocess.Popen(serve, stdin=subprocess.DEVNULL) as camera, Reader(target, listen="1") as reader:
        try:
            with live(job_of(source, target), runtime) as report:
                until(lambda: len(reader.numbers) > 50, 40)
        finally:
            camera.kill()
    assert grows([seconds for _, seconds, _, _ in reader.numbers]) and grows([number for number, _, _, _ in reader.numbers])
    assert len(reader.sound) > 50 and report.damaged == 0


def test_giving_up_is_one_line_without_credentials(server, runtime, caplog):
    job = job_of(server.url("absent", "me:secret@"), server.url("out"), attempts=2)
    with pytest.raises(Ended, match="the server knows no such stream; look at the URL's path; gave up after 2 failures") as fault:
        run_live(job, runtime)
    assert "secret" not in str(fault.value) + caplog.text and caplog.text.count("trying again") == 1


@pytest.mark.parametrize(
    "source, targets",
    [
        ("rtsp://a/b", ["rtsp://a/b"]),
        ("rtsp://a/b", ["-", "-"]),
        ("rtsp://a/b", ["http://a/c"]),
        ("rtsp://a/b", ["udp://a:99999"]),
        ("udp://a", ["-"]),
        ("tcp://a/b:1", ["-"]),
        ("rtsp://a:99999/b", ["-"]),
        ("https://u:1/2@a:0/b", ["-"]),
    ],
)
def test_outputs_that_cannot_be(source, targets):
    with pytest.raises(OptionError):
        job_of(source, *targets)


PROGRAM = """
    import sys
    sys.path[:0] = [{tests!r}]
    from conftest import FakeRuntime
    from derain_video.pipeline import cli
    from derain_video.pipeline.live import cli as live
    live.load = lambda *a, **k: FakeRuntime()
    live.hide = lambda argv: None
    print("ready", file=sys.stderr, flush=True)
    sys.exit(cli.main(sys.argv[1:]))
"""


def start(*argv, within=(), **pipes):
    program = textwrap.dedent(PROGRAM.format(tests=str(Path(__file__).parent)))
    process = subprocess.Popen([*within, sys.executable, "-c", program, *map(str, argv)], stderr=subprocess.PIPE, **pipes)
    assert process.stderr.readline() == b"ready\n"
    return process


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("stalled", [False, True])
def test_sigterm_ends_within_two_seconds_and_the_report_is_silent_on_passwords(server, tmp_path, stalled):
    with Publisher(server.url("in")):
        process = start(server.url("in", "me:secret@"), server.url("out", "me:secret@"), "--report", tmp_path / "r.json", "--state", tmp_path / "s")
        until((tmp_path / "s" / "after.jpg").exists)
        if stalled:
            server.tell("stall")
            time.sleep(1)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 143 and time.monotonic() - begin < 2
    told = json.loads((tmp_path / "r.json").read_text())
    assert told["arrived"] == told["frames"] + told["dropped"] > 0
    assert b"secret" not in said and "secret" not in (tmp_path / "r.json").read_text() + (tmp_path / "s" / "state.json").read_text()
    assert b"Traceback" not in said


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists() or not hasattr(os, "memfd_create"), reason="reads /proc")
def test_a_password_does_not_show_in_ps(tmp_path):
    program = "import sys; from derain_video.pipeline.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "rtsp://me:secret@127.0.0.1:9/x", str(tmp_path / "rec.mkv"), "--attempts", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        said = process.stderr.readline()
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        said += process.communicate(timeout=30)[1]
    assert process.returncode == 2 and said.count(b"rtsp://...@127.0.0.1:9/x: nothing listens there") == 2
    assert b"derain_video" in shown and b"secret" not in shown + said


SMALL_DISK = ("unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=512k tmpfs "$0" && exec "$@"')
"""Runs a command that sees a disk of 512 KiB at a folder, by Linux' user namespaces."""


def has_small_disks():
    return shutil.which("unshare") is not None and subprocess.run([*SMALL_DISK, "/mnt", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not has_small_disks(), reason="no file systems of its own for a process here (Linux' user namespaces)")
@pytest.mark.parametrize("ending", ["mkv", "mp4"])
def test_a_full_disk_is_said_and_the_other_output_goes_on(server, tmp_path, ending):
    with Publisher(server.url("in")), Reader(server.url("out")) as reader:
        command = (server.url("in"), tmp_path / f"rec.{ending}", server.url("out"), "--state", tmp_path)
        process = start(*command, within=(*SMALL_DISK, tmp_path))
        disk = Path(f"/proc/{process.pid}/root{tmp_path}")
        until(lambda: len(reader.numbers) > 25 and list(disk.glob("rec*")))
        with contextlib.suppress(OSError), open(disk / "fill", "wb", 0) as file:
            while True:
                file.write(bytes(4096))
        told = iter(process.stderr.readline, b"")
        assert any(b"rec." in said and b"no room left on the disk; free some; trying again in" in said for said in told)
        seen = len(reader.numbers)
        until(lambda: len(reader.numbers) > seen + 50)

        def sizes() -> list[int]:
            with contextlib.suppress(FileNotFoundError):
                return [path.stat().st_size for path in disk.glob("rec*")]
            return [0]

        until(lambda: all(sizes()))  # while an attempt is under way, its file is empty
        whole = {path.name for path in disk.glob("rec*")}
        assert len(whole) <= 2
        (disk / "fill").unlink()
        until(lambda: any(path.stat().st_size > 20_000 for path in disk.glob("rec*") if path.name not in whole), 40)
        for path in disk.glob("rec*"):
            shutil.copy(path, tmp_path)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
    numbers = [number for number, _, _, _ in reader.numbers]  # not its stamps: FFmpeg's reader moves them at each sender report
    assert process.returncode == 143 and reader.sessions == 1 and sorted(numbers) == numbers
    (later,) = (path for path in tmp_path.iterdir() if path.name not in whole)
    assert grows(film(later)[0]) and grows(film(later)[1])
    assert any(grows(film(tmp_path / name)[0]) for name in whole)


def test_from_stdin_to_stdout(clip):
    source = clip("in.ts")
    process = start("-", "-", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, said = process.communicate(source.read_bytes(), timeout=30)
    assert process.returncode == 0, said
    source.with_name("out.ts").write_bytes(out)
    assert len(film(source.with_name("out.ts"))[0]) == 20
    assert b"20 frames in, 20 out, 0 dropped" in said


def test_numbers_survive_the_picture():
    assert [number_of(numbered(n)) for n in (0, 1, 255, 4711, 65535)] == [0, 1, 255, 4711, 65535]
