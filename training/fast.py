"""`diplophrase train --fast`: new heads on the frozen encoder of a version that is there.

The encoder has seen the seeds when it was trained itself, those of every fold, so what is measured
out of fold here flatters. It tells one fast version from another and from nothing else. To compare
a fast version with the full one whose encoder it has, a control is trained beside it: heads as
fresh, in the same folds, that learn from nothing which that version did not have.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diplophrase.annotations import data_hash
from diplophrase.bundle import CONTROL, PREDICTIONS, Bundle, Domain, load_bundle
from diplophrase.errors import TrainingError
from diplophrase.lexicon import load_lexicon, read_entries
from diplophrase.origin import Origin, network_hash, read_origin
from diplophrase.predictions import hash_text
from diplophrase.tokenizer import open_tokenizer
from training.calibration import PHRASE_WEIGHT
from training.card import render_card
from training.config import Recipe
from training.crossval import OutOfFold
from training.data import Data, Paths, read_data
from training.dataset import build_dataset, known_targets
from training.encoder import Encoder, cut_encoder
from training.finetune import Step
from training.fit import draft_bundle
from training.graft import graft, verify_graft
from training.heads import Heads, Lesson, answer, start_at, train_heads
from training.measure import Measured, Split, measure_answers, predict_out_of_fold, split_data
from training.plots import draw_plots
from training.pool import Progress
from training.run import describe_data, describe_run, read_agreement, write_predictions
from training.states import States, StateStore, open_states
from training.unlabelled import mark_unknown

_AUTHORED = 3000  # authored sentences in a pass: some seconds on two cores
_VERIFIED = 72  # texts that the grafted network is held against torch on


@dataclass(frozen=True, slots=True)
class FastConfig:
    """Everything that decides a fast run beside its data and the parent."""

    seed: int = 7
    epochs: int = 6
    threads: int = 2


@dataclass(frozen=True, slots=True)
class _Read:
    """What the frozen encoder made of all texts, in the order of `Data.all`, and of definitions."""

    store: StateStore
    texts: States
    definitions: States


def train_fast(
    paths: Paths,
    parent: Bundle,
    config: FastConfig,
    *,
    folds: int,
    progress: Progress,
    name: str | None = None,
) -> Bundle:
    """Train heads on the encoder of `parent`, calibrate out of fold, publish the bundle.

    With `folds` 0 nothing is measured, as in full training. Texts that an earlier run has read are
    not read again: their states are kept below `models/.runs`.

    Raises:
        InvalidData: if an annotation breaks the codebook.
        TrainingError: if the parent's encoder cannot be cut off, or the new network strays from
            what was trained.
    """
    started = datetime.now(UTC)
    torch.set_num_threads(config.threads)
    data = read_data(paths)
    digest = data_hash(data.all)
    version = name or f"{started:%Y%m%d}-{digest[:8]}-s{config.seed}-fast"
    if (paths.models / version).exists():
        raise TrainingError(
            f"{paths.models / version} exists; versions are never edited. "
            f"Give the new one a name with --name."
        )
    read = _read_texts(paths, parent, data, config, progress)
    data = data.mark(mark_unknown(data.all, data.codebook, read.texts.embed, seed=config.seed))
    split = None
    if folds:
        split = split_data(data, paths, folds=folds, seed=config.seed)
    origin = _find_origin(parent, read.store.encoder)
    heads = _train(data, read, _seen(data, split, origin), config, progress)
    measured = _measure(paths, data, split, heads, read, config) if split else None
    recipe = Recipe(data.codebook, parent.config.base, parent.path)
    metrics: dict[str, Any] = {
        "data": describe_data(data, digest),
        "agreement": read_agreement(paths),
        "run": {
            **describe_run(paths, config.seed, digest, started),
            "config": {
                "base": parent.config.base.checkpoint,
                "seed": config.seed,
                "epochs": config.epochs,
            },
            "fast": True,
            "parent": parent.version,
            "origin": origin.model_dump(),
        },
        "added_out_of_domain": _count_foreign(parent.config.domain, data, read.texts),
        **(measured.metrics if measured else {}),
    }
    with tempfile.TemporaryDirectory() as scratch:
        network = Path(scratch) / "model.onnx"
        final = heads.one(folds)
        graft(read.store.encoder, final, network, data.codebook.ids)
        encodings = read.store.tokenizer.encode_batch([a.text for a in data.all[:_VERIFIED]])
        gap = verify_graft(read.store.encoder, final, network, encodings)
        metrics["export"] = {"onnx_gap": gap}
        enclosed = draw_plots(Path(scratch), metrics)
        if split and measured:
            control = _answer_control(paths, data, split, heads, read)
            enclosed.append(write_predictions(Path(scratch) / PREDICTIONS, measured.predictions))
            enclosed.append(write_predictions(Path(scratch) / CONTROL, control))
        path = draft_bundle(
            paths.models,
            recipe,
            network,
            version,
            parent.config.max_tokens,
            fitted=measured.fitted if measured else None,
            domain=parent.config.domain,
            lexicon=read_entries(paths.lexicon) if measured else {},
            metrics=metrics,
            card=render_card(version, data.codebook, metrics),
            plots=enclosed,
            manifest=metrics["run"],
        )
    return load_bundle(path)


def _read_texts(
    paths: Paths, parent: Bundle, data: Data, config: FastConfig, progress: Progress
) -> _Read:
    encoder = cut_encoder(parent.path / "model.onnx")
    tokenizer = open_tokenizer(parent.path, parent.config.max_tokens)
    store = open_states(paths.runs, encoder, tokenizer)

    def show(done: int, total: int) -> None:
        progress("reading new texts", Step(done, total, 0.0))

    texts = [annotation.text for annotation in data.all]
    definitions = [label.meaning for label in data.codebook.labels]
    states = store.read([*texts, *definitions], threads=config.threads, on_text=show)
    return _Read(store, states.part(0, len(texts)), states.part(len(texts), len(states)))


def _find_origin(parent: Bundle, encoder: Encoder) -> Origin:
    """Return whose encoder it is: that of `parent`, or of the version that the parent has it of."""
    known = read_origin(parent)
    if known is not None:
        return known
    metrics = json.loads((parent.path / "metrics.json").read_text(encoding="utf-8"))
    return Origin(
        version=parent.version,
        network=network_hash(parent),
        encoder=encoder.hash,
        added=tuple(metrics.get("data", {}).get("added_texts", ())),
    )


def _train(
    data: Data,
    read: _Read,
    seen: npt.NDArray[np.bool_],
    config: FastConfig,
    progress: Progress,
) -> Heads:
    """Return a set of heads for each column of `seen` [N, K], all trained in one pass."""
    notes, labels = data.all, data.codebook.ids
    dataset = build_dataset(notes, labels, read.store.tokenizer)
    lesson = Lesson(
        read.texts,
        known_targets(notes, labels),
        dataset["evidence"][:],
        np.array(dataset["speaker"][:]),
        seen,
        np.array([note.provenance == "authored" for note in notes]),
        _AUTHORED,
    )
    torch.manual_seed(config.seed)
    heads = Heads(read.store.encoder.width, len(labels), sets=seen.shape[1])
    start_at(heads, read.definitions.embed())
    for step in train_heads(heads, lesson, epochs=config.epochs, seed=config.seed):
        progress("heads", step)
    return heads


def _seen(data: Data, split: Split | None, origin: Origin) -> npt.NDArray[np.bool_]:
    """Return which text [N] each set of heads learns from [N, K].

    K is F + 1 + F for F folds: without the fold; everything; and the control, which is without
    the fold and without the added sentences that the origin of the encoder did not have. Where
    there are none of these the control is the first F again.
    """
    everything = np.ones((len(data.all), 1), dtype=bool)
    if split is None:
        return everything
    count = int(split.seeds.max()) + 1
    seeds = split.seeds[:, None] != np.arange(count)
    authored = np.ones((len(data.authored), count), dtype=bool)
    folds = np.concatenate([seeds, authored, ~split.added.barred])
    had = set(origin.added)
    new = [note.provenance == "added" and hash_text(note.text) not in had for note in data.all]
    control = folds & ~np.array(new)[:, None]
    return np.concatenate([folds, everything, *([control] if any(new) else [])], axis=1)


def _measure(
    paths: Paths, data: Data, split: Split, heads: Heads, read: _Read, config: FastConfig
) -> Measured:
    """Let each text be answered by the heads of the fold that has not seen it."""
    first_added = len(data.seeds) + len(data.authored)
    outs = [_answer(paths, data, read, heads, np.arange(len(data.seeds)), split.seeds)]
    if len(split.measured):
        rows, folds = first_added + split.measured, split.added.folds[split.measured]
        outs.append(_answer(paths, data, read, heads, rows, folds))
    return measure_answers(paths, data, split, outs, [{} for _ in outs], seed=config.seed)


def _answer_control(
    paths: Paths, data: Data, split: Split, heads: Heads, read: _Read
) -> list[dict[str, Any]]:
    """Return what the control says of the seeds out of fold, as `predictions.jsonl` has it."""
    count = int(split.seeds.max()) + 1
    first = count + 1 if len(heads.weight) > count + 1 else 0
    rows = np.arange(len(data.seeds))
    out = _answer(paths, data, read, heads, rows, split.seeds, first=first)
    return predict_out_of_fold(out, data.codebook, split.events)


def _answer(
    paths: Paths,
    data: Data,
    read: _Read,
    heads: Heads,
    rows: npt.NDArray[np.int64],
    folds: npt.NDArray[np.int64],
    *,
    first: int = 0,
) -> OutOfFold:
    """Let the set `first + fold` answer for each of the texts `rows` [M] of `Data.all`."""
    lexicon, labels = load_lexicon(paths.lexicon), data.codebook.ids
    notes = [data.all[int(row)] for row in rows]
    texts = [note.text for note in notes]
    return OutOfFold(
        notes,
        read.store.tokenizer.encode_batch(texts),
        folds,
        answer(heads, read.texts, rows, first + folds),
        None,
        lexicon.predict(texts, labels),
        lexicon.weigh(labels, PHRASE_WEIGHT),
    )


def _count_foreign(domain: Domain | None, data: Data, texts: States) -> int:
    """Return how many added sentences the parent takes for foreign, and so gives no labels.

    Its sense of what is foreign stays right: embeddings do not pass through the heads.
    """
    if domain is None or not data.added:
        return 0
    own = texts.part(len(texts) - len(data.added), len(texts)).embed()
    return int(domain.is_outside(own).sum())
