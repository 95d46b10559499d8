"""The status page: plain HTML, renewed every two seconds, with the picture before and after; and the same for machines."""

from __future__ import annotations

import html
import importlib.util
import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from ..errors import WriteError, line

PICTURES = ("before.jpg", "after.jpg")

HEAD = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2"><title>derain-video</title>
<style>body{font:15px system-ui,sans-serif;margin:1.5em;max-width:70em}section{margin-bottom:2em}img{width:49%;background:#ddd}
h2{font-size:1.1em;margin:.5em 0}.up{color:#070}.down{color:#b00}td{padding:0 1.2em 0 0}</style></head><body><h1>derain-video</h1>
"""


class Watched(Protocol):
    """What the page must know of a stream: a Supervisor is one."""

    spec: Any
    folder: Path
    restarts: int

    @property
    def healthy(self) -> bool: ...

    def state(self) -> dict[str, Any]: ...


class Page(ThreadingHTTPServer):
    """The server, in a thread of its own after `show`."""

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), Handler)
        self.watched: Sequence[Watched] = ()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="derain-page", daemon=True)

    def show(self, watched: Sequence[Watched]) -> None:
        self.watched = watched
        self._thread.start()

    def end(self) -> None:
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()


def open_page(host: str, port: int) -> Page:
    """WriteError if the address cannot be taken."""
    try:
        return Page(host, port)
    except (OSError, OverflowError) as error:
        raise WriteError(f"{host}:{port}: no status page can be served there: {line(error)}; give another [page] host or port") from error


class Handler(BaseHTTPRequestHandler):
    server: Page

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            self._answer(200, "text/html; charset=utf-8", page(self.server.watched).encode())
        elif path == "/healthz":
            healthy = {w.spec.name: w.healthy for w in self.server.watched}
            self._answer(200 if all(healthy.values()) else 503, "application/json", json.dumps(healthy).encode())
        elif path == "/metrics":
            self._metrics()
        else:
            self._picture(path)

    def log_message(self, *told: object) -> None:
        """Requests are not worth a line each."""

    def _metrics(self) -> None:
        if importlib.util.find_spec("prometheus_client") is None:
            self._answer(501, "text/plain", b"pip install 'derain-video[serve]'\n")
            return
        from .metrics import CONTENT_TYPE, metrics

        self._answer(200, CONTENT_TYPE, metrics(self.server.watched))

    def _picture(self, path: str) -> None:
        """Only what is asked for by the exact name of a stream and a picture; nothing is looked up by the path."""
        files = {f"/{w.spec.name}/{name}": w.folder / name for w in self.server.watched for name in PICTURES}
        try:
            data = files[path].read_bytes()
        except (KeyError, OSError):
            self._answer(404, "text/plain", b"not here\n")
            return
        self._answer(200, "image/jpeg", data)

    def _answer(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def page(watched: Sequence[Watched]) -> str:
    return HEAD + "".join(map(_section, watched)) + "</body></html>\n"


def _section(w: Watched) -> str:
    told, name = w.state(), html.escape(w.spec.name)
    word = "up" if w.healthy else "down"
    rows = {
        "input": str(w.spec.source),
        "outputs": ", ".join(f"{o['name']} ({'up' if o['up'] else 'down'}, {o['dropped']} dropped)" for o in told.get("outputs", ())),
        "frames": f"{told.get('arrived', 0)} in, {told.get('frames', 0)} out, {told.get('dropped', 0)} dropped",
        "speed": f"{told.get('fps', 0):.1f} frames/s",
        "delay": f"p50 {told.get('delay_p50', 0) * 1000:.0f} ms, p95 {told.get('delay_p95', 0) * 1000:.0f} ms",
        "pattern": f"{told.get('pattern') or '-'}, level {told.get('level', '-')}",
        "faults": f"{told.get('reconnects', 0)} reconnects, {w.restarts} restarts",
    }
    table = "".join(f"<tr><td>{key}</td><td>{html.escape(value)}</td></tr>" for key, value in rows.items())
    pictures = "".join(f'<img src="/{name}/{picture}" alt="{picture[:-4]}"> ' for picture in PICTURES)
    return f'<section><h2>{name}: <span class="{word}">{word}</span></h2><table>{table}</table>{pictures}</section>\n'
