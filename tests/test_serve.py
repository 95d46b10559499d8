"""derain-video serve: one process a stream, restarted when it dies; page, health and metrics; no password in any of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from live_peers import Publisher
from rtsp_server import Running

from derain_video.pipeline import cli
from derain_video.pipeline.errors import OpenError, OptionError
from derain_video.pipeline.live import serve as serving
from derain_video.pipeline.live.address import Address
from derain_video.pipeline.live.page import open_page
from derain_video.pipeline.live.serve import StreamSpec, Supervisor, read_spec
from derain_video.pipeline.live.state import LiveReport, OutputReport

SPEC = """
[page]
port = 0
[streams.front]
input = "{source}"
outputs = ["{target}"]
options = ["--crf", "30"]
[streams.back]
input = "rtsp://me:secret@127.0.0.1:9/none"
outputs = ["{folder}/back.mkv"]
"""


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def until(condition, seconds=40.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    assert condition()


@pytest.mark.skipif(not Path("/dev/stdin").exists(), reason="arguments go by /dev/stdin")
def test_streams_are_kept_alive_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "WORKER", (sys.executable, str(Path(__file__).with_name("fake_worker.py"))))
    with Running() as server, Publisher(server.url("in")):
        told = SPEC.format(source=server.url("in", "me:secret@"), target=server.url("out", "me:secret@"), folder=tmp_path)
        (tmp_path / "streams.toml").write_text(told)
        watched = [Supervisor(stream, tmp_path / stream.name) for stream in read_spec(tmp_path / "streams.toml").streams]
        page = open_page("127.0.0.1", 0)
        try:
            page.show(watched)
            url = f"http://127.0.0.1:{page.server_address[1]}"
            front, back = watched
            until(lambda: front.healthy and get(f"{url}/front/after.jpg")[0] == 200)
            assert get(f"{url}/healthz") == (503, b'{"front": true, "back": false}')
            assert get(f"{url}/front/before.jpg")[1][:2] == b"\xff\xd8"
            assert get(f"{url}/front/state.json")[0] == get(f"{url}/../streams.toml")[0] == 404
            first = front._process.pid
            assert "secret" not in Path(f"/proc/{first}/cmdline").read_text()
            os.kill(first, signal.SIGKILL)
            until(lambda: front.restarts == 1 and front._process.pid != first and front.healthy)
            assert back.restarts == 0 and back.running
            text, metrics = get(url + "/")[1].decode(), get(f"{url}/metrics")[1].decode()
            assert 'front <span class="up">' in text and 'back <span class="down">' in text and "rtsp://...@127.0.0.1" in text
            assert "1 of 2 up" in text and "frames/s in" in text and "heavy" in text and "No picture has come yet" in text
            assert 'derain_up{stream="front"} 1.0' in metrics and 'derain_restarts_total{stream="front"} 1.0' in metrics
            assert "secret" not in text + metrics
        finally:
            begin = time.monotonic()
            serving._end(watched)
            page.end()
    assert time.monotonic() - begin < 4
    assert not [t.name for t in threading.enumerate() if t.name.startswith("derain")]


def test_a_process_that_has_just_begun_is_not_healthy_by_what_the_one_before_told(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "WORKER", (sys.executable, "-c", "import time; time.sleep(60)"))
    (tmp_path / "state.json").write_text('{"input_up": true}')
    watched = Supervisor(StreamSpec("front", Address("rtsp://camera/1"), (Address("out.mkv"),)), tmp_path)
    try:
        until(lambda: watched.running)
        assert not watched.healthy
    finally:
        serving._end([watched])


@pytest.mark.parametrize(
    "before, after, said",
    [
        ('outputs = ["', 'outputs = "', "Expected"),
        ('outputs = ["OUT.mkv"]', 'outputs = "OUT.mkv"', "stream front: give input"),
        ('outputs = ["OUT.mkv"]', "outputs = [1]", "stream front: give input"),
        ('outputs = ["OUT.mkv"]', 'output = "OUT.mkv"', "output: not known; it has input, outputs, options"),
        ('outputs = ["OUT.mkv"]', 'outputs = ["-"]', "no stdin"),
        ('"30"', '"30", "--segment", "nan"', "stream front: derain-video: argument --segment: 'nan'"),
        ("port = 0", 'port = "x"', "port 'x'"),
        ("port = 0", "prot = 0", "page: prot: not known"),
        ("[page]", "[pages]", "pages: not known"),
        ("[streams.front]", "[streams]\nside = 'rtsp://me:secret@camera/2'\n[streams.front]", "stream side: is no table"),
        ("[streams.front]", '[streams."a/b"]', "a name is letters"),
        ("[streams.front]", '[streams."Süd"]', "a name is letters"),
        ('"--crf", "30"', '"--crf 30", "x.mkv"', "options: '--crf 30' is none; each word is a text of its own"),
        ('outputs = ["OUT.mkv"]', 'outputs = ["https://server/x"]', "nothing can be written there"),
        ('outputs = ["OUT.mkv"]', 'outputs = ["rtsp://me:secret@camera/1"]', "is the input"),
        ('outputs = ["OUT.mkv"]', 'outputs = ["none/there.mkv"]', "the folder none is not there"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(tmp_path, before, after, said):
    right = SPEC.format(source="rtsp://me:secret@camera/1", target="OUT.mkv", folder=tmp_path)
    path = tmp_path / "streams.toml"
    path.write_text(right)
    assert [stream.options for stream in read_spec(path).streams] == [("--crf", "30"), ()]
    assert before in right
    path.write_text(right.replace(before, after, 1))
    with pytest.raises((OpenError, OptionError)) as caught:
        read_spec(path)
    told = str(caught.value)
    assert said in told and told.startswith(str(path)) and "\n" not in told and "secret" not in told


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update
    --disable-sync --window-size=1200,1000""".split()


