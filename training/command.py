"""What `diplophrase train` shows while it runs: progress, then the one table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from diplophrase.bundle import current_bundle, load_version
from diplophrase.classifier import Classifier
from diplophrase.codebook import Codebook
from diplophrase.errors import InvalidData
from diplophrase.lexicon import load_lexicon
from diplophrase.progress import ProgressFile
from training.base import DEFAULT_BASE, find_base
from training.card import figures_table, summary_lines
from training.config import TrainConfig
from training.curve import FOLDS, SHARES
from training.data import Paths, read_data
from training.evaluate import evaluate_bundle, save_figures
from training.fast import FastConfig, train_fast
from training.finetune import Step
from training.run import train


def run_training(
    *,
    base: str | None,
    labels: Path,
    seeds: Path,
    models: Path,
    name: str | None,
    folds: int,
    seed: int | None,
    epochs: int | None,
    jobs: int,
    curve: bool,
    progress_file: Path | None = None,
    fast: bool = False,
    parent: str | None = None,
) -> None:
    """Train with progress on stderr; print the figures and the version on stdout."""
    paths = Paths(labels, seeds / "sources.yaml", models)
    given = {"seed": seed, "epochs": epochs}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    messages = Console(stderr=True)
    stages = 2 if fast else _count_stages(paths, folds, curve=curve)
    kept = None if progress_file is None else ProgressFile(progress_file, stages=stages)
    with _progress(messages) as bar:
        tasks: dict[str, TaskID] = {}

        def show(stage: str, step: Step) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=step.total, loss="")
            bar.update(tasks[stage], completed=step.number, loss=f"loss {step.loss:.2f}")
            if kept is not None:
                kept.update(stage, step.number, step.total)
            if not messages.is_terminal and (step.number % 100 == 0 or step.number == step.total):
                messages.print(f"{stage}: step {step.number} of {step.total}, {step.loss:.2f}")

        if fast:
            start = load_version(models, parent or current_bundle(models).name)
            bundle = train_fast(
                paths, start, FastConfig(**chosen), folds=folds, progress=show, name=name
            )
        else:
            config = TrainConfig(base=base or DEFAULT_BASE, **chosen)
            bundle = train(
                paths, config, folds=folds, progress=show, name=name, jobs=jobs, curve=curve
            )
    metrics = json.loads((bundle.path / "metrics.json").read_text(encoding="utf-8"))
    if measured := metrics.get("cross_validation"):
        _answers().print(Markdown(figures_table(measured)))
    if added := metrics.get("added"):
        _answers().print(Markdown("The added sentences:"), Markdown(figures_table(added)))
    messages.print(
        f"Wrote {bundle.path}. It answers after: diplophrase models promote {bundle.version}"
    )
    typer.echo(bundle.version)


def _count_stages(paths: Paths, folds: int, *, curve: bool) -> int:
    """Return how many trainings a run takes: folds, final model, and what comes before them."""
    first = int((paths.annotations / "authored.jsonl").is_file())
    parts = sum(share > 0 for share in SHARES) * first + len(SHARES) * FOLDS
    return first + folds + 1 + (parts if curve and folds else 0)


def _answers() -> Console:
    """Return stdout, wide enough for the table where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=150)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def check_labels(classifier: Classifier, codebook: Codebook, labels: Path) -> None:
    """Refuse a bundle of other labels; labels of a user's own may be new to it, and are told.

    Raises:
        InvalidData: naming the labels.
    """
    gone = [label for label in classifier.labels if label not in codebook.ids]
    new = [label for label in codebook.ids if label not in classifier.labels]
    version = classifier.bundle.version
    if gone or not set(new) <= set(codebook.own):
        named = [f"{label} only in the bundle" for label in gone]
        named += [f"{label} only in {labels}" for label in new]
        raise InvalidData(
            f"The bundle {version} knows other labels than {labels}: {'; '.join(named)}. "
            f"Give --labels the folder it was trained from."
        )
    if new:
        typer.echo(f"Not measured, as {version} does not know it: {', '.join(new)}.", err=True)


def run_evaluation(
    *, data: Path, out: Path | None, labels: Path, models: Path, version: str | None
) -> None:
    """Evaluate a bundle on `data`; print the table, write all figures to `out`."""
    annotations = read_data(Paths(labels, labels, models))
    codebook = annotations.codebook
    bundle = models / version if version else current_bundle(models)
    classifier = Classifier.load(bundle, threads=2)
    check_labels(classifier, codebook, labels)
    _, base = find_base(DEFAULT_BASE)
    lexicon = load_lexicon(Path(__file__).parent / "lexicon.yaml")
    figures = evaluate_bundle(classifier, data, codebook, lexicon, annotations.all, base)
    _answers().print(Markdown(figures_table(figures)))
    _answers().print(Markdown(summary_lines(figures)))
    if out is not None:
        save_figures(out, figures)
