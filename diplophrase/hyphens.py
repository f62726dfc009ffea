"""Hyphens that only look like one, such as the non-breaking hyphen, read as the plain one."""

from __future__ import annotations

import re

# hyphen, non-breaking hyphen, figure dash, minus, small and full-width hyphen-minus; en and em
# dashes are not among them, as they part words
_LIKE_HYPHENS = re.compile("[\u2010\u2011\u2012\u2212\ufe63\uff0d]")


def plain_hyphens(text: str) -> str:
    """Return `text` with plain hyphens; every character keeps its place."""
    return text if text.isascii() else _LIKE_HYPHENS.sub("-", text)
