"""PyTorch to ONNX to int8, each step held against the one before.

Activations are quantised with fixed scales (static quantisation): with dynamic quantisation the
scale comes from the whole padded batch, and a text's scores would move with its neighbours.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from tokenizers import Encoding
from torch import Tensor, nn

from diplophrase.classifier import SLOWER, pad
from diplophrase.errors import TrainingError
from training.fuse import fuse_biases
from training.model import PhraseModel

TOLERANCE = 1e-4  # of a probability, ONNX against torch
OUTPUTS = ["logits", "evidence", "speaker", "sentence_embedding"]
Feed = dict[str, npt.NDArray[np.int64]]


class _Served(nn.Module):
    """What is asked of the network when it answers: all but the attention."""

    def __init__(self, model: PhraseModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs that `OUTPUTS` names."""
        output = self.model(input_ids, attention_mask)
        return output.logits, output.evidence, output.speaker, output.embedding


def export_onnx(model: PhraseModel, path: Path) -> None:
    """Write `model` as float32 ONNX with free batch size and length."""
    model.eval()
    ids = torch.randint(1000, 2000, (2, 16))
    mask = torch.ones_like(ids)
    mask[1, 10:] = 0
    batch = torch.export.Dim("batch", min=1, max=4096)
    tokens = torch.export.Dim("tokens", min=2, max=512)
    shapes = ({0: batch, 1: tokens}, {0: batch, 1: tokens})
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Served(model).eval(),
            (ids, mask),
            input_names=["input_ids", "attention_mask"],
            output_names=OUTPUTS,
            dynamic_shapes=shapes,
            opset_version=20,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise TrainingError("torch.onnx.export returned nothing. Check the installed versions.")
    graph = program.model_proto
    del graph.graph.value_info[:]  # shapes of the traced batch, which mislead the quantiser
    del graph.metadata_props[:]
    for node in graph.graph.node:
        del node.metadata_props[:]  # source lines of the exporting machine
        node.doc_string = ""
    onnx.save(graph, path)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Any:
        return next(self._feeds, None)


def quantize(source: Path, target: Path, encodings: Sequence[Encoding]) -> None:
    """Write `source` with int8 weights and int8 matrix products to `target`.

    The activations' ranges are read off `encodings`. Weights have a scale per output channel;
    they use 7 of 8 bits, as products of 8-bit pairs overflow on processors without VNNI.
    """
    graph = onnx.load(source).graph
    constants = {tensor.name for tensor in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    between_states = [
        node.name for node in products if not any(name in constants for name in node.input)
    ]
    feeds = [pad(encodings[k : k + 8]) for k in range(0, len(encodings), 8)]
    with tempfile.TemporaryDirectory() as scratch:
        quantize_static(
            str(source),
            str(Path(scratch) / "model.onnx"),
            _Reader(feeds),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_exclude=between_states,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gather"],
                "WeightSymmetric": True,
                "ActivationSymmetric": False,
            },
        )
        fuse_biases(Path(scratch) / "model.onnx", target, left_alone=SLOWER)


def verify_export(model: PhraseModel, path: Path, encodings: Sequence[Encoding]) -> float:
    """Return the largest gap in probability between `model` and the float32 file at `path`.

    Batches of one and of eight, of mixed lengths, are held against each other.

    Raises:
        TrainingError: if the gap is over 1e-4 or is no number.
    """
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    gaps: list[float] = [0.0]
    for size in (1, 8):
        for start in range(0, min(len(encodings), 8 * size), size):
            feed = pad(encodings[start : start + size])
            logits, speaker = session.run(["logits", "speaker"], feed)
            with torch.inference_mode():
                expected = model(*(torch.from_numpy(value) for value in feed.values()))
            gaps += [
                float(np.abs(_sigmoid(logits) - _sigmoid(expected.logits.numpy())).max()),
                float(np.abs(_sigmoid(speaker) - _sigmoid(expected.speaker.numpy())).max()),
            ]
    return check_gaps(gaps, "exported")


def check_gaps(gaps: Sequence[float], how: str) -> float:
    """Return the largest of the gaps in probability between torch and a network.

    Raises:
        TrainingError: if the gap is over 1e-4 or is no number.
    """
    worst = float(np.max(gaps))  # unlike max, keeps a nan
    if not worst <= TOLERANCE:
        raise TrainingError(
            f"The {how} network differs from torch by {worst:.2e} in probability; "
            f"{TOLERANCE:.0e} is allowed. Nothing was written."
        )
    return worst


def _sigmoid(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(1.0 / (1.0 + np.exp(-values)))
