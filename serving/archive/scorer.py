"""A part goes through the model in three steps that run beside each other."""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Encoding

from diplophrase.classifier import Classifier, Raw, Result
from diplophrase.sentences import Sentence, split_sentences
from serving.archive.columns import Columns
from serving.archive.layout import Layout
from serving.archive.parts import Part
from serving.archive.read import DEFAULT_TEXT
from serving.archive.records import Row

_REMEMBERED = 20_000  # texts


@dataclass(slots=True)
class Answer:
    """The place for a text's result, shared by all rows that hold the text."""

    result: Result | None = None

    def get(self) -> Result:
        assert self.result is not None, "parts are finished in the order they were prepared"
        return self.result


@dataclass(slots=True)
class Document:
    """A row of the input with what is scored of it: itself, or its sentences."""

    row: Row
    sentences: list[Sentence] | None
    answers: list[Answer] = field(default_factory=list)


@dataclass(slots=True)
class Prepared:
    """A part with its texts tokenised; `fresh` are those that no part before it had."""

    part: Part
    documents: list[Document]
    fresh: list[str]
    encodings: list[Encoding]
    answers: list[Answer]  # one for each fresh text


@dataclass(slots=True)
class Scored:
    """A part's output, ready to be written."""

    number: int
    digest: str
    progress: float
    rows: list[dict[str, Any]]
    summaries: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    read: int
    texts: int  # rows of the output: texts or sentences
    fresh: int  # texts that went through the model
    labels: dict[str, int]

    def entry(self) -> dict[str, Any]:
        """Return what the manifest keeps of it; nothing that differs from run to run."""
        reasons = Counter(bad["reason"] for bad in self.rejected)
        return {
            "part": self.number,
            "digest": self.digest,
            "rows": self.read,
            "sentences": self.texts,
            "labels": dict(sorted(self.labels.items())),
            "rejected": dict(sorted(reasons.items())),
        }


class Scorer:
    """Scores parts in order. Each step may run in a thread of its own, one thread a step.

    A text seen before is not scored again: its result is kept, up to a bound, oldest use first
    out. That is safe as the classifier's answer to a text does not depend on its batch mates.
    """

    def __init__(self, classifier: Classifier, layout: Layout, columns: Columns) -> None:
        self._classifier = classifier
        self._layout = layout
        self._columns = columns
        self._documents = layout.options.documents
        self._text_column = layout.options.text_column or DEFAULT_TEXT
        self._known: OrderedDict[str, Answer] = OrderedDict()

    def score(self, part: Part) -> Scored:
        """Take a part through all three steps."""
        prepared = self.prepare(part)
        return self.finish(prepared, self.run(prepared))

    def prepare(self, part: Part) -> Prepared:
        """Split what is to be split, find the texts that are new, tokenise them."""
        items = [
            self._columns.check(each) if isinstance(each, Row) else each for each in part.items
        ]
        part = Part(part.number, items, part.digest)
        documents = []
        fresh: dict[str, Answer] = {}
        for row in part.rows:
            sentences = split_sentences(row.text) if self._documents else None
            texts = [row.text] if sentences is None else [each.text for each in sentences]
            answers = [self._answer(text, fresh) for text in texts]
            documents.append(Document(row, sentences, answers))
        new = list(fresh)
        encodings = self._classifier.encode(new) if new else []
        return Prepared(part, documents, new, encodings, list(fresh.values()))

    def _answer(self, text: str, fresh: dict[str, Answer]) -> Answer:
        answer = self._known.get(text)
        if answer is None:
            answer = self._known[text] = fresh[text] = Answer()
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(text)
        return answer

    def run(self, prepared: Prepared) -> list[Raw]:
        """Run the network over the fresh texts, sorted by length, batched by tokens."""
        return self._classifier.run(prepared.encodings)

    def finish(self, prepared: Prepared, raws: list[Raw]) -> Scored:
        """Turn the network's output into rows."""
        fresh = zip(prepared.fresh, prepared.encodings, raws, prepared.answers, strict=True)
        for text, encoding, raw, answer in fresh:
            answer.result = self._classifier.decide(text, encoding, raw, evidence=True)
        rows: list[dict[str, Any]] = []
        summaries: list[dict[str, Any]] = []
        labels: Counter[str] = Counter()
        for document in prepared.documents:
            results = [answer.get() for answer in document.answers]
            for result in results:
                labels.update(hit.id for hit in self._layout.kept(result))
            rows += self._rows(document, results)
            if self._layout.options.summary is not None:
                name = self._document_id(document.row)
                summaries.append(self._layout.summarise(name, results))
        part = prepared.part
        bad = [each.to_dict() for each in part.bad]
        read = len(part.items)
        return Scored(
            part.number,
            part.digest,
            part.progress,
            rows,
            summaries,
            bad,
            read,
            len(rows),
            len(prepared.fresh),
            dict(labels),
        )

    def _rows(self, document: Document, results: list[Result]) -> list[dict[str, Any]]:
        row, described = document.row, [self._layout.describe(result) for result in results]
        if document.sentences is None:
            own = self._columns.values(row)
            return [{**own, **each} for each in described]
        own = self._columns.values(row, without=(self._text_column,))
        name = self._document_id(row)
        return [
            {
                **own,
                "document_id": name,
                "sentence": index,
                "start": sentence.start,
                "end": sentence.end,
                "text": sentence.text,
                **each,
            }
            for index, (sentence, each) in enumerate(
                zip(document.sentences, described, strict=True)
            )
        ]

    def _document_id(self, row: Row) -> str:
        """Return the id column's value, or else the document's name, or its file and line."""
        column = self._layout.options.id_column
        given = row.columns.get(column) if column else row.columns.get("document")
        return f"{row.source}:{row.line}" if given is None else str(given)
