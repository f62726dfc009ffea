"""`diplophrase labels`: check the hand labels, count them, find wrong ones."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from diplophrase.annotations import Annotation, check_annotations, read_annotations
from diplophrase.codebook import Codebook, load_codebook, own_files
from diplophrase.command.audit import audit
from diplophrase.errors import InvalidData
from diplophrase.own_labels import add_label
from diplophrase.sentences import split_sentences

labels_app = typer.Typer(help="Check and count hand labels.", no_args_is_help=True)
labels_app.command()(audit)

Labels = Annotated[Path, typer.Option(help="Folder with codebook.yaml and annotations/.")]
Seeds = Annotated[Path, typer.Option(help="Folder with the source documents.")]
_SEED_FILES = ("pass_a.jsonl", "pass_b.jsonl", "seeds.jsonl")


@labels_app.command()
def check(labels: Labels = Path("labels"), seeds: Seeds = Path("seeds")) -> None:
    """Hold every annotation against schema, codebook and source text."""
    codebook = load_codebook(labels / "codebook.yaml")
    for path in own_files(labels / "codebook.yaml"):
        typer.echo(f"{path.parent.name}/{path.name}: a label of your own, no fault")
    faults: list[InvalidData] = []
    files = sorted((labels / "annotations").glob("*.jsonl"))
    if not files:
        raise InvalidData(
            f"{labels / 'annotations'} holds no annotations (*.jsonl): nothing was checked but the "
            f"codebook, {len(codebook.labels)} labels. Name the folder that holds them with "
            f"--labels."
        )
    for path in files:
        try:
            notes = check_annotations(path, codebook, record=path.name.startswith("pass_"))
            if path.name in _SEED_FILES:
                check_coverage(path.name, notes, seeds)
        except InvalidData as error:
            faults.append(error)
        else:
            typer.echo(f"{path.name}: {len(notes)} annotations, no fault")
    if faults:
        details = [detail for fault in faults for detail in fault.details]
        raise InvalidData("\n".join(fault.message for fault in faults), details=details)


@labels_app.command()
def new(
    label: Annotated[str, typer.Argument(help="Its id, such as climate.")],
    definition: Annotated[str, typer.Option(help="When a sentence earns it.")],
    name: Annotated[str | None, typer.Option(help="What people call it. Default: the id.")] = None,
    include: Annotated[
        list[str] | None, typer.Option("--in", help="A case that earns it. May be repeated.")
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option("--out", help="A case that does not. May be repeated.")
    ] = None,
    example: Annotated[
        list[str] | None, typer.Option(help="A sentence that earns it. May be repeated.")
    ] = None,
    labels: Labels = Path("labels"),
) -> None:
    """Add a label of your own beside our codebook, which stays as it is."""
    path, codebook = add_label(
        labels / "codebook.yaml",
        label,
        definition,
        name=name,
        include=include or [],
        exclude=exclude or [],
        examples=example or [],
    )
    typer.echo(
        f"Wrote {path}. Sentences are now labelled by codebook {codebook.version}.", err=True
    )
    typer.echo(codebook.version)


def check_coverage(name: str, notes: list[Annotation], seeds: Path) -> None:
    """Refuse a file that lacks a sentence of the source documents, or holds it otherwise.

    Raises:
        InvalidData: naming the documents, offsets and what was found there.
    """
    held: dict[tuple[str, int | None, int | None], Annotation] = {}
    twice = []
    for note in notes:
        if note.source:
            place = (note.source.doc, note.source.start, note.source.end)
            if (other := held.setdefault(place, note)) is not note:
                twice.append(f"  {note.id}: {other.id} stands for the same sentence")
    expected = {
        (path.name, sentence.start, sentence.end): sentence.text
        for path in sorted(seeds.glob("*.txt"))
        for sentence in split_sentences(path.read_text(encoding="utf-8"))
    }
    faults = twice + [
        f"  {doc} [{start}, {end}]: no annotation for {expected[doc, start, end][:60]!r}"
        for doc, start, end in expected.keys() - held.keys()
    ]
    faults += [
        f"  {note.id}: {note.source} is no sentence of the source documents"
        for place, note in held.items()
        if place not in expected
    ]
    faults += [
        f"  {note.id}: its text differs from the source document"
        for place, note in held.items()
        if place in expected and note.text != expected[place]
    ]
    if faults:
        listed = "\n".join(sorted(faults)[:50])
        raise InvalidData(
            f"{name}: {len(faults)} sentence(s) do not match the documents in {seeds}.\n{listed}\n"
            f"Every sentence needs one annotation with its exact text and offsets."
        )


@labels_app.command()
def stats(
    labels: Labels = Path("labels"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print counts, co-occurrence and the agreement of the two passes."""
    codebook = load_codebook(labels / "codebook.yaml")
    folder = labels / "annotations"
    files = [path for path in sorted(folder.glob("*.jsonl")) if not path.name.startswith("pass_")]
    notes = {path.stem: read_annotations(path) for path in files}
    from training.agreement import measure_agreement

    passes = [read_annotations(folder / f"pass_{name}.jsonl") for name in "ab"]
    agreement = measure_agreement(passes[0], passes[1], codebook.ids)
    found = {
        "counts": {name: count_labels(items, codebook) for name, items in notes.items()},
        "co_occurrence": co_occurrence(notes.get("seeds", []), codebook),
        "agreement": agreement,
    }
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    _print_stats(found, codebook)


def count_labels(notes: list[Annotation], codebook: Codebook) -> dict[str, int]:
    """Return how many annotations carry each label, none, and how many there are."""
    counts = {label: sum(label in note.labels for note in notes) for label in codebook.ids}
    return {**counts, "none": sum(not note.labels for note in notes), "all": len(notes)}


def co_occurrence(notes: list[Annotation], codebook: Codebook) -> dict[str, dict[str, int]]:
    """Return how many annotations carry both labels of each pair that occurs."""
    table: dict[str, dict[str, int]] = {}
    for one, other in combinations(codebook.ids, 2):
        both = sum(one in note.labels and other in note.labels for note in notes)
        if both:
            table.setdefault(one, {})[other] = both
    return table


def _print_stats(found: dict[str, Any], codebook: Codebook) -> None:
    agreement = found["agreement"]
    table = Table(
        "label", *found["counts"], "kappa", "most often with (seeds)", title="Hand labels"
    )
    pairs = found["co_occurrence"]
    for label in (*codebook.ids, "none", "all"):
        row = agreement["labels"].get(label)
        kappa = f"{row['kappa']:.3f}" if row and row["kappa"] is not None else ""
        with_label = {**pairs.get(label, {})} | {
            one: others[label] for one, others in pairs.items() if label in others
        }
        often = sorted(with_label.items(), key=lambda item: -item[1])[:2]
        counts = [str(column[label]) for column in found["counts"].values()]
        together = ", ".join(f"{name} {count}" for name, count in often)
        table.add_row(label, *counts, kappa, together)
    console = Console()
    console.print(table)
    console.print(
        f"Agreement of pass A and pass B over {agreement['sentences']} sentences: "
        f"Cohen's kappa {agreement['kappa']:.3f} over all decisions, "
        f"Krippendorff's alpha {agreement['alpha']:.3f}, "
        f"same label set {agreement['exact_label_set']:.3f}, "
        f"speaker {agreement['speaker']:.3f}, evidence word F1 {agreement['evidence_f1']:.3f}."
    )
