"""Commands that need no sub-command: classify, serve, train."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from diplophrase import __version__
from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier, Result
from diplophrase.command.keys import keys_app
from diplophrase.command.label_store import bring_training_up_to_date
from diplophrase.command.labels import labels_app
from diplophrase.command.models import models_app
from diplophrase.command.score import score
from diplophrase.errors import DiplophraseError, InvalidRequest
from diplophrase.settings import Settings, load_settings

app = typer.Typer(
    name="diplophrase",
    help="Read diplomatic language at scale.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(labels_app, name="labels")
app.add_typer(models_app, name="models")
app.add_typer(keys_app, name="keys")
app.command()(score)
messages = Console(stderr=True)

Models = Annotated[Path, typer.Option(help="Folder of bundles, with CURRENT.")]
_MAX_CHARACTERS = Settings.model_fields["max_characters"].default


def main() -> None:
    """Run the command; a known error ends it with its message and exit code."""
    try:
        app()
    except DiplophraseError as error:
        messages.print(f"error: {error.message}", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(error.exit_code) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"diplophrase {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Read diplomatic language at scale."""


@app.command()
def classify(
    texts: Annotated[list[str] | None, typer.Argument(help="Sentences; '-' reads stdin.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with one sentence a line.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines, one a sentence.")] = False,
    scores: Annotated[bool, typer.Option(help="With --json: all labels' scores.")] = False,
    precision: Annotated[
        float | None, typer.Option(help="Only labels of which this share is right, such as 0.9.")
    ] = None,
    models: Models = Path("models"),
) -> None:
    """Label sentences given as arguments, in a file, or on stdin (one a line)."""
    sentences = _gather_texts(texts or [], file)
    classifier = Classifier.load(current_bundle(models), runners=2)
    results = classifier.classify(sentences, precision=precision)
    if as_json:
        for text, result in zip(sentences, results, strict=True):
            typer.echo(json.dumps(_json_row(text, result, scores), ensure_ascii=False))
        return
    Console().print(_table(sentences, results))


def _gather_texts(texts: list[str], file: Path | None) -> list[str]:
    if texts and texts != ["-"] and file is not None:
        raise InvalidRequest("Sentences stand as arguments and in --file too. Give one of them.")
    if file is not None:
        if not file.is_file():
            raise InvalidRequest(f"{file} is not a file. Give --file a file of sentences.")
        lines = _decode(file.read_bytes(), str(file)).splitlines()
    elif not texts or texts == ["-"]:
        lines = _decode(sys.stdin.buffer.read(), "stdin").splitlines()
    else:
        lines = texts
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise InvalidRequest(
            "There is no sentence to read. Give sentences as arguments, with --file, or on stdin."
        )
    long = [k for k, sentence in enumerate(sentences, 1) if len(sentence) > _MAX_CHARACTERS]
    if long:
        raise InvalidRequest(
            f"Sentence {long[0]} has {len(sentences[long[0] - 1])} characters; at most "
            f"{_MAX_CHARACTERS} are allowed. Split it into sentences, one a line."
        )
    return sentences


def _decode(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"{where} is not UTF-8 text (byte {error.start}). Convert it to UTF-8."
        ) from None


def _json_row(text: str, result: Result, scores: bool) -> dict[str, object]:
    return {"text": text, **result.to_dict(scores=scores)}


def _table(sentences: list[str], results: list[Result]) -> Table:
    table = Table(show_lines=True)
    for name in ("sentence", "label", "score", "evidence", "speaker"):
        table.add_column(name, justify="right" if name == "score" else "left", overflow="fold")
    for text, result in zip(sentences, results, strict=True):
        labels = [
            hit.id + "".join(f"\n  {name}: {_words(v)}" for name, v in hit.attributes.items())
            for hit in result.labels
        ]
        spans = [hit.evidence.text if hit.evidence else "" for hit in result.labels]
        gaps = ["\n" * label.count("\n") for label in labels]
        table.add_row(
            text,
            "\n".join(labels) or ("out of domain" if result.out_of_domain else "none"),
            "\n".join(f"{h.score:.2f}{gap}" for h, gap in zip(result.labels, gaps, strict=True)),
            "\n".join(span + gap for span, gap in zip(spans, gaps, strict=True)),
            result.speaker,
        )
    return table


def _words(value: str | list[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


@app.command()
def serve(
    models: Annotated[Path | None, typer.Option(help="Folder of bundles.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port.")] = None,
    settings: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
) -> None:
    """Answer over HTTP."""
    chosen = load_settings(settings, models=models, host=host, port=port, workers=workers)
    from serving import require_service

    require_service()
    from serving.run import serve as run

    run(chosen)


@app.command()
def train(
    base: Annotated[str | None, typer.Option(help="Checkpoint: a folder or a hub id.")] = None,
    labels: Annotated[Path, typer.Option(help="Folder with codebook and annotations.")] = Path(
        "labels"
    ),
    seeds: Annotated[Path, typer.Option(help="Folder with sources.yaml.")] = Path("seeds"),
    models: Models = Path("models"),
    name: Annotated[str | None, typer.Option(help="Name of the new version.")] = None,
    folds: Annotated[int, typer.Option(min=0, max=20, help="0: no figures, no calibration.")] = 5,
    seed: Annotated[int | None, typer.Option(help="Seed of the whole run.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the authored sentences.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Folds trained at a time.")] = 2,
    curve: Annotated[bool, typer.Option(help="Measure with fewer authored sentences too.")] = False,
    progress: Annotated[
        Path | None, typer.Option(help="Keep how far it is in this file, as JSON.")
    ] = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help="Only new heads, on the encoder of a version that is there."),
    ] = False,
    parent: Annotated[
        str | None, typer.Option("--from", help="With --fast: that version. Default: the current.")
    ] = None,
) -> None:
    """Train a model on the annotations, measure it, and write it as a new version."""
    if fast and (base is not None or curve):
        raise InvalidRequest(
            "--fast trains heads on a version that is there: --base and --curve are for a full "
            "training. Leave them away, or leave --fast away."
        )
    if parent is not None and not fast:
        raise InvalidRequest("--from names the version that --fast starts from. Add --fast.")
    from training.command import run_training

    bring_training_up_to_date(labels)
    run_training(
        base=base,
        labels=labels,
        seeds=seeds,
        models=models,
        name=name,
        folds=folds,
        seed=seed,
        epochs=epochs,
        jobs=jobs,
        curve=curve,
        progress_file=progress,
        fast=fast,
        parent=parent,
    )


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Labelled sentences, a JSON object a line.")],
    out: Annotated[Path | None, typer.Option(help="Write all figures here as JSON.")] = None,
    labels: Annotated[Path, typer.Option(help="Folder with codebook and annotations.")] = Path(
        "labels"
    ),
    models: Models = Path("models"),
    version: Annotated[str | None, typer.Option(help="Default: the current one.")] = None,
) -> None:
    """Measure a version on labelled sentences, beside lexicon, TF-IDF and embeddings."""
    from training.command import run_evaluation

    run_evaluation(data=data, out=out, labels=labels, models=models, version=version)
