"""Versions that are not whole, made from the committed bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from diplophrase.bundle import (
    FILES,
    MANIFEST,
    Bundle,
    current_bundle,
    save_bundle,
    sha256_of,
)
from diplophrase.classifier import LABELS_KEY
from tests.e2e.server import ROOT

COMMITTED = current_bundle(ROOT / "models")
ALL_FILES = tuple(sorted(path.name for path in COMMITTED.iterdir()))


def link_version(models: Path, name: str) -> Path:
    """Add the committed bundle to `models` as the version `name`, its large files as links."""
    folder = models / name
    folder.mkdir(parents=True)
    for file in ALL_FILES:
        (folder / file).symlink_to(COMMITTED / file)
    config, manifest = folder / "config.json", folder / MANIFEST
    _rewrite(config, {"model_version": name})
    hashes = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    _rewrite(manifest, {"files": {**hashes, "config.json": sha256_of(config)}})
    return folder


def _rewrite(file: Path, changes: dict[str, Any]) -> None:
    """Put a copy of a JSON object with `changes` in the place of a link."""
    content = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    file.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def flip_byte(file: Path) -> None:
    """Put a copy with one bit changed in the place of a link; in a manifest it is in a hash."""
    content = bytearray(file.read_bytes())
    place = content.index(b'"files"') + 40 if file.name == "manifest.json" else len(content) // 2
    content[place] ^= 1
    file.unlink()
    file.write_bytes(content)


def remove(file: Path) -> None:
    file.unlink()


def reversed_labels(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "labels": config["labels"][::-1]}


def save_changed(models: Path, version: str, network: Path, config: dict[str, Any]) -> Bundle:
    """Publish `network` and `config` with the committed bundle's other files, sealed anew."""
    staged = models / f".staged-{version}"
    staged.mkdir(parents=True)
    for file in FILES:
        shutil.copyfile(COMMITTED / file, staged / file)
    shutil.copyfile(network, staged / "model.onnx")
    text = json.dumps({**config, "model_version": version})
    (staged / "config.json").write_text(text, encoding="utf-8")
    bundle = save_bundle(models, staged, {})
    shutil.rmtree(staged)
    return bundle


def small_version(models: Path, version: str) -> Bundle:
    """Publish a version whose network is no network: quick to verify, never to be run."""
    network = models / ".network"
    models.mkdir(exist_ok=True)
    network.write_bytes(version.encode() * 100)
    config = json.loads((COMMITTED / "config.json").read_text(encoding="utf-8"))
    return save_changed(models, version, network, config)


def permute_network(source: Path, target: Path, order: Sequence[int]) -> None:
    """Write the network so that its labels come in `order`."""
    model = onnx.load(source)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array(order), "label_order"))
    for name, axis in (("logits", 1), ("evidence", 2)):
        for node in graph.node:
            node.output[:] = [f"{name}_before" if out == name else out for out in node.output]
            node.input[:] = [f"{name}_before" if given == name else given for given in node.input]
        gather = helper.make_node("Gather", [f"{name}_before", "label_order"], [name], axis=axis)
        graph.node.append(gather)
    for named in model.metadata_props:
        if named.key == LABELS_KEY:
            labels = json.loads(named.value)
            named.value = json.dumps([labels[place] for place in order])
    onnx.save(model, target)


def flip_each_byte_of_manifest(folder: Path) -> Iterator[int]:
    """Yield each place in the manifest of `folder`, the byte there changed until the next."""
    file = folder / "manifest.json"
    whole = file.read_bytes()
    file.unlink()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        file.write_bytes(changed)
        yield place
