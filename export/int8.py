"""An int8 graph: convolutions between QuantizeLinear and DequantizeLinear nodes, their ranges taken from calibration frames.

Symmetric, as TensorRT wants it. The first and the last convolution stay in fp32: they touch code values.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

HEAVY = ("Conv", "Gemm", "MatMul")

Feed = Mapping[str, NDArray[Any]]


class Frames(CalibrationDataReader):  # type: ignore[misc]
    """Inputs of the network, one frame at a time."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


def quantise(data: bytes, feeds: Iterable[Feed]) -> bytes:
    """ONNX bytes of an fp32 graph to those of an int8 graph with the same inputs and outputs, calibrated on `feeds`."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        source.write_bytes(data)
        quantize_static(
            str(source),
            str(target),
            Frames(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            nodes_to_exclude=_ends(data),
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        return target.read_bytes()


def _ends(data: bytes) -> list[str]:
    """Names of the first and the last convolution."""
    names = [node.name for node in onnx.load_from_string(data).graph.node if node.op_type == "Conv"]
    return [names[0], names[-1]]
