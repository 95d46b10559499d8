"""derain-video serve: one process a stream, restarted when it dies; page, health and metrics; no password in any of them."""

import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from live_peers import Publisher
from rtsp_server import Running

from derain_video.pipeline import cli
from derain_video.pipeline.live import serve as serving
from derain_video.pipeline.live.page import open_page
from derain_video.pipeline.live.serve import Supervisor, read_spec

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


def until(condition, seconds=20.0):
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
            assert 'front: <span class="up">' in text and 'back: <span class="down">' in text and "rtsp://...@127.0.0.1" in text
            assert 'derain_up{stream="front"} 1.0' in metrics and 'derain_restarts_total{stream="front"} 1.0' in metrics
            assert "secret" not in text + metrics
        finally:
            begin = time.monotonic()
            serving._end(watched)
            page.end()
    assert time.monotonic() - begin < 4
    assert not [t.name for t in threading.enumerate() if t.name.startswith("derain")]


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
