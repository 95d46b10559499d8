"""derain-video serve FILE.toml: many streams, one process each, restarted when they end; a status page and metrics."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models.options import Parser
from ..cli import logged, signals
from ..errors import FAULTS, OpenError, OptionError, WriteError, line
from . import cli
from .address import Address, redacted
from .clock import Backoff
from .page import open_page

EPILOG = """\
FILE.toml, with a table for each stream; `options` are those of `derain-video IN OUT`, and `[page]` may be left out:

  [page]
  host = "127.0.0.1"      # who can reach the page can see the pictures: other hosts only behind a proxy that asks who they are
  port = 8787

  [streams.front]
  input = "rtsp://user:password@camera/1"
  outputs = ["rtsp://127.0.0.1:8554/front"]
  options = ["--bitrate", "4000"]

The page is at /, for machines at /healthz (200 or 503) and /metrics (Prometheus; pip install 'derain-video[serve]').
"""

STALE = 10.0
"""Seconds after which a state that was not renewed counts for nothing."""

HEALTHY = 30.0
WORKER = (sys.executable, "-m", "derain_video.pipeline.live.cli")
PATIENCE = 2.0

log = logging.getLogger("derain_video")


@dataclass(frozen=True)
class StreamSpec:
    """One stream of the file."""

    name: str
    source: Address
    targets: tuple[Address, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServeSpec:
    """What a file asks for. host, port: of the status page; port 0 takes any that is free."""

    streams: tuple[StreamSpec, ...]
    host: str = "127.0.0.1"
    port: int = 8787


class Supervisor:
    """Keeps one stream's process alive. A crash of one touches no other."""

    def __init__(self, spec: StreamSpec, folder: Path, backoff: Backoff | None = None) -> None:
        self.spec, self.folder = spec, folder
        self.restarts = 0
        self._backoff = backoff or Backoff(1.0, 60.0)
        self._halt = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=f"derain-serve {spec.name}", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def state(self) -> dict[str, Any]:
        """What the process told last; empty if that is too long ago."""
        path = self.folder / "state.json"
        try:
            told: dict[str, Any] = json.loads(path.read_bytes()) if time.time() - path.stat().st_mtime < STALE else {}
        except (OSError, ValueError):
            return {}
        return told

    @property
    def healthy(self) -> bool:
        return self.running and bool(self.state().get("input_up"))

    def halt(self) -> None:
        self._halt.set()
        if process := self._process:
            process.terminate()

    def join(self, deadline: float) -> None:
        """Waits for the end until `deadline` of time.monotonic(), and then makes it."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive() and (process := self._process):
            process.kill()
        self._thread.join()

    def _run(self) -> None:
        while not self._halt.is_set():
            begin = time.monotonic()
            try:
                code = self._once()
            except OSError as error:  # no memory for a process, say
                log.warning("stream %s cannot be started: %s", self.spec.name, line(error))
                code = 1
            if self._halt.is_set():
                return
            if time.monotonic() - begin > HEALTHY:
                self._backoff.reset()
            delay = self._backoff.next()
            self.restarts += 1
            log.warning("stream %s ended with code %d; starting it again in %.1f s", self.spec.name, code, delay)
            self._halt.wait(delay)

    def _once(self) -> int:
        """Arguments go by stdin: they hold passwords, and a command line can be seen by everybody."""
        spec = self.spec
        words = [spec.source.url, *(target.url for target in spec.targets), *spec.options, "--state", str(self.folder)]
        (self.folder / "state.json").unlink(missing_ok=True)  # of the process before: it says nothing of this one
        minded = {**os.environ, cli.PARENT: str(os.getpid())}
        with subprocess.Popen([*WORKER, "@/dev/stdin"], stdin=subprocess.PIPE, start_new_session=True, env=minded) as process:
            self._process = process
            assert process.stdin
            process.stdin.write("\n".join(words).encode())
            process.stdin.close()
            if self._halt.is_set():
                process.terminate()
            return process.wait()


def read_spec(path: Path) -> ServeSpec:
    """OpenError or OptionError if the file is not there or not as it should be."""
    try:
        told = _toml(path)
    except (OSError, ValueError) as error:
        raise OpenError(f"{path}: {line(error)}") from error
    _table(f"{path}", told, "page", "streams")
    page = _table(f"{path}: page", told.get("page", {}), "host", "port")
    streams = _table(f"{path}: streams", told.get("streams", {}))
    if not streams:
        raise OptionError(f"{path}: there is no stream in it; add a table [streams.NAME] with input and outputs")
    host, port = page.get("host", ServeSpec.host), page.get("port", ServeSpec.port)
    if not isinstance(host, str) or type(port) is not int or not 0 <= port < 1 << 16:
        raise OptionError(f"{path}: page: host {host!r}, port {port!r}: give a name or address, and a number from 0 to 65535")
    return ServeSpec(tuple(_stream(path, name, table) for name, table in streams.items()), host, port)


def _toml(path: Path) -> dict[str, Any]:
    reader = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    told: dict[str, Any] = reader.loads(path.read_text(encoding="utf-8"))
    return told


def _table(where: str, found: Any, *keys: str) -> dict[str, Any]:
    """`found`, a table that has no keys but these; without any, those that it likes."""
    if not isinstance(found, dict):
        raise OptionError(f"{where}: is no table; derain-video serve --help shows one")
    if keys and (unknown := ", ".join(sorted(found.keys() - set(keys)))):
        raise OptionError(f"{where}: {unknown}: not known; it has {', '.join(keys)}")
    return found


def _stream(path: Path, name: str, found: Any) -> StreamSpec:
    where = f"{path}: stream {name}"
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise OptionError(f"{path}: stream {name!r}: a name is letters from a to z, digits, _ and -")
    table = _table(where, found, "input", "outputs", "options")
    source, targets, options = table.get("input"), table.get("outputs", []), table.get("options", [])
    lists = isinstance(targets, list) and isinstance(options, list) and targets
    if not isinstance(source, str) or not lists or not all(isinstance(target, str) for target in targets):
        raise OptionError(f"{where}: give input, a text, outputs, a list of texts, and, if need be, options, a list")
    words = [source, *targets, *map(str, options)]
    if "-" in words or any("\n" in word for word in words):
        raise OptionError(f"{where}: a process of its own has no stdin and stdout to use as -, and takes no line breaks")
    _check(where, words, targets)
    return StreamSpec(name, Address(source), tuple(map(Address, targets)), tuple(map(str, options)))


def _check(where: str, words: Sequence[str], targets: Sequence[str]) -> None:
    """OptionError with what the stream's process would say of its arguments."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            args = cli.parser().parse_args(words)
    except SystemExit:
        raise OptionError(f"{where}: {redacted(said.getvalue().strip())}") from None
    if odd := [str(target) for target in args.targets if target.url not in targets]:
        raise OptionError(f"{where}: options: {odd[0]!r} is none; each word is a text of its own: " + '["--crf", "30"]')
    try:
        cli.job_of(args)
    except FAULTS as error:
        raise OptionError(f"{where}: {error}") from error


