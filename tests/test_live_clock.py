"""Stamps that only grow, whatever the camera's clock does."""

import contextlib
import http.server
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
from live_peers import grows, job_of, live, numbered, until

from derain_video.pipeline.live.address import Address
from derain_video.pipeline.live.clock import JUMP, STANDING, Backoff, Timeline
from derain_video.pipeline.live.intake import Intake, Reading
from derain_video.pipeline.live.mailbox import Mailbox
from derain_video.pipeline.live.state import LiveReport


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_pictures_without_stamps_come_one_after_the_other():
    clock = Timeline(now=lambda: 5.0)
    assert [clock.picture(None, 9000) for _ in range(3)] == [0, 9000, 18000]


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


def test_live_video_over_http_from_a_fast_clock_is_not_held_back(runtime, tmp_path):
    sent = []

    class Camera(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError), av.open(self.wfile, "w", format="mpegts", options={"flush_packets": "1"}) as out:
                video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency", "g": "25"})
                video.width, video.height = 128, 64
                while True:
                    picture = numbered(len(sent))
                    picture.pts, picture.time_base = 2 * len(sent), Fraction(1, 25)
                    out.mux(video.encode(picture))
                    sent.append(picture.pts)
                    time.sleep(0.04)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera) as camera:
        threading.Thread(target=camera.serve_forever, daemon=True).start()
        with live(job_of(f"http://127.0.0.1:{camera.server_port}/", tmp_path / "rec.mkv"), runtime) as report:
            until(lambda: len(sent) > 75)
            assert len(sent) - report.arrived < 20
        camera.shutdown()
