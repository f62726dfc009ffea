"""Attributes beside the labels: the grade of a partnership and the formula on a status.

Both are read from the words of the sentence by the rules that the codebook holds as data; which
label an attribute belongs to is said there too.
"""

from __future__ import annotations

import re
from functools import lru_cache

from diplophrase.codebook import FormulaAttribute, GradeAttribute
from diplophrase.hyphens import plain_hyphens


def read_attribute(
    attribute: GradeAttribute | FormulaAttribute, text: str, start: int, end: int
) -> str | list[str]:
    """Return the value of `attribute` for a label whose evidence is `text[start:end]`."""
    text = plain_hyphens(text)
    if isinstance(attribute, GradeAttribute):
        return read_grade(attribute, text, start, end)
    return read_formula(attribute, text)


def read_grade(attribute: GradeAttribute, text: str, start: int, end: int) -> str:
    """Return the grade named in `text` in canonical form.

    Of several grades the one that overlaps the evidence counts, then the one with most words.
    Without any grade word the value is the codebook's word for unspecified.
    """
    best: tuple[bool, int, str] | None = None
    pattern = _grade_pattern(tuple(attribute.words), attribute.nouns, attribute.tails)
    for match in pattern.finditer(text):
        words = _grade_words(attribute, match["before"]) + _grade_words(
            attribute, match["after"] or ""
        )
        words = list(dict.fromkeys(words))
        if not words and not match["tail"]:
            continue
        parts = [*words, attribute.canonical_noun]
        if match["tail"]:
            parts += ["of", match["tail"].lower()]
        overlaps = match.start() < end and start < match.end()
        candidate = (overlaps, len(words), " ".join(parts))
        if best is None or candidate[:2] > best[:2]:
            best = candidate
    return best[2] if best else attribute.unspecified


@lru_cache(maxsize=8)
def _grade_pattern(
    words: tuple[str, ...], nouns: tuple[str, ...], tails: tuple[str, ...]
) -> re.Pattern[str]:
    written = sorted(words, key=len, reverse=True)
    word = "|".join(re.escape(item).replace(r"\ ", r"[\s-]+") for item in written)
    word = word.replace("all\\-weather", r"all[\s-]weather")
    noun = "|".join(re.escape(item) for item in nouns)
    tail = "|".join(re.escape(item) for item in tails)
    joint = r"(?:\s*,\s*|\s+and\s+|\s+)"
    return re.compile(
        rf"(?P<before>(?:\b(?:{word})\b{joint})*)\b(?:{noun})\b"
        rf"(?:\s+(?:of|for)\s+(?P<after>(?:\b(?:{word})\b(?:{joint}|(?=\W|$)))*)"
        rf"(?:\b(?P<tail>{tail})\b)?)?",
        re.IGNORECASE,
    )


def _grade_words(attribute: GradeAttribute, words: str) -> list[str]:
    found = re.findall(r"all[\s-]+weather|[\w-]+", words.lower())
    named = (re.sub(r"[\s-]+", "-", word) for word in found)
    return [attribute.words[word] for word in named if word in attribute.words]


def read_formula(attribute: FormulaAttribute, text: str) -> list[str]:
    """Return all values whose patterns occur in `text`, in the codebook's order."""
    found = [
        value
        for value, patterns in attribute.values.items()
        if any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns)
    ]
    return found or [attribute.otherwise]
