"""Somebody else's torch network, timed on the same frames."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .footage import Clip, FootageError, rgb

Network = Callable[[Any], Any]

TRIAL = (1, 3, 96, 128)
"""Shape of the picture that a network is tried on."""


def load(name: str) -> Network:
    """What `MODULE:FUNCTION` returns: a torch network, (1, 3, H, W) float32 RGB 0..1 in and out, H and W as they come.

    The current folder is searched too. FootageError, one line, if there is no such function, or no such network: it is tried once.
    """
    module, _, function = name.partition(":")
    sys.path.insert(0, "")
    try:
        with _blamed(name):
            import torch

            network = _on_device(getattr(importlib.import_module(module), function)())
    finally:
        sys.path.remove("")

    def asked(rgb: Any) -> Any:
        with _blamed(name):
            out = network(rgb)
            if not isinstance(out, torch.Tensor) or out.shape != rgb.shape:
                raise TypeError(f"it makes {_told(out)} of {_told(rgb)}")
        return out

    with torch.inference_mode():
        asked(torch.zeros(TRIAL, device=_device()))
    return asked


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    """FootageError for whatever somebody else's code may raise."""
    try:
        yield
    except (Exception, SystemExit) as error:
        remedy = "give MODULE:FUNCTION, a function without arguments that returns a network, RGB in, RGB of that size out"
        raise FootageError(f"--peer {name}: {type(error).__name__}: {' '.join(str(error).split())}; {remedy}") from error


def _told(out: Any) -> str:
    return f"{tuple(out.shape)}" if hasattr(out, "shape") else type(out).__name__


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _on_device(network: Any) -> Network:
    import torch

    if isinstance(network, torch.nn.Module):
        network = network.eval().to(_device())
    return network  # type: ignore[no-any-return]


def work(network: Network, clip: Clip, count: int) -> Iterator[object]:
    """The network on frames of the clip again and again, each waited for."""
    import torch

    device = _device()
    pictures = [torch.from_numpy(rgb(y, uv)).permute(2, 0, 1)[None] for y, uv in zip(clip.y, clip.uv, strict=True)]
    feeds = [picture.float().div(255).to(device) for picture in pictures[:3]]
    with torch.inference_mode():
        for i in range(count):
            out = network(feeds[i % len(feeds)])
            if device == "cuda":
                torch.cuda.synchronize()
            yield out
