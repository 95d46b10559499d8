"""Where a figure came from: machine, versions, commit, command."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..export.runtime.threads import cores
from ..models.origin import commit

PACKAGES = ("derain-video", "numpy", "av", "opencv-python-headless", "onnxruntime", "openvino", "torch", "tensorrt")


def origin() -> dict[str, Any]:
    """What a JSON result says of the run that made it."""
    return {
        "command": " ".join(["derain-bench", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "machine": {"processor": _processor(), "cores": cores(), "system": platform.platform(), "gpu": _gpu()},
        "versions": {"python": platform.python_version()} | {name: v for name in PACKAGES if (v := _version(name))},
        "commit": commit(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _gpu() -> str | None:
    return _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _said(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
