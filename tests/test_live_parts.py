"""The parts of the live pipeline that need no peer: clocks, boxes, the plan, half size, what is shown of an address."""

import contextlib
import errno
import gc
import os
import re
import socket
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
from live_peers import grows, numbered

from derain_video.models.spec import PAST, STILL
from derain_video.pipeline.codec import Settings
from derain_video.pipeline.errors import OptionError, WriteError
from derain_video.pipeline.frame import LAYOUTS, Frame
from derain_video.pipeline.live import adts, cli, intake, outlet, relay, serve, stream
from derain_video.pipeline.live.address import Address, is_live, redacted, segment_name
from derain_video.pipeline.live.clock import JUMP, STANDING, TICK, Backoff, Timeline
from derain_video.pipeline.live.fault import reason
from derain_video.pipeline.live.intake import Arrival, Ended, Intake, Reading
from derain_video.pipeline.live.mailbox import Mailbox
from derain_video.pipeline.live.plan import Plan
from derain_video.pipeline.live.programme import Piece, Programme
from derain_video.pipeline.live.relay import forget, open_writer
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


def test_segments_of_an_earlier_run_are_removed_and_nothing_else(tmp_path):
    kept = {"my cam-7.ts", "my cam-8.ts", "my cam-1-2.ts", "my cam-20261128.ts", "my cam1.ts", "my camera-1.ts", "my cam.ts", "other-1.ts"}
    for name in ("my cam-1.ts", "my cam-6.ts", *kept):
        (tmp_path / name).touch()
    (tmp_path / "my cam.m3u8").write_text("#EXTM3U\n#EXTINF:2.0,\nmy cam-7.ts\n#EXTINF:2.0,\nmy cam-8.ts\n")
    forget(tmp_path / "my cam.m3u8")
    assert {path.name for path in tmp_path.glob("*.ts")} == kept
    (tmp_path / "my cam.m3u8").write_text("#EXTM3U\n")
    forget(tmp_path / "my cam.m3u8")
    assert {path.name for path in tmp_path.glob("*.ts")} == kept
    forget(tmp_path / "absent.m3u8")


def packets(count):
    """A stream, and its packets 40 ms apart."""
    programme = Programme(Video(192, 128, LAYOUTS["yuv420p"], TICK, Fraction(25), tags=(1, 1, 1, 1), aspect=None), None, Settings())
    return programme, [packet_of(programme.stream, piece) for frame in noise(count) for piece in programme.encode(frame, 0.0)]


def packet_of(stream, piece):
    packet = av.Packet(piece.data)
    packet.pts = packet.dts = piece.pts
    packet.time_base, packet.is_keyframe, packet.stream = TICK, piece.key, stream
    return packet


def test_playlists_in_one_folder_share_no_segment_and_numbers_go_on(tmp_path):
    for name in ("cam", "cam-1", "cam1", "cam"):
        programme, pictures = packets(60)
        writer = open_writer(Address(str(tmp_path / f"{name}.m3u8")), 60.0, [programme.stream])
        for packet in pictures:
            writer.mux(packet)
        writer.close()
    listed = {name: re.findall(r".*\.ts", (tmp_path / f"{name}.m3u8").read_text()) for name in ("cam", "cam-1", "cam1")}
    assert listed == {"cam": [f"cam-{n}.ts" for n in range(4)], "cam-1": ["cam-1-0.ts", "cam-1-1.ts"], "cam1": ["cam1-0.ts", "cam1-1.ts"]}
    assert {path.name for path in tmp_path.glob("*.ts")} == {name for names in listed.values() for name in names}


@pytest.mark.parametrize("size", [0, 4096])
def test_a_playlist_on_a_full_disk_is_a_fault(tmp_path, size):
    programme, pictures = packets(130)
    writer = open_writer(Address(str(tmp_path / "cam.m3u8")), 60.0, [programme.stream])
    for packet in pictures[:60]:
        writer.mux(packet)
    os.truncate(tmp_path / "cam-0.ts", size)  # as FFmpeg leaves it
    with pytest.raises(OSError, match="No space left"):
        for packet in pictures[60:]:
            writer.mux(packet)
    assert not (tmp_path / "cam-0.ts").exists()
    writer.close()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can end such a connection")
