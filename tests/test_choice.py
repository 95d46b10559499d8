"""Which runtime, size and number of threads are taken, and what is refused."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from derain_video.export import manifest, runtime
from derain_video.export.errors import ExportError, OptionError, RuntimeMissing
from derain_video.export.runtime import gpu, threads


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "count", lambda: 0)


@pytest.mark.usefixtures("no_gpu")
def test_auto_takes_openvino_on_a_processor_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "derain_video"), runtime.load(folder=manifest.GRAPHS) as found:
        assert found.name == ("openvino" if runtime.installed("openvino") else "onnx")
    assert f"runtime {found.name}: " in caplog.text


@pytest.mark.usefixtures("no_gpu")
def test_auto_passes_over_a_library_that_does_not_load(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtime.NEEDS, "openvino", ("json",))
    monkeypatch.setitem(sys.modules, "derain_video.export.runtime.openvino_", None)
    with runtime.load(folder=manifest.GRAPHS) as found:
        assert found.name == "onnx"
    assert "runtime openvino does not load" in caplog.text and "pip install openvino" in caplog.text


@pytest.mark.parametrize("fault", ["it does not start", ""])
def test_auto_passes_over_what_does_not_open_or_leaves_the_gpu_alone(
    fault: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opener(name: str, precision: str) -> Any:
        def opened(*_: Any, **device: str) -> Any:
            if fault and name != "onnx":
                raise RuntimeMissing(fault)
            return SimpleNamespace(name=name, device="cpu", precision="fp32", close=lambda: None)

        return opened

    monkeypatch.setattr(gpu, "count", lambda: 1)
    monkeypatch.setattr(runtime, "installed", lambda name: True)
    monkeypatch.setattr(runtime, "_opener", opener)
    assert runtime.load().name == ("onnx" if fault else "openvino")
    assert len(caplog.messages) == (3 if fault else 2)
    assert caplog.messages[0] == (fault or "runtime tensorrt: an NVIDIA GPU is there, but this build does not use it")


def test_onnx_on_a_gpu_that_it_does_not_use_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries of CUDA that do not load: ONNX Runtime names the provider, and then computes on the processor."""
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.setattr(gpu, "count", lambda: 1)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(RuntimeMissing, match=r"onnxruntime-gpu does not start on the GPU \(.+\): pip install"), pytest.warns(UserWarning):
        runtime.load("onnx")


def test_with_a_gpu_tensorrt_comes_first_then_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "count", lambda: 1)
    assert [name for name, *_ in runtime.candidates()][:2] == ["tensorrt", "torch"]


@pytest.mark.parametrize(
    ("device", "precision", "model", "size"),
    [("cuda", "bf16", "auto", "quality"), ("cuda", "fp32", "auto", "fast"), ("cpu", "bf16", "auto", "fast"), ("cuda", "bf16", "fast", "fast")],
)
def test_auto_takes_the_larger_size_on_a_gpu_of_low_precision(
    device: str, precision: str, model: str, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = SimpleNamespace(name="torch", device=device, precision=precision)
    monkeypatch.setattr(runtime, "_opener", lambda *_: lambda *_: backend)
    assert runtime.load("torch", model=model).model == size


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"name": "cuda"}, OptionError, "runtime 'cuda' is not offered; choose one of auto, tensorrt"),
        ({"precision": "fp8"}, OptionError, "precision 'fp8' is not offered"),
        ({"model": "huge"}, OptionError, "model 'huge' is not offered; choose one of auto, fast, quality"),
        ({"name": "openvino", "precision": "fp16"}, OptionError, "openvino has no precision fp16; it offers fp32, bf16, int8"),
        ({"threads": -1}, OptionError, "-1 threads"),
    ],
)
def test_what_is_not_offered_is_refused_in_one_line(options: dict[str, Any], error: type[ExportError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        runtime.load(**options)
    assert "\n" not in str(caught.value)


def test_a_missing_runtime_comes_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runtime.NEEDS, "tensorrt", ("no_such_module",))
    with pytest.raises(RuntimeMissing, match=r"runtime tensorrt is not installed: pip install 'derain-video\[tensorrt\]'"):
        runtime.load("tensorrt")


@pytest.mark.parametrize(("cores", "wanted"), [(1, 1), (2, 2), (3, 3), (4, 3), (8, 6), (16, 12), (64, 32)])
def test_threads_leave_room_for_decoding_and_encoding(cores: int, wanted: int) -> None:
    assert threads.share(cores) == wanted
