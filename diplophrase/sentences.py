"""Cut a statement into sentences with exact character offsets.

Lines are paragraphs unless they are hard-wrapped prose; inside a paragraph nupunkt (Punkt after
Kiss & Strunk 2006, trained by its authors) finds the boundaries. What is added here is what a
statement has and general prose has not: point numbers and bullets that belong to the words after
them, agency tails such as "/CFP)", and source lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

import nupunkt

from diplophrase.visible import is_blank

_LINE = re.compile(r"[^\r\n\u2028\u2029]+")
_BARE_MARK = re.compile(r"(?:[•▪◦*\-–—]|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})[.)\]]?)\s*[-–—.]?")
# begins at a word's start only: tried from every character, a long word takes quadratic time
_TRAILING_MARK = re.compile(r"(?<!\S)(\S+)(?<=[.!?;:”\"’)…])\s+(\(?\d{1,3}[.)])\s*$")
_NUMBERED = re.compile(  # abbreviations after which a number is a value, not a point's mark
    r"(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|Nos?|[Aa]rts?|[Pp]aras?|[Cc]h|[Vv]ol|pp?)\."
)
_STARTS_ITEM = re.compile(r"[•▪◦*\-–—]\s|\(?(?:\d{1,3}|[a-z]|[ivx]{1,5})\s?[.)\-]")
_CONTINUES = re.compile(r"[a-z/)\]}»”’,;]")
_HAS_WORD = re.compile(r"\w")
# nupunkt looks through a word once for each ending in it: time in the square of its length
_LONG_WORD = re.compile(r"\S{200,}")
_ENDING = re.compile(r"[.!?…]")
_TAIL = 20  # characters at a long word's end that are left as they are
_MIN_WRAP_WIDTH = 40  # shorter blocks are lists
_MAX_WRAP_WIDTH = 120  # longer lines are paragraphs, not wrapped prose


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: `text` is exactly `source[start:end]`, offsets in Unicode code points."""

    text: str
    start: int
    end: int


def split_sentences(text: str) -> list[Sentence]:
    """Return the sentences of `text` in order; blank text gives an empty list.

    Every visible character lies in exactly one sentence, so nothing of the text is lost.
    """
    return [
        Sentence(text[start:end], start, end)
        for first, last in _paragraphs(text)
        for start, end in _split_paragraph(text, first, last)
        if not is_blank(text[start:end])
    ]


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _paragraphs(text: str) -> list[tuple[int, int]]:
    lines = [_strip(text, *match.span()) for match in _LINE.finditer(text)]
    lines = [(start, end) for start, end in lines if start < end]
    paragraphs: list[tuple[int, int]] = []
    for block in _blocks(text, lines):
        soft = _soft_breaks(text, block)
        for index, (start, end) in enumerate(block):
            if index and soft[index - 1]:
                paragraphs[-1] = (paragraphs[-1][0], end)
            else:
                paragraphs.append((start, end))
    return paragraphs


def _blocks(text: str, lines: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Group lines that no blank line separates."""
    blocks: list[list[tuple[int, int]]] = []
    previous_end = 0
    for start, end in lines:
        gap = text[previous_end:start].replace("\r\n", "\n")
        if blocks and gap.count("\n") + gap.count("\r") <= 1:
            blocks[-1].append((start, end))
        else:
            blocks.append([(start, end)])
        previous_end = end
    return blocks


def _soft_breaks(text: str, block: list[tuple[int, int]]) -> list[bool]:
    """Tell for each line break of a block whether it only wraps prose.

    A break wraps when the next line goes on in lower case, or when the block has three lines or
    more and the next line's first word would not have fitted into the block's width.
    """
    width = max(end - start for start, end in block)
    soft = []
    for (start, end), (next_start, next_end) in pairwise(block):
        next_line = text[next_start:next_end]
        first_word = next_line.split(maxsplit=1)[0]
        full = len(block) > 2 and end - start + 1 + len(first_word) > width
        goes_on = next_line[0].islower() and text[end - 1] not in ".!?:"
        wraps = width <= _MAX_WRAP_WIDTH and (goes_on or (full and width >= _MIN_WRAP_WIDTH))
        soft.append(wraps and not _STARTS_ITEM.match(next_line))
    return soft


def _without_endings(word: re.Match[str]) -> str:
    return _ENDING.sub("_", word[0][:-_TAIL]) + word[0][-_TAIL:]


def _split_paragraph(text: str, first: int, last: int) -> list[tuple[int, int]]:
    paragraph = text[first:last]
    spans: list[tuple[int, int]] = []
    pending: int | None = None  # start of a bare mark that waits for its sentence
    for raw_start, raw_end in nupunkt.sent_spans(_LONG_WORD.sub(_without_endings, paragraph)):
        start, end = _strip(paragraph, raw_start, raw_end)
        if start == end:
            continue
        seek = start  # not from the start of all that is joined, which takes quadratic time
        if pending is not None:
            start = seek = pending
            pending = None
        elif spans and (
            _CONTINUES.match(paragraph, start) or not _HAS_WORD.search(paragraph, start, end)
        ):
            start = spans.pop()[0]
        mark = _TRAILING_MARK.search(paragraph, seek, end)
        if mark and raw_end < len(paragraph) and not _NUMBERED.fullmatch(mark[1]):
            pending = mark.start(2)
            end = _strip(paragraph, start, pending)[1]
        elif _BARE_MARK.fullmatch(paragraph, start, end) and end - start < 6:
            pending = start
            continue
        spans.append((start, end))
    if pending is not None:
        spans.append((pending, len(paragraph)))
    return [(first + start, first + end) for start, end in spans]
