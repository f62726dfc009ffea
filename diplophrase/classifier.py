"""Sentences in, labels out: the class that answers requests, scores files and is evaluated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Encoding, Tokenizer

from diplophrase.attributes import read_attribute
from diplophrase.bundle import Bundle, load_bundle
from diplophrase.codebook import FormulaAttribute, GradeAttribute
from diplophrase.errors import BundleError, Detail, InvalidRequest
from diplophrase.visible import HALF_CHARACTER, is_blank

MAX_BATCH_TEXTS = 16
MAX_BATCH_TOKENS = 512  # padded; one longer text still runs alone
LABELS_KEY = "labels"  # of model.onnx's metadata: a JSON list of ids, in the network's order
_WORD = re.compile(r"\w+(?:[-’'&./]\w+)*")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The words that earned a label: `text` is `source[start:end]` in code points."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class LabelHit:
    """A label given to a text, with its calibrated score and, where asked, its evidence."""

    id: str
    score: float
    evidence: Evidence | None = None
    attributes: dict[str, str | list[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the label as it stands in JSON."""
        fields: dict[str, Any] = {"id": self.id, "score": self.score}
        if self.evidence is not None:
            fields["evidence"] = asdict(self.evidence)
        return {**fields, **self.attributes}


@dataclass(frozen=True, slots=True)
class Result:
    """What the model says of one text; `truncated` if the end of the text was not read."""

    labels: list[LabelHit]
    speaker: str
    model_version: str
    scores: dict[str, float]
    truncated: bool

    def to_dict(self, *, scores: bool = False) -> dict[str, Any]:
        """Return the result as it stands in JSON, without what was not asked or applied."""
        fields: dict[str, Any] = {
            "labels": [hit.to_dict() for hit in self.labels],
            "speaker": self.speaker,
            "model_version": self.model_version,
            "truncated": self.truncated,
        }
        return {**fields, "scores": self.scores} if scores else fields


@dataclass(frozen=True, slots=True)
class Raw:
    """The network's output for one text of T tokens: L labels, S speakers, H hidden units."""

    logits: Floats  # [L]
    evidence: Floats  # [L, T], log-odds
    speaker: Floats  # [S]
    embedding: Floats  # [H]


class Classifier:
    """A loaded bundle. Not tied to a thread; `classify` may be called from several."""

    def __init__(self, bundle: Bundle, *, threads: int = 1, runners: int = 1) -> None:
        """Open the network; `runners` batches run at once, each with `threads` threads.

        Raises:
            BundleError: if the network or the tokenizer does not open or does not fit the config.
        """
        self.bundle = bundle
        self._runners = runners
        self.config = bundle.config
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                str(bundle.path / "model.onnx"), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(bundle.path / "tokenizer.json"))
        except Exception as error:  # both libraries raise bare exceptions of their own
            raise BundleError(f"{bundle.path} does not open: {error}") from error
        self._check_fit()
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.config.max_tokens)
        calibrations = [label.calibration for label in self.config.labels]
        self._slopes = np.array([c.slope for c in calibrations], dtype=np.float32)
        self._intercepts = np.array([c.intercept for c in calibrations], dtype=np.float32)
        self._thresholds = np.array([label.threshold for label in self.config.labels])
        self._attributes: dict[str, list[GradeAttribute | FormulaAttribute]] = {}
        for attribute in self.config.attributes:
            self._attributes.setdefault(attribute.label, []).append(attribute)

    def _check_fit(self) -> None:
        shapes = {output.name: output.shape for output in self._session.get_outputs()}
        expected = {"logits": len(self.config.labels), "speaker": len(self.config.speakers)}
        for name, size in expected.items():
            found = shapes.get(name, [None])[-1]
            if found != size:
                raise BundleError(
                    f"{self.bundle.path}: model.onnx gives {found} {name}, "
                    f"config.json says {size}. The files are of different models."
                )
        named = self._session.get_modelmeta().custom_metadata_map.get(LABELS_KEY)
        if named is not None and named != json.dumps(self.labels):
            raise BundleError(
                f"{self.bundle.path}: model.onnx gives other labels, or in another order, than "
                f"config.json. The files are of different models."
            )

    @classmethod
    def load(cls, path: str | Path, *, threads: int = 1, runners: int = 1) -> Classifier:
        """Verify the bundle in the folder `path` and open it."""
        return cls(load_bundle(path), threads=threads, runners=runners)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(label.id for label in self.config.labels)

    def classify(self, texts: Sequence[str], *, evidence: bool = True) -> list[Result]:
        """Return one result for each text, in order.

        The answer to a text does not depend on the texts beside it.

        Raises:
            InvalidRequest: naming every text that is not a string or is blank.
        """
        encodings = self.encode(texts)
        raws = self.run(encodings)
        return [
            self.decide(text, encoding, raw, evidence=evidence)
            for text, encoding, raw in zip(texts, encodings, raws, strict=True)
        ]

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenise `texts`; each is cut at the bundle's `max_tokens`."""
        check_texts(texts)
        return self._tokenizer.encode_batch(list(texts))

    def run(self, encodings: Sequence[Encoding]) -> list[Raw]:
        """Run the network over `encodings` in batches of similar length; order is kept."""
        raws: list[Raw | None] = [None] * len(encodings)
        lengths = [len(encoding.ids) for encoding in encodings]
        plan = list(plan_batches(lengths))
        batches = [[encodings[row] for row in rows] for rows in plan]
        if self._runners > 1 and len(batches) > 1:
            with ThreadPoolExecutor(self._runners) as pool:
                answers = list(pool.map(self._run_batch, batches))
        else:
            answers = [self._run_batch(batch) for batch in batches]
        for rows, answer in zip(plan, answers, strict=True):
            for row, raw in zip(rows, answer, strict=True):
                raws[row] = raw
        return [raw for raw in raws if raw is not None]

    def _run_batch(self, batch: Sequence[Encoding]) -> list[Raw]:
        names = ["logits", "evidence", "speaker", "sentence_embedding"]
        outputs = self._session.run(names, pad(batch))
        logits, evidence, speaker, embedding = outputs
        lengths = [len(encoding.ids) for encoding in batch]
        return [
            Raw(logits[row], evidence[row, :, :length], speaker[row], embedding[row])
            for row, length in enumerate(lengths)
        ]

    def scores(self, logits: Floats) -> Floats:
        """Turn logits [..., L] into calibrated probabilities of the same shape."""
        margins = np.clip(self._slopes * logits + self._intercepts, -60.0, 60.0)
        return np.asarray(1.0 / (1.0 + np.exp(-margins)), dtype=np.float32)

    def decide(self, text: str, encoding: Encoding, raw: Raw, *, evidence: bool) -> Result:
        """Turn the network's output for `text` into labels, speaker and attributes."""
        scores = self.scores(raw.logits)
        seen = text[: max((end for _, end in encoding.offsets), default=0)]  # by the network
        hits = []
        for index in np.flatnonzero(scores >= self._thresholds):
            label = self.config.labels[index].id
            span = find_evidence(
                text, encoding, raw.evidence[index], self.config.evidence_threshold
            )
            values: dict[str, str | list[str]] = {
                attribute.id: read_attribute(attribute, seen, span.start, span.end)
                for attribute in self._attributes.get(label, [])
            }
            hit = LabelHit(label, _round(scores[index]), span if evidence else None, values)
            hits.append(hit)
        hits.sort(key=lambda hit: -hit.score)
        return Result(
            labels=hits,
            speaker=self.config.speakers[int(np.argmax(raw.speaker))],
            model_version=self.bundle.version,
            scores={label: _round(score) for label, score in zip(self.labels, scores, strict=True)},
            truncated=bool(encoding.overflowing),
        )


