"""The frozen encoder of a bundle: its int8 network up to the last hidden states.

The last states leave the encoder as 8-bit codes with one scale, so they are kept on disk exactly
and in a quarter of the room.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from tokenizers import Encoding

from diplophrase.classifier import SLOWER, pad, plan_batches
from diplophrase.errors import TrainingError

Codes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Encoder:
    """`model` reads token ids and mask and gives `codes`, uint8 [B, T, H].

    A state is `scale * (code - zero)`.
    """

    model: ModelProto
    codes: str
    scale: float
    zero: int
    width: int  # H

    @property
    def hash(self) -> str:
        """Return the sha256 of the encoder, the same in every network that holds it."""
        return hashlib.sha256(self.model.SerializeToString(deterministic=True)).hexdigest()

    def run(self, encodings: Sequence[Encoding], *, threads: int) -> Iterator[tuple[int, Codes]]:
        """Yield the place of each encoding and its codes [T, H], like lengths together."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = ort.InferenceSession(
            self.model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=SLOWER,
        )
        lengths = [len(encoding.ids) for encoding in encodings]
        for rows in plan_batches(lengths):
            [codes] = session.run([self.codes], pad([encodings[row] for row in rows]))
            for row, found in zip(rows, codes, strict=True):
                yield row, found[: lengths[row]]


def cut_encoder(network: Path) -> Encoder:
    """Return the part of the network at `network` that ends with the last hidden states.

    Raises:
        TrainingError: if the network has no such end, such as one that is not quantised.
    """
    graph = onnx.load(network).graph
    norm, codes = _find_end(graph, network)
    values = {tensor.name: tensor for tensor in graph.initializer}
    _, scale, zero = codes.input
    width = values[norm.input[1]].dims[0]
    return Encoder(
        _keep_up_to(graph, codes.output[0], width),
        codes=codes.output[0],
        scale=float(numpy_helper.to_array(values[scale])),
        zero=int(numpy_helper.to_array(values[zero])),
        width=width,
    )


def _find_end(graph: GraphProto, network: Path) -> tuple[NodeProto, NodeProto]:
    """Return the last layer's norm and the node that quantises it; nodes stand in their order."""
    norms = [node for node in graph.node if node.op_type == "LayerNormalization"]
    for node in graph.node:
        if norms and node.op_type == "QuantizeLinear" and node.input[0] == norms[-1].output[0]:
            return norms[-1], node
    raise TrainingError(
        f"{network} does not end its encoder with 8-bit states, so that its heads cannot be "
        f"trained alone. Train in full: diplophrase train"
    )


def _keep_up_to(graph: GraphProto, end: str, width: int) -> ModelProto:
    """Return a model of those nodes and weights of `graph` that the value `end` needs."""
    needed, kept = {end}, []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    shape = ["batch", "tokens", width]
    return helper.make_model(
        helper.make_graph(
            kept[::-1],
            "encoder",
            list(graph.input),
            [helper.make_tensor_value_info(end, TensorProto.UINT8, shape)],
            [tensor for tensor in graph.initializer if tensor.name in needed],
        ),
        opset_imports=_operators(kept),
        ir_version=10,
    )


def _operators(nodes: Sequence[NodeProto]) -> list[onnx.OperatorSetIdProto]:
    """Return the sets of operators of a network: ONNX's and, where used, onnxruntime's own."""
    others = sorted({node.domain for node in nodes} - {"", "ai.onnx"})
    return [helper.make_opsetid("", 20), *[helper.make_opsetid(name, 1) for name in others]]