def stream_of(folder, name, healthy, report):
    """What the page is told of a stream whose pictures are blue before and green after."""
    (folder / name).mkdir()
    for picture, colour in ("before.jpg", (220, 40, 30)), ("after.jpg", (40, 200, 30)):
        cv2.imwrite(str(folder / name / picture), np.full((180, 320, 3), colour, np.uint8))
    spec = StreamSpec(name, Address("rtsp://me:secret@camera/1"), ())
    return SimpleNamespace(spec=spec, folder=folder / name, restarts=2, healthy=healthy, state=lambda: json.loads(json.dumps(report.told())))


def around(image, colour, off=40):
    """Left, top, width and height of everything that has about that colour (BGR)."""
    return cv2.boundingRect((np.abs(image.astype(int) - colour).max(axis=2) < off).astype(np.uint8))


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_in_chromium(tmp_path):
    report = LiveReport(arrived=100, frames=90, dropped=10, pattern="heavy", level="half", outputs=[OutputReport("out.mkv", up=True, sent=90)])
    page = open_page("127.0.0.1", 0)
    try:
        page.show([stream_of(tmp_path, "front", True, report)])
        command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'page.png'}"]
        subprocess.run([*command, f"http://127.0.0.1:{page.server_address[1]}/"], capture_output=True, timeout=120, check=True)
    finally:
        page.end()
    image = cv2.imread(str(tmp_path / "page.png"))
    before, after, up = around(image, (220, 40, 30)), around(image, (40, 200, 30)), around(image, (0, 119, 0), 8)
    assert before[2:] == pytest.approx((320, 180), abs=4) and after[1:] == pytest.approx((before[1], 320, 180), abs=4)
    assert before[0] + before[2] < after[0] < 1200 and up[1] < before[1] and 10 < up[3] < 40
    table = image[up[1] + up[3] + 5 : before[1] - 5, before[0] : after[0]]
    lines = np.diff((table.min(axis=(1, 2)) < 160).astype(int))
    assert (lines > 0).sum() >= 7  # input, output, speed, frames, delay, pattern, faults: each on a line of its own


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "no stream"),
        ("[streams.a]\ninput = 'rtsp://a/b'", "outputs"),
        ("[streams.a]\ninput = '-'\noutputs = ['rtsp://a/b']", "stdin"),
        ("[streams.a]\ninput = 'x'\noutputs = ['y']\nspeed = 1", "speed"),
        ("[streams.'a b']\ninput = 'x'\noutputs = ['y']", "name"),
        ("[streams", "streams.toml"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, capsys, text, word):
    (tmp_path / "streams.toml").write_text(text)
    assert cli.main(["serve", str(tmp_path / "streams.toml")]) == 2
    said = capsys.readouterr().err
    assert word in said and said.count("\n") == 1


def test_an_absent_file_is_one_line(tmp_path, capsys):
    assert cli.main(["serve", str(tmp_path / "absent.toml")]) == 2
    assert "No such file" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL, signal.SIGTERM])
def test_no_process_of_a_stream_outlives_the_program(tmp_path, number):
    fake = Path(__file__).with_name("fake_worker.py")
    spec = tmp_path / "s.toml"
    spec.write_text(f'[page]\nport = 0\n[streams.a]\ninput = "udp://127.0.0.1:9"\noutputs = ["{tmp_path}/a.mkv"]\n')
    source = (
        "import signal, sys\nfrom derain_video.pipeline.live import serve\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # which tests run by nohup have ignored, and so would it
        f"serve.WORKER = (sys.executable, {str(fake)!r})\nsys.exit(serve.main([{str(spec)!r}]))"
    )
    with subprocess.Popen([sys.executable, "-c", source], stderr=subprocess.PIPE, text=True) as program:
        try:
            until(lambda: children(program.pid))
            workers = children(program.pid)
            time.sleep(1.5)  # a worker that has begun
            program.send_signal(number)
            said = program.communicate(timeout=20)[1]
        finally:
            program.kill()
    assert "Traceback" not in said
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), 10)


def children(parent: int) -> list[int]:
    """Numbers of the processes that a process has begun."""
    return [int(word) for task in Path(f"/proc/{parent}/task").glob("*/children") for word in task.read_text().split()]


def test_a_stream_that_says_nothing_has_no_counts() -> None:
    from derain_video.pipeline.live.metrics import metrics

    told = {"front": LiveReport(arrived=99).told(), "back": {}}
    watched = [SimpleNamespace(spec=SimpleNamespace(name=name), healthy=bool(told[name]), restarts=0, state=partial(told.get, name)) for name in told]
    text = metrics(watched).decode()
    assert 'derain_arrived_total{stream="front"} 99.0' in text and 'derain_up{stream="back"} 0.0' in text
    assert 'derain_arrived_total{stream="back"}' not in text
