"""The process behind one output: NUT on stdin, copied to a server, a playlist, recordings or stdout.

A process of its own, since FFmpeg's outputs may hang in connecting, and Python's lock with them; this one can be killed.
Told by the environment, which others cannot see: a URL with a password on a command line would show in `ps`.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import av

from ..carried import refusal
from ..fragments import cut
from ..place import file_url
from .address import SILENCE, SOUND, Address, redacted, segment_name, segments
from .fault import reason

VARIABLE = "DERAIN_RELAY"

UNHEARD = 3 * SILENCE
"""Seconds for which a peer may leave in the system's buffers what it is sent: longer than a network's short breaks."""

TS_PACKET = 188
"""Bytes; MPEG-TS is made of such packets alone."""

LATE = 1.0
"""Seconds by which sound may come after its pictures and still be in the same file; no more than a file's least length."""

FRAGMENTS = (".mp4", ".mov", ".m4v")

FRAGMENTED = {"movflags": "hybrid_fragmented+delay_moov", "flush_packets": "1", "frag_duration": "1000000"}

CLUSTERED = {"flush_packets": "1", "cluster_time_limit": "250"}

FIRST = {"analyzeduration": "100000", "probesize": "65536", "fpsprobesize": "0"}
"""The parent tells everything in the header: look no further."""


class Writer(Protocol):
    def mux(self, packet: av.Packet[Any]) -> None: ...

    def close(self) -> None: ...


def say(word: str, text: object = "") -> None:
    """A line for the parent: `open`, `note ...`, `error ...`, or `gone ...` of an error that stays."""
    print(word, " ".join(redacted(str(text)).split()), file=sys.stderr, flush=True)


class Push:
    """One output container, for as long as the programme lasts."""

    def __init__(self, name: str, form: str, options: dict[str, str], streams: Sequence[av.stream.Stream]) -> None:
        self.container = av.open(name, "w", format=form or None, container_options=options)
        self.streams = {stream.index: added for stream in streams if (added := self._add(stream))}
        self.container.start_encoding()
        bound_waiting()

    def mux(self, packet: av.Packet[Any]) -> None:
        if stream := self.streams.get(packet.stream_index):
            packet.stream = stream
            self.container.mux_one(packet)

    def close(self) -> None:
        self.container.close()

    def _add(self, stream: av.stream.Stream) -> av.stream.Stream | None:
        form, name = self.container.format.name, stream.codec_context.name
        try:
            if stream.type == "audio" and (name not in SOUND[form] if form in SOUND else refusal(stream, form)):
                raise ValueError(name)
            return self.container.add_stream_from_template(stream, opaque=True)
        except ValueError:
            say("note", f"not kept: sound: {form} cannot hold {name}")
            return None


def bound_waiting() -> None:
    """Has the system end connections whose peer takes nothing for UNHEARD: at few bits/s its buffers would hide that for minutes. Linux only."""
    if sys.platform != "linux":
        return
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # whatever is no such socket refuses
            peer = socket.socket(fileno=int(number))
            try:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNHEARD * 1000))
            finally:
                peer.detach()  # it is FFmpeg's


class Playlist(Push):
    """A rolling playlist. FFmpeg goes on without a word when the disk is full: its segments end then before they should, or are empty."""

    def __init__(self, address: Address, streams: Sequence[av.stream.Stream]) -> None:
        self.path = Path(address.url)
        super().__init__(address.url, address.format, address.write_options(), streams)

    def mux(self, packet: av.Packet[Any]) -> None:
        begins = packet.is_keyframe and packet.stream.type == "video"
        super().mux(packet)
        if begins:
            self._check()

    def _check(self) -> None:
        """OSError if the newest segment is not whole. It is removed: the next attempt would find it again."""
        with contextlib.suppress(FileNotFoundError):  # somebody else tidies up
            newest = max(own_segments(self.path), key=lambda path: path.stat().st_mtime_ns, default=None)
            if newest and (not (size := newest.stat().st_size) or size % TS_PACKET):
                newest.unlink()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(newest))


@dataclass
class Part:
    """One file of a recording. begin: of its first picture, in seconds."""

    path: Path
    begin: float
    push: Push | None = None

    def mux(self, packet: av.Packet[Any]) -> None:
        packet.pts = packet.dts = (packet.pts or 0) - round(self.begin / float(packet.time_base))
        if self.push and packet.pts >= 0:
            self.push.mux(packet)

    def close(self) -> None:
        if self.push:
            self.push.close()

    def leave(self) -> None:
        """What is left of it plays, or goes: a disk that stays full would get one more such file with each attempt."""
        with contextlib.suppress(av.FFmpegError, OSError):  # the fault that led here is the one to tell
            self.close()
        with contextlib.suppress(OSError):
            if self.path.is_file() and not self.path.stat().st_size:
                self.path.unlink()
            elif self.path.is_file() and self.path.suffix in FRAGMENTS:
                cut(self.path)


