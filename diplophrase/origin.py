"""Whose encoder a fast version has: what `diplophrase train --fast` notes in its manifest."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from diplophrase.bundle import MANIFEST, Bundle
from diplophrase.errors import BundleError


class Origin(BaseModel):
    """The full version that an encoder was trained in, and what of users' it had learnt from.

    `network` is the sha256 of that version's `model.onnx`, `encoder` that of the encoder in it.
    `added` are the sha256 of the added texts.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    network: str
    encoder: str
    added: tuple[str, ...] = ()


def read_origin(bundle: Bundle) -> Origin | None:
    """Return where the encoder of a fast version is from, None for one that was trained in full.

    Raises:
        BundleError: if a fast version does not say it.
    """
    manifest = _read_manifest(bundle)
    if not manifest.get("fast"):
        return None
    try:
        return Origin.model_validate(manifest.get("origin"))
    except ValidationError:
        raise BundleError(
            f"{bundle.path / MANIFEST} does not say whose encoder this fast version has: found "
            f"{str(manifest.get('origin'))[:80]} as its origin. Train it again: diplophrase train "
            f"--fast"
        ) from None


def network_hash(bundle: Bundle) -> str:
    """Return the sha256 of the version's network, which its manifest holds."""
    return str(_read_manifest(bundle)["files"]["model.onnx"])


def _read_manifest(bundle: Bundle) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
    return manifest
