"""The files of an output: its rows, its rejected rows, its summary; first in parts, then whole."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from serving.archive.columns import Columns
from serving.archive.layout import Layout
from serving.archive.ledger import Ledger, beside
from serving.archive.options import format_of
from serving.archive.read import DEFAULT_TEXT
from serving.archive.scorer import Scored
from serving.archive.write import Rows, join_parts, write_part


class Output:
    """Writes parts and joins them. Whatever is interrupted can be done again."""

    def __init__(
        self, ledger: Ledger, layout: Layout, columns: Columns, summary: Path | None
    ) -> None:
        self._ledger = ledger
        self._kinds = {"rows": layout.options.format, "rejected": "jsonl"}
        self._paths = {"rows": ledger.output, "rejected": beside(ledger.output, ".rejected.jsonl")}
        self._schemas: dict[str, pa.Schema | None] = {"rows": None, "rejected": None}
        if layout.options.format != "jsonl":
            text_column = layout.options.text_column or DEFAULT_TEXT
            self._schemas["rows"] = layout.schema(columns, text_column)
        if summary is not None:
            kind = format_of(summary)
            self._kinds["summary"], self._paths["summary"] = kind, summary
            self._schemas["summary"] = None if kind == "jsonl" else layout.summary_schema()

    def _part(self, name: str, number: int) -> Path:
        return self._ledger.folder / f"{name}-{number:07d}.{self._kinds[name]}"

    def write(self, scored: Scored) -> None:
        """Put the files of a part in place, then say in the manifest that it is done."""
        contents: dict[str, Rows] = {"rows": scored.rows, "rejected": scored.rejected}
        contents["summary"] = scored.summaries
        for name, kind in self._kinds.items():
            path = self._part(name, scored.number)
            write_part(path, contents[name], self._schemas[name], kind)
        self._ledger.record(scored.entry())

    def join(self) -> None:
        """Make the whole files from all parts; without bad rows there is no file of them."""
        entries = [self._ledger.done[number] for number in sorted(self._ledger.done)]
        some_bad = any(entry["rejected"] for entry in entries)
        for name in reversed(self._kinds):  # the rows last: where they are, the others are, too
            if name == "rejected" and not some_bad:
                self._paths[name].unlink(missing_ok=True)
                continue
            parts = [self._part(name, entry["part"]) for entry in entries]
            self._paths[name].parent.mkdir(parents=True, exist_ok=True)
            join_parts(self._paths[name], parts, self._schemas[name], self._kinds[name])
        self._ledger.finish()
