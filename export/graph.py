"""Names and signatures of the exported graphs."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.spec import FAST, GENERALIST, NETWORKS, SPECS, STILL

PERCEPTION = "perception"
INPUTS = ("y", "uv", "near", "peak")
OUTPUTS = ("clean_y", "clean_uv", "mask")
DTYPES = {"u8": "uint8", "u16": "uint16", "i32": "int32"}
"""Plane types by short name. i32 carries 16-bit planes for TensorRT, which has no uint16 tensors."""

PRECISIONS = ("fp32", "fp16", "int8")
"""Precisions that are made into a graph of their own; bf16 is computed from the fp32 graph by runtimes that can."""


@dataclass(frozen=True)
class Graph:
    """One exported network.

    network: PERCEPTION, or the size of the sub-networks ("fast"); pattern: one of NETWORKS, or GENERALIST; it and dtype are empty for perception.
    """

    network: str
    pattern: str = ""
    dtype: str = ""
    precision: str = "fp32"

    @property
    def file(self) -> str:
        """Name of the ONNX file: `fast_light_u8.onnx`, `fast_light_u8_fp16.onnx`, `perception.onnx`."""
        parts = [self.network, self.pattern, self.dtype, "" if self.precision == "fp32" else self.precision]
        return "_".join(filter(None, parts)) + ".onnx"

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("views",) if self.network == PERCEPTION else INPUTS

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("scores",) if self.network == PERCEPTION else OUTPUTS


def subnet(model: str, network: str, dtype: str, precision: str = "fp32") -> Graph:
    """The graph of a sub-network of that size, one of NETWORKS: all sizes share that of stills, and those with one network have one graph else."""
    if network == STILL:
        return Graph(FAST.name, STILL, dtype, precision)
    return Graph(model, GENERALIST if SPECS[model].alone else network, dtype, precision)


def subnets(model: str, dtype: str, precision: str = "fp32") -> list[Graph]:
    """The graphs that a size needs: of its sub-networks, and of those of FAST, which derain thumbnails."""
    return list(dict.fromkeys(subnet(size, name, dtype, precision) for size in (model, FAST.name) for name in NETWORKS))
