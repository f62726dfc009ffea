"""A fast run from end to end, on the tiny model: a candidate with its figures and its card."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from training_fixtures import LABELS, make_codebook, make_note

from diplophrase.annotations import Annotation, Source
from diplophrase.bundle import CONTROL, PREDICTIONS, Bundle, load_bundle, save_bundle
from diplophrase.classifier import Classifier
from diplophrase.compare import compare_versions
from diplophrase.errors import TrainingError
from diplophrase.origin import Origin, network_hash, read_origin
from diplophrase.own_labels import add_label
from diplophrase.predictions import hash_text
from training.data import Paths, read_data
from training.encoder import cut_encoder
from training.fast import FastConfig, _find_origin, _seen, train_fast
from training.finetune import Step
from training.measure import split_data

CONFIG = FastConfig(epochs=40, threads=1)
STORM = "0.1+storm"


@dataclass
class Place:
    """A folder of labels, seeds and models, with a parent version in it."""

    paths: Paths
    parent: Bundle

    def train(self, name: str, *, folds: int = 2, parent: Bundle | None = None):
        """Return the version `name` and the stages that were told of."""
        stages: list[str] = []

        def show(stage: str, step: Step) -> None:
            if step.number == step.total:
                stages.append(stage)

        bundle = train_fast(
            self.paths, parent or self.parent, CONFIG, folds=folds, progress=show, name=name
        )
        return bundle, stages

    def write(self, name: str, notes: list[Annotation]) -> None:
        lines = "".join(note.to_json() + "\n" for note in notes)
        (self.paths.annotations / f"{name}.jsonl").write_text(lines)


@pytest.fixture
def place(trained, tmp_path: Path) -> Place:
    paths = Paths(tmp_path / "labels", tmp_path / "sources.yaml", tmp_path / "models")
    paths.annotations.mkdir(parents=True)
    paths.codebook.write_text(yaml.safe_dump(make_codebook().model_dump(mode="json")))
    kinds = [{"kind": f"k{k % 2}", "text": f"Table {k}."} for k in range(4)]
    paths.foreign.write_text("".join(json.dumps(row) + "\n" for row in kinds))
    articles = [{"id": f"a{k}", "start": 10 * k, "end": 10 * k + 10} for k in range(16)]
    paths.sources.write_text(
        yaml.safe_dump({"documents": [{"file": "d.txt", "articles": articles}]})
    )
    staged = tmp_path / "staged"
    shutil.copytree(trained.candidate.int8, staged)
    place = Place(paths, save_bundle(paths.models, staged, {"onnx_gap": 0.0}))
    place.write(
        "seeds",
        [
            note.model_copy(
                update={
                    "provenance": "seed",
                    "codebook": "0.1",
                    "source": Source(doc="d.txt", start=10 * k, end=10 * k + 9),
                }
            )
            for k, note in enumerate(trained.notes)
        ],
    )
    return place


def storms() -> list[Annotation]:
    """Return annotations of a label of a user's own: eight that have it, four that do not."""
    yes = [
        make_note(f"y{k}", f"The weather {word} at night.", {"storm": "The weather"})
        for k, word in enumerate(("stays cold", "comes", "waits", "was cold", "opens", "stays"))
    ]
    no = [make_note(f"n{k}", f"The table {word} at night.") for k, word in enumerate(("is", "was"))]
    return [note.model_copy(update={"codebook": STORM}) for note in [*yes, *no]]


def metrics_of(bundle: Bundle) -> dict:
    return json.loads((bundle.path / "metrics.json").read_text())


def test_a_fast_version_is_whole_and_says_what_it_is(place: Place, trained):
    bundle, stages = place.train("quick")
    assert stages == ["reading new texts", "heads"]
    assert load_bundle(bundle.path).config.base == place.parent.config.base
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    assert (manifest["fast"], manifest["parent"]) == (True, "int8")
    metrics = metrics_of(bundle)
    assert metrics["cross_validation"]["model"]["texts"] == 16
    assert "float32_macro_f1" not in metrics["cross_validation"]
    assert metrics["export"]["onnx_gap"] < 1e-4
    card = " ".join((bundle.path / "README.md").read_text().split())
    assert "Made from `int8`: its encoder is frozen" in card
    assert "**the figures below flatter**" in card
    assert "Reproduce: `diplophrase train --fast --from int8 --seed 7 --epochs 40`" in card
    results = Classifier.load(bundle.path).classify([note.text for note in trained.notes])
    found = [sorted(hit.id for hit in result.labels) for result in results]
    right = [
        sorted(note.labels) == labels for note, labels in zip(trained.notes, found, strict=True)
    ]
    assert sum(right) >= 14


