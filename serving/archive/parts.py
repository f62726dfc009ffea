"""The stream of rows is cut into parts; a part's output depends on the part alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from serving.archive.options import Options
from serving.archive.records import BadRow, Row


@dataclass(frozen=True, slots=True)
class Part:
    """Rows in order, good and bad. `digest` is the sha256 of all that was read for it."""

    number: int
    items: list[Row | BadRow]
    digest: str

    @property
    def rows(self) -> list[Row]:
        return [item for item in self.items if isinstance(item, Row)]

    @property
    def bad(self) -> list[BadRow]:
        return [item for item in self.items if isinstance(item, BadRow)]

    @property
    def progress(self) -> float:
        return self.items[-1].progress if self.items else 1.0


def cut_parts(rows: Iterator[Row | BadRow], options: Options) -> Iterator[Part]:
    """Yield parts of `part_rows` rows, or fewer where the texts reach `part_characters`."""
    number, characters = 0, 0
    items: list[Row | BadRow] = []
    for row in rows:
        items.append(row)
        characters += len(row.text) if isinstance(row, Row) else 0
        if len(items) >= options.part_rows or characters >= options.part_characters:
            yield Part(number, items, _digest(items))
            number, characters, items = number + 1, 0, []
    if items:
        yield Part(number, items, _digest(items))


def _digest(items: list[Row | BadRow]) -> str:
    digest = hashlib.sha256()
    for item in items:
        if isinstance(item, Row):
            content = repr((item.source, item.line, list(item.columns.items())))
        else:
            content = repr(item.to_dict())
        digest.update(content.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