class Recording:
    """Files of `seconds` each, that begin with a key frame and at time 0; a crash leaves the last one playable."""

    def __init__(self, pattern: str, seconds: float, streams: Sequence[av.stream.Stream]) -> None:
        self.pattern, self.seconds, self.streams = pattern, seconds, streams
        self.parts: list[Part] = []  # the last one, and before it the one whose sound is still coming

    def mux(self, packet: av.Packet[Any]) -> None:
        try:
            self._mux(packet)
        except (av.FFmpegError, OSError):
            for part in self.parts:
                part.leave()
            raise

    def close(self) -> None:
        for part in self.parts:
            part.close()

    def _mux(self, packet: av.Packet[Any]) -> None:
        video = self.streams[packet.stream_index].type == "video"
        at = float((packet.pts or 0) * packet.time_base)
        if video and packet.is_keyframe and (not self.parts or at - self.parts[-1].begin >= self.seconds):
            self._next(at)
        if len(self.parts) > 1 and at - self.parts[-1].begin >= (LATE if video else 0.0):
            self.parts.pop(0).close()
        if self.parts:
            self.parts[-1 if at >= self.parts[-1].begin else 0].mux(packet)

    def _next(self, at: float) -> None:
        path = Path(free_name(time.strftime(self.pattern)))
        path.parent.mkdir(parents=True, exist_ok=True)  # named by the time, too, perhaps
        self.parts.append(Part(path, at))
        options = FRAGMENTED if path.suffix in FRAGMENTS else CLUSTERED
        self.parts[-1].push = Push(file_url(path), "", options, self.streams)


def free_name(name: str) -> str:
    """The name, or with the least number that makes it new."""
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(name).with_stem(f"{Path(name).stem}-{number}")
    return str(path)


def open_writer(address: Address, segment: float, streams: Sequence[av.stream.Stream]) -> Writer:
    if address.scheme == "file":
        return Recording(segment_name(Path(address.url)), segment, streams)
    if address.scheme == "hls":
        forget(Path(address.url))
        return Playlist(address, streams)
    name = "pipe:1" if address.scheme == "-" else _sized(address)
    return Push(name, address.format, address.write_options(), streams)


def forget(playlist: Path) -> None:
    """Removes segments of an earlier run that the playlist has left behind: FFmpeg knows of those alone that it made itself."""
    with contextlib.suppress(OSError):
        listed = [number for name in playlist.read_text(encoding="utf-8").splitlines() if (number := _number(playlist, name)) is not None]
        for path in own_segments(playlist):
            if (_number(playlist, path.name) or 0) < min(listed, default=0):
                path.unlink()


def own_segments(playlist: Path) -> list[Path]:
    return [path for path in playlist.parent.glob(f"{glob.escape(playlist.stem)}-*.ts") if _number(playlist, path.name) is not None]


def _number(playlist: Path, name: str) -> int | None:
    """Of a segment of the playlist; None of any other file."""
    word = name.removeprefix(f"{playlist.stem}-").removesuffix(".ts")
    return int(word) if word.isdecimal() and name == Path(segments(playlist, word)).name else None


def _sized(address: Address) -> str:
    """UDP in packets of seven, which fit every network."""
    if address.scheme != "udp" or "pkt_size" in address.url:
        return address.url
    return f"{address.url}{'&' if '?' in address.url else '?'}pkt_size=1316"


def relay(address: Address, segment: float) -> None:
    with av.open("pipe:0", format="nut", options=FIRST) as source:
        writer = open_writer(address, segment, list(source.streams))
        for count, packet in enumerate(packet for packet in source.demux() if packet.size):
            writer.mux(packet)
            if not count:
                say("open")  # not before: a recording opens its file with the first picture
        writer.close()


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # stdin ends when the parent ends, in whatever way
    told = json.loads(os.environ.pop(VARIABLE))
    address = Address(told["url"])
    try:
        relay(address, told["segment"])
    except (av.FFmpegError, OSError, ValueError) as error:
        say("gone" if address.scheme == "-" and isinstance(error, BrokenPipeError) else "error", reason(error))
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a container whose peer is gone may hang once more in closing
