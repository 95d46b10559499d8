"""OpenVINO: the fastest on x86 processors, above all in bf16 where they have it.

Shapes stay dynamic: reshaped to one size, the networks were no faster (384 x 640: 35 against 32 ms in bf16, 84 against 88 ms in fp32)
and slower to load.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from .. import manifest
from ..errors import RuntimeMissing
from ..graph import PERCEPTION, Graph
from .base import Network

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


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

    def network(self, graph: Graph) -> Network:
        model = self._core.read_model(manifest.content(self.folder, graph))
        hint = "f32" if graph.network == PERCEPTION else HINTS[self.precision]
        request = self._core.compile_model(model, "CPU", self._config(hint)).create_infer_request()
        return _perceiver(request) if graph.network == PERCEPTION else _derainer(request)

    def close(self) -> None:
        """Models free themselves."""

    def _config(self, hint: str) -> dict[str, Any]:
        """Threads are not pinned: they share the cores with decoding and encoding."""
        threads = {"INFERENCE_NUM_THREADS": self._threads, "ENABLE_CPU_PINNING": False}
        return {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", **threads}


def _perceiver(request: Any) -> Network:
    def run(feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        return [request.infer(dict(feed), share_inputs=True)[0]]

    return run


def _derainer(request: Any) -> Network:
    def run(feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The network writes into arrays that the caller then owns: no copy."""
        y, uv = feed["y"], feed["uv"]
        outputs: list[NDArray[Any]] = [np.empty_like(y), np.empty_like(uv), np.empty(y.shape, np.uint8)]
        for place, array in enumerate(outputs):
            request.set_output_tensor(place, openvino.Tensor(array, shared_memory=True))
        request.infer(dict(feed), share_inputs=True, share_outputs=True)
        return outputs

    return run


open_backend = OpenVino
