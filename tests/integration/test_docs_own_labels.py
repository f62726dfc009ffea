"""The page on a label of one's own does what it says, on a twentieth of the authored sentences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from diplophrase.annotations import read_annotations
from diplophrase.bundle import CONTROL
from diplophrase.classifier import Classifier
from diplophrase.origin import read_origin
from diplophrase.own_labels import add_label
from diplophrase.promotions import read_promotions
from tests.e2e.test_jobs import small_labels
from tests.integration.conftest import ROOT
from tests.integration.test_docs import place, run_page  # noqa: F401
from tests.unit.training_fixtures import write_base
from training.config import TrainConfig
from training.data import Paths
from training.run import train

ANNOTATIONS = ROOT / "labels" / "annotations"


@pytest.fixture
def clone(place: Path) -> Path:  # noqa: F811
    """A folder like a clone, with fewer sentences and models of its own."""
    (place / "models").unlink()
    (place / "models").mkdir()
    current = (ROOT / "models" / "CURRENT").read_text(encoding="utf-8").strip()
    (place / "models" / current).symlink_to(ROOT / "models" / current)
    shutil.copy(ROOT / "models" / "CURRENT", place / "models")
    (place / "labels" / "annotations").mkdir(parents=True)
    for name in ("codebook.yaml", "out_of_domain.jsonl", "annotations/seeds.jsonl"):
        shutil.copy(ROOT / "labels" / name, place / "labels" / name)
    lines = (ANNOTATIONS / "authored.jsonl").read_text(encoding="utf-8").splitlines()[::20]
    authored = "".join(f"{line}\n" for line in lines)
    (place / "labels" / "annotations" / "authored.jsonl").write_text(authored, encoding="utf-8")
    for name in ("docs", "seeds"):
        (place / name).symlink_to(ROOT / name)
    return place


@pytest.mark.filterwarnings("ignore")
def test_the_page_on_own_labels(clone: Path) -> None:
    for printed, shown in run_page("own-labels.md", clone):
        assert printed == shown
    version = clone / "models" / "with-climate"
    assert [
        (row.action, row.verdict, row.outcome) for row in read_promotions(clone / "models")
    ] == [
        ("promote", "pass", "promoted"),
        ("rollback", "not compared", "promoted"),
    ]
    metrics = json.loads((version / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["data"]["added"] == 45
    assert metrics["added"]["model"]["labels"]["climate"]["support"] == 30
    assert "climate" not in metrics["cross_validation"]["model"]["labels"]
    results = Classifier.load(version).classify(
        [
            "Greenhouse gases must fall by half, and rising seas threaten our islands.",
            "He praised the political climate of the talks.",
        ]
    )
    given = ["climate" in {hit.id for hit in result.labels} for result in results]
    assert given == [True, False]


@pytest.mark.filterwarnings("ignore")
def test_training_in_full_has_the_label_too(tmp_path: Path) -> None:
    labels = small_labels(tmp_path / "labels")
    add_label(labels / "codebook.yaml", "climate", "The sentence speaks of climate change.")
    shutil.copy(ROOT / "docs" / "climate.jsonl", labels / "annotations" / "added.jsonl")
    paths = Paths(labels, ROOT / "seeds" / "sources.yaml", tmp_path / "models")
    config = TrainConfig(base=str(write_base(tmp_path / "base")), epochs=1)
    bundle = train(paths, config, folds=2, progress=lambda *_: None, name="full")
    assert [label.id for label in bundle.config.labels][18:] == ["climate"]
    metrics = json.loads((bundle.path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["added"]["model"]["labels"]["climate"]["support"] == 30
    assert "climate" not in metrics["cross_validation"]["model"]["labels"]
    assert len(set(metrics["data"]["added_texts"])) == 45
    assert read_origin(bundle) is None
    assert not (bundle.path / CONTROL).exists()
    assert "| climate | 30 |" in (bundle.path / "README.md").read_text(encoding="utf-8")


def test_the_sentences_of_the_page_are_what_it_says() -> None:
    notes = read_annotations(ROOT / "docs" / "climate.jsonl")
    assert sum("climate" in note.labels for note in notes) == 30
    assert sum("climate" not in note.labels for note in notes) == 15
    assert {note.codebook for note in notes} == {"1.0+climate"}
    assert {note.provenance for note in notes} == {"added"}
