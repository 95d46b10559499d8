"""TensorRT on an NVIDIA GPU: engines from a keyed store, device buffers from torch, bound once, one stream, one CUDA graph per size.

TensorRT has no uint16 tensors and promises little for uint8, so it is given the i32 graphs: planes cross the bus as they are, and are
widened and narrowed on the GPU, inside the CUDA graph. Not run without an NVIDIA GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import tensorrt as trt
import torch
from torch import Tensor

from .. import cache, manifest
from ..engine import EngineKey, EngineStore, Timings
from ..errors import GraphError, RuntimeMissing
from ..graph import PERCEPTION, Graph
from ..profile import Profile, profile
from ..to_tensorrt import LOGGER, build
from . import gpu
from .base import Network
from .captured import Feed, Sizes, tensor

DEVICE = "cuda"
TYPES = {trt.DataType.FLOAT: torch.float32, trt.DataType.INT32: torch.int32, trt.DataType.UINT8: torch.uint8}


class TensorRt:
    """Backend over the ONNX files in `folder`; the engines are kept in the user's cache folder."""

    name, device = "tensorrt", DEVICE

    def __init__(self, folder: Path | None, precision: str, threads: int) -> None:
        if not torch.cuda.is_available():
            raise RuntimeMissing("tensorrt: torch sees no NVIDIA GPU; use --runtime openvino or onnx")
        self.folder = folder or manifest.GRAPHS
        self.precision = "fp16" if precision == "auto" else precision
        self._stream, self._busy = torch.cuda.Stream(), Lock()  # type: ignore[no-untyped-call]
        if not any(name.endswith(Graph("", "", "i32", self.precision).file) for name in manifest.read(self.folder)):
            command = f"derain-export onnx --dtype i32 --precision {self.precision} --out {self.folder}"
            raise RuntimeMissing(f"tensorrt: no graphs of i32 planes in {self.precision} are there; make them with '{command}'")
        try:
            self._loader = trt.Runtime(LOGGER)
        except TypeError:  # what its bindings say where CUDA does not start
            raise RuntimeMissing(f"tensorrt: TensorRT {trt.__version__} does not start; update the GPU's driver, or use --runtime torch") from None
        self._store = EngineStore(cache.folder() / "engines")

    def network(self, graph: Graph) -> Network:
        bound = _Engines(self, graph if graph.network == PERCEPTION else replace(graph, dtype="i32"))
        return Sizes(bound, self._stream, self._busy)

    def engine(self, graph: Graph, shapes: Profile) -> Any:
        """The engine for a graph and a range of shapes, from the store, or built now."""
        data = manifest.content(self.folder, graph)
        capability = "{}.{}".format(*torch.cuda.get_device_capability())
        name = torch.cuda.get_device_name()
        key = EngineKey(manifest.sha256(data), str(shapes), graph.precision, name, capability, trt.__version__, gpu.driver())
        timings = Timings(self._store.folder / f"timings-{name.replace(' ', '-')}-{trt.__version__}.cache")
        return self._store.open(key, lambda: build(data, graph, shapes, timings), self._loader.deserialize_cuda_engine)

    def close(self) -> None:
        """Engines free themselves."""


class _Engines:
    """One graph: an engine for each range of shapes met, bound to one size."""

    def __init__(self, owner: TensorRt, graph: Graph) -> None:
        self._owner, self._graph = owner, graph
        self._engines: dict[Profile, Any] = {}

    def __call__(self, feed: Feed) -> _Bound:
        shapes = profile(self._graph, *next(iter(feed.values())).shape[-2:])
        if shapes not in self._engines:
            self._engines[shapes] = self._owner.engine(self._graph, shapes)
        return _Bound(self._engines[shapes], self._graph, feed)


class _Bound:
    """An execution context whose tensors lie in device memory of torch's, at addresses set once."""

    def __init__(self, engine: Any, graph: Graph, feed: Feed) -> None:
        self._graph, self._engine = graph, engine
        self._context = engine.create_execution_context()
        if not self._context:
            raise GraphError(f"{graph.file}: the GPU has no memory for it; free some, or use --runtime openvino")
        if not all(self._context.set_input_shape(name, tuple(planes.shape)) for name, planes in feed.items()):
            raise GraphError(f"{graph.file}: TensorRT {trt.__version__} does not take its inputs; use --runtime torch")
        self._buffers = {name: self._buffer(name) for name in (*graph.inputs, *graph.outputs)}
        narrow = tensor(next(iter(feed.values()))).dtype
        self._types = {"clean_y": narrow, "clean_uv": narrow}

    def __call__(self, inputs: Mapping[str, Tensor]) -> Sequence[Tensor]:
        """Enqueues one run on the current stream: widen, execute, narrow."""
        for name, planes in inputs.items():
            self._buffers[name].copy_(planes)
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise GraphError(f"{self._graph.file}: TensorRT {trt.__version__} could not run its engine; use --runtime torch")
        found = {name: self._buffers[name] for name in self._graph.outputs}
        return [planes.to(self._types.get(name, planes.dtype)) for name, planes in found.items()]

    def _buffer(self, name: str) -> Tensor:
        shape, kind = tuple(self._context.get_tensor_shape(name)), TYPES[self._engine.get_tensor_dtype(name)]
        buffer = torch.empty(shape, dtype=kind, device=DEVICE)
        self._context.set_tensor_address(name, buffer.data_ptr())
        return buffer


open_backend = TensorRt
