"""Files: the names that FFmpeg takes them by, and whether there is a place for them."""

from __future__ import annotations

from pathlib import Path

from .errors import WriteError


def file_url(path: Path) -> str:
    """A file whatever its name: of `14:00.mp4` FFmpeg would take what precedes the colon for a protocol."""
    return f"file:{path}"


def check_folder(path: Path) -> None:
    """WriteError if the folder of an output is not there."""
    if not path.absolute().parent.is_dir():
        raise WriteError(f"{path}: the folder {path.parent} is not there; make it first")
