"""A label of a user's own is known wherever the codebook is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diplophrase.annotations import read_annotations
from diplophrase.classifier import Classifier
from diplophrase.codebook import load_codebook
from diplophrase.command.label_store import labels_app
from diplophrase.errors import InvalidData
from diplophrase.lexicon import load_lexicon
from diplophrase.own_labels import add_label
from serving.store.conflicts import Claim, differ
from tests.integration.store_fixtures import make_labels
from tests.integration.test_annotations_api import add, found, serving
from tests.versions import ROOT

SEED = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")[0]
WORDS = SEED.text.split()[0]
CLIMATE = {
    "text": SEED.text,
    "labels": [*SEED.labels, "climate"],
    "evidence": {**{k: list(v) for k, v in SEED.evidence.items()}, "climate": WORDS},
    "tier": SEED.tier,
    "taiwan_formula": SEED.taiwan_formula,
    "annotator": "ada",
}


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return make_labels(tmp_path / "labels", "seeds.jsonl")


def test_a_service_that_runs_takes_a_label_added_meanwhile(labels: Path, tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        status, error = add(client, CLIMATE)
        assert (status, error["details"][0]["field"]) == (422, "labels")
        add_label(labels / "codebook.yaml", "climate", "Warming.")
        status, body = add(client, CLIMATE)
        assert status == 200, body
        assert body["conflicts"] == []  # when the seed was labelled there was no such label
        assert found(client, label="climate") == [SEED.text]
        [row] = client.get("/v1/annotations").json()["annotations"]
        assert row["annotation"]["codebook"] == "1.0+climate"
        (labels / "own" / "climate.yaml").write_text("no label")
        assert add(client, CLIMATE)[1]["kind"] == "not_ready"


def test_import_configuration_and_counts_know_it(labels: Path, tmp_path: Path) -> None:
    add_label(labels / "codebook.yaml", "climate", "Warming.")
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(CLIMATE) + "\n", encoding="utf-8")

    def run(*words: str) -> str:
        done = CliRunner().invoke(labels_app, [*words, "--labels", str(labels)])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert json.loads(run("import", str(file)))["added"] == 1
    assert '<Label value="climate"' in run("labelstudio-config")
    assert run("conflicts") == ""
    for name in ("pass_a", "pass_b"):
        source = ROOT / "labels" / "annotations" / f"{name}.jsonl"
        (labels / "annotations" / source.name).write_bytes(source.read_bytes())
    assert json.loads(run("stats", "--json"))["counts"]["seeds"]["climate"] == 0


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((("ties",), set()), (("climate", "ties"), {"climate"}), False),
        ((("ties",), {"climate"}), (("climate", "ties"), {"climate"}), True),
        (((), set()), (("climate", "ties"), {"climate"}), True),
        ((("sea",), {"sea"}), (("climate",), {"climate"}), False),
        ((("ties",), set()), (("ties",), set()), False),
    ],
)
def test_only_a_codebook_that_had_a_label_speaks_of_it(
    one: tuple[tuple[str, ...], set[str]],
    other: tuple[tuple[str, ...], set[str]],
    expected: bool,
) -> None:
    claims = [
        Claim(f"by {n}", str(n), names, frozenset(own))
        for n, (names, own) in enumerate((one, other))
    ]
    assert differ(claims) is expected


@pytest.mark.filterwarnings("ignore")
def test_a_version_that_does_not_know_it_is_measured_all_the_same(
    labels: Path, tmp_path: Path, classifier: Classifier, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.base import DEFAULT_BASE, find_base
    from training.command import check_labels
    from training.evaluate import evaluate_bundle

    _, codebook = add_label(labels / "codebook.yaml", "climate", "Warming.")
    notes = read_annotations(labels / "annotations" / "seeds.jsonl")
    data = tmp_path / "data.jsonl"
    lines = [note.to_json() for note in notes[:40]]
    note = notes[0]
    marked = note.model_copy(
        update={"labels": (*note.labels, "climate"), "codebook": "1.0+climate"}
    )
    marked = marked.model_copy(update={"evidence": {**note.evidence, "climate": (0, 3)}})
    data.write_text("\n".join([marked.to_json(), *lines[1:]]) + "\n", encoding="utf-8")
    check_labels(classifier, codebook, labels)
    assert capsys.readouterr().err.endswith("does not know it: climate.\n")
    lexicon = load_lexicon(ROOT / "training" / "lexicon.yaml")
    base = find_base(DEFAULT_BASE)[1]
    whole = evaluate_bundle(classifier, data, codebook, lexicon, [marked, *notes[40:140]], base)
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    ours = load_codebook(ROOT / "labels" / "codebook.yaml")
    plain = evaluate_bundle(classifier, data, ours, lexicon, [note, *notes[40:140]], base)
    assert whole == plain


def test_a_label_that_is_gone_is_named(labels: Path, classifier: Classifier) -> None:
    from training.command import check_labels

    codebook = load_codebook(labels / "codebook.yaml")
    less = codebook.only(codebook.ids[1:])
    with pytest.raises(InvalidData, match=f"{codebook.ids[0]} only in the bundle"):
        check_labels(classifier, less, labels)
