"""What README and datasheet state is what the files hold."""

from __future__ import annotations

import json
import re

import pytest
from fastapi.testclient import TestClient

from diplophrase.bundle import current_bundle
from diplophrase.settings import Settings
from tests.integration.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DATASHEET = (ROOT / "labels" / "README.md").read_text(encoding="utf-8")
METRICS = json.loads((current_bundle(ROOT / "models") / "metrics.json").read_text(encoding="utf-8"))


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


def test_the_bundle_was_trained_on_the_annotations_that_are_here() -> None:
    from diplophrase.annotations import data_hash
    from training.data import Paths, read_data

    paths = Paths(ROOT / "labels", ROOT / "seeds" / "sources.yaml", ROOT / "models")
    assert data_hash(read_data(paths).all) == METRICS["data"]["hash"]


def test_twenty_mistakes_are_explained() -> None:
    assert len(METRICS["mistakes"]["instructive"]) == 20
    assert all(item["lesson"] for item in METRICS["mistakes"]["instructive"])
