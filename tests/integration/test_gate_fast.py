"""The gate on versions whose heads alone were trained: with what they may be held together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diplophrase import compare as comparing
from diplophrase.bundle import CONTROL, MANIFEST, current_bundle
from diplophrase.command.comparison import print_comparison
from diplophrase.compare import compare_versions
from diplophrase.errors import BundleError, DiplophraseError
from diplophrase.gate import carry_out, decide, judge
from diplophrase.promotions import Promotion
from diplophrase.speed import Speed
from tests.versions import ROOT, fast_version, measured_version, miss, recall

LABEL = "commemoration"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in which `old`, trained in full, is current."""
    monkeypatch.setattr(comparing, "measure_speed", lambda *_: Speed(100.0, 100.0, 1.0, 5))
    folder = tmp_path / "models"
    measured_version(folder, "old", miss(LABEL, 0.5))
    (folder / "CURRENT").write_text("old\n")
    return folder


@pytest.fixture
def frozen(tmp_path: Path) -> Path:
    """Return a test file of sixty sentences."""
    notes = (ROOT / "labels" / "annotations" / "seeds.jsonl").read_text(encoding="utf-8")
    file = tmp_path / "frozen.jsonl"
    file.write_text("\n".join(notes.splitlines()[:60]), encoding="utf-8")
    return file


def promote(models: Path, version: str, test: Path | None = None) -> Promotion:
    return carry_out(models, decide(models, version, test=test), by="user ada")


def test_a_fast_version_is_held_against_its_control_and_not_against_its_parents_figures(
    models: Path,
) -> None:
    fast_version(models, "quick", miss(LABEL, 0.3))
    found = compare_versions(models, "old", "quick")
    assert found.basis == "heads"
    assert found.unseen is not None
    [row] = [row for row in found.unseen.recalls if row.label == LABEL]
    assert row.recall.a == pytest.approx(recall(LABEL)[0], abs=1e-4)  # old itself has half of it
    assert row.recall.b == pytest.approx(recall(LABEL, miss(LABEL, 0.3))[0], abs=1e-4)
    assert [fault.field for fault in judge(found)] == ["macro-F1", f"recall of {LABEL}"]
    back = compare_versions(models, "quick", "old").unseen
    assert back is not None
    assert back.macro_f1.difference == -found.unseen.macro_f1.difference


def test_a_fast_version_no_worse_than_its_control_is_promoted(models: Path) -> None:
    fast_version(models, "quick")
    record = promote(models, "quick")
    assert current_bundle(models).name == "quick"
    assert (record.verdict, record.outcome) == ("pass", "promoted")
    assert record.figures is not None
    assert record.figures["basis"] == "heads"


def test_a_parent_without_answers_of_its_own_is_compared_by_the_control(models: Path) -> None:
    (models / "old" / "predictions.jsonl").unlink()
    manifest = json.loads((models / "old" / MANIFEST).read_text())
    del manifest["files"]["predictions.jsonl"]
    (models / "old" / MANIFEST).write_text(json.dumps(manifest))
    fast_version(models, "quick")
    assert promote(models, "quick").verdict == "pass"


def test_two_fast_versions_on_one_encoder_are_compared_by_their_own_answers(models: Path) -> None:
    fast_version(models, "one", miss(LABEL, 0.4))
    fast_version(models, "two", miss(LABEL, 0.2))
    unseen = compare_versions(models, "one", "two").unseen
    assert unseen is not None
    [row] = [row for row in unseen.recalls if row.label == LABEL]
    assert row.recall.a == pytest.approx(recall(LABEL, miss(LABEL, 0.4))[0], abs=1e-4)
    assert row.recall.b == pytest.approx(recall(LABEL, miss(LABEL, 0.2))[0], abs=1e-4)


def test_versions_on_different_encoders_need_a_test_file(models: Path, frozen: Path) -> None:
    measured_version(models, "full")
    fast_version(models, "quick", encoder="e1")
    fast_version(models, "other", encoder="e2", of="gone")
    for a, b, whose in (
        ("quick", "other", "quick that of old, other that of gone"),
        ("other", "old", "other that of gone, old its own"),
        ("old", "other", "other that of gone, old its own"),
    ):
        message = rf"{a} and {b} rest on different encoders: {whose}\. .* --data FILE, or the sett"
        with pytest.raises(DiplophraseError, match=message) as apart:
            compare_versions(models, a, b)
        assert apart.value.kind == "not_comparable"
    with pytest.raises(DiplophraseError, match="other is not promoted; old stays"):
        promote(models, "other")
    found = compare_versions(models, "old", "other", test=frozen)
    assert (found.basis, found.unseen) == ("test", None)
    assert found.test is not None
    assert found.test.figures.sentences == 60
    record = promote(models, "other", frozen)
    assert record.figures is not None
    assert (record.verdict, record.figures["basis"]) == ("pass", "test")
    assert "unseen" not in record.figures


def test_another_network_under_the_parents_name_is_not_the_parent(models: Path) -> None:
    folder = fast_version(models, "quick")
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["origin"]["network"] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DiplophraseError, match="rest on different encoders"):
        compare_versions(models, "old", "quick")


def test_a_fast_version_that_does_not_say_whose_encoder_it_has_is_named(models: Path) -> None:
    folder = fast_version(models, "quick")
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["origin"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"quick/manifest\.json does not say whose encoder"):
        compare_versions(models, "old", "quick")


def test_a_fast_version_that_was_not_measured_is_refused(models: Path) -> None:
    folder = fast_version(models, "quick")
    (folder / CONTROL).unlink()
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["files"][CONTROL]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DiplophraseError, match=r"quick holds no answers out of fold \(control"):
        compare_versions(models, "old", "quick")


def test_the_printed_comparison_says_what_had_not_seen_the_sentences(
    models: Path, frozen: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fast_version(models, "quick")
    fast_version(models, "other", encoder="e2", of="gone")
    for version, test, said in (
        ("quick", None, "832 sentences that the heads of both answered unseen"),
        ("quick", None, "Both rest on one encoder, which has seen these sentences"),
        ("other", frozen, "only the test file tells"),
    ):
        print_comparison(compare_versions(models, "old", version, test=test), ())
        assert said in " ".join(capsys.readouterr().out.split())
