"""Runtimes behind one contract. `load` imports the library of the chosen one, and no other."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

from ...models.spec import FAST, QUALITY, SPECS
from ..errors import OptionError, RuntimeMissing
from . import gpu
from .base import Backend, Clean, Networks, Runtime
from .threads import cores, share

__all__ = ["MODELS", "NAMES", "OFFERED", "PRECISIONS", "Clean", "Runtime", "candidates", "installed", "load"]

NEEDS = {
    "tensorrt": ("tensorrt", "torch"),
    "torch": ("torch", "open_clip", "safetensors"),
    "openvino": ("openvino",),
    "onnx": ("onnxruntime",),
}
"""Modules that a runtime cannot do without, the fastest runtime on its hardware first."""

INSTALL = {
    "tensorrt": "pip install 'derain-video[tensorrt]'",
    "torch": "pip install 'derain-video[train]'",
    "openvino": "pip install openvino",
    "onnx": "pip install onnxruntime",
}
OFFERED = {
    "tensorrt": ("fp16", "fp32", "int8"),
    "torch": ("fp32", "bf16", "fp16"),
    "openvino": ("fp32", "bf16", "int8"),
    "onnx": ("fp32", "fp16", "int8"),
}
"""Precisions of each runtime."""

NAMES = ("auto", *NEEDS)
MODELS = ("auto", *SPECS)
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")

EITHER = ("onnx", "torch")
"""Runtimes for processors and GPUs, which take the device."""

Opener = Callable[..., Backend]
"""Takes folder, precision, threads and, of EITHER, the device."""

log = logging.getLogger("derain_video")


def load(name: str = "auto", *, model: str = "fast", precision: str = "auto", threads: int = 0, folder: Path | None = None) -> Runtime:
    """Opens a runtime; its networks are built when first used. Close it, or use it in a `with`.

    name: one of NAMES; auto takes the fastest that is present, and logs which and why. model: one of MODELS, size of the sub-networks;
    auto is quality where torch runs on a GPU that computes in bf16 or fp16, else fast.
    precision: one of PRECISIONS; auto is the fastest of those that stay within 50 dB of fp32. threads: for the CPU; 0 leaves room
    for decoding and encoding. folder: graphs from `derain-export onnx` (for torch: trained weights) in place of those that ship.
    OptionError (a ValueError) for a value not offered, RuntimeMissing (an ImportError) with the pip line.
    """
    _offered("runtime", name, NAMES)
    _offered("model", model, MODELS)
    _offered("precision", precision, PRECISIONS)
    if threads < 0:
        raise OptionError(f"{threads} threads: give 1 or more, or 0 for a sensible number")
    threads = threads or share(cores())
    backend = _fastest(precision, threads, folder) if name == "auto" else _opener(name, precision)(folder, precision, threads)
    return Networks(backend, _size(backend) if model == "auto" else model)


def candidates() -> list[tuple[str, str, str]]:
    """Runtimes for this machine, the fastest first, on what device, and why each would be taken there."""
    processor = [
        ("openvino", "cpu", "the fastest on a processor"),
        ("onnx", "cpu", "openvino is not there"),
        ("torch", "cpu", "neither openvino nor onnxruntime is there"),
    ]
    if not gpu.count():
        return processor
    from importlib import metadata  # takes 40 ms to import

    card = [("tensorrt", "cuda", "an NVIDIA GPU is there"), ("torch", "cuda", "an NVIDIA GPU is there, tensorrt is not")]
    if installed("onnx") and "onnxruntime-gpu" in metadata.packages_distributions().get("onnxruntime", ()):
        card.append(("onnx", "cuda", "an NVIDIA GPU is there, neither tensorrt nor torch is"))
    return card + processor


def _fastest(precision: str, threads: int, folder: Path | None) -> Backend:
    """The first candidate that offers `precision`, opened; one that is there and fails, or does not find the GPU, is warned of.

    torch takes weights, not graphs, so it is a candidate only for what ships.
    """
    for name, device, why in candidates():
        if not installed(name) or precision not in ("auto", *OFFERED[name]) or (name == "torch" and folder):
            continue
        try:
            on = {"device": device} if device == "cpu" and name in EITHER else {}
            backend = _opener(name, precision)(folder, precision, threads, **on)
        except RuntimeMissing as error:
            log.warning("%s", error)
            continue
        if device == "cpu" or backend.device == device:
            log.info("runtime %s: %s", name, why if precision == "auto" else f"the fastest that is there and offers {precision}")
            return backend
        log.warning("runtime %s: an NVIDIA GPU is there, but this build does not use it", name)
        backend.close()
    raise RuntimeMissing(f"no runtime that offers precision {precision} is there: {INSTALL['onnx']}")


def _size(backend: Backend) -> str:
    """The large size where it is nearly as quick as the rest of the program: 30 frames/s at 1080p with an H200, `fast` 42."""
    return QUALITY.name if (backend.name, backend.device) == ("torch", "cuda") and backend.precision in ("bf16", "fp16") else FAST.name


def _opener(name: str, precision: str) -> Opener:
    if not installed(name):
        raise RuntimeMissing(f"runtime {name} is not installed: {INSTALL[name]}")
    if precision not in ("auto", *OFFERED[name]):
        raise OptionError(f"runtime {name} has no precision {precision}; it offers {', '.join(OFFERED[name])}")
    try:
        opener: Opener = importlib.import_module(f".{name}_", __package__).open_backend
    except (ImportError, OSError) as error:
        raise RuntimeMissing(f"runtime {name} does not load ({str(error).splitlines()[0]}): {INSTALL[name]}") from error
    return opener


def installed(name: str) -> bool:
    """Whether the modules that a runtime needs are there; imports none of them."""
    return all(importlib.util.find_spec(module) for module in NEEDS[name])


def _offered(what: str, value: str, offered: tuple[str, ...]) -> None:
    if value not in offered:
        raise OptionError(f"{what} {value!r} is not offered; choose one of {', '.join(offered)}")
