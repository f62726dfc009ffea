"""The gate on whole versions: what passes, what is refused and why, and the way back."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from diplophrase import compare as comparing
from diplophrase.annotations import read_annotations
from diplophrase.bundle import PREDICTIONS, current_bundle
from diplophrase.compare import compare_versions
from diplophrase.errors import BundleError, DiplophraseError, InvalidData, InvalidRequest
from diplophrase.gate import carry_out, decide, judge, roll_back
from diplophrase.promotions import Promotion, read_promotions
from diplophrase.speed import Speed
from tests.versions import ROOT, Row, measured_version, miss, recall, seal

LABEL = "commemoration"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which `old` is current; both versions are found equally fast."""
    monkeypatch.setattr(comparing, "measure_speed", lambda *_: Speed(100.0, 100.0, 1.0, 5))
    folder = tmp_path / "models"
    measured_version(folder, "old")
    (folder / "CURRENT").write_text("old\n")
    return folder


def promote(models: Path, version: str, force: str | None = None) -> Promotion:
    return carry_out(models, decide(models, version), by="user ada", force=force)


def decisions(models: Path) -> list[tuple[str | None, str, str, str]]:
    return [(row.before, row.to, row.verdict, row.outcome) for row in read_promotions(models)]


def test_a_version_compared_with_its_like(models: Path) -> None:
    measured_version(models, "new")
    found = compare_versions(models, "old", "new")
    figures = found.unseen
    metrics = json.loads((models / "old" / "metrics.json").read_text(encoding="utf-8"))
    model = metrics["cross_validation"]["model"]
    assert figures.macro_f1.a == figures.macro_f1.b == pytest.approx(model["macro"]["f1"], abs=1e-4)
    assert {row.label: row.recall.a for row in figures.recalls} == pytest.approx(
        {label: row["recall"] for label, row in model["labels"].items()}, abs=1e-4
    )
    assert (figures.sentences, found.relabelled, found.only_one) == (832, 0, ())
    assert judge(found) == ()


def test_a_version_as_good_is_promoted_and_recorded(models: Path) -> None:
    measured_version(models, "new")
    record = promote(models, "new")
    assert current_bundle(models).name == "new"
    assert read_promotions(models) == [record]
    assert decisions(models) == [("old", "new", "pass", "promoted")]
    assert record.figures is not None
    assert record.figures["unseen"]["sentences"] == 832
    assert record.figures["speed_ratio"] == 1.0


def test_a_lost_label_is_refused_with_its_reasons(models: Path) -> None:
    measured_version(models, "new", miss(LABEL, 0.3))
    with pytest.raises(DiplophraseError, match="new is not promoted; old stays") as refused:
        promote(models, "new")
    assert (refused.value.kind, refused.value.status) == ("gate_refused", 409)
    assert [fault.field for fault in refused.value.details] == ["macro-F1", f"recall of {LABEL}"]
    (before, count), (after, _) = recall(LABEL), recall(LABEL, miss(LABEL, 0.3))
    change = f"{100 * before:.1f} to {100 * after:.1f}, down by {100 * (before - after):.1f}"
    assert f"{change} points on {count} sentences" in refused.value.message
    assert current_bundle(models).name == "old"
    [record] = read_promotions(models)
    assert (record.verdict, record.outcome, record.forced) == ("fail", "refused", None)
    assert len(record.reasons) == 2


def test_three_sentences_lost_are_noise(models: Path) -> None:
    measured_version(models, "new", miss(LABEL, 0.04))
    [row] = [
        row for row in compare_versions(models, "old", "new").unseen.recalls if row.label == LABEL
    ]
    assert row.recall.difference <= -0.03
    assert promote(models, "new").verdict == "pass"


@pytest.mark.parametrize(("ratio", "verdict"), [(0.9, "fail"), (0.91, "pass"), (1.5, "pass")])
def test_a_tenth_slower_is_refused(
    models: Path, monkeypatch: pytest.MonkeyPatch, ratio: float, verdict: str
) -> None:
    measured_version(models, "new")
    monkeypatch.setattr(
        comparing, "measure_speed", lambda *_: Speed(100.0, 100.0 * ratio, ratio, 5)
    )
    decision = decide(models, "new")
    assert decision.verdict == verdict
    assert [fault.field for fault in decision.faults] == ["speed"] * (verdict == "fail")


def test_a_refused_version_is_promoted_by_force_with_its_reason(models: Path) -> None:
    measured_version(models, "new", miss(LABEL, 0.2))
    record = promote(models, "new", force="old was trained on wrong labels")
    assert (record.verdict, record.outcome) == ("fail", "promoted")
    assert record.forced == "old was trained on wrong labels"
    assert current_bundle(models).name == "new"
    assert read_promotions(models) == [record]


