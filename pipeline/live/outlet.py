"""One output of a live run: a thread that feeds a process (relay.py), and starts it again whenever it fails."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from typing import IO, Any, cast

import av

from ..errors import line
from .address import SILENCE, Address
from .clock import TICK, Backoff
from .mailbox import Mailbox
from .programme import Piece, Programme
from .relay import VARIABLE
from .state import LiveReport, OutputReport

DEPTH = 150
"""Packets that wait for an output; more, and it is given up to the next key frame."""

OPENING = 10.0
"""Seconds that an output may take to connect."""

HEALTHY = 10.0

log = logging.getLogger("derain_video")


class Broken(Exception):
    """The process or its peer failed."""


class Pipe:
    """The relay's stdin for PyAV, which wants every write whole."""

    def __init__(self, stdin: IO[bytes]) -> None:
        self.stdin = stdin

    def write(self, data: bytes) -> int:
        self.stdin.write(data)
        self.stdin.flush()
        return len(data)


class Relay:
    """One run of the process, for one programme."""

    def __init__(self, address: Address, segment: float, programme: Programme, told: OutputReport, report: LiveReport) -> None:
        self.programme, self.told, self.report, self.name = programme, told, report, str(address)
        environment = {**os.environ, VARIABLE: json.dumps({"url": address.url, "segment": segment})}
        command = [sys.executable, "-m", "derain_video.pipeline.live.relay"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        self.begun, self.blocked, self.opened, self.why = time.monotonic(), 0.0, False, "the output process ended"
        self.gone = False  # for ever
        self.fed = self.sent = 0  # frames that count as sent once it is open, and those that do
        self._listener = threading.Thread(target=self._listen, name="derain-outlet", daemon=True)
        self._listener.start()
        pipe = Pipe(cast("IO[bytes]", self.process.stdin))
        try:
            self._container = av.open(pipe, "w", format="nut", container_options={"flush_packets": "1", "max_interleave_delta": "100000"})
            self._video = self._container.add_stream_from_template(programme.stream, opaque=True)
            self._sound = self._container.add_stream_from_template(programme.sound.stream, opaque=True) if programme.sound else None
        except BaseException:
            self.kill()
            raise

    def write(self, piece: Piece) -> None:
        stream = self._video if piece.video else self._sound
        if stream is None:
            return
        packet: av.Packet[Any] = av.Packet(piece.data)
        packet.pts = packet.dts = piece.pts
        packet.time_base, packet.duration, packet.is_keyframe, packet.stream = TICK, piece.duration, piece.key, stream
        self.blocked = time.monotonic()
        try:
            self._container.mux_one(packet)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise Broken(self._reason()) from error
        finally:
            self.blocked = 0.0

    def check(self) -> None:
        """Broken if the process has ended."""
        if self.process.poll() is not None:
            raise Broken(self._reason())

    def watch(self) -> None:
        """Kills the process if it has hung for too long. Called by another thread than the writing one."""
        now, blocked = time.monotonic(), self.blocked
        if (blocked and now - blocked > SILENCE) or (not self.opened and now - self.begun > OPENING):
            self.why = "it hangs" if self.opened else f"it does not open within {OPENING:g} s"
            self.kill()

    def kill(self) -> None:
        self.process.kill()

    def close(self) -> None:
        """Ends it well, if it can be."""
        self.blocked = time.monotonic()
        with contextlib.suppress(av.FFmpegError, OSError, ValueError):
            self._container.close()
        with contextlib.suppress(OSError):
            cast("IO[bytes]", self.process.stdin).close()
        try:
            self.process.wait(SILENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            self.process.wait()
        self._listener.join()
        cast("IO[bytes]", self.process.stderr).close()

    def _reason(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)
        self._listener.join(0.5)
        return self.why

    def _listen(self) -> None:
        for told in cast("IO[bytes]", self.process.stderr):
            word, _, text = told.decode(errors="replace").strip().partition(" ")
            if word == "open":
                self.opened = self.told.up = True
                log.info("%s: open", self.name)
            elif word == "note":
                self.report.note(f"{self.name}: {text}")
            elif word in ("error", "gone"):
                self.why, self.gone = text, word == "gone"
            else:
                log.debug("%s: %s %s", self.name, word, text)


class Outlet:
    """Takes pieces and never waits. While the peer is away they are dropped, counted; it begins with a key frame again.

    whole: it waits for a peer that is there, so that nothing is lost, until `stop` is set.
    """

    def __init__(self, address: Address, segment: float, report: LiveReport, stop: threading.Event, whole: bool = False) -> None:
        self.address, self.segment, self.report, self.stop, self.whole = address, segment, report, stop, whole
        self.told = OutputReport(str(address))
        report.outputs.append(self.told)
        self._box: Mailbox[tuple[Programme, Piece]] = Mailbox(DEPTH)
        self._relay: Relay | None = None
        self._backoff = Backoff()
        self._accepts, self._needs_key = True, True
        self.gone = False  # whether whoever read it has gone for ever: of a pipe alone
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name="derain-outlet", daemon=True)
        self._thread.start()

    @property
    def wants_key(self) -> bool:
        """It could go on at once, with a key frame."""
        return self._accepts and self._needs_key

    def give(self, programme: Programme, piece: Piece) -> None:
        if not self._accepts or (self._needs_key and not (piece.video and piece.key)):
            self._drop((programme, piece))
            return
        self._needs_key = False
        while self.whole and self._box.full and self._accepts and not self.stop.wait(0.005):
            self._watch()
        if lost := self._box.put((programme, piece)):
            self._needs_key = True
            self._drop(lost, *self._box.drain())
        self._watch()

    def idle(self) -> None:
        """Nothing to give: look after the process all the same."""
        self._watch()

    def _watch(self) -> None:
        if (relay := self._relay) and not (self.whole and relay.opened):
            relay.watch()

    def halt(self) -> None:
        self._halt.set()
        self._box.close()

    def join(self, deadline: float) -> bool:
        """Whether it has ended by `deadline` of time.monotonic(); it is killed there if not."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive() and (relay := self._relay):
            relay.kill()
            self._thread.join(0.3)
        return not self._thread.is_alive()

    def _drop(self, *items: tuple[Programme, Piece]) -> None:
        self.told.dropped += sum(piece.video for _, piece in items)

    def _run(self) -> None:
        item: tuple[Programme, Piece] | None = None
        try:
            while item or not self._box.over:
                item = item or self._box.get(0.2)
                if item:
                    item = self._session(item)
        finally:  # whatever ended this: nobody is to wait for it
            self._away(item)

    def _session(self, item: tuple[Programme, Piece] | None) -> tuple[Programme, Piece] | None:
        """Feeds one process from the first item on. The item that belongs to the next programme, if one does."""
        assert item
        programme = item[0]
        try:
            self._relay = relay = Relay(self.address, self.segment, programme, self.told, self.report)
        except (av.FFmpegError, OSError, ValueError) as error:  # no memory for a process, say
            self._away(item)
            self._recover(Broken(line(error)), healthy=False)
            return None
        broken: Broken | None = None
        try:
            while item is None or item[0] is programme:
                if item:
                    self._write(relay, item[1])
                item = self._box.get(0.2)
                relay.check()
                if item is None and self._box.over:
                    break
        except Broken as fault:
            broken = fault
            self._away(item)
            item = None
        relay.close()
        self._count(relay)
        self.told.dropped += relay.fed
        self._relay, self.told.up = None, False
        healthy = time.monotonic() - relay.begun > HEALTHY
        if not broken and relay.process.returncode > 0:  # not one that was killed
            self._fail(relay, healthy)
        self.gone = relay.gone
        if broken and not self.gone:
            self._recover(broken, healthy)
        return item

    def _fail(self, relay: Relay, healthy: bool) -> None:
        """The process ended badly when all was given: what it kept to itself is lost, after a short run all of it."""
        log.warning("%s: %s", self.address, relay.why)
        if not healthy:
            self.told.sent, self.told.dropped = self.told.sent - relay.sent, self.told.dropped + relay.sent

    def _write(self, relay: Relay, piece: Piece) -> None:
        relay.write(piece)
        if piece.video:
            relay.fed += 1
            self.report.delays.append(time.monotonic() - piece.at)
            self._count(relay)

    def _count(self, relay: Relay) -> None:
        if relay.opened:
            self.told.sent, relay.sent, relay.fed = self.told.sent + relay.fed, relay.sent + relay.fed, 0

    def _away(self, item: tuple[Programme, Piece] | None) -> None:
        self._accepts = False
        self._drop(*filter(None, [item]), *self._box.drain())

    def _recover(self, broken: Broken, healthy: bool) -> None:
        if self._halt.is_set():
            return
        if healthy:
            self._backoff.reset()
        delay = self._backoff.next()
        self.told.reconnects += 1
        log.warning("%s: %s; trying again in %.1f s", self.address, broken, delay)
        self._halt.wait(delay)
        self._drop(*self._box.drain())
        self._needs_key, self._accepts = True, True
