"""From torch to ONNX: every graph is computed beside the torch network, and kept only if the pictures agree.

Opset 20: within what TensorRT's parser reads (9 to 25). Height and width are dynamic, in multiples of MULTIPLE.
"""

from __future__ import annotations

import os
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from ..models.spec import MULTIPLE, SPECS
from . import manifest, parity
from .graph import DTYPES, PERCEPTION, Graph
from .half import half
from .parity import Parity
from .probe import Probe, drawn
from .runtime.base import Planes

OPSET = 20


def export(
    net: nn.Module, graph: Graph, folder: Path, precisions: Sequence[str] = ("fp32",), frames: Sequence[Probe] = ()
) -> Iterator[tuple[Graph, Parity]]:
    """Writes `net`, which has the graph's signature, to `folder` and its manifest; yields each graph and how close it came to torch.

    frames: footage that int8 takes its ranges from (without it, drawn frames) and that all are compared on, besides drawn frames.
    ParityError, and nothing written, if a graph computes other pictures than `net`.
    """
    data = convert(net, graph)
    for precision in precisions:
        made = replace(graph, precision=precision)
        lower = lowered(data, made, frames or probes(graph))
        found = compare(net, lower, made, [*frames, *(() if precision == "int8" and frames else probes(graph))])
        parity.demand(found, precision, str(folder / made.file))
        keep(folder, made, lower, found)
        yield made, found


def convert(net: nn.Module, graph: Graph) -> bytes:
    """ONNX bytes of `net` in fp32."""
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
    return bytes(program.model_proto.SerializeToString())


def lowered(data: bytes, graph: Graph, frames: Sequence[Probe]) -> bytes:
    """The fp32 graph in the precision that `graph` names."""
    if graph.precision == "fp16":
        return half(data)
    if graph.precision == "int8":
        from .int8 import quantise  # imports ONNX Runtime's quantisation tools, which take a second

        return quantise(data, (feed(graph, frame) for frame in frames))
    return data


def compare(net: nn.Module, data: bytes, graph: Graph, frames: Sequence[Probe]) -> Parity:
    """Distance between `net` and the graph in ONNX Runtime over all frames; of the scores, in units of 1/255."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    pairs: list[tuple[Planes, Planes]] = []
    for frame in frames:
        with torch.inference_mode():
            wanted = net(*tensors(graph, frame))
        pairs += _pictures(graph, wanted, session.run(list(graph.outputs), feed(graph, frame)))
    return parity.between(pairs, 255 if graph.network == PERCEPTION else frames[0].peak)


def _pictures(graph: Graph, wanted: Tensor | tuple[Tensor, ...], got: list[NDArray[Any]]) -> list[tuple[Planes, Planes]]:
    """What is compared: clean planes, or scores in units of 1/255."""
    if isinstance(wanted, Tensor):
        return [((wanted.numpy() * 255).round().astype(np.uint8), (got[0] * 255).round().astype(np.uint8))]
    return [(plane.numpy(), other) for plane, other in zip(wanted[:2], got[:2], strict=True)]


def probes(graph: Graph) -> list[Probe]:
    """Drawn frames of two sizes, 8-bit or 10-bit as the graph's planes are."""
    peak = 255 if graph.dtype in ("", "u8") else 1023
    return [drawn(192, 256, peak), drawn(128, 320, peak, seed=1)]


def feed(graph: Graph, frame: Probe) -> dict[str, NDArray[Any]]:
    """The graph's inputs for one frame."""
    return {"views": frame.views} if graph.network == PERCEPTION else frame.feed(DTYPES[graph.dtype])


def tensors(graph: Graph, frame: Probe) -> tuple[Tensor, ...]:
    named = feed(graph, frame)
    return tuple(torch.from_numpy(named[name]) for name in graph.inputs)


def _dynamic(graph: Graph) -> tuple[dict[int, Any] | None, ...]:
    if graph.network == PERCEPTION:
        return ({0: Dim("views", min=1, max=64)},)
    high, wide = Dim("h", min=1, max=512), Dim("w", min=1, max=512)
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
        "spec": asdict(SPECS[graph.network]) if graph.network in SPECS else None,
        "commit": commit(),
        "torch": torch.__version__,
        "parity": found.entry(),
    }
    manifest.add(folder, {graph.file: entry})


def commit() -> str:
    """The commit of this checkout, with a plus where files differ from it; "unknown" outside a checkout."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty=+", "--abbrev=12"], cwd=here, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
