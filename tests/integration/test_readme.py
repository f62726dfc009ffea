"""What README and datasheet state is what the files hold."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from fastapi.testclient import TestClient

from diplophrase.annotations import check_annotations, data_hash, read_annotations
from diplophrase.bundle import PREDICTIONS, current_bundle, load_bundle
from diplophrase.codebook import load_codebook
from diplophrase.predictions import read_predictions
from diplophrase.settings import Settings
from tests.integration.conftest import ROOT
from training.audit import find_changes
from training.data import Paths, read_data

README = (ROOT / "README.md").read_text(encoding="utf-8")
DATASHEET = (ROOT / "labels" / "README.md").read_text(encoding="utf-8")
BUNDLE = load_bundle(current_bundle(ROOT / "models"))
PATHS = Paths(ROOT / "labels", ROOT / "seeds" / "sources.yaml", ROOT / "models")
CORRECTED = ROOT / "labels" / "corrected.jsonl"
METRICS = json.loads((BUNDLE.path / "metrics.json").read_text(encoding="utf-8"))


def test_the_request_shown_gets_the_answer_shown(client: TestClient) -> None:
    [body] = re.findall(r"-d '(\{.*?\})'\n", README)
    [shown] = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    answer = client.post("/v1/classify", json=json.loads(body)).json()
    expected = json.loads(shown)
    scores = [
        [hit.pop("score") for result in side["results"] for hit in result["labels"]]
        for side in (answer, expected)
    ]
    assert answer == expected
    assert scores[0] == pytest.approx(scores[1], abs=0.02)  # processors differ a little


@pytest.mark.parametrize(
    ("row", "figures"),
    [
        ("diplophrase", METRICS["cross_validation"]["model"]),
        ("keyword lexicon", METRICS["cross_validation"]["baselines"]["lexicon"]),
        ("365 hand-made rules", METRICS["cross_validation"]["baselines"]["rules"]),
        ("TF-IDF + logistic regression", METRICS["cross_validation"]["baselines"]["tfidf"]),
    ],
)
def test_figures_are_those_of_the_committed_bundle(row: str, figures: dict) -> None:
    shown = f"| {row} | {100 * figures['macro']['f1']:.1f} | {100 * figures['micro']['f1']:.1f} |"
    assert shown in README


def test_every_setting_stands_in_the_table() -> None:
    table = README[README.index("| setting |") :]
    assert [name for name in Settings.model_fields if f"`{name}`" not in table] == []


def test_agreement_in_the_datasheet_is_the_measured_one() -> None:
    agreement = METRICS["agreement"]
    assert f"kappa {agreement['kappa']:.3f},\nKrippendorff's alpha" in DATASHEET
    assert f"alpha {agreement['alpha']:.3f}" in DATASHEET
    assert f"on {100 * agreement['exact_label_set']:.1f}% of the sentences" in DATASHEET
    kappas = [row["kappa"] for row in agreement["labels"].values()]
    assert min(kappas) >= 0.95
    support = METRICS["data"]
    assert f"| {support['seeds']} |" in DATASHEET
    assert f"| {support['authored']} |" in DATASHEET


def relabelled_since_training() -> set[str]:
    """Return the ids of the seeds whose labels are others than the bundle was measured on."""
    if not (BUNDLE.path / PREDICTIONS).is_file():
        return set()
    data = read_data(PATHS)
    return set(find_changes(read_predictions(BUNDLE), data, data.codebook.ids).relabelled)


def test_the_bundle_was_trained_on_the_annotations_that_are_here() -> None:
    """All of them as they are, but for labels on record that were corrected since."""
    before = {note.id: note for note in read_annotations(CORRECTED)}
    changed = relabelled_since_training()
    assert changed <= set(before)
    notes = [before[note.id] if note.id in changed else note for note in read_data(PATHS).all]
    assert data_hash(notes) == METRICS["data"]["hash"]


def test_the_readme_says_how_many_labels_changed_since_the_bundle_was_trained() -> None:
    said = re.findall(r"The labels of (\d+) seed\s+sentences\s+were\s+corrected\s+after", README)
    changed = relabelled_since_training()
    assert said == ([str(len(changed))] if changed else [])


def test_every_corrected_sentence_is_on_record_as_it_was_before() -> None:
    codebook = load_codebook(PATHS.codebook)
    seeds = {note.id: note for note in read_data(PATHS).seeds}
    before = check_annotations(CORRECTED, codebook)
    marked = {note.id for note in seeds.values() if note.annotator == "adjudicated, audit"}
    assert {note.id for note in before} == marked
    for note in before:
        now = seeds[note.id]
        assert note.note, note.id  # the rule that decided
        assert set(note.labels) != set(now.labels)
        same = ("text", "speaker", "tier", "taiwan_formula", "source", "provenance")
        assert [getattr(note, name) for name in same] == [getattr(now, name) for name in same]
        kept = set(note.labels) & set(now.labels)
        assert all(note.evidence[label] == now.evidence[label] for label in kept)


def test_the_audit_of_the_seeds_is_counted_as_it_was_made() -> None:
    seeds = {note.id: set(note.labels) for note in read_data(PATHS).seeds}
    before = {note.id: set(note.labels) for note in read_annotations(CORRECTED)}
    added = Counter(label for key in before for label in seeds[key] - before[key])
    removed = Counter(label for key in before for label in before[key] - seeds[key])
    page = (ROOT / "docs" / "retraining.md").read_text(encoding="utf-8")
    table = page[page.index("| label | added | removed |") :].split("\n\n")[0]
    shown = {
        cells[0].strip("`"): (int(cells[1]), int(cells[2]))
        for cells in (re.split(r" *\| *", line.strip("| ")) for line in table.split("\n")[2:])
    }
    assert shown == {label: (added[label], removed[label]) for label in added | removed}
    if f"`{BUNDLE.version}`" in page:
        figures = METRICS["cross_validation"]["model"]
        assert f"macro-F1 {100 * figures['macro']['f1']:.2f} before" in page
        assert f"micro-F1 {100 * figures['micro']['f1']:.2f} before" in page


def test_twenty_mistakes_are_explained() -> None:
    assert len(METRICS["mistakes"]["instructive"]) == 20
    assert all(item["lesson"] for item in METRICS["mistakes"]["instructive"])
