"""Somebody else's torch network, timed on the same frames."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .footage import Clip, FootageError, rgb

Network = Callable[[Any], Any]


def load(name: str) -> Network:
    """What `MODULE:FUNCTION` returns: a torch network, (1, 3, H, W) float32 RGB 0..1 in and out, H and W as they come.

    The current folder is searched too. FootageError, one line, if there is no such function.
    """
    module, _, function = name.partition(":")
    sys.path.insert(0, "")
    try:
        return _on_device(getattr(importlib.import_module(module), function)())
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise FootageError(f"--peer {name}: {error}; give MODULE:FUNCTION, a function without arguments that returns a network") from error
    finally:
        sys.path.remove("")


def _on_device(network: Any) -> Network:
    import torch

    if isinstance(network, torch.nn.Module):
        network = network.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    return network  # type: ignore[no-any-return]


def work(network: Network, clip: Clip, count: int) -> Iterator[object]:
    """The network on frames of the clip again and again, each waited for."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    pictures = [torch.from_numpy(rgb(y, uv)).permute(2, 0, 1)[None] for y, uv in zip(clip.y, clip.uv, strict=True)]
    feeds = [picture.float().div(255).to(device) for picture in pictures[:3]]
    with torch.inference_mode():
        for i in range(count):
            out = network(feeds[i % len(feeds)])
            if device == "cuda":
                torch.cuda.synchronize()
            yield out
