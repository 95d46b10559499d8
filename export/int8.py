"""An int8 graph: convolutions between QuantizeLinear and DequantizeLinear nodes, their ranges taken from calibration frames.

Symmetric, as TensorRT wants it. The convolutions that lose most stay in float: the last ones, at half resolution, and the first ones
down to quarter resolution, where rain is told from background. They were found by leaving out one at a time. Of the CLIP only the
last stage is int8, which has most of the image tower's weights: thin rain does not survive it before.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

KEPT = re.compile(r"(^|\.)(stem|to_quarter|down_quarter|up_half|head)\.|^visual\.(conv\d|layer[123])\.")
"""What the weights of convolutions that stay in float are called."""

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
            nodes_to_exclude=_kept(data),
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )
        return target.read_bytes()


def _kept(data: bytes) -> list[str]:
    """Names of the convolutions that are not quantised."""
    return [node.name for node in onnx.load_from_string(data).graph.node if node.op_type == "Conv" and KEPT.search(node.input[1])]
