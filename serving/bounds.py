"""How many texts a request may hold, and how long each may be."""

from __future__ import annotations

from collections.abc import Sequence

from diplophrase.errors import Detail, InvalidRequest
from diplophrase.settings import Settings
from diplophrase.visible import HALF_CHARACTER, is_blank


def check_sizes(texts: Sequence[str], settings: Settings) -> None:
    """Refuse too many texts, and every text that is blank or too long.

    Raises:
        InvalidRequest: naming each bad text by its index, but if there are too many texts.
    """
    details = []
    if len(texts) > settings.max_texts:
        rule = f"at most {settings.max_texts} texts a request"
        details.append(Detail("texts", f"{len(texts)} texts", rule))
    else:
        for index, text in enumerate(texts):
            if fault := _size_fault(text, settings):
                details.append(Detail("texts", *fault, index))
    if details:
        first = details[0]
        where = first.field if first.index is None else f"{first.field}[{first.index}]"
        more = f", and {len(details) - 1} more faults (see details)" if len(details) > 1 else ""
        raise InvalidRequest(f"{where}: found {first.found}; {first.rule}{more}.", details=details)


def _size_fault(text: str, settings: Settings) -> tuple[str, str] | None:
    """Return what was found and the rule it breaks."""
    if is_blank(text):
        return f"{len(text)} blank characters", "a text has a visible character"
    if len(text) > settings.max_characters:
        return f"{len(text)} characters", (
            f"at most {settings.max_characters} characters a text; "
            f"POST /v1/statements splits longer ones"
        )
    return None


def check_statement(text: str, settings: Settings) -> None:
    """Refuse a statement that is blank, too long or no Unicode.

    Raises:
        InvalidRequest: saying which.
    """
    limit = settings.max_statement_characters
    found, rule = f"{len(text)} characters", ""
    if is_blank(text) or len(text) > limit:
        rule = f"a statement has a visible character and at most {limit} characters"
    elif half := HALF_CHARACTER.search(text):
        found, rule = repr(half[0]), "a statement has no half of a surrogate pair"
    if rule:
        detail = Detail("text", found, rule)
        raise InvalidRequest(f"text: found {found}; {rule}.", details=[detail])
