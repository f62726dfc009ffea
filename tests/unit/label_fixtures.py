"""The codebook and one row, for the tests of what comes in and goes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diplophrase.codebook import load_codebook

ROOT = Path(__file__).parents[2]
CODEBOOK = load_codebook(ROOT / "labels" / "codebook.yaml")
TEXT = "They will build a solid strategic partnership and more trade."


def row(**fields: Any) -> dict[str, Any]:
    """Return a row with two labels, changed by `fields`."""
    return {
        "text": TEXT,
        "labels": ["economic_cooperation", "partnership_tier"],
        "evidence": {"economic_cooperation": "trade", "partnership_tier": "strategic partnership"},
        "tier": "strategic partnership",
        "speaker": "joint",
        "annotator": "ada",
        **fields,
    }
