"""torch: the reference, in fp32 on the CPU; on a GPU in bf16 or fp16, channels-last, one CUDA graph per network and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from ...models import store
from ...models.subnet import PlaneNet
from ..graph import PERCEPTION, Graph
from .base import Network
from .captured import Feed, Sizes, arrays, tensor

TYPES = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Torch:
    """Backend over the weights in `folder`, or over those that ship. device: cpu, or auto for a GPU where one is there."""

    name = "torch"

    def __init__(self, folder: Path | None, precision: str, threads: int, device: str = "auto") -> None:
        self.folder = folder or store.WEIGHTS
        self.device = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
        fast = "bf16" if self.device == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
        self.precision = fast if precision == "auto" else precision
        if self.device == "cuda" and self.precision == "fp32":
            torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32: held to one code value
        self._busy = Lock()
        torch.set_num_threads(threads)

    def network(self, graph: Graph) -> Network:
        net = module(graph, self.folder).to(self.device).to(memory_format=torch.channels_last)
        runner = _Runner(net, graph.inputs, None if graph.network == PERCEPTION else TYPES[self.precision])
        if self.device == "cpu":
            return runner
        return Sizes(lambda feed: runner.work, torch.cuda.Stream(), self._busy)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Modules free themselves."""


def module(graph: Graph, folder: Path = store.WEIGHTS) -> nn.Module:
    """The torch network with a graph's signature, for inference."""
    if graph.network == PERCEPTION:
        from ...models.perception import SMALL, perceiver  # open_clip takes seconds to import

        return perceiver(SMALL, str(folder / f"{SMALL}.safetensors"))
    return PlaneNet(store.subnet(graph.pattern, graph.network, folder)).eval()


class _Runner:
    def __init__(self, net: nn.Module, inputs: Sequence[str], low: torch.dtype | None) -> None:
        self._net, self._inputs, self._low = net, inputs, low

    def __call__(self, feed: Feed) -> list[Any]:
        with torch.inference_mode():
            results = self.work({name: tensor(value) for name, value in feed.items()})
        return [result.numpy() for result in results] if arrays(feed) else list(results)

    def work(self, tensors: Mapping[str, Tensor]) -> Sequence[Tensor]:
        device = next(iter(tensors.values())).device.type
        with torch.autocast(device, self._low, enabled=self._low is not None, cache_enabled=False):
            results = self._net(*(tensors[name] for name in self._inputs))
        return (results,) if isinstance(results, Tensor) else tuple(results)


open_backend = Torch
