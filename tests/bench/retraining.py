"""Macro-F1 on held-out events against labels added, by the review queue and at random."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from diplophrase.lexicon import load_lexicon
from training.base import DEFAULT_BASE, find_base
from training.config import Recipe, TrainConfig
from training.data import Data, Paths, read_data
from training.dataset import label_targets
from training.finetune import Step
from training.folds import assign_folds, group_events
from training.improves import (
    Heads,
    Point,
    Sentences,
    Stage,
    answer_authored,
    compare_choosers,
    measure,
    measure_lead,
)
from training.label_states import learn_states
from training.plots import draw_retraining

ROOT = Path(__file__).parents[2]
FIGURES = ("macro_f1", "micro_f1", "network_macro_f1")


def read_sentences(
    paths: Paths, data: Data, config: TrainConfig, *, authored: int | None, runs: Path
) -> tuple[Sentences, Heads]:
    """Return the seeds as an encoder reads them that has learnt the authored sentences alone."""
    base, base_path = find_base(config.base)
    config = replace(config, base=str(base_path))
    known = [note for note in data.all if note.provenance == "authored"][:authored]
    texts = [note.text for note in data.seeds]

    def show(step: Step) -> None:
        if step.number % 100 == 0 or step.number == step.total:
            print(f"authored sentences: step {step.number} of {step.total}", flush=True)

    recipe = Recipe(data.codebook, base, base_path)
    read = learn_states(recipe, known, texts, config, runs, show)
    sentences = Sentences(
        labels=data.codebook.ids,
        texts=texts,
        states=read.states,
        embeddings=read.embeddings,
        hits=load_lexicon(paths.lexicon).predict(texts, data.codebook.ids),
        targets=label_targets(data.seeds, data.codebook.ids) > 0,
        events=group_events(data.seeds, paths.sources),
        authored=label_targets(known, data.codebook.ids).sum(0),
    )
    return sentences, Heads(read.weights, read.biases)


def mean_table(points: Sequence[Point]) -> list[str]:
    """Return the curves as lines of Markdown: a row a step, means over the seeds in percent."""
    names = list(dict.fromkeys(point.chosen_by for point in points))
    seeds = sorted({point.seed for point in points})
    heads = [f"{name}, {figure}" for figure in FIGURES for name in names]
    lines = [f"| labels added | {' | '.join(heads)} |", f"| ---: {'| ---: ' * len(heads)}|"]
    curves = {
        (name, seed): [p for p in points if (p.chosen_by, p.seed) == (name, seed)]
        for name in names
        for seed in seeds
    }
    for rows in zip(*curves.values(), strict=True):
        row = dict(zip(curves, rows, strict=True))
        cells = [
            100 * np.mean([getattr(row[name, seed], figure) for seed in seeds])
            for figure in FIGURES
            for name in names
        ]
        added = np.mean([point.added for point in rows])
        lines.append(f"| {added:.0f} | {' | '.join(f'{cell:.1f}' for cell in cells)} |")
    return lines


def lead_lines(points: Sequence[Point]) -> list[str]:
    """Return for each figure and seed how far the queue is ahead between both ends, on average."""
    lines = []
    for figure in FIGURES:
        leads = []
        for seed in sorted({point.seed for point in points}):
            inner = {
                name: [getattr(p, figure) for p in points if (p.chosen_by, p.seed) == (name, seed)][
                    1:-1
                ]
                for name in ("queue", "random")
            }
            leads.append(100 * float(np.mean(inner["queue"]) - np.mean(inner["random"])))
        shown = ", ".join(f"{lead:+.2f}" for lead in leads)
        lines.append(f"queue ahead of random, {figure}, points, by seed: {shown}")
    return lines


def interval_lines(sentences: Sentences, stages: Sequence[Stage]) -> list[str]:
    """Return macro-F1 over all seeds and steps between both ends, with the lead's interval."""
    lines = []
    for title, network_alone in (("as served", False), ("network alone", True)):
        lead = measure_lead(sentences, stages, network_alone=network_alone)
        low, high = (100 * bound for bound in lead.interval)
        lines.append(
            f"{title}: random {100 * lead.a:.2f}, queue {100 * lead.b:.2f}, lead in points "
            f"{100 * lead.difference:+.2f}, 95% interval over events {low:+.2f} to {high:+.2f}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--authored", type=int, help="Only so many, for a trial.")
    parser.add_argument("--runs", type=Path, default=ROOT / "models" / ".runs", help="Kept work.")
    parser.add_argument("--plot", type=Path, help="Draw the curves here, as SVG.")
    parser.add_argument("--figures", type=Path, help="Write all points here, as JSON.")
    given = parser.parse_args()
    started = time.monotonic()
    paths = Paths(ROOT / "labels", ROOT / "seeds" / "sources.yaml", ROOT / "models")
    data = read_data(paths)
    config = TrainConfig(base=DEFAULT_BASE, epochs=given.epochs)
    sentences, authored = read_sentences(
        paths, data, config, authored=given.authored, runs=given.runs
    )
    print(f"encoder ready after {time.monotonic() - started:.0f} s", flush=True)
    alone = measure(sentences, answer_authored(sentences, authored))
    print(f"authored sentences alone: {alone.to_dict()}")
    targets = label_targets(data.seeds, data.codebook.ids)
    held = assign_folds(sentences.events, targets, folds=given.folds, seed=config.seed)
    stages: list[Stage] = []
    for seed in given.seeds:
        stages += compare_choosers(sentences, authored, held, seed=seed, batch=given.batch)
        print(f"seed {seed} done after {time.monotonic() - started:.0f} s", flush=True)
    points = [measure(sentences, stage) for stage in stages]
    rows = [point.to_dict() for point in points]
    if given.figures:
        given.figures.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if given.plot:
        draw_retraining(given.plot, rows)
    shown = [*mean_table(points), *lead_lines(points), *interval_lines(sentences, stages)]
    print("\n".join(shown))


if __name__ == "__main__":
    main()
