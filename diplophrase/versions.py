"""The versions in a folder of models: which there are, whether they are whole, how good."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from diplophrase.bundle import MANIFEST, VERSION_NAME, load_version
from diplophrase.errors import BundleError, DiplophraseError

# figure -> where it stands in metrics.json
_FIGURES = {
    "macro_f1": ("cross_validation", "model", "macro", "f1"),
    "micro_f1": ("cross_validation", "model", "micro", "f1"),
    "exact_match": ("cross_validation", "model", "exact_match"),
    "calibration_error": ("cross_validation", "calibration_error"),
    "evidence_f1": ("cross_validation", "evidence_f1", "model"),
    "speaker_accuracy": ("cross_validation", "speaker_accuracy"),
}


@dataclass(frozen=True, slots=True)
class Version:
    """A version on disk: `state` is "whole", or "broken" for a `reason`.

    `metrics` are the main figures that were measured, from 0 to 1.
    """

    version: str
    state: str = "whole"
    reason: str | None = None
    created: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the version as JSON has it."""
        return asdict(self)


def version_paths(models: str | Path) -> list[Path]:
    """Return the folders in `models` that have the name of a version, by name."""
    models = Path(models)
    if not models.is_dir():
        return []
    named = (path for path in models.iterdir() if re.fullmatch(VERSION_NAME, path.name))
    return sorted(path for path in named if path.is_dir())


def find_version(models: str | Path, version: str) -> Path:
    """Return the folder of a version, which may be broken; no name leads out of `models`.

    Raises:
        DiplophraseError: `not_found` if there is none.
    """
    path = Path(models) / version if re.fullmatch(VERSION_NAME, version) else None
    if path is None or not path.is_dir():
        raise DiplophraseError(
            f"There is no version {version[:100]!r}. `diplophrase models list` and GET /v1/models "
            f"give those there are.",
            kind="not_found",
        )
    return path


def read_version(path: Path) -> Version:
    """Verify the version in the folder `path` and read its main figures."""
    try:
        load_version(path.parent, path.name)
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except BundleError as error:
        return Version(path.name, "broken", error.message)
    except (OSError, ValueError) as error:
        return Version(path.name, "broken", f"{path} cannot be read: {error}. Restore its files.")
    found = {name: _dig(metrics, *keys) for name, keys in _FIGURES.items()}
    figures = {name: float(value) for name, value in found.items() if _is_number(value)}
    created = _dig(manifest, "created")
    return Version(
        path.name, created=created if isinstance(created, str) else None, metrics=figures
    )


def _dig(content: object, *keys: str) -> Any:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
