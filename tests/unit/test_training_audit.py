"""Hand labels that are likely wrong: which are found, in which order, and what changed since."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from training_fixtures import LABELS, make_codebook, make_note
from typer.testing import CliRunner

from diplophrase.annotations import Annotation
from diplophrase.bundle import PREDICTIONS, Bundle, load_bundle, save_bundle
from diplophrase.classifier import Classifier
from diplophrase.command.labels import labels_app
from diplophrase.errors import DiplophraseError, InvalidData
from diplophrase.predictions import Prediction, hash_text
from training.audit import Changes, audit_labels, find_changes, find_issues, rank_suspects
from training.data import Data
from training.regrade import LabelShift, regrade

WRONG = ("s03", "harbour")  # a sentence whose hand label is taken away
WORDS = "The old harbour stays closed at night."


def relabel(note: Annotation, *labels: str) -> Annotation:
    return note.model_copy(update={"labels": labels, "evidence": dict.fromkeys(labels, (0, 3))})


def make_data(notes: list[Annotation], extra: list[Annotation] | None = None) -> Data:
    return Data(make_codebook(), notes, authored=extra or [], added=[], foreign=[])


def predict(note: Annotation, **changes: object) -> Prediction:
    """Return an answer that agrees with the hand labels, but for `changes`."""
    scores = {label: 0.95 if label in note.labels else 0.02 for label in LABELS}
    fields = {"id": note.id, "fold": 0, "gold": note.labels, "given": note.labels}
    row = fields | {"scores": scores, "text_sha256": hash_text(note.text)} | changes
    return Prediction.model_validate(row)


@pytest.fixture
def notes(trained) -> list[Annotation]:
    """The sixteen sentences as seeds; one lost its label by mistake."""
    return [
        (relabel(note) if note.id == WRONG[0] else note).model_copy(update={"provenance": "seed"})
        for note in trained.notes
    ]


@pytest.fixture
def bundle(trained, tmp_path: Path) -> Bundle:
    """A version that answered out of fold as the hand did before the mistake."""
    staged = tmp_path / "staged"
    shutil.copytree(trained.candidate.int8, staged)
    rows = [predict(note).model_dump_json() for note in trained.notes]
    (staged / PREDICTIONS).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return save_bundle(tmp_path / "models", staged, {})


# which decisions are errors


def test_flipped_decisions_are_found_and_no_others():
    random = np.random.default_rng(2)
    truth = random.random((400, 2)) < (0.4, 0.1)
    scores = np.where(truth, random.uniform(0.7, 1, truth.shape), random.uniform(0, 0.3, (400, 2)))
    by_hand = truth.copy()
    flipped = {(int(random.integers(400)), column) for column in (0, 1) for _ in range(6)}
    for place in flipped:
        by_hand[place] = not by_hand[place]
        scores[place] = 0.995 if truth[place] else 0.005
    found = {(int(row), int(column)) for row, column in np.argwhere(find_issues(scores, by_hand))}
    assert found == flipped


def test_a_label_of_all_sentences_or_none_has_no_error():
    targets = np.array([[True, False]] * 4)
    scores = np.array([[0.01, 0.99]] * 4)
    assert not find_issues(scores, targets).any()


def test_errors_come_first_then_the_least_believable():
    notes = [make_note(f"n{k}", f"Text {k}.") for k in range(3)]
    scores = np.array([[0.4, 0.3], [0.1, 0.6], [0.2, 0.9]])
    targets = np.array([[False, False], [True, False], [False, True]])
    issues = np.array([[False, True], [False, False], [False, False]])
    ranked = rank_suspects(notes, ["river", "school"], scores, targets, issues)
    assert [(item.ids[0], item.label, item.quality) for item in ranked] == [
        ("n0", "school", 0.7),
        ("n1", "river", 0.1),
        ("n1", "school", 0.4),
        ("n0", "river", 0.6),
        ("n2", "river", 0.8),
        ("n2", "school", 0.9),
    ]
    assert [item.by_hand for item in ranked] == [False, True, False, False, False, True]


def test_the_same_text_is_listed_once_with_all_its_ids():
    notes = [make_note("b", "A river."), make_note("c", "A school."), make_note("a", "A river.")]
    scores, issues = np.array([[0.8], [0.1], [0.9]]), np.array([[True], [False], [False]])
    ranked = rank_suspects(notes, ["river"], scores, np.zeros((3, 1), dtype=bool), issues)
    assert [(item.ids, item.quality, item.issue) for item in ranked] == [
        (("a", "b"), 0.1, True),
        (("c",), 0.9, False),
    ]


# what changed since the version was measured


def test_every_change_is_named():
    notes = [make_note(f"n{k}", f"Text {k}.", {"school": "Text"}) for k in range(4)]
    written = make_note("written", "Authored.").model_copy(update={"provenance": "authored"})
    predictions = {
        "n0": predict(notes[0], gold=("river",)),
        "n1": predict(notes[1], text_sha256=hash_text("Another text.")),
        "n2": predict(notes[2], text_sha256=None),
        "lost": predict(make_note("lost", "Lost.")),
    }
    data = make_data(notes, [written])
    assert find_changes(predictions, data, ["harbour", "school"]) == Changes(
        relabelled=("n0",),
        reworded=("n1",),
        gone=("lost",),
        unanswered=("n3",),
        unhashed=1,
        unknown_labels=("river",),
    )


def test_a_label_that_the_version_does_not_know_is_no_change():
    note = make_note("n0", "A river.", {"river": "river"})
    changes = find_changes({"n0": predict(note, gold=())}, make_data([note]), ["school"])
    assert changes.relabelled == ()


# what corrections do to the figures


def test_the_same_answers_are_graded_by_the_labels_of_then_and_of_today():
    notes = [
        make_note("n0", "A school.", {"school": "school"}),
        make_note("n1", "A river.", {"river": "river"}),
        make_note("n2", "A tree.", {}),
        make_note("n3", "A lake.", {"river": "lake"}),
    ]
    predictions = {
        "n0": predict(notes[0], gold=("school", "river"), given=("school",)),
        "n1": predict(notes[1], gold=(), given=("river",)),
        "n2": predict(notes[2], gold=(), given=()),
        "n3": predict(notes[3], gold=("river",), given=()),
    }
    found = regrade(predictions, notes, ["school", "river"])
    assert found is not None
    # river: 2 of then and none hit, 2 of today and one hit of one given; school: right both times
    assert found.labels == {
        "river": LabelShift(added=1, removed=1, support=(2, 2), f1=(0.0, 0.6667))
    }
    assert found.macro_f1 == (0.5, 0.8333)
    assert found.micro_f1 == (0.4, 0.8)


def test_labels_that_stayed_change_no_figure(notes: list[Annotation]):
    predictions = {note.id: predict(note) for note in notes}
    assert regrade(predictions, notes, LABELS) is None


def test_a_changed_label_that_is_not_asked_for_changes_no_figure():
    note = make_note("n0", "A river.", {"river": "river"})
    assert regrade({"n0": predict(note, gold=())}, [note], ["school"]) is None


# an audit of a version


def test_the_wrong_label_comes_first_with_its_neighbours(bundle: Bundle, notes: list[Annotation]):
    twin = make_note("t", WORDS, {}).model_copy(update={"provenance": "authored"})
    found = audit_labels(bundle, make_data(notes, [twin]), top=2, neighbours=3)
    assert (found.version, found.sentences, found.decisions) == ("int8", 16, 48)
    assert found.changes == Changes(relabelled=("s03",))
    first = found.suspects[0]
    assert (first.ids, first.label, first.by_hand, first.score) == (
        ("s03",),
        "harbour",
        False,
        0.95,
    )
    assert first.quality == 0.05
    network = Classifier(bundle)
    [own] = network.run(network.encode([WORDS]))
    others = [note.text for note in notes if note.text != WORDS]
    raws = network.run(network.encode(others))
    cosines = {
        text: float(raw.embedding @ own.embedding) for text, raw in zip(others, raws, strict=True)
    }
    nearest = sorted(others, key=cosines.__getitem__, reverse=True)[:3]
    assert [near.text for near in first.neighbours] == nearest
    assert [near.similarity for near in first.neighbours] == pytest.approx(
        [cosines[text] for text in nearest], abs=1e-3
    )


def test_without_neighbours_no_network_runs(
    bundle: Bundle, notes: list[Annotation], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("training.audit.Classifier", None)
    found = audit_labels(bundle, make_data(notes), top=1, neighbours=0)
    assert [suspect.neighbours for suspect in found.suspects] == [()]


def test_a_sentence_with_another_text_is_left_out(bundle: Bundle, notes: list[Annotation]):
    notes[3] = notes[3].model_copy(update={"text": "The new harbour."})
    found = audit_labels(bundle, make_data(notes), top=48, neighbours=0)
    assert found.sentences == 15
    assert found.changes.reworded == ("s03",)
    assert all("s03" not in suspect.ids for suspect in found.suspects)


def test_a_label_taken_out_of_the_codebook_is_not_looked_at(
    bundle: Bundle, notes: list[Annotation]
):
    data = make_data([relabel(note) for note in notes])
    book = data.codebook.model_copy(update={"labels": data.codebook.labels[:2]})
    found = audit_labels(bundle, replace(data, codebook=book), top=99, neighbours=0)
    assert {suspect.label for suspect in found.suspects} == set(LABELS[:2])


def test_a_version_that_answered_for_none_of_them(bundle: Bundle):
    with pytest.raises(
        InvalidData, match=r"^int8 answered out of fold for 16 sentences, and none of them is among"
    ):
        audit_labels(bundle, make_data([make_note("other", "Other.")]), top=1, neighbours=0)


def test_a_version_without_answers_out_of_fold(trained, notes: list[Annotation]):
    with pytest.raises(DiplophraseError, match=r"^int8 holds no answers out of fold") as caught:
        audit_labels(load_bundle(trained.candidate.int8), make_data(notes), top=1, neighbours=0)
    assert caught.value.kind == "not_comparable"


# the command


@pytest.fixture
def place(tmp_path: Path, bundle: Bundle, notes: list[Annotation]) -> Path:
    """A folder with `models` and `labels`."""
    folder = tmp_path / "labels"
    (folder / "annotations").mkdir(parents=True)
    book = make_codebook().model_dump(mode="json")
    (folder / "codebook.yaml").write_text(yaml.safe_dump(book), encoding="utf-8")
    lines = "".join(f"{note.to_json()}\n" for note in notes)
    (folder / "annotations" / "seeds.jsonl").write_text(lines, encoding="utf-8")
    (folder / "out_of_domain.jsonl").write_text("", encoding="utf-8")
    (tmp_path / "models" / "CURRENT").write_text(f"{bundle.version}\n", encoding="utf-8")
    return tmp_path


def run(place: Path, *arguments: str) -> tuple[str, str]:
    """Return what the command writes to stdout and to stderr."""
    folders = ("--labels", str(place / "labels"), "--models", str(place / "models"))
    done = CliRunner().invoke(labels_app, ["audit", *folders, *arguments])
    assert done.exit_code == 0, done.exception
    return done.stdout, done.stderr


def test_the_command_prints_json_lines(place: Path):
    shown, told = run(place, "--json", "--top", "2", "--version", "int8")
    rows = [json.loads(line) for line in shown.splitlines()]
    assert len(rows) == 2
    assert list(rows[0]) == [
        "ids",
        "text",
        "label",
        "by_hand",
        "score",
        "quality",
        "issue",
        "labels",
        "neighbours",
    ]
    assert (rows[0]["ids"], rows[0]["label"], rows[0]["text"]) == (["s03"], "harbour", WORDS)
    assert [set(near) for near in rows[0]["neighbours"]] == [
        {"id", "similarity", "by_hand", "labels", "text"}
    ] * 3
    assert told.splitlines()[1:] == [
        "1 sentences: their hand labels changed since; the labels of today are audited: s03",
        "The same answers by the labels of then -> by those of today, F1 in percent:",
        "  macro-F1: 100.00 -> 96.30",
        "  micro-F1: 100.00 -> 96.55",
        "  harbour: 100.00 -> 88.89 (5 -> 4 sentences: 0 added, 1 removed)",
    ]


def test_the_command_prints_a_table(place: Path):
    shown, told = run(place, "--top", "1", "--neighbours", "1")
    assert f"s03: {WORDS}" in shown
    assert "A deeper harbour was promised to the fishermen." in shown
    for cell in ("harbour", "no", "0.950", "0.050"):
        assert cell in shown
    assert told.startswith("int8: 48 decisions on 16 sentences; confident learning takes ")
