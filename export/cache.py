"""Where things that can be made again are kept between runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "DERAIN_VIDEO_CACHE"


def folder() -> Path:
    """The user's cache folder for this program; the environment variable DERAIN_VIDEO_CACHE moves it."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "derain-video"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "derain-video"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "derain-video"
