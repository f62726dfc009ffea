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
from tokenizers import Encoding

from diplophrase.attributes import read_attribute
from diplophrase.bundle import Bundle, load_bundle
from diplophrase.codebook import FormulaAttribute, GradeAttribute
from diplophrase.errors import BundleError, Detail, InvalidRequest
from diplophrase.hyphens import plain_hyphens
from diplophrase.lexicon import add_hits, build_lexicon
from diplophrase.tokenizer import open_tokenizer
from diplophrase.visible import HALF_CHARACTER, is_blank

MAX_BATCH_TEXTS = 16
MAX_BATCH_TOKENS = 512  # padded; one longer text still runs alone
LABELS_KEY = "labels"  # of model.onnx's metadata: a JSON list of ids, in the network's order
# fused kernels of onnxruntime that take a fifth longer, in all, than the operators they replace
SLOWER = ["SkipLayerNormFusion", "BiasGeluFusion"]
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
    """What the model says of one text.

    `truncated` if the end of the text was not read; `out_of_domain` if the text is unlike
    anything that the model was made for, and then without labels.
    """

    labels: list[LabelHit]
    speaker: str
    model_version: str
    scores: dict[str, float]
    truncated: bool
    out_of_domain: bool = False

    def to_dict(self, *, scores: bool = False) -> dict[str, Any]:
        """Return the result as it stands in JSON, without what was not asked or applied."""
        fields: dict[str, Any] = {
            "labels": [hit.to_dict() for hit in self.labels],
            "speaker": self.speaker,
            "model_version": self.model_version,
            "truncated": self.truncated,
            "out_of_domain": self.out_of_domain,
        }
        return {**fields, "scores": self.scores} if scores else fields


