"""`diplophrase labels`: coverage of the source documents, counts, and the command itself."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from diplophrase.annotations import Annotation, Source
from diplophrase.codebook import Codebook
from diplophrase.command import main
from diplophrase.command.labels import check_coverage, co_occurrence, count_labels, labels_app
from diplophrase.errors import InvalidData

BOOK = {
    "version": "1.0",
    "labels": [
        {"id": name, "name": name, "definition": "A rule.", "examples": ["One.", "Two."]}
        for name in ("ties", "status", "trade")
    ],
}
DOCUMENTS = {
    "one.txt": "Talks open\n\nThe two sides met. They back trade.\n",
    "two.txt": "🤝 Trade grew.\n",
}
SENTENCES = {
    ("one.txt", 0, 10): "Talks open",
    ("one.txt", 12, 30): "The two sides met.",
    ("one.txt", 31, 47): "They back trade.",
    ("two.txt", 0, 13): "🤝 Trade grew.",
}


def make_note(ident: str, doc: str, start: int, end: int, text: str) -> Annotation:
    source = Source(doc=doc, start=start, end=end)
    return Annotation(id=ident, text=text, labels=(), evidence={}, speaker="none", source=source)


def all_notes() -> list[Annotation]:
    """Return one annotation for each sentence of DOCUMENTS, with ids n-0 to n-3."""
    return [
        make_note(f"n-{number}", *place, text)
        for number, (place, text) in enumerate(SENTENCES.items())
    ]


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    folder = tmp_path / "seeds"
    folder.mkdir()
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "sources.yaml").write_text("documents: []\n")
    return folder


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "labels"
    (folder / "annotations").mkdir(parents=True)
    (folder / "codebook.yaml").write_text(yaml.safe_dump(BOOK))
    return folder


def write(labels: Path, name: str, notes: list[Annotation]) -> None:
    lines = "".join(note.to_json() + "\n" for note in notes)
    (labels / "annotations" / name).write_text(lines, encoding="utf-8")


def refuse_coverage(notes: list[Annotation], seeds: Path, *faults: str) -> None:
    listed = "\n".join(f"  {fault}" for fault in faults)
    message = (
        f"seeds.jsonl: {len(faults)} sentence(s) do not match the documents in {seeds}.\n"
        f"{listed}\nEvery sentence needs one annotation with its exact text and offsets."
    )
    with pytest.raises(InvalidData, match=f"^{re.escape(message)}$"):
        check_coverage("seeds.jsonl", notes, seeds)


def test_every_sentence_is_held(seeds: Path) -> None:
    check_coverage("seeds.jsonl", all_notes(), seeds)
    check_coverage("seeds.jsonl", all_notes()[::-1], seeds)


def test_no_document_needs_no_annotation(tmp_path: Path) -> None:
    check_coverage("seeds.jsonl", [], tmp_path)


def test_a_sentence_without_annotation(seeds: Path) -> None:
    notes = [note for note in all_notes() if note.id != "n-2"]
    refuse_coverage(notes, seeds, "one.txt [31, 47]: no annotation for 'They back trade.'")


def test_a_long_sentence_is_cut_in_the_message(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 20)
    fault = f"long.txt [0, 99]: no annotation for {('word ' * 12)!r}"
    refuse_coverage([], tmp_path, fault)


def test_a_text_that_differs(seeds: Path) -> None:
    notes = all_notes()
    notes[3] = notes[3].model_copy(update={"text": "🤝 Trade grew!"})
    refuse_coverage(notes, seeds, "n-3: its text differs from the source document")


@pytest.mark.parametrize(
    "place", [("one.txt", 12, 29), ("one.txt", 0, 30), ("two.txt", 12, 30), ("none.txt", 0, 10)]
)
def test_a_place_that_is_no_sentence(seeds: Path, place: tuple[str, int, int]) -> None:
    notes = [*all_notes(), make_note("n-9", *place, "The two sides met.")]
    doc, start, end = place
    found = f"doc='{doc}' sentence=None start={start} end={end}"
    refuse_coverage(notes, seeds, f"n-9: {found} is no sentence of the source documents")


def test_a_sentence_with_two_annotations(seeds: Path) -> None:
    notes = all_notes()
    again = notes[1].model_copy(update={"id": "n-9", "text": "Another text."})
    refuse_coverage([*notes, again], seeds, "n-9: n-1 stands for the same sentence")


def test_every_fault_is_counted_and_fifty_are_listed(tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("\n\n".join(f"Point {number}" for number in range(60)))
    with pytest.raises(
        InvalidData, match=r"^seeds\.jsonl: 60 sentence\(s\) do not match"
    ) as caught:
        check_coverage("seeds.jsonl", [], tmp_path)
    assert caught.value.message.count(": no annotation for ") == 50


def labelled(*labels: str) -> Annotation:
    evidence = dict.fromkeys(labels, (0, 3))
    return Annotation(id="n", text="One.", labels=labels, evidence=evidence, speaker="none")


CODEBOOK = Codebook.model_validate(BOOK)
LABELLED = [
    labelled("trade"),
    labelled("trade", "ties"),
    labelled("ties", "trade"),
    labelled("status", "trade"),
    labelled(),
]


def test_counts_stand_in_the_order_of_the_codebook() -> None:
    counts = count_labels(LABELLED, CODEBOOK)
    assert list(counts.items()) == [
        ("ties", 2),
        ("status", 1),
        ("trade", 4),
        ("none", 1),
        ("all", 5),
    ]


def test_counts_of_nothing() -> None:
    assert count_labels([], CODEBOOK) == {"ties": 0, "status": 0, "trade": 0, "none": 0, "all": 0}


def test_co_occurrence_counts_pairs_that_occur_once_each() -> None:
    assert co_occurrence(LABELLED, CODEBOOK) == {"ties": {"trade": 2}, "status": {"trade": 1}}


def test_three_labels_are_three_pairs() -> None:
    assert co_occurrence([labelled("trade", "status", "ties")], CODEBOOK) == {
        "ties": {"status": 1, "trade": 1},
        "status": {"trade": 1},
    }


@pytest.mark.parametrize("notes", [[], [labelled()], [labelled("trade"), labelled("ties")]])
def test_no_pair_occurs(notes: list[Annotation]) -> None:
    assert co_occurrence(notes, CODEBOOK) == {}


def run_check(labels: Path, seeds: Path) -> Any:
    arguments = ["check", "--labels", str(labels), "--seeds", str(seeds)]
    return CliRunner().invoke(labels_app, arguments)


def test_check_counts_each_file(labels: Path, seeds: Path) -> None:
    for name in ("seeds.jsonl", "pass_a.jsonl", "pass_b.jsonl"):
        write(labels, name, all_notes())
    write(labels, "authored.jsonl", [labelled("trade")])
    result = run_check(labels, seeds)
    assert result.exit_code == 0
    assert result.stdout == (
        "authored.jsonl: 1 annotations, no fault\n"
        "pass_a.jsonl: 4 annotations, no fault\n"
        "pass_b.jsonl: 4 annotations, no fault\n"
        "seeds.jsonl: 4 annotations, no fault\n"
    )


def test_only_the_seed_files_are_held_against_the_documents(labels: Path, seeds: Path) -> None:
    write(labels, "seeds.jsonl", all_notes())
    write(labels, "added.jsonl", all_notes()[:1])
    assert run_check(labels, seeds).stdout == (
        "added.jsonl: 1 annotations, no fault\nseeds.jsonl: 4 annotations, no fault\n"
    )


def test_a_pass_may_contradict_itself_and_the_seeds_may_not(labels: Path, seeds: Path) -> None:
    (seeds / "two.txt").write_text("Talks open\n")
    one = all_notes()[:3]
    other = labelled("trade").model_copy(
        update={
            "id": "n-9",
            "text": "Talks open",
            "source": Source(doc="two.txt", start=0, end=10),
        }
    )
    write(labels, "pass_a.jsonl", [*one, other])
    assert run_check(labels, seeds).stdout == "pass_a.jsonl: 4 annotations, no fault\n"
    write(labels, "seeds.jsonl", [*one, other])
    error = run_check(labels, seeds).exception
    assert isinstance(error, InvalidData)
    assert error.message == (
        "seeds.jsonl: 1 fault(s).\n"
        "  line 4, labels: found ['trade'] for 'Talks open'; "
        "the same text carries the same labels; line 1 has []\n"
        "Mend these lines, then check again."
    )


def test_faults_of_all_files_are_told_at_once(labels: Path, seeds: Path) -> None:
    write(labels, "added.jsonl", [labelled("colour")])
    write(labels, "authored.jsonl", [labelled("trade")])
    (labels / "annotations" / "more.jsonl").write_text("no\n")
    write(labels, "seeds.jsonl", all_notes()[1:])
    result = run_check(labels, seeds)
    assert result.stdout == "authored.jsonl: 1 annotations, no fault\n"
    error = result.exception
    assert isinstance(error, InvalidData)
    assert [(detail.field, detail.index) for detail in error.details] == [
        ("labels", 1),
        ("line", 1),
    ]
    lines = error.message.split("\n")
    assert [line for line in lines if not line.startswith("  ")] == [
        "added.jsonl: 1 fault(s).",
        "Mend these lines, then check again.",
        "more.jsonl: 1 fault(s).",
        "Mend these lines, then check again.",
        f"seeds.jsonl: 1 sentence(s) do not match the documents in {seeds}.",
        "Every sentence needs one annotation with its exact text and offsets.",
    ]


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> object:
    """Run the command as a shell does, and return its exit code."""
    monkeypatch.setattr("sys.argv", ["diplophrase", *map(str, arguments)])
    with pytest.raises(SystemExit, match=r"^\d+$") as caught:
        main()
    return caught.value.code


def test_the_command_ends_with_zero_and_writes_to_stdout(
    labels: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(labels, "seeds.jsonl", all_notes())
    arguments = ("labels", "check", "--labels", labels, "--seeds", seeds)
    assert run_main(monkeypatch, *arguments) == 0
    assert capsys.readouterr() == ("seeds.jsonl: 4 annotations, no fault\n", "")


def test_a_fault_ends_the_command_with_its_code_on_stderr(
    labels: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = json.loads(labelled("trade").to_json()) | {"evidence": {}}
    (labels / "annotations" / "added.jsonl").write_text(json.dumps(row))
    arguments = ("labels", "check", "--labels", labels, "--seeds", seeds)
    assert run_main(monkeypatch, *arguments) == 3
    assert capsys.readouterr() == (
        "",
        "error: added.jsonl: 1 fault(s).\n"
        "  line 1, evidence: found labels ['trade'], evidence for []; "
        "one span for each label and none besides\n"
        "Mend these lines, then check again.\n",
    )


def test_a_folder_without_codebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "labels", "check", "--labels", tmp_path) == 3
    assert capsys.readouterr().err == (
        f"error: {tmp_path / 'codebook.yaml'} is not there. "
        "Run in a clone, or name the folder that holds it with --labels.\n"
    )


def test_a_folder_without_annotations_is_no_success(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "labels", "check", "--labels", labels) == 3
    assert capsys.readouterr() == (
        "",
        f"error: {labels / 'annotations'} holds no annotations (*.jsonl): nothing was checked but "
        "the codebook, 3 labels. Name the folder that holds them with --labels.\n",
    )
