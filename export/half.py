"""An fp16 graph made explicitly: TensorRT 11 takes precision from the graph alone.

Convolutions, products and what moves their data compute in fp16. Scaling to and from code values, masks, normalisations and softmax
stay in fp32: fp16 ends at 65504, and restoration networks with fp16 norms have returned black frames (TensorRT#3897).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

HEAVY = {"Conv", "ConvTranspose", "MatMul", "Gemm"}
LIGHT = {"Relu", "Gelu", "Add", "Concat", "Slice", "Split", "Reshape", "Transpose", "DepthToSpace", "SpaceToDepth", "AveragePool"}
"""What may stand between heavy nodes in fp16; everything else casts to fp32 and back."""

MANY = 1024
"""Weights from which a tensor is worth packing."""


def half(data: bytes) -> bytes:
    """ONNX bytes of an fp32 graph to those of an fp16 graph with the same inputs and outputs."""
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
    floats = _floats(model.graph)
    core = _core(model.graph)
    _rewrite(model.graph, floats, core)
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def packed(data: bytes) -> bytes:
    """The same fp32 graph in less space: weights that float16 holds exactly are kept so, and widened by a Cast, which runtimes do once."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        weights = numpy_helper.to_array(tensor)
        if weights.dtype != np.float32 or weights.size < MANY or (weights.astype(np.float16) != weights).any():
            continue
        kept = f"{tensor.name}_fp16"
        model.graph.node.insert(0, helper.make_node("Cast", [kept], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), kept))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _floats(graph: GraphProto) -> set[str]:
    """Names of float32 tensors."""
    values = [*graph.input, *graph.output, *graph.value_info]
    names = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _core(graph: GraphProto) -> set[str]:
    """Outputs of the nodes that go to fp16: heavy ones, and light ones between the first heavy one and the last."""
    after = _reach(graph.node, forward=True)
    before = _reach(reversed(graph.node), forward=False)
    chosen = [n for n in graph.node if n.op_type in HEAVY or (n.op_type in LIGHT and after & set(n.output) and before & set(n.output))]
    return {name for node in chosen for name in node.output}


def _reach(nodes: object, forward: bool) -> set[str]:
    """Tensors downstream of a heavy node, or upstream of one. Nodes come in that order."""
    found: set[str] = set()
    for node in nodes:  # type: ignore[attr-defined]
        source, target = (node.input, node.output) if forward else (node.output, node.input)
        if node.op_type in HEAVY or found & set(source):
            found |= set(target)
    return found


def _rewrite(graph: GraphProto, floats: set[str], core: set[str]) -> None:
    weights = {tensor.name: tensor for tensor in graph.initializer}
    made: set[str] = set()
    nodes: list[NodeProto] = []
    for node in graph.node:
        low = bool(core & set(node.output))
        for place, name in enumerate(node.input):
            if name not in floats or low == (name in core):
                continue
            node.input[place] = new = f"{name}_{'fp16' if low else 'fp32'}"
            if new not in made:
                made.add(new)
                nodes.extend(_converted(graph, name, new, weights.get(name), low))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)


def _converted(graph: GraphProto, name: str, new: str, weight: TensorProto | None, low: bool) -> list[NodeProto]:
    """Puts tensor `name` into the graph in the other precision as `new`: a weight at once, anything else by a Cast."""
    if weight is not None:
        graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), new))
        return []
    kind = TensorProto.FLOAT16 if low else TensorProto.FLOAT
    return [helper.make_node("Cast", [name], [new], name=f"cast_{new}", to=kind)]


def _drop_unused(graph: GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def types(data: bytes) -> dict[str, int]:
    """How many weights of each type a graph holds, by numpy name: {"float16": 34, "float32": 2}."""
    model: ModelProto = onnx.load_from_string(data)
    names = [np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).name for tensor in model.graph.initializer]
    return {name: names.count(name) for name in sorted(set(names))}
