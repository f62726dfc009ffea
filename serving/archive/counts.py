"""What a run comes to, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class Counts:
    """The figures of an output, and of the run that ended it."""

    rows: int = 0  # rows of the input, bad ones among them
    sentences: int = 0  # rows of the output: texts, or sentences of documents
    labels: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)  # reason -> rows
    seconds: float = 0.0  # of this run
    scored: int = 0  # sentences of this run
    repeated: int = 0  # those of `scored` that had been seen before, so cost nothing

    @property
    def sentences_per_second(self) -> float:
        """Return the rate of this run, sentences a second."""
        return self.scored / self.seconds if self.seconds else 0.0

    @property
    def repeated_share(self) -> float:
        """Return the share of this run's sentences that were identical to one before."""
        return self.repeated / self.scored if self.scored else 0.0

    def add_parts(self, entries: Iterable[dict[str, Any]]) -> None:
        """Add the manifest's entries of all parts, those of runs before among them."""
        labels, rejected = Counter(self.labels), Counter(self.rejected)
        for entry in entries:
            self.rows += entry["rows"]
            self.sentences += entry["sentences"]
            labels.update(entry["labels"])
            rejected.update(entry["rejected"])
        self.labels = dict(sorted(labels.items(), key=lambda item: (-item[1], item[0])))
        self.rejected = dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0])))

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON has them."""
        return asdict(self) | {"sentences_per_second": round(self.sentences_per_second, 1)}

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        skipped = sum(self.rejected.values())
        reasons = "; ".join(f"{reason} {count}" for reason, count in self.rejected.items())
        labels = ", ".join(f"{label} {count}" for label, count in self.labels.items())
        return [
            f"rows {self.rows}, sentences {self.sentences}, skipped {skipped}"
            + (f" ({reasons})" if reasons else ""),
            f"labels: {labels or 'none'}",
            f"this run: {self.scored} sentences in {self.seconds:.1f} s, "
            f"{self.sentences_per_second:.0f} a second, {self.repeated_share:.1%} repeated",
        ]
