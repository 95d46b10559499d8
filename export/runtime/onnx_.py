"""ONNX Runtime: the portable default, on the CPU, or on the GPU where onnxruntime-gpu is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray

from .. import manifest
from ..errors import GraphError, RuntimeMissing, unread
from ..graph import PERCEPTION, Graph
from . import gpu
from .base import Network

CUDA = "CUDAExecutionProvider"


class Onnx:
    """Backend over the ONNX files in `folder`. device: cpu, or auto for a GPU where one is there."""

    name = "onnx"

    def __init__(self, folder: Path | None, precision: str, threads: int, device: str = "auto") -> None:
        self.folder = folder or manifest.GRAPHS
        self.precision = "fp32" if precision == "auto" else precision
        cuda = device != "cpu" and CUDA in onnxruntime.get_available_providers() and gpu.count() > 0
        self.device = "cuda" if cuda else "cpu"
        self._providers: list[str | tuple[str, dict[str, str]]] = [(CUDA, {"use_tf32": "0"})] if cuda else []  # fp32 means fp32
        self._providers.append("CPUExecutionProvider")
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.log_severity_level = 3
        # Threads that wait in a loop take the cores that decode and encode: on a busy machine a frame took twice as long.
        self._options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if cuda:
            onnxruntime.preload_dlls()  # those that pip installed
            self._session(Graph(PERCEPTION))

    def _session(self, graph: Graph) -> onnxruntime.InferenceSession:
        """RuntimeMissing where a GPU is there but is not used: ONNX Runtime itself would go on with the processor."""
        data = manifest.content(self.folder, graph)
        if self.device == "cpu":
            try:
                return onnxruntime.InferenceSession(data, self._options, providers=self._providers)
            except Exception as error:  # its errors have no class of their own in common
                raise GraphError(f"{self.folder / graph.file}: {unread('onnxruntime', error)}") from error
        try:
            session = onnxruntime.InferenceSession(data, self._options, providers=self._providers, enable_fallback=0)
            why = "" if session.get_providers()[0] == CUDA else "its CUDA or cuDNN library does not load"
        except RuntimeError as error:
            why = str(error).splitlines()[0]
        if why:
            raise RuntimeMissing(f"onnx: onnxruntime-gpu does not start on the GPU ({why}): pip install 'onnxruntime-gpu[cuda,cudnn]'")
        return session

    def network(self, graph: Graph) -> Network:
        session = self._session(graph)
        outputs = list(graph.outputs)

        def run(feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
            return list(session.run(outputs, dict(feed)))

        return run

    def close(self) -> None:
        """Sessions free themselves."""


open_backend = Onnx
