"""The quantised network with its bias additions inside the int8 matrix products.

onnxruntime fuses a product with its scales into one node but leaves the addition of the bias as a
pass of its own over all states, which took a sixth of an answer. The node has an input for it.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime as ort
from onnx import ModelProto, NodeProto

_PRODUCT = "MatMulIntegerToFloat"
_BIAS = 6  # its place among the inputs of a product


def fuse_biases(source: Path, target: Path, *, left_alone: list[str]) -> int:
    """Write the network at `source` with its products fused to `target`; return how many biases.

    The answers stay the same to the bit. Only fusions that hold on every processor are made, and
    none of those named in `left_alone`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(Path(scratch) / "fused.onnx")
        options.log_severity_level = 3
        ort.InferenceSession(
            str(source),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=left_alone,
        )
        model = onnx.load(options.optimized_model_filepath)
    moved = _move_biases(model)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""  # which fusion made it
    onnx.save(model, target)
    return moved


def _move_biases(model: ModelProto) -> int:
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(output.name for output in graph.output)
    products = {node.output[0]: node for node in graph.node if node.op_type == _PRODUCT}
    moved: list[NodeProto] = []
    for node in graph.node:
        if node.op_type != "Add":
            continue
        for product, bias in (tuple(node.input), tuple(node.input)[::-1]):
            is_vector = bias in constants and len(constants[bias].dims) == 1
            if product in products and is_vector and readers[product] == 1:
                _add_bias(products[product], bias, node.output[0])
                moved.append(node)
                break
    for node in moved:
        graph.node.remove(node)
    return len(moved)


def _add_bias(product: NodeProto, bias: str, output: str) -> None:
    missing = _BIAS - len(product.input)
    product.input.extend([""] * missing)
    product.input.append(bias)
    product.output[0] = output
