"""Trained heads back on their frozen encoder: one network, as any other bundle has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import GraphProto, helper, numpy_helper, parser
from tokenizers import Encoding

from diplophrase.annotations import SPEAKERS
from diplophrase.classifier import LABELS_KEY, pad
from training.encoder import Encoder
from training.export import OUTPUTS, check_gaps
from training.heads import Heads

_GRAPH = """
heads (float[batch, tokens, {width}] states, int64[batch, tokens] attention_mask) => (
    float[batch, {labels}] logits,
    float[batch, 2, {labels}, tokens] evidence,
    float[batch, {speakers}] speaker,
    float[batch, {width}] sentence_embedding
) <
    float one = {{1}}, float barred = {{-10000}}, float least = {{1e-12}},
    int64[1] along_tokens = {{1}}, int64[1] along_units = {{-1}},
    int64[4] ends_shape = {{0, 2, {labels}, -1}},
    int64[5] parts = {{{parts}}}
> {{
    heads_kept_flat = Cast <to = 1> (attention_mask)
    heads_kept = Unsqueeze (heads_kept_flat, along_units)
    heads_gone = Sub (one, heads_kept)
    heads_padding = Mul (heads_gone, barred)
    heads_mapped_plain = MatMul (states, heads_weight)
    heads_mapped = Add (heads_mapped_plain, heads_bias)
    heads_attention, heads_values, heads_ends, heads_look, heads_voices
        = Split <axis = 2> (heads_mapped, parts)
    heads_attention_kept = Add (heads_attention, heads_padding)
    heads_attention_share = Softmax <axis = 1> (heads_attention_kept)
    heads_weighed = Mul (heads_attention_share, heads_values)
    logits = ReduceSum <keepdims = 0> (heads_weighed, along_tokens)
    heads_ends_turned = Transpose <perm = [0, 2, 1]> (heads_ends)
    evidence = Reshape (heads_ends_turned, ends_shape)
    heads_look_kept = Add (heads_look, heads_padding)
    heads_look_share = Softmax <axis = 1> (heads_look_kept)
    heads_heard = Mul (heads_look_share, heads_voices)
    speaker = ReduceSum <keepdims = 0> (heads_heard, along_tokens)
    heads_real = Mul (states, heads_kept)
    heads_sum = ReduceSum <keepdims = 0> (heads_real, along_tokens)
    heads_norm = ReduceL2 <keepdims = 1> (heads_sum, along_units)
    heads_norm_over_zero = Max (heads_norm, least)
    sentence_embedding = Div (heads_sum, heads_norm_over_zero)
}}
"""


def graft(encoder: Encoder, heads: Heads, path: Path, labels: Sequence[str]) -> None:
    """Write encoder and heads, of one set, to `path` as one network that names its labels."""
    graph = onnx.GraphProto()
    graph.CopyFrom(encoder.model.graph)
    graph.name = "encoder and heads"
    states = _rename_output(graph, encoder)
    grown = _heads_graph(heads, encoder.width)
    graph.node.extend([states, *grown.node])
    graph.initializer.extend(grown.initializer)
    del graph.output[:]
    graph.output.extend(grown.output)
    model = helper.make_model(
        graph, opset_imports=list(encoder.model.opset_import), ir_version=encoder.model.ir_version
    )
    model.metadata_props.add(key=LABELS_KEY, value=json.dumps(list(labels)))
    onnx.save(model, path)


def _rename_output(graph: GraphProto, encoder: Encoder) -> onnx.NodeProto:
    """Return the node that turns the encoder's codes into the heads' states."""
    codes = next(node for node in graph.node if encoder.codes in node.output)
    return helper.make_node("DequantizeLinear", [encoder.codes, *codes.input[1:]], ["states"])


def _heads_graph(heads: Heads, width: int) -> GraphProto:
    graph = parser.parse_graph(
        _GRAPH.format(
            width=width,
            labels=heads.label_count,
            speakers=len(SPEAKERS),
            parts=", ".join(map(str, heads.parts)),
        )
    )
    weight, bias = heads.weight.detach()[0].T, heads.bias.detach()[0]
    for name, values in (("heads_weight", weight), ("heads_bias", bias)):
        array = np.ascontiguousarray(values.numpy())
        graph.initializer.append(numpy_helper.from_array(array, name))
    return graph


def verify_graft(
    encoder: Encoder, heads: Heads, path: Path, encodings: Sequence[Encoding]
) -> float:
    """Return the largest gap in probability between torch and the network at `path`.

    Torch reads the states that the encoder gives for the same batch; batches are of one text and
    of eight.

    Raises:
        TrainingError: if the gap is over 1e-4 or is no number.
    """
    whole = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    part = ort.InferenceSession(
        encoder.model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    gaps = [0.0]
    for size in (1, 8):
        for first in range(0, min(len(encodings), 8 * size), size):
            feed = pad(encodings[first : first + size])
            logits, _, speaker, _ = whole.run(OUTPUTS, feed)
            [codes] = part.run([encoder.codes], feed)
            states = (torch.from_numpy(codes).float() - encoder.zero) * encoder.scale
            with torch.inference_mode():
                expected = heads(states, torch.from_numpy(feed["attention_mask"]).float())
            for found, wanted in ((logits, expected.logits), (speaker, expected.speaker)):
                said = torch.sigmoid(torch.from_numpy(found))
                gaps.append(float((said - torch.sigmoid(wanted[:, 0])).abs().max()))
    return check_gaps(gaps, "grafted")
