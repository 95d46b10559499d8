"""The status page: plain HTML, renewed every two seconds, with the picture before and after; and the same for machines."""

from __future__ import annotations

import html
import importlib.util
import json
import logging
import socket
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from ..errors import WriteError, line

PICTURES = ("before.jpg", "after.jpg")

log = logging.getLogger("derain_video")

HEAD = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:15px/1.45 system-ui,sans-serif;margin:1.5em auto;padding:0 1em;max-width:66em;color:#222}}h1{{font-size:1.3em}}
h1 small{{font-weight:normal;color:#666}}section{{border-top:1px solid #ccc;padding:.8em 0 1.6em}}h2{{font-size:1.15em;margin:0 0 .4em}}
h2 span{{color:#fff;border-radius:.3em;padding:.05em .5em;font-size:.8em}}.up{{background:#070}}.down{{background:#b00}}
th{{text-align:left;vertical-align:top;font-weight:normal;color:#666;padding:0 1.2em 0 0}}td{{overflow-wrap:anywhere}}.bad{{color:#b00}}
div{{display:flex;gap:1em;margin-top:.8em}}figure{{margin:0;flex:0 1 auto}}img{{display:block;max-width:100%;max-height:20em}}
figcaption{{color:#666}}.stale img{{opacity:.35}}</style></head><body><h1>{title} <small>at {time}</small></h1>
"""

DOING = {"full": "", "fast": ", small network", "half": ", at half size", "pass": ", not derained: the machine is too slow"}
"""What has been given up, in a reader's words."""


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
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)
        self.watched: Sequence[Watched] = ()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="derain-page", daemon=True)

    def show(self, watched: Sequence[Watched]) -> None:
        self.watched = watched
        self._thread.start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that went away is no fault."""
        log.debug("status page: %s: %s", client_address, sys.exc_info()[1])

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
    timeout = 10
    """Seconds that a reader may say nothing."""

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

    do_HEAD = do_GET

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
        if self.command != "HEAD":
            self.wfile.write(body)


def page(watched: Sequence[Watched]) -> str:
    title = f"derain-video: {sum(w.healthy for w in watched)} of {len(watched)} up"
    return HEAD.format(title=title, time=time.strftime("%H:%M:%S")) + "".join(map(_section, watched)) + "</body></html>\n"


def _section(w: Watched) -> str:
    name, word = html.escape(w.spec.name), "up" if w.healthy else "down"
    table = "".join(f"<tr><th>{key}</th><td>{value}</td></tr>" for key, value in _rows(w, w.state()).items())
    return f'<section id="{name}"><h2>{name} <span class="{word}">{word}</span></h2><table>{table}</table>{_pictures(w, name)}</section>\n'


def _rows(w: Watched, told: dict[str, Any]) -> dict[str, str]:
    """What the table says, as HTML. A stream that told nothing has no figures."""
    rows = {"input": html.escape(str(w.spec.source))}
    if told:
        rows |= {
            "outputs": "<br>".join(map(_output, told["outputs"])),
            "speed": f"{told.get('fps_in', 0):.1f} frames/s in, {told.get('fps_out', 0):.1f} out",
            "frames": f"{told['arrived']} in, {told['frames']} out, {told['dropped']} dropped",
            "delay": f"p50 {told['delay_p50'] * 1000:.0f} ms, p95 {told['delay_p95'] * 1000:.0f} ms" if told["delay_p50"] else "-",
            "pattern": html.escape(told["pattern"] or "-") + DOING[told["level"]],
        }
    return {**rows, "faults": f"{told.get('reconnects', 0)} reconnects of the camera, {w.restarts} restarts of the process"}


def _output(told: dict[str, Any]) -> str:
    state = "up" if told["up"] else '<span class="bad">down</span>'
    return f"{html.escape(told['name'])}: {state}, {told['sent']} sent, {told['dropped']} dropped"


def _pictures(w: Watched, name: str) -> str:
    """Before and after side by side; pale if they are old."""
    if not all((w.folder / picture).exists() for picture in PICTURES):
        return "<p>No picture has come yet.</p>"
    figures = "".join(f'<figure><img src="/{name}/{p}" alt="{p[:-4]}"><figcaption>{p[:-4]}</figcaption></figure>' for p in PICTURES)
    return f"<div>{figures}</div>" if w.healthy else f'<div class="stale">{figures}</div>'
