"""A bundle: one version of the model as a folder on disk that is never edited.

`model.onnx`, `tokenizer.json`, `config.json`, `metrics.json`, `README.md` (the model card), its
plots (`*.svg`), `predictions.jsonl` (what was answered out of fold), in a fast version
`control.jsonl` (what its control answered) and `manifest.json`, which holds the sha256 of every
other file. `models/CURRENT` names the version that answers.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diplophrase.codebook import Attribute
from diplophrase.errors import BundleError
from diplophrase.lexicon import LexiconEntry

SCHEMA_VERSION = 2
VERSION_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"  # a folder name
MANIFEST = "manifest.json"
FILES = ("model.onnx", "tokenizer.json", "config.json", "metrics.json", "README.md")
PREDICTIONS = "predictions.jsonl"
CONTROL = "control.jsonl"
PRECISIONS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)  # the operating points of a bundle


class Calibration(BaseModel):
    """Platt scaling: score = sigmoid(slope * logit + intercept)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slope: float = Field(gt=0)
    intercept: float


class OperatingPoint(BaseModel):
    """From which score a label is given if `precision` of what is given is to be right."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: float = Field(gt=0, lt=1)
    threshold: float = Field(ge=0, le=1)


class Domain(BaseModel):
    """What tells a text of the domain from any other: a logistic regression on its embedding.

    A text is out of domain if sigmoid(weights . embedding + intercept) is over `threshold`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: tuple[float, ...]
    intercept: float
    threshold: float = Field(gt=0, lt=1)

    @cached_property
    def direction(self) -> npt.NDArray[np.float32]:
        """The weights [H] as the network's numbers are."""
        return np.array(self.weights, dtype=np.float32)

    def is_outside(self, embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Tell of which embeddings [..., H] the texts are out of the domain."""
        margins = embeddings @ self.direction + self.intercept
        return np.asarray(margins > math.log(self.threshold / (1 - self.threshold)))


class BundleLabel(BaseModel):
    """A label as this model knows it; `operating_points` rise in precision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    name: str
    definition: str
    threshold: float = Field(ge=0, le=1)
    calibration: Calibration
    operating_points: tuple[OperatingPoint, ...] = ()


class Base(BaseModel):
    """The checkpoint that was fine-tuned; `revision` is the sha256 of its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checkpoint: str
    revision: str


class BundleConfig(BaseModel):
    """What is needed to turn the network's output into labels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int
    model_version: str = Field(pattern=VERSION_NAME)
    codebook_version: str
    codebook_hash: str
    labels: Annotated[tuple[BundleLabel, ...], Field(min_length=1)]
    attributes: tuple[Attribute, ...]
    speakers: tuple[str, ...]
    max_tokens: int = Field(gt=2)
    domain: Domain | None = None
    lexicon: dict[str, LexiconEntry] = Field(default_factory=dict)
    phrase_weight: float = Field(default=0.0, ge=0)  # of a hit, as a difference of logits
    activation: str = "one sigmoid per label"
    base: Base


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on disk."""

    path: Path
    config: BundleConfig

    @property
    def version(self) -> str:
        return self.config.model_version


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_bundle(path: str | Path) -> Bundle:
    """Read and verify the bundle in the folder `path`.

    Raises:
        BundleError: if the folder or a file is missing, a file differs from the manifest, or the
            config breaks its schema, or cannot be read; the message names the file.
    """
    path = Path(path)
    try:
        return _load(path)
    except OSError as error:
        raise BundleError(
            f"{error.filename or path} cannot be read: {_reason(error)}. Let the user whom the "
            f"program runs as read it."
        ) from None


def _load(path: Path) -> Bundle:
    if not path.is_dir():
        raise BundleError(
            f"{path} is not a folder. Name a folder that holds a bundle, "
            f"or make one with: diplophrase train"
        )
    hashes = _read_json(path / MANIFEST).get("files")
    if not isinstance(hashes, dict):
        raise BundleError(f"{path / MANIFEST} holds no hashes. Restore the file.")
    for name in dict.fromkeys([*FILES, *hashes]):
        file = path / Path(name).name
        if not file.is_file():
            raise BundleError(f"{file} is missing. A bundle is whole or unusable: restore it.")
        if sha256_of(file) != hashes.get(name):
            raise BundleError(
                f"{file} differs from the sha256 in manifest.json. "
                f"Bundles are never edited: restore this file or train a new version."
            )
    content = _read_json(path / "config.json")
    schema = content.get("schema_version", SCHEMA_VERSION)
    if schema != SCHEMA_VERSION:  # asked first: another schema has other fields
        raise BundleError(
            f"{path / 'config.json'} has schema version {schema}; this program "
            f"reads {SCHEMA_VERSION}. Use the program that made it, or train again."
        )
    try:
        config = BundleConfig.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path / 'config.json'}: {where}: {first['msg']}") from None
    return Bundle(path, config)


def load_version(models: str | Path, version: str) -> Bundle:
    """Read and verify the bundle `models/<version>`.

    Raises:
        BundleError: as `load_bundle`, and if `version` cannot be the name of one, or the folder
            holds a bundle of another name.
    """
    if not re.fullmatch(VERSION_NAME, version):
        raise BundleError(
            f"{version[:100]!r} is no name of a version: it has up to 100 letters, digits, dots, "
            f"hyphens and underscores, the first a letter or a digit."
        )
    bundle = load_bundle(Path(models) / version)
    if bundle.version != version:
        raise BundleError(
            f"{bundle.path} holds the version {bundle.version!r}. Versions are never renamed: "
            f"give the folder that name again."
        )
    return bundle


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(
            f"{path} is missing. A bundle is whole or unusable: restore it."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} is not JSON: {error}. Restore the file.") from None
    if not isinstance(content, dict):
        raise BundleError(f"{path} is not a JSON object. Restore the file.")
    return content


def save_bundle(models: str | Path, staged: str | Path, manifest: dict[str, Any]) -> Bundle:
    """Publish the files in the folder `staged` as `models/<version>`, whole or not at all.

    The files are copied to a temporary folder on the same disk, hashed into `manifest.json`,
    verified by loading, and renamed into place. `manifest` gives the run's other facts.

    Raises:
        BundleError: if the version exists already, a file cannot be copied, such as for want of
            space, or the result does not load.
    """
    models, staged = Path(models), Path(staged)
    scratch = models
    try:
        models.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=models))
        names = [*FILES, *_enclosures(staged)]
        for name in names:
            shutil.copyfile(staged / name, scratch / name)
        hashes = {name: sha256_of(scratch / name) for name in names}
        _write_durably(scratch / MANIFEST, json.dumps({"files": hashes, **manifest}))
        target = models / load_bundle(scratch).version
        if target.exists():
            raise _taken(target)
        scratch.chmod(0o755)
        _rename(scratch, target)
    except OSError as error:
        raise BundleError(
            f"No version was added to {models}: {error.filename or scratch}: {_reason(error)}. "
            f"Mend that and save again."
        ) from error
    finally:
        if scratch != models:
            shutil.rmtree(scratch, ignore_errors=True)
    return load_bundle(target)


def _enclosures(staged: Path) -> list[str]:
    """Return what a bundle may hold beside its files: plots, and answers out of fold."""
    found = sorted(path.name for path in staged.glob("*.svg"))
    return [*found, *(name for name in (PREDICTIONS, CONTROL) if (staged / name).is_file())]


def _rename(scratch: Path, target: Path) -> None:
    try:
        scratch.rename(target)
    except OSError as error:  # another process may have been first since the name was free
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise _taken(target) from None
        raise


def _taken(target: Path) -> BundleError:
    return BundleError(f"{target} exists. Versions are never edited: choose a new name.")


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _write_durably(path: Path, content: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def current_bundle(models: str | Path) -> Path:
    """Return the folder that `models/CURRENT` names.

    Raises:
        BundleError: if CURRENT is missing, cannot be read or names no folder.
    """
    models = Path(models)
    pointer = models / "CURRENT"
    try:
        return _current(models, pointer)
    except (OSError, UnicodeDecodeError) as error:
        reason = _reason(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise BundleError(
            f"{pointer} cannot be read: {reason}. Write a version with: diplophrase models promote"
        ) from None


def _current(models: Path, pointer: Path) -> Path:
    if not pointer.is_file():
        raise BundleError(
            f"{pointer} is missing. Run in a clone, name the folder with --models, "
            f"or train and promote a model."
        )
    version = pointer.read_text(encoding="utf-8").strip()
    if not version or not (models / version).is_dir():
        raise BundleError(f"{pointer} names {version!r}, but {models / version} is not a folder.")
    return models / version


def set_current(models: str | Path, version: str) -> None:
    """Make `version` the one that answers, by an atomic swap of `models/CURRENT`.

    Raises:
        BundleError: if the bundle is not whole or CURRENT cannot be written, such as for want of
            space; CURRENT is as it was.
    """
    models = Path(models)
    load_version(models, version)
    pointer = models / "CURRENT"
    try:
        _swap(pointer, version)
    except OSError as error:
        raise BundleError(
            f"{pointer} cannot be written: {_reason(error)}. It is as it was; mend that and "
            f"promote {version} again."
        ) from error


def _swap(pointer: Path, version: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".current-", dir=pointer.parent)
    os.close(descriptor)
    scratch = Path(name)
    try:
        _write_durably(scratch, version + "\n")
        scratch.chmod(0o644)
        scratch.replace(pointer)
    finally:
        scratch.unlink(missing_ok=True)