def test_a_second_run_reads_only_new_texts_a_child_of_the_child_too(place: Place):
    first, _ = place.train("one")
    _, stages = place.train("two", parent=first)
    assert stages == ["heads"]
    place.write("added", [make_note("x", "A school with a river.", {"school": "A school"})])
    third, stages = place.train("three")
    assert stages == ["reading new texts", "heads"]
    assert metrics_of(third)["added"]["model"]["texts"] == 1


def test_added_annotations_move_no_seed_to_another_fold(place: Place):
    before = metrics_of(place.train("before")[0])["folds"]
    place.write("added", [make_note("x", "A school with a river.", {"school": "A school"})])
    assert metrics_of(place.train("after")[0])["folds"] == before


def test_a_version_of_the_same_name_is_refused_before_anything_is_done(place: Place):
    with pytest.raises(TrainingError, match="exists; versions are never edited"):
        place.train("int8")
    assert not place.paths.runs.exists()


def test_without_folds_nothing_is_measured(place: Place):
    bundle, _ = place.train("plain", folds=0)
    assert {label.threshold for label in bundle.config.labels} == {0.5}
    assert "cross_validation" not in metrics_of(bundle)
    assert "Quality not measured in this run." in (bundle.path / "README.md").read_text()


def test_a_label_of_ones_own_is_learnt_and_measured_on_the_added_alone(place: Place):
    add_label(place.paths.codebook, "storm", "The sentence names the weather.")
    place.write("added", storms())
    bundle, _ = place.train("own")
    assert [label.id for label in bundle.config.labels] == [*LABELS, "storm"]
    assert bundle.config.codebook_version == STORM
    metrics = metrics_of(bundle)
    assert list(metrics["cross_validation"]["model"]["labels"]) == list(LABELS)
    assert metrics["added"]["model"]["labels"]["storm"]["support"] == 6
    rows = [
        json.loads(line) for line in (bundle.path / "predictions.jsonl").read_text().splitlines()
    ]
    assert len(rows) == 16
    assert all("storm" in row["scores"] and "storm" not in row["given"] for row in rows)
    [yes, no] = Classifier.load(bundle.path).classify(
        ["The weather waits.", "We want a harbour with two cranes."]
    )
    assert [hit.id for hit in yes.labels] == ["storm"]
    assert [hit.id for hit in no.labels] == ["harbour"]
    card = (bundle.path / "README.md").read_text()
    assert "## The added sentences" in card
    assert "| storm | 6 |" in card


def rows_of(bundle: Bundle, name: str) -> list[dict]:
    return [json.loads(line) for line in (bundle.path / name).read_text().splitlines()]


def test_without_anything_new_the_control_answers_as_the_version_does(place: Place):
    bundle, _ = place.train("quick")
    assert rows_of(bundle, CONTROL) == rows_of(bundle, PREDICTIONS)
    origin = read_origin(bundle)
    assert origin is not None
    assert (origin.version, origin.network) == ("int8", network_hash(place.parent))
    assert compare_versions(place.paths.models, "int8", "quick").basis == "heads"


def test_the_control_learns_nothing_that_the_parent_did_not_have(place: Place):
    """Whatever is added, the control says the same; the version does not."""
    wrong = [
        note.model_copy(update={"labels": (), "evidence": {}, "id": f"x{k}", "provenance": "added"})
        for k, note in enumerate(
            make_note("x", f"The {word} harbour stays closed at night.")
            for word in ("cold", "deeper", "clean", "old")
        )
    ]
    place.write("added", wrong[:1])
    one, _ = place.train("one")
    place.write("added", wrong)
    four, _ = place.train("four", parent=one)
    assert read_origin(four) == read_origin(one)
    scores = [[row["scores"] for row in rows_of(four, name)] for name in (CONTROL, PREDICTIONS)]
    assert scores[0] != scores[1]
    found = compare_versions(place.paths.models, "one", "four")
    assert (found.basis, found.unseen.sentences) == ("heads", 16)


def test_what_the_parent_had_learnt_the_control_learns_too(place: Place):
    notes = [make_note("x", "A school with a river.", {"school": "A school"})]
    digest = hash_text(notes[0].text)
    had = Origin(version="a", network="b", encoder="c", added=(digest,))
    new = had.model_copy(update={"added": ()})
    place.write("added", notes)
    data = read_data(place.paths)
    split = split_data(data, place.paths, folds=2, seed=7)
    assert _seen(data, split, had).shape == (17, 3)
    seen = _seen(data, split, new)
    assert seen.shape == (17, 5)
    assert seen[16].tolist() == [*(~split.added.barred[0]).tolist(), True, False, False]
    assert (seen[:16, 3:] == seen[:16, :2]).all()
    place.parent.path.joinpath("metrics.json").write_text(
        json.dumps({"data": {"added_texts": [digest]}})
    )
    assert _find_origin(place.parent, cut_encoder(place.parent.path / "model.onnx")).added == (
        digest,
    )
