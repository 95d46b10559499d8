"""The command: exit codes, one line on stderr, signals; and what it does not import."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from derain_video.pipeline import cli


@pytest.fixture
def command(monkeypatch, runtime):
    """Runs the command with the fake runtime."""
    asked = []

    def load(name, **options):
        asked.append((name, options))
        return runtime

    monkeypatch.setattr(cli, "load", load)

    def call(*argv: object) -> int:
        try:
            return cli.main([str(arg) for arg in argv])
        except SystemExit as done:
            return int(done.code or 0)

    call.asked = asked
    return call


def test_flag_free(clip, command, capsys, look):
    source = clip()
    assert command(source, source.with_name("out.mp4")) == 0
    assert len(look(source.with_name("out.mp4")).pictures) == 20
    assert command.asked == [("auto", {"model": "auto", "precision": "auto", "threads": 0})]
    said = capsys.readouterr()
    assert not said.out
    assert "20 frames in" in said.err and "20 heavy" in said.err and said.err.count("\n") == 1


def test_trace(clip, command):
    source = clip()
    assert command(source, source.with_name("out.mp4"), "--trace", source.with_name("t.json"), "-q") == 0
    events = json.loads(source.with_name("t.json").read_text())["traceEvents"]
    assert sum(event["name"] == "derain" for event in events) == 20


def test_report(clip, command):
    source = clip()
    assert command(source, source.with_name("out.mp4"), "--report", source.with_name("r.json"), "-q") == 0
    told = json.loads(source.with_name("r.json").read_text())
    assert told["frames"] == 20 and told["patterns"] == {"heavy": 20} and told["runtime"] == "fake"
    assert abs(sum(told["shares"].values()) - 1) < 0.01 and set(told["shares"]) == {"decode", "perceive", "align", "derain", "encode"}
    assert told["cache"]["hits"] + told["cache"]["misses"] == 20


@pytest.mark.skipif(os.name == "nt", reason="names without colons")
@pytest.mark.parametrize("name", ["2026-01-31T14:00:00.mp4", "concat:x.mp4", "http:x.mkv"])
def test_a_name_with_a_colon_is_a_file(clip, command, look, monkeypatch, name):
    source = clip()
    monkeypatch.chdir(source.parent)
    source.rename(name)
    assert command(name, f"o:{name}", "-q") == 0
    assert len(look(source.with_name(f"o:{name}")).pictures) == 20


def test_quiet_says_nothing(clip, command, capsys):
    source = clip()
    assert command(source, source.with_name("out.mp4"), "-q") == 0
    assert capsys.readouterr().err == ""


def test_replacing_needs_yes(clip, command, capsys):
    source = clip()
    target = source.with_name("out.mp4")
    target.write_text("mine")
    for flag in ([], ["-n"]):
        assert command(source, target, *flag) == 2
        assert capsys.readouterr().err == f"derain-video: {target}: is there already; -y replaces it\n"
        assert target.read_text() == "mine"
    assert command(source, target, "-y") == 0
    assert target.stat().st_size > 1000


def test_pictures_that_are_there_are_not_replaced(clip, command, capsys, monkeypatch):
    monkeypatch.chdir(clip().parent)
    os.mkdir("dry")
    for target in ("a[1]_%d.png", "b_%d.png"):
        assert command("in.mp4", target, "--duration", "0.1") == 0
        assert command("in.mp4", target) == 2
        assert "is there already" in capsys.readouterr().err
    monkeypatch.chdir("dry")
    assert command("../b_%d.png", ".") == 0
    assert len(os.listdir()) > 1 and command("../b_%d.png", ".") == 2


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_stays_one(clip, command, look, tmp_path):
    source, shelf = clip(), tmp_path / "shelf"
    shelf.mkdir()
    for name in ("out.mp4", "mask.mkv"):
        source.with_name(name).symlink_to(shelf / name)
    assert command(source, source.with_name("out.mp4"), "--mask", source.with_name("mask.mkv")) == 0
    assert sorted(os.listdir(shelf)) == ["mask.mkv", "out.mp4"] and source.with_name("out.mp4").is_symlink()
    assert len(look(source.with_name("out.mp4")).pictures) == 20


@pytest.mark.parametrize(
    "argv, word",
    [
        (["absent.mp4", "out.mp4"], "no such file"),
        (["in.mp4", "in.mp4"], "is the input"),
        (["in.mp4"], "OUT"),
        (["in.mp4", "out.mp4", "--pattern", "hail"], "hail"),
        (["in.mp4", "out.mp4", "--runtime", "abacus"], "abacus"),
        (["in.mp4", "out.mp4", "--start", "soon"], "soon"),
        (["in.mp4", "out.mp4", "--start", "-1"], "-1"),
        (["in.mp4", "out.mp4", "--duration", "0"], "more than 0 s"),
        (["in.mp4", "out.mp4", "--codec", "h999"], "h999"),
        (["in.mp4", "out.mp4", "--codec", "\udce9"], "no encoder"),
        (["in.mp4", "out.mp4", "--rate", "0"], "--rate"),
        (["in.mp4", "out.mp4", "--rate", "1/0"], "--rate"),
        (["in.mp4", "out.mp4", "--start", "nan"], "nan"),
        (["in.mp4", "out.mp4", "--start", "1:2:3:4"], "give seconds or [h:]m:s"),
        (["in.mp4", "out.mp4", "--duration", "inf"], "duration inf s"),
        (["in.mp4", "out.mp4", "--threads", "9" * 30], "from 0 to 1024"),
        (["in.mp4", "out.mp4", "--mask", "in.mp4"], "is the input"),
        (["in.mp4", "out.mp4", "--mask", "out.mp4"], "another output"),
        (["in.mp4", "out.mp4", "--report", "in.mp4", "-y"], "is the input"),
        (["in.mp4", "out.mp4", "--trace", "out.mp4"], "another output"),
        (["in.mp4", "out.mp4", "--trace", "t.json", "--report", "t.json"], "another output"),
        (["in.mp4", "out.mp4", "--report", "absent/r.json"], "the folder absent is not there"),
        (["in.mp4", "out.mp4", "--report", "."], ".: is a folder; name a file"),
        (["in.mp4", "out.mp4", "--preset", "nope"], "--preset nope: libx264 has ultrafast"),
        (["in.mp4", ""], "neither a file nor a stream"),
        (["srt://127.0.0.1:9000", "out.mp4"], "rtsp, rtsps, rtmp"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(clip, command, capsys, monkeypatch, argv, word):
    monkeypatch.chdir(clip().parent)
    assert command(*argv) == 2
    said = capsys.readouterr().err
    assert word in said and said.count("\n") == 1 and "Traceback" not in said
    assert os.listdir() == ["in.mp4"]


@pytest.mark.parametrize("text, seconds", [("12.5", 12.5), ("1:02.5", 62.5), ("1:00:02", 3602)])
def test_times(text, seconds):
    assert cli._seconds(text) == seconds


SLOW = """
    import sys, time
    sys.path[:0] = [{tests!r}]
    from conftest import FakeRuntime
    from derain_video.pipeline import cli
    class Slow(FakeRuntime):
        def derain(self, *planes):
            time.sleep(0.02)
            return super().derain(*planes)
    cli.load = lambda *a, **k: Slow()
    print("ready", flush=True)
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_what_was_done(clip, look, number, code):
    source = clip(times=[i * 512 for i in range(400)])
    target = source.with_name("out.mp4")
    program = textwrap.dedent(SLOW.format(tests=str(Path(__file__).parent)))
    process = subprocess.Popen([sys.executable, "-c", program, source, target], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code, said
    assert "interrupted" in said and "Traceback" not in said
    assert 5 < len(look(target).pictures) < 400
    assert sorted(os.listdir(source.parent)) == ["in.mp4", "out.mp4"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("way", ["2>&-", "2>/dev/full"])
def test_a_stderr_that_nobody_reads_does_no_harm(clip, look, way):
    source = clip(times=[i * 512 for i in range(10)])
    program = "import sys; from derain_video.pipeline.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", program, str(source), str(source.with_name("out.mp4")), "--pattern", "clear"]
    assert subprocess.run(["sh", "-c", f'exec "$@" {way}', "sh", *words], check=False).returncode == 0
    assert len(look(source.with_name("out.mp4")).pictures) == 10


def test_options_in_a_file_that_is_no_text_are_refused(clip, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([f"@{clip()}", "out.mp4"])
    assert caught.value.code == 2 and "write ./@NAME for a file of that name" in capsys.readouterr().err
