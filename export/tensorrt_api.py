"""Every name of TensorRT that this folder uses, and a check of them against the published Python bindings.

Source: the wheel tensorrt-cu12-bindings 11.4.0.106 (and -cu13-); these names were also found there by class, with `hasattr`. The
check needs no GPU and no TensorRT: `python -m derain_video.export.tensorrt_api WHEEL` looks for them in the wheel's extension module.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

NAMES = {
    "": ("Logger", "Builder", "OnnxParser", "Runtime", "IProgressMonitor", "NetworkDefinitionCreationFlag", "BuilderFlag", "DataType"),
    "Logger": ("WARNING",),
    "NetworkDefinitionCreationFlag": ("STRONGLY_TYPED",),
    "BuilderFlag": ("TF32",),
    "DataType": ("FLOAT", "INT32", "UINT8"),
    "Builder": ("create_network", "create_builder_config", "create_optimization_profile", "build_serialized_network"),
    "OnnxParser": ("parse", "get_error"),
    "ParserError": ("desc",),
    "IBuilderConfig": ("clear_flag", "progress_monitor", "add_optimization_profile", "create_timing_cache", "set_timing_cache"),
    "IOptimizationProfile": ("set_shape",),
    "ITimingCache": ("serialize",),
    "IProgressMonitor": ("phase_start", "step_complete", "phase_finish"),
    "Runtime": ("deserialize_cuda_engine",),
    "ICudaEngine": ("create_execution_context", "get_tensor_dtype"),
    "IExecutionContext": ("set_input_shape", "set_tensor_address", "get_tensor_shape", "execute_async_v3"),
}
"""Names by class; those of the module itself under the empty string."""


def missing(symbols: bytes) -> list[str]:
    """Names that end no string in an extension module's bytes; linkers let a string share the end of a longer one."""
    used = {name for owner, names in NAMES.items() for name in (owner, *names) if name}
    return sorted(name for name in used if name.encode() + b"\0" not in symbols)


def extension(wheel: Path) -> bytes:
    """The extension module in a bindings wheel."""
    with zipfile.ZipFile(wheel) as box:
        (name,) = [entry for entry in box.namelist() if entry.endswith(("/tensorrt.so", "/tensorrt.pyd"))]
        return box.read(name)


def main(wheels: Iterable[str]) -> int:
    lost = {wheel: missing(extension(Path(wheel))) for wheel in wheels}
    for wheel, names in lost.items():
        print(f"{wheel}: {'misses ' + ', '.join(names) if names else 'has every name that is used'}")
    return 1 if any(lost.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
