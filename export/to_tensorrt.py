"""From ONNX to a TensorRT engine (API of TensorRT 10.12 to 11). Precision is the graph's own: networks are strongly typed.

Written against the published bindings (tensorrt_api.py checks every name); not run without an NVIDIA GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorrt as trt
from tqdm import tqdm

from .engine import put
from .errors import GraphError
from .graph import Graph
from .profile import Profile

LOGGER = trt.Logger(trt.Logger.WARNING)


class Progress(trt.IProgressMonitor):  # type: ignore[misc]
    """A bar for the outermost phase of a build, which takes minutes."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._bars: dict[str, Any] = {}

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        if parent_phase is None:
            self._bars[phase_name] = tqdm(total=num_steps, desc=self._title, leave=False, unit="step")

    def step_complete(self, phase_name: str, step: int) -> bool:
        if phase_name in self._bars:
            self._bars[phase_name].update()
        return True

    def phase_finish(self, phase_name: str) -> None:
        if phase_name in self._bars:
            self._bars.pop(phase_name).close()


def build(data: bytes, graph: Graph, profile: Profile, timings: Path) -> bytes:
    """The serialized engine of the ONNX bytes `data`, for shapes of `profile`. timings: file of kernel timings that builds share.

    GraphError says what TensorRT's parser or builder could not do.
    """
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, LOGGER)
    if not parser.parse(data):
        raise GraphError(f"{graph.file}: TensorRT {trt.__version__} cannot read it: {parser.get_error(0).desc()}; use --runtime torch")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # fp32 means fp32: held to one code value
    config.progress_monitor = progress = Progress(f"building {graph.file} for up to {profile}")  # the config keeps no reference
    config.add_optimization_profile(_profile(builder, graph, profile))
    cache = config.create_timing_cache(timings.read_bytes() if timings.is_file() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    del progress
    if plan is None:
        raise GraphError(f"{graph.file}: TensorRT {trt.__version__} cannot build it for up to {profile}; use --runtime torch")
    put(timings, bytes(cache.serialize()))
    return bytes(plan)


def _profile(builder: Any, graph: Graph, profile: Profile) -> Any:
    made = builder.create_optimization_profile()
    for name, (least, best, most) in profile.ranges(graph).items():
        made.set_shape(name, least, best, most)
    return made
