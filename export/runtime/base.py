"""The contract of every runtime, and the networks behind it: built when first asked for, fed with planes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...models.spec import MULTIPLE, NEIGHBOURS, NETWORKS
from ..errors import OptionError
from ..graph import PERCEPTION, Graph, subnet
from ..graph import PRECISIONS as MADE

Planes = NDArray[np.uint8] | NDArray[np.uint16]

TENSORS = (("torch", "cuda"), ("tensorrt", "cuda"))
"""Runtimes, and what they run on, that take torch tensors of uint8 on the GPU for planes, and answer with such."""

Network = Callable[[Mapping[str, Any]], list[Any]]
"""One network: its inputs by name, its outputs in order, which the caller owns. Any thread may call it."""


@dataclass(frozen=True)
class Clean:
    """A derained frame: y (1, 1, H, W) and uv (1, 2, H/2, W/2) in the input's dtype, mask (1, 1, H, W) uint8, 0 for untouched."""

    y: Planes
    uv: Planes
    mask: NDArray[np.uint8]


class Runtime(Protocol):
    """What computes the networks. Any thread may call. Results belong to the caller."""

    @property
    def name(self) -> str:
        """torch, onnx, openvino or tensorrt."""

    @property
    def model(self) -> str:
        """fast or quality: size of the sub-networks."""

    @property
    def precision(self) -> str:
        """fp32, bf16, fp16 or int8: what the sub-networks compute in."""

    @property
    def device(self) -> str:
        """cpu or cuda."""

    def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of each of PATTERNS, (4,) float32 that add to 1. views: (N, 3, 224, 224) uint8 RGB."""

    def derain(self, pattern: str, y: Planes, uv: Planes, near: Planes, peak: int, model: str = "") -> Clean:
        """Takes the rain out of one frame by the sub-network `pattern`, one of NETWORKS, of the size `model`, by default the runtime's own.

        y (1, 1, H, W), uv (1, 2, H/2, W/2), near (1, 4, H, W): all uint8 or all uint16; H and W multiples of MULTIPLE.
        peak: 2**bits - 1. Where the mask is 0 the result equals the input. ValueError if the arrays do not fit this.
        Some take tensors, too, see TENSORS.
        """

    def close(self) -> None:
        """Frees the networks."""

    def __enter__(self) -> Runtime: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Backend(Protocol):
    """What a library adds: it turns a graph into a callable network. `precision` is what its sub-networks compute in."""

    name: str
    precision: str
    device: str

    def network(self, graph: Graph) -> Network: ...

    def close(self) -> None: ...


class Networks:
    """The Runtime that every backend becomes.

    model: size of the sub-networks. The graph of perception is always the fp32 one, which OpenVINO computes in bf16 where the processor has it.
    """

    def __init__(self, backend: Backend, model: str) -> None:
        self._backend, self.model = backend, model
        self._built: dict[Graph, Network] = {}
        self._building = threading.Lock()
        self._made = backend.precision if backend.precision in MADE else "fp32"
        self.name, self.precision, self.device = backend.name, backend.precision, backend.device

    def perceive(self, views: NDArray[np.uint8]) -> NDArray[np.float32]:
        if views.dtype != np.uint8 or views.ndim != 4 or views.shape[1:] != (3, 224, 224):
            raise OptionError(f"views are (N, 3, 224, 224) uint8, not {views.shape} {views.dtype}")
        scores: NDArray[np.float32]
        (scores,) = self._network(Graph(PERCEPTION))({"views": views})
        return scores

    def derain(self, pattern: str, y: Planes, uv: Planes, near: Planes, peak: int, model: str = "") -> Clean:
        check(pattern, y, uv, near)
        graph = subnet(model or self.model, pattern, "u8" if _kind(y) == "uint8" else "u16", self._made)
        feed = {"y": y, "uv": uv, "near": near, "peak": np.array([peak], np.float32)}
        return Clean(*self._network(graph)(feed))

    def close(self) -> None:
        self._built.clear()
        self._backend.close()

    def __enter__(self) -> Networks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _network(self, graph: Graph) -> Network:
        with self._building:
            if graph not in self._built:
                self._built[graph] = self._backend.network(graph)
            return self._built[graph]


def check(pattern: str, y: Planes, uv: Planes, near: Planes) -> None:
    """ValueError where planes do not fit the contract: better here than deep in a library."""
    if pattern not in NETWORKS:
        raise OptionError(f"pattern {pattern!r} has no network; those of {', '.join(NETWORKS)} have one")
    height, width = y.shape[-2:]
    shapes = [(1, 1, height, width), (1, 2, height // 2, width // 2), (1, NEIGHBOURS, height, width)]
    if [y.shape, uv.shape, near.shape] != shapes or height % MULTIPLE or width % MULTIPLE or not height * width:
        raise OptionError(f"planes of shapes {y.shape}, {uv.shape}, {near.shape}: pad them with models.planes.pad")
    kinds = {_kind(planes) for planes in (y, uv, near)}
    if kinds not in ({"uint8"}, {"uint16"}):
        raise OptionError(f"planes of types {y.dtype}, {uv.dtype}, {near.dtype}: all are uint8 or all uint16")


def _kind(planes: Planes) -> str:
    """Name of the type, of a tensor's, too."""
    return str(planes.dtype).removeprefix("torch.")