def test_a_server_that_hangs_is_noticed_although_buffers_take_what_it_is_sent(monkeypatch):
    monkeypatch.setattr(relay, "UNHEARD", 0.5)
    programme, pictures = packets(100)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        writer = open_writer(Address(f"tcp://127.0.0.1:{server.getsockname()[1]}"), 60.0, [programme.stream])
        with pytest.raises(av.TimeoutError):
            for packet in pictures:
                writer.mux(packet)
                time.sleep(0.04)


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


@pytest.mark.parametrize("ending", ["mkv", "mp4"])
@pytest.mark.parametrize("late", [0, 7, 20])
def test_sound_that_comes_after_its_pictures_is_in_the_same_file(tmp_path, monkeypatch, ending, late):
    """late: by so many pictures."""
    names = iter([str(tmp_path / f"{number}.{ending}") for number in range(4)])
    monkeypatch.setattr(relay, "free_name", lambda name: next(names))
    programme, pictures = packets(100)
    with av.open(str(tmp_path / "sound.nut"), "w") as holder:
        streams = [holder.add_stream_from_template(programme.stream, opaque=True), holder.add_stream("aac", rate=48000, layout="mono")]
        holder.start_encoding()
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 48000
        sound = next(bytes(packet) for _ in range(9) for packet in streams[1].encode(silence))
        writer = open_writer(Address(str(tmp_path / f"rec.{ending}")), 1.0, streams)
        for number, packet in enumerate(pictures):
            writer.mux(packet)
            if number >= late:
                writer.mux(packet_of(streams[1], Piece(False, sound, 3600 * (number - late) + 1800, 2160, True, 0.0)))
        writer.close()
    kept = []
    for number in range(4):
        with av.open(str(tmp_path / f"{number}.{ending}")) as container:
            kept.append(sum(packet.size > 0 for packet in container.demux(audio=0)))
    assert kept == [25, 25, 25, 25 - late]


def test_pictures_without_stamps_come_one_after_the_other():
    clock = Timeline(now=lambda: 5.0)
    assert [clock.picture(None, 9000) for _ in range(3)] == [0, 9000, 18000]


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


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_time_goes_on_across_connections_jumps_and_missing_stamps():
    clock = Clock()
    line = Timeline(clock)
    stamps = []
    for connection, begin in enumerate((5000.0, 3.0, -77.0)):
        line.reset()
        for i in range(5):
            clock.now = 100 + connection * 10 + i * 0.04
            stamps.append(line.picture(begin + i * 0.04))
    assert stamps[5] == 10 * 90000 and stamps[10] == 20 * 90000
    assert np.allclose(np.diff(stamps).reshape(-1)[[0, 1, 2, 3, 5, 6, 7, 8]], 3600, atol=1)
    clock.now += 0.04
    stamps.append(line.picture(90000.0))  # the camera's clock was set
    assert stamps[-1] == pytest.approx(20.2 * 90000, abs=2)
    stamps += [line.picture(90000.0), line.picture(89999.99), line.picture(None)]
    assert all(b > a for a, b in zip(stamps, stamps[1:], strict=False))


def test_sound_keeps_its_distance_to_the_pictures():
    clock = Clock()
    line = Timeline(clock)
    assert line.sound(7.0) is None
    first = line.picture(7.0)
    assert line.sound(7.5) == first + 45000
    assert line.sound(7.5) is None and line.sound(6.0) is None


def test_sound_survives_a_camera_whose_clock_is_set():
    """What is heard by the new clock before a picture has shown it is lost, and no more."""
    clock = Clock()
    line, kept = Timeline(clock), []
    for k in range(200):
        clock.now += 0.04
        jump = 3600.0 if k > 100 else 0.0
        kept.append(line.sound(k * 0.04 + 0.02 + (3600.0 if k > 99 else 0.0)))  # sound comes first
        line.picture(k * 0.04 + jump)
    stamps = [stamp for stamp in kept if stamp is not None]
    assert len(stamps) >= 197 and max(np.diff(stamps)) < 0.2 * 90000


