"""From torch to ONNX: every graph is computed beside the torch network, and kept only if the pictures agree.

Opset 20: within what TensorRT's parser reads (9 to 25). Height and width are dynamic, in multiples of MULTIPLE.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from ..models.origin import commit
from ..models.spec import MULTIPLE, QUALITY, SPECS, STILL
from . import manifest, parity
from .graph import DTYPES, PERCEPTION, Graph
from .half import half, packed
from .parity import Parity
from .probe import Probe, drawn
from .runtime.base import Planes

OPSET = 20
PLANES = ("y", "uv", "near", "clean_y", "clean_uv")
"""Inputs and outputs whose type is the graph's `dtype`."""


def export(
    net: nn.Module, graphs: Sequence[Graph], folder: Path, footage: Callable[[Graph], Sequence[Probe]] = lambda graph: ()
) -> Iterator[tuple[Graph, Parity]]:
    """Writes one network in several types and precisions to `folder` and its manifest; yields each graph and its distance from torch.

    net: has the signature of the graphs. footage: frames that int8 takes its ranges from (without them, drawn frames) and that
    every graph is compared on, besides drawn frames. ParityError, and nothing written, if a graph computes other pictures.
    """
    data = convert(net, graphs[0])
    for graph in graphs:
        frames = footage(graph)
        made = lowered(retyped(data, graph), graph, frames or probes(graph))
        found = compare(net, made, graph, [*frames, *(() if graph.precision == "int8" and frames else probes(graph))])
        parity.demand(found, graph.precision, str(folder / graph.file))
        keep(folder, graph, made, found)
        yield graph, found


def convert(net: nn.Module, graph: Graph) -> bytes:
    """ONNX bytes of `net` in fp32, for uint8 planes."""
    graph = replace(graph, dtype=graph.dtype and "u8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # axis names that coincide, and the exporter's own deprecations
        program = torch.onnx.export(
            net.eval(),
            tensors(graph, probes(graph)[0]),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=_dynamic(graph),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    return bytes(_anonymous(program.model_proto).SerializeToString())


def _anonymous(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the exporter's notes on each node, which hold the paths of this machine."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
    return model


def retyped(data: bytes, graph: Graph) -> bytes:
    """A graph of uint8 planes as one of the planes that `graph` names: inside, all are widened first and narrowed last."""
    if graph.dtype in ("", "u8"):
        return data
    model = onnx.load_from_string(data)
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[graph.dtype]))
    for value in (*model.graph.input, *model.graph.output):
        if value.name in PLANES:
            value.type.tensor_type.elem_type = kind
    for node in model.graph.node:
        if node.op_type == "Cast" and node.output[0] in PLANES:
            node.attribute[0].i = kind
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def lowered(data: bytes, graph: Graph, frames: Sequence[Probe]) -> bytes:
    """The fp32 graph in the precision that `graph` names."""
    if graph.precision == "fp16":
        return half(data)
    if graph.precision == "int8":
        from .int8 import quantise  # imports ONNX Runtime's quantisation tools, which take a second

        return quantise(data, (feed(graph, frame) for frame in frames))
    return data if graph.network == PERCEPTION else packed(data)  # perception is there from the first frame on: it should open quickly


def compare(net: nn.Module, data: bytes, graph: Graph, frames: Sequence[Probe]) -> Parity:
    """Distance between `net` and the graph in ONNX Runtime over all frames; of the scores, in units of 1/255."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    pairs: list[tuple[Planes, Planes]] = []
    for frame in frames:
        with torch.inference_mode():
            wanted = net(*tensors(graph, frame))
        pairs += _pictures(wanted, session.run(list(graph.outputs), feed(graph, frame)))
    return parity.between(pairs, 255 if graph.network == PERCEPTION else frames[0].peak)


def _pictures(wanted: Tensor | tuple[Tensor, ...], got: list[NDArray[Any]]) -> list[tuple[Planes, Planes]]:
    """What is compared: clean planes, or scores in units of 1/255."""
    if isinstance(wanted, Tensor):
        return [((wanted.numpy() * 255).round().astype(np.uint8), (got[0] * 255).round().astype(np.uint8))]
    return [(plane.numpy(), other) for plane, other in zip(wanted[:2], got[:2], strict=True)]


def probes(graph: Graph) -> list[Probe]:
    """Drawn frames of two sizes, 8-bit or 10-bit as the graph's planes are."""
    peak = 255 if graph.dtype in ("", "u8") else 1023
    return [drawn(184, 256, peak), drawn(128, 328, peak, seed=1)]


def feed(graph: Graph, frame: Probe) -> dict[str, NDArray[Any]]:
    """The graph's inputs for one frame."""
    return {"views": frame.views} if graph.network == PERCEPTION else frame.seen_by(graph.pattern).feed(DTYPES[graph.dtype])


def tensors(graph: Graph, frame: Probe) -> tuple[Tensor, ...]:
    named = feed(graph, frame)
    return tuple(torch.from_numpy(named[name]) for name in graph.inputs)


def _dynamic(graph: Graph) -> tuple[dict[int, Any] | None, ...]:
    if graph.network == PERCEPTION:
        return ({0: Dim("views", min=1, max=64)},)
    high, wide = Dim("h", min=1, max=4096), Dim("w", min=1, max=4096)
    luma = {2: MULTIPLE * high, 3: MULTIPLE * wide}
    return (luma, {2: MULTIPLE // 2 * high, 3: MULTIPLE // 2 * wide}, luma, None)


def keep(folder: Path, graph: Graph, data: bytes, found: Parity) -> None:
    """Writes the file under a temporary name, renames it, and enters it in the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{graph.file}.tmp"
    draft.write_bytes(data)
    os.replace(draft, folder / graph.file)
    entry = {
        **asdict(graph),
        "sha256": manifest.sha256(data),
        "bytes": len(data),
        "opset": OPSET,
        "spec": None if graph.network == PERCEPTION else asdict(QUALITY if graph.pattern == STILL else SPECS[graph.network]),
        "commit": commit(),
        "torch": torch.__version__,
        "parity": found.entry(),
    }
    manifest.add(folder, {graph.file: entry})
