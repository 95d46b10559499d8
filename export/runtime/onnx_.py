"""ONNX Runtime: the portable default, on the CPU, or on the GPU where onnxruntime-gpu is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from .. import manifest
from ..graph import Graph
from . import gpu
from .base import Network


class Onnx:
    """Backend over the ONNX files in `folder`."""

    name = "onnx"

    def __init__(self, folder: Path | None, precision: str, threads: int) -> None:
        self.folder = folder or manifest.GRAPHS
        self.precision = "fp32" if precision == "auto" else precision
        cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and gpu.count() > 0
        self.device = "cuda" if cuda else "cpu"
        self._providers = (["CUDAExecutionProvider"] if cuda else []) + ["CPUExecutionProvider"]
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.log_severity_level = 3
        # Threads that wait in a loop take the cores that decode and encode: on a busy machine a frame took twice as long.
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")

    def network(self, graph: Graph) -> Network:
        data = manifest.content(self.folder, graph)
        session = onnxruntime.InferenceSession(data, self._options, providers=self._providers)
        outputs = list(graph.outputs)

        def run(feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
            return list(session.run(outputs, dict(feed)))

        return run

    def close(self) -> None:
        """Sessions free themselves."""


open_backend = Onnx