def test_force_that_is_not_needed_is_not_recorded(models: Path) -> None:
    measured_version(models, "new")
    assert promote(models, "new", force="to be safe").forced is None


def renumber(rows: list[Row]) -> None:
    for row in rows[:3]:
        row["fold"] += 1


def rename(rows: list[Row]) -> None:
    for row in rows:
        row["id"] = f"other-{row['id']}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (renumber, r"3 of 832 sentences are in other folds in new than in old, such as 000-"),
        (rename, r"old and new have no sentence in common"),
    ],
)
def test_other_folds_or_sentences_cannot_be_compared(
    models: Path, change: Any, reason: str
) -> None:
    measured_version(models, "new", change)
    with pytest.raises(DiplophraseError, match=reason) as found:
        compare_versions(models, "old", "new")
    assert found.value.kind == "not_comparable"
    assert "train one again with the same --folds and --seed" in found.value.message
    with pytest.raises(DiplophraseError, match=reason) as refused:
        promote(models, "new")
    assert refused.value.kind == "gate_refused"
    assert decisions(models) == [("old", "new", "fail", "refused")]
    assert promote(models, "new", force="new folds from now on").outcome == "promoted"


def test_a_version_that_was_not_measured_needs_force(models: Path) -> None:
    (measured_version(models, "new") / PREDICTIONS).unlink()
    seal(models / "new")
    with pytest.raises(DiplophraseError, match=r"new holds no answers out of fold .*--folds 0"):
        promote(models, "new")
    assert promote(models, "new", force="a first try").forced == "a first try"


def test_answers_that_no_run_wrote_are_named(models: Path) -> None:
    file = measured_version(models, "new") / PREDICTIONS
    lines = file.read_text(encoding="utf-8").splitlines()
    for content, fault in (
        (['{"id": "x"}'], r"predictions\.jsonl, line 1: fold: Field required"),
        ([lines[0], lines[0]], r"predictions\.jsonl holds 1 sentence\(s\) twice"),
        ([lines[0].replace(LABEL, "another")], r"line 1: its labels are not those of config"),
    ):
        file.write_text("\n".join(content) + "\n", encoding="utf-8")
        seal(models / "new")
        with pytest.raises(BundleError, match=fault):
            compare_versions(models, "old", "new")


@pytest.mark.parametrize("current", [None, "nowhere\n", "broken\n", "new\n"])
def test_where_there_is_nothing_to_compare_with(models: Path, current: str | None) -> None:
    measured_version(models, "new", miss(LABEL, 0.5))
    (measured_version(models, "broken") / "tokenizer.json").unlink()
    (models / "CURRENT").unlink()
    if current is not None:
        (models / "CURRENT").write_text(current)
    record = promote(models, "new")
    assert (record.verdict, record.outcome) == ("not compared", "promoted")
    assert current_bundle(models).name == "new"


def test_a_version_that_is_not_whole_is_refused_even_by_force(models: Path) -> None:
    (measured_version(models, "new") / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"new/tokenizer\.json is missing"):
        promote(models, "new", force="now")
    assert current_bundle(models).name == "old"


def relabel(rows: list[Row]) -> None:
    """Take a label away from sentences where the model had not found it: it was right."""
    for row in rows:
        if LABEL in row["gold"] and LABEL not in row["given"]:
            row["gold"].remove(LABEL)


def test_the_newer_hand_labels_count(models: Path) -> None:
    measured_version(models, "new", relabel)
    found = compare_versions(models, "old", "new")
    [row] = [row for row in found.unseen.recalls if row.label == LABEL]
    share, count = recall(LABEL)
    missed = round((1 - share) * count)
    assert missed > 0
    assert (found.relabelled, row.recall.a, row.recall.b) == (missed, 1.0, 1.0)


