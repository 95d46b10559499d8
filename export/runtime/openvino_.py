"""OpenVINO: the fastest on x86 processors, above all in bf16 where they have it.

A network is compiled anew for each size that it meets: with dynamic shapes OpenVINO fuses less (384 x 640 in bf16: 21.5 against 15.7 ms; a look of
perception: 22 against 17 ms).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from .. import manifest
from ..errors import GraphError, RuntimeMissing, unread
from ..graph import PERCEPTION, Graph
from .base import Network

SIZES = 8
"""Sizes for which a network is kept compiled, of frames and their thumbnails; compiling takes about 0.1 s."""

SMALL = 1 << 17
"""Most luma pixels of a picture, a thumbnail, that is worth one thread alone: of two, each would wait for the other longer than it helps."""

Request = tuple[Any, Lock]
"""A compiled network, and who uses it."""

Requested = Callable[[Mapping[str, NDArray[Any]]], Request]
"""The compiled network that a feed's shapes want."""


class OpenVino:
    """Backend over the ONNX files in `folder`."""

    name, device = "openvino", "cpu"

    def __init__(self, folder: Path | None, precision: str, threads: int) -> None:
        self.folder, self._threads = folder or manifest.GRAPHS, threads
        self._core = openvino.Core()
        bf16 = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not bf16:
            raise RuntimeMissing("openvino: this processor has no bf16; use --precision fp32")
        self.precision = ("bf16" if bf16 else "fp32") if precision == "auto" else precision
        self._hint = "bf16" if bf16 and self.precision != "fp32" else "f32"  # of int8 networks: for what is not int8

    def network(self, graph: Graph) -> Network:
        try:
            model = self._core.read_model(manifest.content(self.folder, graph))
        except RuntimeError as error:
            raise GraphError(f"{self.folder / graph.file}: {unread('openvino', error)}") from error

        @lru_cache(maxsize=SIZES)
        def sized(*shapes: tuple[int, ...]) -> Request:
            model.reshape(dict(zip(graph.inputs, shapes, strict=True)))
            config = _config(self._hint, 1 if prod(shapes[0]) <= SMALL else self._threads)
            return self._core.compile_model(model, "CPU", config).create_infer_request(), Lock()

        making = Lock()

        def request(feed: Mapping[str, NDArray[Any]]) -> Request:
            with making:
                return sized(*(feed[name].shape for name in graph.inputs))

        return _perceiver(request) if graph.network == PERCEPTION else _derainer(request)

    def close(self) -> None:
        """Models free themselves."""


def _config(hint: str, threads: int) -> dict[str, Any]:
    """Threads are not pinned: they share the cores with decoding and encoding."""
    shared = {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": False}
    return {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", **shared}


def _perceiver(requested: Requested) -> Network:
    def run(feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        request, busy = requested(feed)
        with busy:
            return [request.infer(dict(feed), share_inputs=True)[0]]

    return run


def _derainer(requested: Requested) -> Network:
    def run(feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The network writes into arrays that the caller then owns: no copy."""
        request, busy = requested(feed)
        y, uv = feed["y"], feed["uv"]
        outputs: list[NDArray[Any]] = [np.empty_like(y), np.empty_like(uv), np.empty(y.shape, np.uint8)]
        with busy:
            for place, array in enumerate(outputs):
                request.set_output_tensor(place, openvino.Tensor(array, shared_memory=True))
            request.infer(dict(feed), share_inputs=True, share_outputs=True)
        return outputs

    return run


open_backend = OpenVino
