"""Write into a network which label each of its outputs is of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import onnx

from diplophrase.classifier import LABELS_KEY


def name_labels(source: Path, target: Path, labels: Sequence[str]) -> None:
    """Copy the network at `source` to `target` with the ids of its labels, in its order.

    Opening a bundle holds them against the order in its config.
    """
    model = onnx.load(source)
    model.metadata_props.add(key=LABELS_KEY, value=json.dumps(list(labels)))
    onnx.save(model, target)
