"""Bias additions move into the int8 products and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, quantize_static

from training.export import _Reader
from training.fuse import fuse_biases

RNG = np.random.default_rng(3)
STATES = RNG.normal(size=(2, 5, 8)).astype(np.float32)


def write_network(path: Path, added: str, *, also_read: bool = False) -> None:
    """A product of states [B, T, 8] with weights [8, 6], and what is added to it."""
    constants = {
        "weights": RNG.normal(size=(8, 6)),
        "bias": RNG.normal(size=6),
        "square": RNG.normal(size=(5, 6)),
    }
    nodes = [
        helper.make_node("MatMul", ["states", "weights"], ["product"]),
        helper.make_node("Add", ["product", added], ["answer"]),
    ]
    outputs = ["answer", "product"] if also_read else ["answer"]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["B", "T", 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", "T", 6]) for name in outputs],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    float32 = path.with_suffix(".float32")
    onnx.save(model, float32)
    extra = {"OpTypesToExcludeOutputQuantization": ["MatMul"]}
    reader = _Reader([{"states": STATES}])
    quantize_static(
        str(float32),
        str(path),
        reader,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["MatMul"],
        extra_options=extra,
    )


def answer(path: Path) -> list[np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"states": STATES})


@pytest.mark.parametrize(
    ("added", "also_read", "moved"),
    [("bias", False, 1), ("square", False, 0), ("bias", True, 0)],
)
def test_only_a_bias_that_nothing_else_waits_for_moves(
    tmp_path: Path, added: str, also_read: bool, moved: int
) -> None:
    source, target = tmp_path / "source.onnx", tmp_path / "target.onnx"
    write_network(source, added, also_read=also_read)
    assert fuse_biases(source, target, left_alone=[]) == moved
    kinds = [node.op_type for node in onnx.load(target).graph.node]
    assert kinds.count("MatMulIntegerToFloat") == 1
    assert kinds.count("Add") == 1 - moved
    for before, after in zip(answer(source), answer(target), strict=True):
        np.testing.assert_array_equal(before, after)