def _round(score: float) -> float:
    return round(float(score), 4)


def check_texts(texts: Sequence[str]) -> None:
    """Refuse lists that hold anything but non-blank Unicode text; every bad item is named."""
    details = []
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            details.append(Detail("texts", type(text).__name__, "a text is a string", index))
        elif is_blank(text):
            details.append(
                Detail("texts", repr(text)[:40], "a text has a visible character", index)
            )
        elif half := HALF_CHARACTER.search(text):
            details.append(
                Detail("texts", repr(half[0]), "a text has no half of a surrogate pair", index)
            )
    if details:
        raise InvalidRequest(
            f"{len(details)} of {len(texts)} texts cannot be read. "
            f"Mend or leave out the items at these indices: "
            f"{', '.join(str(detail.index) for detail in details[:20])}.",
            details=details,
        )


def pad(encodings: Sequence[Encoding]) -> dict[str, npt.NDArray[np.int64]]:
    """Return the encodings as one padded batch of token ids and mask, both [B, T]."""
    width = max(len(encoding.ids) for encoding in encodings)
    ids = np.zeros((len(encodings), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, encoding in enumerate(encodings):
        ids[row, : len(encoding.ids)] = encoding.ids
        mask[row, : len(encoding.ids)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def plan_batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield the row numbers of each batch: rows of like length, few padded tokens."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        padded = (len(batch) + 1) * lengths[row]
        if batch and (len(batch) == MAX_BATCH_TEXTS or padded > MAX_BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def find_evidence(text: str, encoding: Encoding, log_odds: Floats, threshold: float) -> Evidence:
    """Return the run of words that is most likely the evidence.

    The run maximises the summed margin of its tokens' probabilities over `threshold` (maximum
    subarray), widened to whole words; where no token passes, it is the likeliest word.
    `log_odds` [T] belong to the tokens of `encoding`.
    """
    real = np.array(encoding.special_tokens_mask) == 0
    margins = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -60.0, 60.0))) - threshold
    margins = np.where(real, margins, -1.0)
    first, last = _best_run(margins)
    start, end = encoding.offsets[first][0], encoding.offsets[last][1]
    return _whole_words(text, start, end)


def _best_run(margins: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Return the first and last index of the run with the largest sum (Kadane 1977)."""
    best, best_run = -np.inf, (0, 0)
    total, start = 0.0, 0
    for index, margin in enumerate(margins):
        if total <= 0:
            total, start = 0.0, index
        total += float(margin)
        if total > best:
            best, best_run = total, (start, index)
    return best_run


def _whole_words(text: str, start: int, end: int) -> Evidence:
    for word in _WORD.finditer(text):
        if word.start() < start < word.end():
            start = word.start()
        if word.start() < end < word.end():
            end = word.end()
            break
    return Evidence(start, end, text[start:end])
