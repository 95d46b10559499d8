"""The parts of the live pipeline that need no peer: boxes, the plan, faults, half size, what is shown of an address."""

import contextlib
import errno
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from live_peers import numbered

from derain_video.models.spec import PAST, STILL
from derain_video.pipeline.errors import OptionError, WriteError
from derain_video.pipeline.frame import LAYOUTS, Frame
from derain_video.pipeline.live import adts, cli, intake, outlet, serve, stream
from derain_video.pipeline.live.address import Address, is_live, redacted, segment_name
from derain_video.pipeline.live.clock import TICK, Backoff
from derain_video.pipeline.live.fault import reason
from derain_video.pipeline.live.intake import Arrival, Ended, Intake, Reading
from derain_video.pipeline.live.mailbox import Mailbox
from derain_video.pipeline.live.plan import Plan
from derain_video.pipeline.live.state import LiveReport, StateFolder
from derain_video.pipeline.live.stream import LiveJob, Stream, run_live
from derain_video.pipeline.video import Video


@pytest.mark.parametrize(
    "url, shown",
    [
        ("rtsp://me:se@cret@cam:554/1", "rtsp://...@cam:554/1"),
        ("rtsp://cam/1?user=me&password=secret", "rtsp://cam/1?..."),
        ("rtmp://host/live/secret", "rtmp://host/live/..."),
        ("http://cam/1?token=secret: gone", "http://cam/1?...: gone"),
        ("rtmp://host/live/secret: gone", "rtmp://host/live/...: gone"),
        ("rtmp://host/live/se/cret?a=secret", "rtmp://host/live/..."),
        ("udp://239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("cannot open rtsp://me:secret@cam/1: gone", "cannot open rtsp://...@cam/1: gone"),
    ],
)
def test_credentials_are_not_shown(url, shown):
    assert redacted(url) == shown
    assert str(Address(url)) == shown and "secret" not in repr(Address(url))


@pytest.mark.parametrize(
    "url, shown",
    [
        ("rtsp://admin:it's@cam/1", "rtsp://...@cam/1"),
        ('rtsp://bob:q"z w@cam/1', "rtsp://...@cam/1"),
        ("rtsp://cam/user=admin_password=secret_channel=1_stream=0.sdp", "rtsp://cam/user=admin_password=..._channel=1_stream=0.sdp"),
        ("rtsp://cam/user=admin&password=secret&channel=1", "rtsp://cam/user=admin&password=...&channel=1"),
        ("RTMP://host/app/secret", "RTMP://host/app/..."),
        ("rtmp://host/secret", "rtmp://host/..."),
        ("rtmp://host/app/", "rtmp://host/..."),
        ("rtsp:/me:secret@cam/1", "rtsp:/...@cam/1"),
        ("rtsp:/me:sec ret@cam/1", "rtsp:/...@cam/1"),
    ],
)
def test_credentials_of_odd_forms_are_not_shown(url, shown):
    assert str(Address(url)) == shown and Address(url).secret


@pytest.mark.parametrize(
    "parser, words",
    [
        (cli.parser, ["rtsp://cam/1", "o.mkv", "--bogus=rtsp://me:secret@cam/1"]),
        (cli.parser, ["rtsp://cam/1", "o.mkv", "--crf", "rtsp:/me:secret@cam/1"]),
        (serve.parser, ["s.toml", "rtmp://cam/secret"]),
    ],
)
def test_wrong_words_are_told_without_credentials(parser, words, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(words)
    said = capsys.readouterr().err
    assert "..." in said and "secret" not in said


def test_a_folder_for_the_report_is_refused_at_once(tmp_path):
    with pytest.raises(WriteError, match="is a folder; name a file"):
        cli.job_of(cli.parser().parse_args(["rtsp://cam/1", "o.mkv", "--report", str(tmp_path)]))


@pytest.mark.parametrize("enough, count", [(False, adts.LOOK), (True, 1)])
def test_sound_that_does_not_come_is_not_waited_for(enough, count):
    packets = iter([SimpleNamespace(stream_index=0, size=1)] * (adts.LOOK + 1))
    assert [len(adts.ahead(packets, SimpleNamespace(index=1), lambda: enough)[0]), len(list(packets))] == [count, adts.LOOK + 1 - count]


def test_pictures_that_waited_for_sound_are_no_measure_of_the_machine(monkeypatch):
    monkeypatch.setattr(adts, "LOOK", 5)
    monkeypatch.setattr(intake, "wears_headers", lambda stream: True)
    worker = Stream(LiveJob(Address("udp://127.0.0.1:9"), ()), None, LiveReport(), threading.Event())
    worker.intake._heard(iter([SimpleNamespace(stream_index=0, size=1)] * 8), [SimpleNamespace(index=1)])
    for number in range(8):
        picture = numbered(number)
        picture.pts, picture.time_base = number, Fraction(1, 25)
        worker.intake._see(picture, SimpleNamespace(average_rate=25, sample_aspect_ratio=None), None)
    told = []
    monkeypatch.setattr(Plan, "tell", lambda plan, now, arrived, done: told.append((arrived, done)))
    worker._tell()
    assert worker.report.arrived == 8 and told == [(3, 0)]


@pytest.mark.parametrize(
    "words, live",
    [("in.mp4 out.mp4", False), ("rtsp://a/b out.mp4", True), ("in.mp4 -", True), ("/dev/video0 out.mkv", True), ("in.m3u8 out.mp4", False)],
)
def test_which_pipeline(words, live):
    assert is_live(words.split()) == live


def test_recordings_are_named_by_the_time(tmp_path):
    assert segment_name(tmp_path / "a.mp4") == str(tmp_path / "a_%Y%m%d-%H%M%S.mp4")
    assert segment_name(tmp_path / "%H.mkv") == str(tmp_path / "%H.mkv")


def test_a_full_box_drops_the_oldest_and_counts():
    box = Mailbox(2)
    assert [box.put(i) for i in range(4)] == [None, None, 0, 1]
    assert (box.get(0), box.get(0), box.get(0), box.dropped) == (2, 3, None, 2)
    box.close()
    assert box.put(5) == 5 and box.dropped == 3 and box.over


def test_a_box_that_waits_loses_nothing():
    box, got = Mailbox(2, wait=True), []
    thread = threading.Thread(target=lambda: [box.put(i) for i in range(50)])
    thread.start()
    while len(got) < 50:
        got.append(box.get(1))
    thread.join()
    assert got == list(range(50)) and box.dropped == 0


def test_the_plan_gives_up_in_order_and_tries_again_ever_more_rarely():
    plan, now, done, went = Plan(patience=5, retry=60), 0.0, 0, []
    for second in range(180):
        now, arrived = float(second), second * 25
        done += {"full": 5, "fast": 8, "half": 25, "pass": 25}[plan.level]
        if plan.tell(now, arrived, done):
            went.append((second, plan.level))
    assert [level for _, level in went] == ["fast", "half", "fast", "half"]
    assert 60 <= went[2][0] - went[1][0] < 70 and plan.retry == 120


def yuv(height, width, value):
    y = np.full((height, width), value, np.uint8)
    return Frame((y, y[::2, ::2].copy(), y[::2, ::2].copy()), LAYOUTS["yuv420p"], time_base=Fraction(1, 25))


@pytest.mark.parametrize(
    "error, words",
    [
        (av.ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused", "rtsp://me:secret@cam"), "nothing listens there"),
        (av.HTTPUnauthorizedError(1, "Server returned 401 Unauthorized", "rtsp://me:secret@cam"), "user or password missing or refused"),
        (av.HTTPServerError(1, "Server returned 5XX Server Error reply", "http://me:secret@cam"), "the server itself has a fault"),
        (av.HTTPOtherClientError(1, "Server returned 4XX Client Error", "http://me:secret@cam"), "the server takes no such request"),
        (av.OSError(errno.EIO, "Input/output error", "rtsp://me:secret@cam"), "input/output error; is the host's name right"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "the other side closed the connection"),
        (OSError(errno.ENOSPC, "No space left on device", "rec.mkv"), "no room left on the disk"),
        (OSError(errno.EDOM, "an odd fault", "rtsp://me:secret@cam"), "an odd fault"),
    ],
)
def test_a_fault_is_told_in_words_that_help(error, words):
    assert reason(error).startswith(words) and "secret" not in reason(error)
    assert redacted(reason(error)) == reason(error)


@pytest.mark.parametrize("scheme, words", [("udp", "nothing comes; is the sender on"), ("https", "it redirects in a circle, or sends no video")])
def test_an_input_output_error_is_told_by_what_the_input_is(scheme, words):
    assert reason(OSError(errno.EIO, "Input/output error"), scheme).startswith(words)


def test_what_was_seen_before_a_reconnect_is_forgotten(runtime, monkeypatch):
    video = Video(96, 64, LAYOUTS["yuv420p"], TICK, Fraction(25), tags=(1, 1, 1, 1), aspect=None)

    def connect(intake):
        for number, session in enumerate([1, 1, 1, 2, 2, 2]):
            intake.frames.put(Arrival(yuv(64, 96, 100).replace(pts=3600 * number), video, None, 0.0, session))
        intake.halt()

    monkeypatch.setattr(Intake, "_connect", connect)
    report = LiveReport()
    run_live(LiveJob(Address("rtsp://camera/1"), (), Reading(wait=True)), runtime, report)
    assert report.frames == 6 and [call[0] for call in runtime.calls] == [STILL, PAST, PAST] * 2


def test_the_state_shows_pictures_that_come_between_two_tellings(runtime, tmp_path, monkeypatch):
    video, seen = Video(96, 64, LAYOUTS["yuv420p"], TICK, Fraction(1), tags=(1, 1, 1, 1), aspect=None), []

    def connect(intake):
        for number in range(3):
            intake.frames.put(Arrival(yuv(64, 96, 100).replace(pts=90000 * number), video, None, 0.0, 1))
            time.sleep(0.45)
        time.sleep(0.5)
        intake.halt()

    monkeypatch.setattr(Intake, "_connect", connect)
    monkeypatch.setattr(stream, "TELL_EVERY", 0.3)
    monkeypatch.setattr(StateFolder, "tell", lambda folder, report, shown=None: seen.append(shown))
    run_live(LiveJob(Address("rtsp://camera/1"), (), Reading(wait=True), state=tmp_path), runtime)
    assert [shown[0].pts for shown in seen if shown] == [0, 90000, 180000]


def test_connections_that_gave_pictures_are_no_failures(monkeypatch):
    pictured, camera = iter([1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0]), Intake(Address("rtsp://cam/1"), Reading(attempts=2), LiveReport())
    monkeypatch.setattr(Intake, "_read", lambda intake, container: setattr(intake, "_pictured", next(pictured)))
    monkeypatch.setattr(Intake, "_open", lambda intake: contextlib.nullcontext())
    monkeypatch.setattr(Backoff, "next", lambda backoff: 0.0)
    camera._run()
    assert isinstance(camera.fault, Ended) and camera.report.reconnects == 6


def test_a_state_folder_that_was_removed_comes_back(tmp_path):
    folder, report = StateFolder(tmp_path / "state"), LiveReport()
    (tmp_path / "state").rmdir()
    folder.tell(report)
    assert (tmp_path / "state" / "state.json").exists() and report.notes == []


def test_an_output_that_never_opens_was_sent_nothing(clip, runtime):
    report = LiveReport()
    job = LiveJob(Address(str(clip(width=96, height=64))), (Address("tcp://127.0.0.1:9"),))
    with pytest.raises(WriteError, match=":9: took none of 20 frames"):
        run_live(job, runtime, report)
    (output,) = report.outputs
    assert (report.frames, output.sent, output.dropped) == (20, 0, 20)


def test_an_output_whose_process_cannot_be_fed_hangs_nothing(clip, runtime, tmp_path, monkeypatch):
    def refused(*args):
        raise ValueError("'nut' takes none of it")

    monkeypatch.setattr(outlet, "Relay", refused)
    report = LiveReport()
    with pytest.raises(WriteError, match="took none of 20 frames"):
        run_live(LiveJob(Address(str(clip())), (Address(str(tmp_path / "rec.mkv")),)), runtime, report)
    assert report.outputs[0].dropped == 20 and report.outputs[0].reconnects


@pytest.mark.parametrize(
    "target, said",
    [
        ("srt://server:9000", "nothing can be written there"),
        ("", "nothing can be written there"),
        ("none/rec.mkv", "the folder none is not there"),
        ("none/%Y/rec.mkv", "the folder none is not there"),
        ("none/live.m3u8", "the folder none is not there"),
        ("%Y/live.m3u8", "the folder %Y is not there"),
        ("cam%02d.m3u8", "name the playlist without it"),
        ("rec.webm", "no container of that ending holds H.264"),
        ("rec", "no container of that ending holds H.264"),
    ],
)
def test_an_output_that_can_never_be_written_is_refused(target, said):
    with pytest.raises((OptionError, WriteError), match=said):
        LiveJob(Address("rtsp://camera/1"), (Address("udp://127.0.0.1:9"), Address(target)))


def test_the_large_network_comes_back(fake):
    large, small = fake(), fake()
    worker = Stream(LiveJob(Address("rtsp://camera/1"), ()), large, LiveReport(), threading.Event(), lambda: small)
    used = []
    for at in (1, 2, 1, 0, 1):
        worker.plan.at = at
        worker._change()
        used.append(worker.runtime)
    assert worker.plan.levels[:2] == ["full", "fast"] and used == [small, small, small, large, small]


def test_folders_named_by_the_time_are_made(clip, runtime, tmp_path):
    job = LiveJob(Address(str(clip())), (Address(str(tmp_path / "%Y" / "rec.mkv")), Address("udp://127.0.0.1:9")), Reading(wait=True))
    assert run_live(job, runtime)
    assert len(list(tmp_path.glob("[0-9]*/rec_*.mkv"))) == 1
