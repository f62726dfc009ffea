"""One result becomes one row: which columns scoring adds, of which types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from diplophrase.classifier import Classifier, LabelHit, Result
from diplophrase.codebook import GradeAttribute
from diplophrase.errors import InvalidRequest
from serving.archive.columns import Columns
from serving.archive.options import Options

_WORDS = pa.list_(pa.string())
_EVIDENCE = pa.list_(
    pa.struct(
        [("label", pa.string()), ("start", pa.int64()), ("end", pa.int64()), ("text", pa.string())]
    )
)
_SENTENCE = {
    "document_id": pa.string(),
    "sentence": pa.int64(),
    "start": pa.int64(),
    "end": pa.int64(),
    "text": pa.string(),
}


@dataclass(frozen=True)
class Layout:
    """The columns that a model and the options give, in order, with their types."""

    labels: tuple[str, ...]  # those asked for, in the codebook's order
    attributes: dict[str, pa.DataType]
    flags: tuple[str, ...]  # what a result says beside labels and speaker, true or false
    options: Options

    @property
    def result(self) -> dict[str, pa.DataType]:
        """Return what each scored text gets."""
        scores = {f"score_{label}": pa.float64() for label in self.labels}
        return {
            "labels": _WORDS,
            **scores,
            "evidence": _EVIDENCE,
            **self.attributes,
            "speaker": pa.string(),
            "model_version": pa.string(),
            **dict.fromkeys(self.flags, pa.bool_()),
        }

    @property
    def added(self) -> dict[str, pa.DataType]:
        """Return all columns that scoring adds to a row of the input."""
        return {**(_SENTENCE if self.options.documents else {}), **self.result}

    @property
    def summed(self) -> dict[str, pa.DataType]:
        """Return the columns of the summary beside the input's own."""
        counts = {f"count_{label}": pa.int64() for label in self.labels}
        highest = {f"max_{label}": pa.float64() for label in self.labels}
        return {
            "document_id": pa.string(),
            "sentences": pa.int64(),
            "labels": _WORDS,
            **counts,
            **highest,
            "model_version": pa.string(),
        }

    def describe(self, result: Result) -> dict[str, Any]:
        """Return the columns of one result, in order; filters of the options applied."""
        hits = self.kept(result)
        given = result.to_dict()
        values: dict[str, Any] = {}
        for hit in hits:
            values.update(hit.attributes)
        spans = [
            {"label": hit.id, "start": span.start, "end": span.end, "text": span.text}
            for hit in hits
            if (span := hit.evidence) is not None
        ]
        return {
            "labels": [hit.id for hit in hits],
            **{f"score_{label}": result.scores[label] for label in self.labels},
            "evidence": spans,
            **{name: values.get(name) for name in self.attributes},
            "speaker": result.speaker,
            "model_version": result.model_version,
            **{flag: given.get(flag) for flag in self.flags},
        }

    def kept(self, result: Result) -> list[LabelHit]:
        """Return the labels of a result that the options keep, highest score first."""
        least = self.options.min_score
        return [hit for hit in result.labels if hit.id in self.labels and hit.score >= least]

    def summarise(self, document_id: str, results: Sequence[Result]) -> dict[str, Any]:
        """Return a document's row: sentences, and count and highest score of each label."""
        counts, highest = dict.fromkeys(self.labels, 0), dict.fromkeys(self.labels, 0.0)
        for result in results:
            for hit in self.kept(result):
                counts[hit.id] += 1
                highest[hit.id] = max(highest[hit.id], hit.score)
        given = sorted((label for label in self.labels if counts[label]), key=lambda k: -counts[k])
        return {
            "document_id": document_id,
            "sentences": len(results),
            "labels": given,
            **{f"count_{label}": count for label, count in counts.items()},
            **{f"max_{label}": score for label, score in highest.items()},
            "model_version": results[0].model_version if results else None,
        }

    def schema(self, columns: Columns, text_column: str) -> pa.Schema:
        """Return the schema of the output as a table."""
        without = (text_column,) if self.options.documents else ()
        added = [pa.field(name, kind) for name, kind in self.added.items()]
        return pa.schema([*columns.fields(without=without), *added])

    def summary_schema(self) -> pa.Schema:
        return pa.schema(list(self.summed.items()))


def make_layout(classifier: Classifier, options: Options) -> Layout:
    """Return the layout for a model.

    Raises:
        InvalidRequest: if the options name a label that the model does not have.
    """
    unknown = [label for label in options.labels if label not in classifier.labels]
    if unknown:
        raise InvalidRequest(
            f"--labels names {', '.join(unknown)}, which the model {classifier.bundle.version} "
            f"does not have. It has {', '.join(classifier.labels)}."
        )
    chosen = options.labels or classifier.labels
    attributes: dict[str, pa.DataType] = {
        attribute.id: pa.string() if isinstance(attribute, GradeAttribute) else _WORDS
        for attribute in classifier.config.attributes
        if attribute.label in chosen
    }
    [probe] = classifier.classify(["A short text."])  # warms the model up, too
    flags = tuple(name for name, value in probe.to_dict().items() if isinstance(value, bool))
    labels = tuple(label for label in classifier.labels if label in chosen)
    return Layout(labels, attributes, flags, options)
