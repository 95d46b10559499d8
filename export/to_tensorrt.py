"""From ONNX to a TensorRT engine (API of TensorRT 10.12 to 11). Precision is the graph's own: networks are strongly typed.

Written against the published bindings (tensorrt_api.py checks every name); not run without an NVIDIA GPU.
"""

from __future__ import annotations

from typing import Any

import tensorrt as trt
from tqdm import tqdm

from .engine import Timings
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


def build(data: bytes, graph: Graph, profile: Profile, timings: Timings) -> bytes:
    """The serialized engine of the ONNX bytes `data`, for shapes of `profile`.

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
    if config.add_optimization_profile(_profile(builder, graph, profile)) < 0:
        raise GraphError(f"{graph.file}: TensorRT {trt.__version__} takes no shapes up to {profile} for it; use --runtime torch")
    cache = _timed(config, timings.read()) or _timed(config, b"")  # those of another driver are begun anew
    plan = builder.build_serialized_network(network, config)
    del progress
    if plan is None:
        raise GraphError(f"{graph.file}: TensorRT {trt.__version__} cannot build it for up to {profile}; use --runtime torch")
    if cache:
        timings.write(bytes(cache.serialize()))
    return bytes(plan)


def _timed(config: Any, data: bytes) -> Any:
    """The timing cache of those bytes, which the build goes by and adds to; None if TensorRT takes none of them."""
    cache = config.create_timing_cache(data)
    return cache if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False) else None


def _profile(builder: Any, graph: Graph, profile: Profile) -> Any:
    made = builder.create_optimization_profile()
    for name, (least, best, most) in profile.ranges(graph).items():
        made.set_shape(name, least, best, most)
    return made
