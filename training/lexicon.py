"""A keyword lexicon: what regular expressions alone find, for the model to beat."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diplophrase.annotations import Annotation
from diplophrase.errors import InvalidData

Span = tuple[int, int]  # first and past-the-last code point


class _Entry(BaseModel):
    """One label's expressions as they stand in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Annotated[tuple[str, ...], Field(min_length=1)]
    unless: tuple[str, ...] = ()


class _File(BaseModel):
    """The lexicon's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    labels: Annotated[dict[str, _Entry], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class _Rule:
    """One label's expressions, compiled."""

    match: tuple[re.Pattern[str], ...]
    unless: tuple[re.Pattern[str], ...]

    def find(self, text: str) -> Span | None:
        """Return the first longest match that no `unless` match overlaps."""
        found = _spans(self.match, text)
        barred = _spans(self.unless, text) if found else []
        free = [
            span for span in found if all(span[1] <= bar[0] or span[0] >= bar[1] for bar in barred)
        ]
        return max(free, key=lambda span: (span[1] - span[0], -span[0]), default=None)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Expressions for each label, in the file's order."""

    rules: dict[str, _Rule]

    def find(self, text: str) -> dict[str, Span]:
        """Return the labels of `text`, each with the span of the phrase that earns it."""
        spans = {label: rule.find(text) for label, rule in self.rules.items()}
        return {label: span for label, span in spans.items() if span is not None}

    def predict(self, texts: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which of `labels` each text gets, [N, L].

        Raises:
            InvalidData: if the lexicon has no expressions for one of `labels`; every one named.

        """
        missing = [label for label in labels if label not in self.rules]
        if missing:
            raise InvalidData(
                f"The lexicon has no label {', '.join(map(repr, missing))}. "
                f"It has: {', '.join(self.rules)}. Add the label with its expressions."
            )
        given = np.zeros((len(texts), len(labels)), dtype=np.bool_)
        for row, text in enumerate(texts):
            for column, label in enumerate(labels):
                given[row, column] = self.rules[label].find(text) is not None
        return given


def load_lexicon(path: str | Path) -> Lexicon:
    """Read a lexicon from YAML and compile its expressions, which ignore case.

    Raises:
        InvalidData: if the file is missing, is not YAML, breaks the schema or holds an expression
            that does not compile; every fault named.

    """
    path = Path(path)
    try:
        file = _File.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InvalidData(f"{path} is not there. Name the lexicon's file.") from None
    except yaml.YAMLError as error:
        raise InvalidData(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        faults = "\n".join(
            f"  {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        )
        raise InvalidData(f"{path} breaks the lexicon's schema:\n{faults}") from None
    bad: list[str] = []
    rules = {
        label: _Rule(_compile(label, entry.match, bad), _compile(label, entry.unless, bad))
        for label, entry in file.labels.items()
    }
    if bad:
        raise InvalidData(f"{path} has expressions that do not compile:\n" + "\n".join(bad))
    return Lexicon(rules)


def _compile(label: str, expressions: Sequence[str], bad: list[str]) -> tuple[re.Pattern[str], ...]:
    """Compile `expressions`; add a line to `bad` for each that is not one or matches nothing."""
    patterns = []
    for expression in expressions:
        try:
            pattern = re.compile(expression, re.IGNORECASE)
        except re.error as error:
            bad.append(f"  {label}: {expression!r}: {error}")
            continue
        if pattern.search(""):
            bad.append(f"  {label}: {expression!r}: it matches the empty text")
        patterns.append(pattern)
    return tuple(patterns)


def _spans(patterns: Sequence[re.Pattern[str]], text: str) -> list[Span]:
    return [match.span() for pattern in patterns for match in pattern.finditer(text)]


def rule_decisions(
    notes: Sequence[Annotation], labels: Sequence[str]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the labels [N, L] of the two lists in this folder: plain keywords, and long rules."""
    texts = [note.text for note in notes]
    files = {"lexicon": "lexicon.yaml", "rules": "rules.yaml"}
    folder = Path(__file__).parent
    return {
        name: load_lexicon(folder / file).predict(texts, labels) for name, file in files.items()
    }
