"""Which text a reader can see, and what is no text."""

from __future__ import annotations

import re

# White space, controls, what Unicode calls Default_Ignorable_Code_Point (such as the zero-width
# characters and the marks of direction), and the empty Braille pattern. The characters stand in
# the pattern as they are, not as escapes, so that other languages' expressions can read it.
VISIBLE = (
    "[^\\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
HALF_CHARACTER = re.compile(r"[\ud800-\udfff]")  # of a surrogate pair: no UTF-8, and no tokens
_VISIBLE = re.compile(VISIBLE)


def is_blank(text: str) -> bool:
    """Tell whether no character of `text` can be seen."""
    return _VISIBLE.search(text) is None
