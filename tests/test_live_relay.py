"""What goes out: segments of playlists, files of recordings, a server that hangs; the encoder before them."""

import gc
import os
import re
import socket
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from derain_video.pipeline.codec import Settings
from derain_video.pipeline.frame import LAYOUTS, Frame
from derain_video.pipeline.live import relay
from derain_video.pipeline.live.address import Address
from derain_video.pipeline.live.clock import TICK
from derain_video.pipeline.live.programme import Piece, Programme
from derain_video.pipeline.live.relay import forget, open_writer
from derain_video.pipeline.video import Video


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


def noise(count):
    """Frames 40 ms apart that no encoder can make small."""
    rng = np.random.default_rng(0)
    for number in range(count):
        y = rng.integers(0, 255, (128, 192), np.uint8)
        yield Frame((y, y[::2, ::2].copy(), y[::2, ::2].copy()), LAYOUTS["yuv420p"], number * 3600, TICK, 3600)


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