def add_label(folder: Path) -> None:
    """Let the version know one more label, `climate`, in two sentences, of which it finds one."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["labels"].append({**config["labels"][0], "id": "climate"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    rows = [json.loads(line) for line in (folder / PREDICTIONS).read_text().splitlines()]
    for place, row in enumerate(rows):
        row["scores"]["climate"] = 0.9 if place == 0 else 0.1
        row["gold"] += ["climate"] * (place < 2)
        row["given"] += ["climate"] * (place == 0)
    (folder / PREDICTIONS).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    seal(folder)


def test_a_label_that_only_one_knows_is_listed_apart(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "Classifier", lambda bundle: bundle)  # the network has 18
    add_label(measured_version(models, "new"))
    found = compare_versions(models, "old", "new")
    assert len(found.unseen.recalls) == 18
    [row] = found.only_one
    assert (row.label, row.version, row.support) == ("climate", "new", 2)
    assert (row.recall, row.f1) == (0.5, 0.6667)
    [other] = compare_versions(models, "new", "old").only_one
    assert other == row
    assert judge(found) == ()


def test_both_answer_a_frozen_test_as_served(models: Path, tmp_path: Path) -> None:
    measured_version(models, "new")
    file = tmp_path / "frozen.jsonl"
    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")[:60]
    file.write_text("".join(f"{note.to_json()}\n" for note in notes), encoding="utf-8")
    found = compare_versions(models, "old", "new", test=file)
    assert found.test is not None
    assert (found.test.data, found.test.figures.sentences) == ("frozen.jsonl", 60)
    assert found.test.figures.macro_f1.a == found.test.figures.macro_f1.b > 0.9  # it learnt them
    unknown = notes[0].model_copy(update={"labels": ("weather",)})
    file.write_text(unknown.to_json(), encoding="utf-8")
    with pytest.raises(InvalidData, match=rf"1 unknown label\(s\) \({notes[0].id}: weather\)"):
        compare_versions(models, "old", "new", test=file)
    file.write_text(notes[0].to_json(), encoding="utf-8")
    with pytest.raises(InvalidData, match="no label has 5 sentences or more"):
        compare_versions(models, "old", "new", test=file)


def test_going_back_twice_goes_back_two(models: Path) -> None:
    for version in ("second", "third"):
        measured_version(models, version)
        promote(models, version)
    assert roll_back(models, by="user ada").to == "second"
    assert current_bundle(models).name == "second"
    assert roll_back(models, by="user ada").to == "old"
    assert current_bundle(models).name == "old"
    with pytest.raises(DiplophraseError, match="no version to go back to") as none:
        roll_back(models, by="user ada")
    assert none.value.kind == "conflict"
    assert [(row.action, row.before, row.to) for row in read_promotions(models)] == [
        ("promote", "old", "second"),
        ("promote", "second", "third"),
        ("rollback", "third", "second"),
        ("rollback", "second", "old"),
    ]


def test_going_back_to_a_broken_version_is_refused_and_recorded(models: Path) -> None:
    measured_version(models, "new")
    promote(models, "new")
    (models / "old" / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"old/tokenizer\.json is missing"):
        roll_back(models, by="user ada")
    assert current_bundle(models).name == "new"
    assert decisions(models)[-1] == ("new", "old", "not compared", "failed")


def test_going_back_elsewhere_than_expected_is_refused(models: Path) -> None:
    measured_version(models, "new")
    promote(models, "new")
    with pytest.raises(DiplophraseError, match="The version before is old by now, not other"):
        roll_back(models, by="user ada", to="other")
    assert current_bundle(models).name == "new"


def test_a_decision_does_not_outlive_the_version_it_was_made_against(models: Path) -> None:
    for version in ("new", "other"):
        measured_version(models, version)
    decision = decide(models, "new")
    promote(models, "other")
    with pytest.raises(DiplophraseError, match="CURRENT has moved from old to other") as moved:
        carry_out(models, decision, by="user ada")
    assert moved.value.kind == "conflict"
    assert current_bundle(models).name == "other"


def test_a_promotion_that_is_asked_for_twice_at_once_succeeds_twice(models: Path) -> None:
    measured_version(models, "new")
    both = [decide(models, "new") for _ in range(2)]
    for decision in both:
        carry_out(models, decision, by="user ada")
    assert decisions(models) == [
        ("old", "new", "pass", "promoted"),
        ("new", "new", "pass", "promoted"),
    ]
    assert roll_back(models, by="user ada").to == "old"


@pytest.mark.parametrize("force", ["", "  "])
def test_force_needs_a_reason(models: Path, force: str) -> None:
    measured_version(models, "new", miss(LABEL, 0.2))
    with pytest.raises(InvalidRequest, match="found a blank reason"):
        promote(models, "new", force=force)
    assert current_bundle(models).name == "old"


def test_a_swap_that_fails_is_recorded_as_failed(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured_version(models, "new")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    decision = decide(models, "new")
    with monkeypatch.context() as patch:
        patch.setattr("diplophrase.bundle.tempfile.mkstemp", full)
        with pytest.raises(BundleError, match="CURRENT cannot be written: No space left"):
            carry_out(models, decision, by="user ada")
    assert decisions(models) == [("old", "new", "pass", "failed")]
    assert current_bundle(models).name == "old"
    carry_out(models, decision, by="user ada")
    assert decisions(models)[1:] == [("old", "new", "pass", "promoted")]