@dataclass(frozen=True, slots=True)
class Raw:
    """The network's output for one text of T tokens: L labels, S speakers, H hidden units."""

    logits: Floats  # [L]
    evidence: Floats  # [2, L, T], how much a token looks like the first, the last of the evidence
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
        self.labels = tuple(label.id for label in bundle.config.labels)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                str(bundle.path / "model.onnx"),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=SLOWER,
            )
            self._tokenizer = open_tokenizer(bundle.path, self.config.max_tokens)
        except Exception as error:  # both libraries raise bare exceptions of their own
            raise BundleError(f"{bundle.path} does not open: {error}") from error
        self._check_fit()
        calibrations = [label.calibration for label in self.config.labels]
        self._slopes = np.array([c.slope for c in calibrations], dtype=np.float32)
        self._intercepts = np.array([c.intercept for c in calibrations], dtype=np.float32)
        self._thresholds = np.array([label.threshold for label in self.config.labels])
        self._lexicon = build_lexicon(self.config.lexicon) if self.config.phrase_weight else None
        if self._lexicon is not None:
            self._hit_weights = self._lexicon.weigh(self.labels, self.config.phrase_weight)
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

    def classify(
        self, texts: Sequence[str], *, evidence: bool = True, precision: float | None = None
    ) -> list[Result]:
        """Return one result for each text, in order.

        The answer to a text does not depend on the texts beside it. With `precision`, labels are
        given from the scores at which that share of them was right out of fold, instead of from
        the scores that serve precision and recall alike.

        Raises:
            InvalidRequest: naming every text that is not a string or is blank, or the precisions
                that this model can be set to.
        """
        thresholds = self.thresholds(precision)
        encodings = self.encode(texts)
        results: dict[int, Result] = {}
        for row, raw in self._answers(encodings):  # decided while the network reads on
            results[row] = self.decide(
                texts[row], encodings[row], raw, evidence=evidence, thresholds=thresholds
            )
        return [results[row] for row in range(len(texts))]

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Tokenise `texts`; each is cut at the bundle's `max_tokens`."""
        check_texts(texts)
        return self._tokenizer.encode_batch(list(texts))

    def run(self, encodings: Sequence[Encoding]) -> list[Raw]:
        """Run the network over `encodings` in batches of similar length; order is kept."""
        raws = dict(self._answers(encodings))
        return [raws[row] for row in range(len(encodings))]

    def _answers(self, encodings: Sequence[Encoding]) -> Iterator[tuple[int, Raw]]:
        """Yield the place of each encoding and its answer, a batch as soon as it is there."""
        lengths = [len(encoding.ids) for encoding in encodings]
        plan = list(plan_batches(lengths))
        batches = [[encodings[row] for row in rows] for rows in plan]
        if self._runners > 1 and len(batches) > 1:
            with ThreadPoolExecutor(self._runners) as pool:
                for rows, answer in zip(plan, pool.map(self._run_batch, batches), strict=True):
                    yield from zip(rows, answer, strict=True)
        else:
            for rows, batch in zip(plan, batches, strict=True):
                yield from zip(rows, self._run_batch(batch), strict=True)

    def _run_batch(self, batch: Sequence[Encoding]) -> list[Raw]:
        names = ["logits", "evidence", "speaker", "sentence_embedding"]
        outputs = self._session.run(names, pad(batch))
        logits, evidence, speaker, embedding = outputs
        lengths = [len(encoding.ids) for encoding in batch]
        return [
            Raw(logits[row], evidence[row, :, :, :length], speaker[row], embedding[row])
            for row, length in enumerate(lengths)
        ]

    def scores(self, logits: Floats) -> Floats:
        """Turn logits [..., L] into calibrated probabilities of the same shape."""
        margins = np.clip(self._slopes * logits + self._intercepts, -60.0, 60.0)
        return np.asarray(1.0 / (1.0 + np.exp(-margins)), dtype=np.float32)

    def margins(self, text: str, raw: Raw) -> Floats:
        """Return the network's logits [L] for `text`, moved by what the lexicon finds in it."""
        if self._lexicon is None:
            return raw.logits
        found = self._lexicon.find(text)
        hits = np.array([label in found for label in self.labels])
        return add_hits(raw.logits, hits, self._hit_weights)

    def thresholds(self, precision: float | None = None) -> Floats:
        """Return the scores [L] from which labels are given, for the precision asked.

        A precision between two that the bundle holds is read as the higher one.

        Raises:
            InvalidRequest: if the bundle holds none so high.
        """
        if precision is None:
            return self._thresholds
        known = [point.precision for point in self.config.labels[0].operating_points]
        column = next((k for k, value in enumerate(known) if value >= precision - 1e-9), None)
        if column is None or precision <= 0:
            rule = f"at most {known[-1]:g}, over 0" if known else "this model has no such setting"
            raise InvalidRequest(
                f"precision: found {precision:g}; {rule}.",
                details=[Detail("precision", f"{precision:g}", rule)],
            )
        points = [label.operating_points[column] for label in self.config.labels]
        return np.array([point.threshold for point in points], dtype=np.float32)

    def is_out_of_domain(self, raw: Raw) -> bool:
        """Tell whether a text is unlike what the model was made for."""
        domain = self.config.domain
        return domain is not None and bool(domain.is_outside(raw.embedding))

    def decide(
        self,
        text: str,
        encoding: Encoding,
        raw: Raw,
        *,
        evidence: bool,
        thresholds: Floats | None = None,
    ) -> Result:
        """Turn the network's output for `text` into labels, speaker and attributes."""
        seen = text[: encoding.offsets[-2][1]] if encoding.overflowing else text  # by the network
        scores = self.scores(self.margins(seen, raw))
        foreign = self.is_out_of_domain(raw)
        given = scores >= (self._thresholds if thresholds is None else thresholds)
        rounded: list[float] = np.round(scores.astype(np.float64), 4).tolist()
        hits = []
        for index in np.flatnonzero(given & (not foreign)):
            label = self.config.labels[index].id
            span = find_evidence(text, encoding, raw.evidence[:, index])
            values: dict[str, str | list[str]] = {
                attribute.id: read_attribute(attribute, seen, span.start, span.end)
                for attribute in self._attributes.get(label, [])
            }
            hit = LabelHit(label, rounded[index], span if evidence else None, values)
            hits.append(hit)
        hits.sort(key=lambda hit: -hit.score)
        return Result(
            labels=hits,
            speaker=self.config.speakers[int(np.argmax(raw.speaker))],
            model_version=self.bundle.version,
            scores=dict(zip(self.labels, rounded, strict=True)),
            truncated=bool(encoding.overflowing),
            out_of_domain=foreign,
        )


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


def find_evidence(text: str, encoding: Encoding, ends: Floats) -> Evidence:
    """Return the run of words whose first and last token look most like the ends of evidence.

    `ends` [2, T] belong to the tokens of `encoding`: how much each looks like the first, and like
    the last. The run is widened to whole words.
    """
    real = np.array(encoding.special_tokens_mask) == 0
    first, last = best_run(np.where(real, ends[0], -np.inf), np.where(real, ends[1], -np.inf))
    return _whole_words(text, encoding.offsets[first][0], encoding.offsets[last][1])


def best_run(firsts: Floats, lasts: Floats) -> tuple[int, int]:
    """Return the places first <= last with the highest sum of both scores [T]."""
    best_last = np.maximum.accumulate(lasts[::-1])[::-1]  # at or after each place
    first = int(np.argmax(firsts + best_last))
    return first, first + int(np.argmax(lasts[first:]))


def _whole_words(text: str, start: int, end: int) -> Evidence:
    near = start
    while near and not text[near - 1].isspace():  # no word reaches over a space
        near -= 1
    for word in _WORD.finditer(plain_hyphens(text), near):
        if word.start() < start < word.end():
            start = word.start()
        if word.end() >= end:
            end = word.end() if word.start() < end else end
            break
    return Evidence(start, end, text[start:end])
