"""The model card: every figure of the run stands where it belongs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from training_fixtures import LABELS, make_codebook

from training.card import figures_table, percent, render_card, table


def quality(f1: float) -> dict[str, Any]:
    """Return a table of figures in which precision and recall lie beside `f1`."""
    figures = {"precision": f1 + 0.05, "recall": f1 - 0.05, "f1": f1}
    return {
        "labels": {label: {"support": 10 + k, **figures} for k, label in enumerate(LABELS)},
        "micro": {**figures, "f1": f1 + 0.01},
        "macro": {**figures, "f1": f1 + 0.02},
        "intervals": {name: [f1 - 0.1, f1 + 0.1] for name in (*LABELS, "micro", "macro")},
        "exact_match": 0.625,
        "samples_f1": 0.7777,
        "texts": 42,
    }


METRICS: dict[str, Any] = {
    "data": {
        "hash": "0123456789abcdef0123",
        "codebook": {"version": "0.1", "hash": "ffff"},
        "seeds": 42,
        "authored": 7,
        "added": 3,
    },
    "agreement": {
        "labels": {
            "harbour": {"kappa": 0.81234, "first": 5, "second": 6},
            "school": {"kappa": None, "first": 0, "second": 0},
            "river": {"kappa": -0.05, "first": 1, "second": 2},
        },
        "kappa": 0.8765,
        "alpha": 0.87,
        "exact_label_set": 0.75,
        "sentences": 40,
        "speaker": 0.9,
        "evidence_f1": 0.8333,
    },
    "cross_validation": {
        "folds": [20, 22],
        "model": quality(0.8),
        "baselines": {"lexicon": quality(0.6), "tfidf": quality(0.5)},
        "calibration_error": 0.01234,
        "float32_macro_f1": 0.8123,
        "int8_agrees_with_float32": 0.99321,
        "evidence_f1": {"model": 0.71, "lexicon": 0.55},
        "speaker_accuracy": 0.66,
        "attributes": {"tier": {"accuracy": 0.95, "support": 20}},
    },
    "reliability": [{"from": 0.3, "decisions": 12, "mean_score": 0.3456, "frequency": 0.25}],
    "mistakes": {
        "count": 9,
        "instructive": [
            {
                "id": "s01",
                "label": "river",
                "kind": "missed",
                "score": 0.456,
                "text": "A river runs by.",
                "lesson": "It is no topic here.",
            }
        ],
    },
    "export": {"onnx_gap": 1.5e-6, "int8_label_agreement": 0.99876},
    "run": {
        "config": {"base": "tiny/base", "epochs": 4},
        "seed": 7,
        "git_commit": "abcdef0123456789",
        "libraries": {"torch": "2.0", "onnx": "1.0"},
    },
}


def card(**changes: Any) -> str:
    """Return the card with some of the metrics replaced, or left out where None."""
    metrics = {**copy.deepcopy(METRICS), **changes}
    kept = {name: value for name, value in metrics.items() if value is not None}
    return render_card("v1", make_codebook(), kept)


def flowing(text: str) -> str:
    """Return `text` without its line breaks."""
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("value", "written"), [(0.0, "0.0"), (1.0, "100.0"), (0.12345, "12.3"), (0.9996, "100.0")]
)
def test_shares_are_percentages_with_one_decimal(value: float, written: str):
    assert percent(value) == written


def test_a_table_has_text_at_the_left_and_numbers_at_the_right():
    assert table(["name", "a", "b"], [["x", "1", "2"], ["y", "3", "4"]]) == (
        "| name | a | b |\n| --- | ---: | ---: |\n| x | 1 | 2 |\n| y | 3 | 4 |"
    )


def test_the_table_of_the_run_has_the_model_beside_its_rivals():
    assert figures_table(METRICS["cross_validation"]) == "\n".join(
        [
            "| label | support | precision | recall | F1 | 95% interval | lexicon F1 | tfidf F1 |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
            "| harbour | 10 | 85.0 | 75.0 | 80.0 | 70.0 to 90.0 | 60.0 | 50.0 |",
            "| school | 11 | 85.0 | 75.0 | 80.0 | 70.0 to 90.0 | 60.0 | 50.0 |",
            "| river | 12 | 85.0 | 75.0 | 80.0 | 70.0 to 90.0 | 60.0 | 50.0 |",
            "| **micro** |  | 85.0 | 75.0 | 81.0 | 70.0 to 90.0 | 61.0 | 51.0 |",
            "| **macro** |  | 85.0 | 75.0 | 82.0 | 70.0 to 90.0 | 62.0 | 52.0 |",
        ]
    )


def test_the_parts_stand_in_their_order():
    headings = [line for line in card().splitlines() if line.startswith("#")]
    assert headings == [
        "# diplophrase model `v1`",
        "## Use",
        "## Data",
        "## Agreement of the two labelling passes",
        "## Cross-validated figures",
        "## Reliability",
        "## Where it fails",
        "## Run",
    ]
    assert card().endswith(".\n")


@pytest.mark.parametrize(
    "sentence",
    [
        "Macro-F1 82.0 (95% interval 70.0 to 90.0), micro-F1 81.0, cross-validated on 42 "
        "hand-labelled sentences",
        "Codebook 0.1, data hash `0123456789abcdef`.",
        "7 authored sentences that train but never evaluate, 3 added by users",
        "Cohen's kappa 0.876, Krippendorff's alpha 0.870; same label set 75.0% of 40 sentences; "
        "speaker 90.0%; word F1 of evidence spans 83.3.",
        "| harbour | 5 | 6 | 0.812 | | school | 0 | 0 | - | | river | 1 | 2 | -0.050 |",
        "2 folds (20, 22 sentences)",
        "Exact label set 62.5%; samples-F1 77.8; expected calibration error 0.012. "
        "Float32 macro-F1 81.2; int8 and float32 agree on 99.32% of decisions.",
        "word F1 against the hand-marked spans 71.0 (the lexicon's spans: 55.0). "
        "Speaker: 66.0% right.",
        "tier 95.0% of 20.",
        "| 0.3 to 0.4 | 12 | 0.346 | 0.250 |",
        "9 wrong decisions out of fold",
        "- `river` missed (score 0.46, s01): “A river runs by.” It is no topic here.",
        "Base checkpoint tiny/base, seed 7, 4 epochs, commit `abcdef012345`.",
        "ONNX against torch: 1.5e-06 in probability; int8 against float32: 99.88% of label "
        "decisions.",
        "torch 2.0, onnx 1.0. Reproduce: `diplophrase train --seed 7 --epochs 4` with the same "
        "`--base`.",
    ],
)
def test_every_figure_is_on_the_card(sentence: str):
    assert sentence in flowing(card())


@pytest.mark.parametrize(
    ("authored", "passes"),
    [
        (
            900,
            "3 epochs of the authored sentences, then 4 of the others with 200 authored ones each",
        ),
        (0, "7 epochs"),
    ],
)
def test_the_card_tells_the_stages_of_the_training(authored: int, passes: str):
    config = {"base": "tiny/base", "epochs": 3, "seed_epochs": 4, "replay": 200}
    run = METRICS["run"] | {"config": config}
    written = flowing(card(run=run, data=METRICS["data"] | {"authored": authored}))
    assert f"seed 7, {passes}, commit" in written
    assert "`diplophrase train --seed 7 --epochs 3`" in written


def test_the_card_of_a_curve_tells_how_to_get_it_again():
    curve = [{"authored": 0, "macro_f1": 0.5, "micro_f1": 0.5, "labels": 9}]
    assert "--epochs 4 --curve`" in flowing(card(learning_curve=curve))


def test_a_run_without_folds_says_that_nothing_was_measured():
    written = flowing(card(cross_validation=None, reliability=None, mistakes=None))
    assert "Quality not measured in this run." in written
    assert "Scores are not calibrated and every threshold is 0.5." in written
    for heading in ("Cross-validated figures", "Reliability", "Where it fails", "Macro-F1"):
        assert heading not in written


ADDED = {**METRICS["cross_validation"], "model": {**quality(0.4), "texts": 11}}
FAST = {**METRICS["run"], "fast": True, "parent": "v0"}


def test_added_sentences_have_a_table_of_their_own_beside_the_seeds():
    presumed = {"river": {"sentences": 31, "given": 2}}
    seeds = {**METRICS["cross_validation"], "presumed": presumed}
    written = card(added=ADDED, cross_validation=seeds)
    headings = [line for line in written.splitlines() if line.startswith("## ")]
    after = headings.index("## Cross-validated figures") + 1
    assert headings[after] == "## The added sentences"
    assert "11 sentences added by users, out of fold" in flowing(written)
    assert "| harbour | 10 | 45.0 | 35.0 | 40.0 |" in written
    assert (
        "`river`, which sentences labelled before it do not tell of, was given to 2 of 31 seed "
        "sentences that are presumed not to have it."
    ) in flowing(written)
    assert "The added sentences" not in card()


def test_a_fast_version_says_that_its_figures_flatter_and_whose_encoder_it_has():
    seeds = {**METRICS["cross_validation"]}
    for figure in ("float32_macro_f1", "int8_agrees_with_float32"):
        del seeds[figure]
    written = flowing(
        card(run=FAST, cross_validation=seeds, export={"onnx_gap": 1e-6}, added_out_of_domain=2)
    )
    assert "Made from `v0`: its encoder is frozen and only the heads were trained." in written
    assert "**the figures below flatter**" in written
    assert "it takes 2 of the 3 added sentences for such" in written
    assert "expected calibration error 0.012. Evidence:" in written
    assert "ONNX against torch: 1.0e-06 in probability. torch 2.0" in written
    assert "Reproduce: `diplophrase train --fast --from v0 --seed 7 --epochs 4`" in written
    assert "flatter" not in card()


def test_without_a_second_pass_there_is_no_agreement():
    assert "Agreement" not in card(agreement=None)


def test_mistakes_nobody_has_explained_are_counted():
    written = flowing(card(mistakes={"count": 4, "instructive": []}))
    assert "4 wrong decisions out of fold" in written
    assert "None of them has been explained yet." in written


def test_long_sentences_are_cut_at_a_word():
    mistake = {**METRICS["mistakes"]["instructive"][0], "text": "river " * 60}
    written = card(mistakes={"count": 1, "instructive": [mistake]})
    assert f"“{'river ' * 36}…” It is" in written
