"""The TensorRT runtime with TensorRT itself replaced: engines are ONNX Runtime sessions, device memory is the machine's own.

So everything around the TensorRT calls is run: engines from the store, shapes, buffers by address, widening and narrowing of planes.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import sys
import weakref
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from derain_video.export import cache, cli, manifest
from derain_video.export.errors import GraphError, RuntimeMissing
from derain_video.export.graph import Graph
from derain_video.export.probe import drawn
from derain_video.export.runtime import captured

BUILT: list[bytes] = []
TIMED: list[bytes] = []
REFUSED = {"first": 0}
"""How many timing caches each build refuses at first."""


class Stream:
    """Of the machine's own memory, where all is done at once."""

    device, cuda_stream = torch.device("cpu"), 7

    def wait_stream(self, other: Stream) -> None: ...

    def synchronize(self) -> None: ...


class Context:
    """Runs the session on what lies at the addresses that it was given."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session, self.shapes, self.places = session, dict[str, tuple[int, ...]](), dict[str, int]()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.places[name] = memory
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shapes[{"clean_y": "y", "clean_uv": "uv", "mask": "y"}.get(name, name)]

    def execute_async_v3(self, stream_handle: int) -> bool:
        feed = {value.name: self._at(value.name, value.type) for value in self.session.get_inputs()}
        for value, result in zip(self.session.get_outputs(), self.session.run(None, feed), strict=True):
            self._at(value.name, value.type)[...] = result
        return stream_handle == 7

    def _at(self, name: str, kind: str) -> NDArray[Any]:
        dtype = np.dtype(kind[7:-1].replace("float", "float32"))  # "tensor(int32)"
        size = int(np.prod(self.get_tensor_shape(name))) * dtype.itemsize
        memory = (ctypes.c_char * size).from_address(self.places[name])
        return np.frombuffer(memory, dtype).reshape(self.get_tensor_shape(name))


class Engine:
    def __init__(self, data: bytes) -> None:
        self.session = onnxruntime.InferenceSession(data)

    def create_execution_context(self) -> Context:
        return Context(self.session)

    def get_tensor_dtype(self, name: str) -> str:
        return {"peak": "FLOAT", "mask": "UINT8"}.get(name, "INT32")


class Parser:
    def __init__(self, network: SimpleNamespace, logger: object) -> None:
        self.network = network

    def parse(self, model: bytes) -> bool:
        self.network.data = model
        return True


class Builder(SimpleNamespace):
    def create_network(self, flags: int) -> SimpleNamespace:
        return SimpleNamespace(flags=flags)

    def create_builder_config(self) -> SimpleNamespace:
        timings = SimpleNamespace(serialize=lambda: b"timings")
        taken: list[bool] = []
        return SimpleNamespace(
            clear_flag=print,
            add_optimization_profile=lambda _: 0,
            create_timing_cache=lambda data: TIMED.append(data) or timings,
            set_timing_cache=lambda *_, **__: taken.append(True) or len(taken) > REFUSED["first"],
        )

    def create_optimization_profile(self) -> SimpleNamespace:
        return SimpleNamespace(set_shape=lambda name, least, best, most: None)

    def build_serialized_network(self, network: SimpleNamespace, config: SimpleNamespace) -> bytes:
        BUILT.append(network.data)
        return bytes(network.data)


class Runtime(SimpleNamespace):
    def deserialize_cuda_engine(self, data: bytes) -> Engine:
        return Engine(data)


def library() -> ModuleType:
    trt = ModuleType("tensorrt")
    trt.__dict__.update(
        __version__="11.4.0",
        Logger=type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None}),
        IProgressMonitor=object,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=0),
        BuilderFlag=SimpleNamespace(TF32="TF32"),
        DataType=SimpleNamespace(FLOAT="FLOAT", INT32="INT32", UINT8="UINT8"),
        OnnxParser=Parser,
        Builder=lambda logger: Builder(),
        Runtime=lambda logger: Runtime(),
    )
    return trt


class Direct:
    """In place of Captured: the same work, run at once."""

    made = 0

    def __init__(self, work: Any, feed: Mapping[str, NDArray[Any]], stream: object) -> None:
        self.work = work
        Direct.made += 1

    def __call__(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        return [result.numpy().copy() for result in self.work({name: torch.from_numpy(array) for name, array in feed.items()})]


def brighter() -> bytes:
    """A network of int32 planes that adds 300 to the luma, takes 1 from the chroma, and masks everything."""
    nodes = [
        helper.make_node("Add", ["y", "more"], ["clean_y"]),
        helper.make_node("Sub", ["uv", "one"], ["clean_uv"]),
        helper.make_node("Greater", ["clean_y", "y"], ["up"]),
        helper.make_node("Cast", ["up"], ["mask"], to=TensorProto.UINT8),
    ]
    kinds = {"y": TensorProto.INT32, "uv": TensorProto.INT32, "near": TensorProto.INT32, "peak": TensorProto.FLOAT}
    inputs = [helper.make_tensor_value_info(name, kind, [1] if name == "peak" else [1, None, None, None]) for name, kind in kinds.items()]
    kinds = {"clean_y": TensorProto.INT32, "clean_uv": TensorProto.INT32, "mask": TensorProto.UINT8}
    outputs = [helper.make_tensor_value_info(name, kind, [1, None, None, None]) for name, kind in kinds.items()]
    weights = [helper.make_tensor("more", TensorProto.INT32, [1], [300]), helper.make_tensor("one", TensorProto.INT32, [1], [1])]
    graph = helper.make_graph(nodes, "brighter", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    BUILT.clear()
    TIMED.clear()
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "tensorrt", library())
    for name, value in {"is_available": True, "Stream": Stream(), "get_device_capability": (9, 0), "get_device_name": "NVIDIA H200"}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    ours = ("derain_video.export.to_tensorrt", "derain_video.export.runtime.tensorrt_")
    for name in ours:
        monkeypatch.delitem(sys.modules, name, raising=False)
    tensorrt_ = importlib.import_module(ours[1])
    monkeypatch.setattr(tensorrt_, "DEVICE", "cpu")
    monkeypatch.setattr(captured, "Captured", Direct)
    (tmp_path / "fast_light_i32.onnx").write_bytes(brighter())
    manifest.add(tmp_path, {"fast_light_i32.onnx": {"sha256": manifest.sha256(brighter())}})
    yield tensorrt_.TensorRt(tmp_path, "fp32", 0)
    for name in ours:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("peak", [255, 65535])
def test_planes_are_widened_and_narrowed(backend: Any, peak: int) -> None:
    frame = drawn(128, 192, peak)
    run = backend.network(Graph("fast", "light", "u8" if peak == 255 else "u16"))
    y, uv, mask = run(frame.feed())
    assert (y.dtype, uv.dtype, mask.dtype) == (frame.y.dtype, frame.uv.dtype, np.uint8)
    assert np.array_equal(y, frame.y + frame.y.dtype.type(300 % (peak + 1))) and np.array_equal(uv, frame.uv - frame.uv.dtype.type(1))
    assert (mask == 1).all()


def test_one_engine_serves_a_bucket_and_is_kept_for_the_next_process(backend: Any, tmp_path: Path) -> None:
    run = backend.network(Graph("fast", "light", "u8"))
    for height, width in ((128, 192), (360, 640), (128, 192)):
        frame = drawn(height, width)
        assert run(frame.feed())[0].shape == (1, 1, height, width)
    assert len(BUILT) == 1
    run(drawn(448, 704).feed())
    assert len(BUILT) == 2
    again = type(backend)(tmp_path, "fp32", 0).network(Graph("fast", "light", "u16"))
    again(drawn(64, 64, 1023).feed())
    assert len(BUILT) == 2 and len(list((tmp_path / "cache").rglob("engine.plan"))) == 2


def test_the_sizes_met_last_stay_captured(backend: Any) -> None:
    run = backend.network(Graph("fast", "light", "u8"))
    sizes = [drawn(64, 64 + 8 * k).feed() for k in range(captured.SIZES + 1)]
    Direct.made = 0
    for feed in (*sizes[:-1], *sizes[:-1]):
        run(feed)
    assert Direct.made == captured.SIZES
    for feed in (sizes[-1], sizes[1], sizes[0]):  # the first has gone for the last
        run(feed)
    assert Direct.made == captured.SIZES + 2


def test_a_missing_graph_names_the_command_that_makes_it(backend: Any) -> None:
    run = backend.network(Graph("fast", "heavy", "u8", "fp16"))
    with pytest.raises(OSError, match=r"fast_heavy_i32_fp16.onnx: no such graph; make it with 'derain-export onnx --model fast --dtype i32"):
        run(drawn(64, 64).feed())


@pytest.mark.parametrize(("refused", "taken"), [(0, [b"", b"timings"]), (1, [b"", b"", b"timings", b""]), (2, [b"", b"", b"", b""])])
def test_timings_of_one_build_serve_the_next_unless_they_are_refused(
    backend: Any, refused: int, taken: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REFUSED, "first", refused)
    run = backend.network(Graph("fast", "light", "u8"))
    for side in (64, 648):
        run(drawn(64, side).feed())
    assert taken == TIMED


def test_without_graphs_of_i32_planes_it_is_not_opened(backend: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeMissing, match=r"no graphs of i32 planes in fp16 .+ 'derain-export onnx --dtype i32 --precision fp16"):
        type(backend)(tmp_path, "auto", 0)


def test_where_tensorrt_does_not_start_that_is_said(backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(logger: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(sys.modules["tensorrt"], "Runtime", none)
    with pytest.raises(RuntimeMissing, match=r"TensorRT 11.4.0 does not start; update the GPU's driver"):
        type(backend)(tmp_path, "fp32", 0)


def test_engines_are_built_ahead_for_frames_and_their_thumbnails() -> None:
    options = Namespace(model="quality", precision="fp16")
    made = {(graph.file, str(shapes)) for graph, shapes in cli._engines(options, (1080, 1920))}
    assert {("perception.onnx", "224x224"), ("quality_generalist_i32_fp16.onnx", "1920x1080"), ("fast_heavy_i32_fp16.onnx", "640x360")} <= made
    assert not any(name.startswith("quality") and shapes != "1920x1080" for name, shapes in made)


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Captured` itself, where a graph is what was done while it was captured."""
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "graph", lambda graph, capture_error_mode: nullcontext())
    monkeypatch.setattr(captured, "pinned", torch.empty_like)


@pytest.mark.usefixtures("captures")
def test_what_is_captured_lives_as_long_as_its_graph() -> None:
    class Halved:
        def __call__(self, inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
            return [inputs["y"] // 2]

    work = Halved()
    alive = weakref.ref(work)
    held = captured.Captured(work, {"y": np.full((1, 1, 2, 2), 8, np.uint8)}, Stream())  # type: ignore[arg-type]
    del work
    gc.collect()
    assert alive() and held({"y": np.full((1, 1, 2, 2), 8, np.uint8)})[0].max() == 4
    del held
    gc.collect()
    assert not alive()


@pytest.mark.usefixtures("captures")
def test_a_gpu_without_memory_is_said_in_a_line() -> None:
    def full(inputs: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")

    sizes = captured.Sizes(lambda feed: full, Stream(), Lock())  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"^the GPU's memory is full .CUDA out of memory. Tried to allocate 2 GiB..; free some"):
        sizes({"y": np.zeros((1, 1, 2, 2), np.uint8)})
