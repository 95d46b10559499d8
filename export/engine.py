"""Built engines on disk: one folder for each key, made under a lock, renamed into place, and rebuilt when they do not load.

Two engines under one name have returned wrong pictures elsewhere (onnxruntime#6455), so the key holds all that an engine depends on.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from .errors import GraphError
from .lock import locked
from .manifest import sha256

log = logging.getLogger("derain_video")

Engine = TypeVar("Engine")

ELSEWHERE = "set DERAIN_VIDEO_CACHE to another folder"
"""The remedy where a folder is no place for engines."""

DIGEST = 64
"""Characters of a SHA-256."""


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on. onnx: SHA-256 of the graph's bytes; the rest as text."""

    onnx: str
    profile: str
    precision: str
    gpu: str
    capability: str
    tensorrt: str
    driver: str

    @property
    def digest(self) -> str:
        return sha256(json.dumps(asdict(self), sort_keys=True).encode())


class EngineStore:
    """Engines below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, key: EngineKey, build: Callable[[], bytes], load: Callable[[bytes], Engine | None]) -> Engine:
        """The engine of `key`, loaded from disk, or built first. `load` returns None for bytes that it cannot take.

        GraphError if even a fresh engine does not load, or the folder cannot be made or locked. One that cannot be stored is warned of, and used.
        """
        place = self.folder / key.digest
        with ExitStack() as held:
            try:
                place.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(place / "lock", lambda: log.info("waiting for another process that builds the same engine")))
            except OSError as error:
                raise GraphError(f"{place}: cannot keep engines there ({error.strerror}); {ELSEWHERE}") from None
            return self._stored(place, load) or self._fresh(place, key, build(), load)

    def _stored(self, place: Path, load: Callable[[bytes], Engine | None]) -> Engine | None:
        plan, note = place / "engine.plan", place / "engine.json"
        if not (plan.is_file() and note.is_file()):
            return None
        data = plan.read_bytes()
        engine = load(data) if sha256(data) == _hash(note) else None
        if engine is None:
            log.warning("%s: the engine does not load; it is built again", plan)
        return engine

    def _fresh(self, place: Path, key: EngineKey, data: bytes, load: Callable[[bytes], Engine | None]) -> Engine:
        engine = load(data)
        if engine is None:
            raise GraphError(f"{place}: TensorRT {key.tensorrt} does not load the engine that it built; use --runtime torch")
        put(place / "engine.json", json.dumps({**asdict(key), "sha256": sha256(data)}, indent=1).encode())
        put(place / "engine.plan", data)
        return engine


class Timings:
    """A file of kernel timings that builds share. TensorRT is known to end the process over damaged ones, so their SHA-256 stands before them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> bytes:
        """What was written last; b"" if there is nothing, or nothing whole."""
        stored = self.path.read_bytes() if self.path.is_file() else b""
        data = stored[DIGEST:]
        return data if stored[:DIGEST] == sha256(data).encode() else b""

    def write(self, data: bytes) -> None:
        put(self.path, sha256(data).encode() + data)


def put(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all, whoever else writes it. Where it cannot be written, that is said in a line: it can be made again."""
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except OSError as error:
        log.warning("%s: not kept (%s); %s", path, error.strerror, ELSEWHERE)
        draft.unlink(missing_ok=True)


def _hash(note: Path) -> str:
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["sha256"])
    except (ValueError, KeyError, TypeError):
        return ""
