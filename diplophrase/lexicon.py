"""A keyword lexicon: which labels regular expressions alone find.

A hit is a second opinion beside the network's: `add_hits` moves a logit up where the lexicon finds
the label and, by less, down where it does not: a phrase that is there says more than one that is
not, as all can be reworded. A lexicon alone is also what the model has to beat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
import re2
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diplophrase.errors import InvalidData
from diplophrase.hyphens import plain_hyphens

_SILENCE = 0.2  # the part of a hit's weight that its absence has
_SIEVE_BYTES = 64 << 20  # at most, for the automaton; it takes what it needs
Span = tuple[int, int]  # first and past-the-last code point


class LexiconEntry(BaseModel):
    """One label's expressions: a `match` counts if no match of `unless` overlaps it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Annotated[tuple[str, ...], Field(min_length=1)]
    unless: tuple[str, ...] = ()


class _File(BaseModel):
    """The lexicon's file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    labels: Annotated[dict[str, LexiconEntry], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class _Rule:
    """One label's expressions, compiled."""

    match: tuple[re.Pattern[str], ...]
    unless: tuple[re.Pattern[str], ...]

    def find(self, text: str, match: Sequence[re.Pattern[str]]) -> Span | None:
        """Return the first longest match of `match`, some of ours, that no `unless` overlaps."""
        found = _spans(match, text)
        barred = _spans(self.unless, text) if found else []
        free = [
            span for span in found if all(span[1] <= bar[0] or span[0] >= bar[1] for bar in barred)
        ]
        return max(free, key=lambda span: (span[1] - span[0], -span[0]), default=None)


class Lexicon:
    """Expressions for each label, in the order given.

    One automaton looks for all expressions at once and says which are worth a closer look.
    """

    def __init__(self, rules: dict[str, _Rule]) -> None:
        self.rules = rules
        options = re2.Options()
        options.case_sensitive, options.log_errors = False, False
        options.max_mem = _SIEVE_BYTES
        self._sieve = re2.Set.SearchSet(options)
        self._sieved: list[tuple[str, re.Pattern[str]]] = []  # each with its label
        self._unsieved: list[tuple[str, re.Pattern[str]]] = []  # those beyond the automaton
        for label, rule in rules.items():
            for pattern in rule.match:
                try:
                    self._sieve.Add(pattern.pattern)
                    self._sieved.append((label, pattern))
                except re2.error:
                    self._unsieved.append((label, pattern))
        try:
            self._sieve.Compile()
        except re2.error:  # too many expressions for one automaton
            self._sieved, self._unsieved = [], [*self._sieved, *self._unsieved]

    def _candidates(self, text: str) -> dict[str, list[re.Pattern[str]]]:
        hits = self._sieve.Match(text) if self._sieved else None
        worth: dict[str, list[re.Pattern[str]]] = {}
        for label, pattern in [*self._unsieved, *(self._sieved[index] for index in hits or ())]:
            worth.setdefault(label, []).append(pattern)
        return worth

    def find(self, text: str) -> dict[str, Span]:
        """Return the labels of `text`, each with the span of the phrase that earns it.

        Spans count in `text` as it is; whatever hyphen it has is read as the plain one.
        """
        text = plain_hyphens(text)
        worth = self._candidates(text)
        spans = {
            label: rule.find(text, worth[label])
            for label, rule in self.rules.items()
            if label in worth
        }
        return {label: span for label, span in spans.items() if span is not None}

    def predict(self, texts: Sequence[str], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Return which of `labels` each text gets, [N, L]; none that has no expressions."""
        found = [self.find(text) for text in texts]
        return np.array(
            [[label in row for label in labels] for row in found], dtype=np.bool_
        ).reshape(len(texts), len(labels))

    def weigh(self, labels: Sequence[str], weight: float) -> npt.NDArray[np.float32]:
        """Return what a hit is worth for each of `labels`: nothing without expressions."""
        return np.array([weight * (label in self.rules) for label in labels], dtype=np.float32)


def add_hits(
    logits: npt.NDArray[np.floating],
    hits: npt.NDArray[np.bool_],
    weight: float | npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """Return logits [..., L], those with a hit moved away from the others by `weight`.

    A hit moves a logit up by four fifths of it, silence moves it down by one. `weight` is one for
    all labels or one for each.
    """
    return np.asarray(logits + weight * (hits - np.float32(_SILENCE)), dtype=np.float32)


def build_lexicon(entries: Mapping[str, LexiconEntry]) -> Lexicon:
    """Compile the expressions of each label, which ignore case.

    Raises:
        InvalidData: naming every expression that does not compile.
    """
    bad: list[str] = []
    rules = {
        label: _Rule(_compile(label, entry.match, bad), _compile(label, entry.unless, bad))
        for label, entry in entries.items()
    }
    if bad:
        raise InvalidData("These expressions do not compile:\n" + "\n".join(bad))
    return Lexicon(rules)


def load_lexicon(path: str | Path) -> Lexicon:
    """Read a lexicon from YAML and compile it; again only if the file has changed.

    Raises:
        InvalidData: as `read_entries` and `build_lexicon`.
    """
    path = Path(path)
    state = path.stat() if path.exists() else None
    return _load(path, state and (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=4)
def _load(path: Path, stamp: object) -> Lexicon:
    try:
        return build_lexicon(read_entries(path))
    except InvalidData as error:
        raise InvalidData(f"{path}: {error.message}") from None


def read_entries(path: str | Path) -> dict[str, LexiconEntry]:
    """Read each label's expressions from YAML.

    Raises:
        InvalidData: if the file is missing, is not YAML or breaks the schema; every fault named.
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
    return file.labels


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