def serve(spec: ServeSpec, stop: threading.Event) -> None:
    """Runs every stream and the page until `stop` is set."""
    with _state_folder() as folder:
        page = open_page(spec.host, spec.port)
        watched = [Supervisor(stream, Path(folder) / stream.name) for stream in spec.streams]
        try:
            page.show(watched)
            host, port = page.server_address[:2]
            log.info("status page: http://%s:%d/", f"[{host!s}]" if ":" in str(host) else host, port)
            while not stop.wait(0.2):
                pass
        finally:
            _end(watched)
            page.end()


def _state_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="derain-serve-")
    except OSError as error:
        raise WriteError(f"no temporary folder for what streams tell of themselves: {line(error)}; name one in TMPDIR") from error


def _end(watched: Sequence[Supervisor]) -> None:
    for supervisor in watched:
        supervisor.halt()
    deadline = time.monotonic() + PATIENCE
    for supervisor in watched:
        supervisor.join(deadline)


def parser() -> Parser:
    p = cli.LiveParser("derain-video serve", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file", type=Path, metavar="FILE.toml")
    p.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    p.add_argument("-v", "--verbose", action="store_true", help="say more")
    return p


def main(argv: Sequence[str]) -> int:
    """Runs the command. 2: one line on stderr says what is wrong; 130 or 143: stopped by a signal."""
    args = parser().parse_args(argv)
    with logged(args), signals() as stop:
        try:
            serve(read_spec(args.file), stop)
        except FAULTS as error:
            log.error("%s", error)
            return 2
        except KeyboardInterrupt:  # the streams' processes see that this one is gone
            return stop.code or 130
        return stop.code