@pytest.mark.parametrize("speed", [0.5, 0.99, 1.05, 2.0])
def test_a_clock_of_another_speed_stays_near_ours_and_sound_in_step(speed):
    clock = Clock()
    line, off, apart = Timeline(clock, off=JUMP), [], []
    for number in range(25 * 120):
        stamp, heard = line.picture(number * 0.04 * speed), line.sound(number * 0.04 * speed + 0.001)
        off.append(abs(stamp / 90000 - (clock.now - 100)))
        apart += [abs(heard - stamp)] if heard is not None else []
        clock.now += 0.04
    assert max(off) < JUMP + 0.1 and max(apart) < 100 and len(apart) > 25 * 120 * 0.4


def test_a_clock_that_stands_still_is_not_gone_by(monkeypatch):
    clock, video = Clock(), SimpleNamespace(average_rate=25, sample_aspect_ratio=None)
    camera, picture = Intake(Address("udp://127.0.0.1:9"), Reading(wait=True), LiveReport()), numbered(0)
    camera.frames, camera._timeline = Mailbox(100), Timeline(clock)
    monkeypatch.setattr(time, "monotonic", clock)
    for number in range(100):
        picture.pts, picture.time_base = 0 if number else 9, Fraction(1, 25)
        camera._see(picture, video, None)
        clock.now += 0.04
    stamps = [arrival.frame.pts for arrival in camera.frames.drain()]
    assert np.diff(stamps[30:]).tolist() == [3600] * 69 and grows(stamps)
    assert camera.report.notes == ["udp://127.0.0.1:9: its clock stands still: pictures get the time at which they come"]


def test_a_picture_may_stand_in_a_file_that_is_read_ahead():
    clock = Clock()
    line = Timeline(clock, ahead=STANDING)
    assert np.diff([line.picture(seconds) for seconds in (0.0, 30.0, 60.0, 60.04)]).tolist() == [2_700_000, 2_700_000, 3_600]


def test_backoff_doubles_to_a_bound_and_spreads():
    plain = Backoff(0.5, 4.0, lambda: 0.5)
    assert [plain.next() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    plain.reset()
    assert plain.next() == 0.5
    assert len({round(Backoff().next(), 6) for _ in range(10)}) > 5


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


def noise(count):
    """Frames 40 ms apart that no encoder can make small."""
    rng = np.random.default_rng(0)
    for number in range(count):
        y = rng.integers(0, 255, (128, 192), np.uint8)
        yield Frame((y, y[::2, ::2].copy(), y[::2, ::2].copy()), LAYOUTS["yuv420p"], number * 3600, TICK, 3600)


def test_the_most_bits_hold_when_a_camera_becomes_faster():
    programme = Programme(Video(192, 128, LAYOUTS["yuv420p"], TICK, Fraction(10), tags=(1, 1, 1, 1), aspect=None), None, Settings(), 300_000)
    programme.pace(Fraction(25))
    pieces = [piece for frame in noise(200) for piece in programme.encode(frame, 0.0)]
    assert pieces[0].key and [piece.pts for piece in pieces] == [3600 * number for number in range(200)]
    assert sum(len(piece.data) for piece in pieces[25:]) * 8 / 7 < 330_000
    assert np.diff([piece.pts for piece in pieces if piece.key]).tolist() == [90000] * 7  # and a key frame comes each second


def resident():
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_an_encoder_goes_with_its_programme():
    frames, grown = list(noise(3)), []
    gc.disable()
    try:
        for _ in range(50):
            programme = Programme(Video(192, 128, LAYOUTS["yuv420p"], TICK, Fraction(25), tags=(1, 1, 1, 1), aspect=None), None, Settings())
            assert all(programme.encode(frame, 0.0) for frame in frames)
            grown.append(resident())
    finally:
        gc.enable()
    assert grown[-1] - grown[9] < 10  # 40 encoders of more than a MiB each


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
