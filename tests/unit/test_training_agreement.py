"""Agreement of two passes, against figures worked out by hand."""

from __future__ import annotations

import pytest
from training_fixtures import make_note

from diplophrase.annotations import Annotation, Speaker
from diplophrase.errors import InvalidData
from training.agreement import measure_agreement

TEXT = "The harbour and the school open in May."
LABELS = ("harbour", "school")


def note(key: str, speaker: Speaker = "none", **spans: str) -> Annotation:
    return make_note(key, TEXT, spans, speaker=speaker)


FIRST = [
    note("s1", "joint", harbour="The harbour"),
    note("s2", "joint", harbour="The harbour"),
    note("s3"),
    note("s4"),
]
SECOND = [
    note("s4"),
    note("s3", "third"),
    note("s2", "joint"),
    note("s1", "joint", harbour="The harbour and the school"),
]


def test_figures_of_a_hand_computed_case():
    found = measure_agreement(FIRST, SECOND, LABELS)
    assert found["labels"] == {
        # observed 3/4, expected (2 * 1 + 2 * 3) / 16 = 1/2
        "harbour": {"kappa": 0.5, "first": 2, "second": 1},
        "school": {"kappa": None, "first": 0, "second": 0},
    }
    # over 8 decisions: observed 7/8, expected (2 * 1 + 6 * 7) / 64 = 11/16
    assert found["kappa"] == 0.6
    # 16 values, 3 of them given and 13 not, 1 pair apart: 1 - (16 - 1) * 1 / (3 * 13)
    assert found["alpha"] == 0.6154
    assert found["exact_label_set"] == 0.75
    assert found["speaker"] == 0.75
    assert found["evidence_f1"] == 0.5714  # one label of both: 2 words against 5, 2 shared
    assert found["sentences"] == 4


def test_the_order_of_the_passes_and_of_their_lines_is_nothing():
    found = measure_agreement(FIRST, SECOND, LABELS)
    turned = measure_agreement(SECOND, FIRST[::-1], LABELS)
    counts = {label: {"first": 0, "second": 0} for label in LABELS}
    for label in LABELS:
        counts[label] = {
            "kappa": found["labels"][label]["kappa"],
            "first": found["labels"][label]["second"],
            "second": found["labels"][label]["first"],
        }
    assert turned == {**found, "labels": counts}


def test_a_pass_agrees_with_itself():
    found = measure_agreement(FIRST, FIRST, LABELS)
    figures = ("kappa", "alpha", "exact_label_set", "speaker", "evidence_f1")
    assert [found[name] for name in figures] == [1.0] * 5
    assert found["labels"]["harbour"]["kappa"] == 1.0


def test_evidence_is_compared_for_labels_that_both_gave():
    one = [note("s1", harbour="The harbour", school="the school"), note("s2", school="school")]
    other = [note("s1", harbour="harbour"), note("s2", school="school")]
    found = measure_agreement(one, other, LABELS)
    assert found["evidence_f1"] == 0.8333  # 2/3 and 1, over two


def test_opposite_passes_have_no_kappa_above_chance():
    one = [note("s1", harbour="harbour", school="school"), note("s2", harbour="harbour")]
    other = [note("s1", school="school"), note("s2")]
    found = measure_agreement(one, other, LABELS)
    assert found["labels"]["harbour"]["kappa"] == 0.0  # always given against never given
    assert found["labels"]["school"]["kappa"] == 1.0


@pytest.mark.parametrize(
    "second", [FIRST[:3], [*FIRST[:3], note("s5")], [*FIRST, note("s5")]], ids=["less", "x", "more"]
)
def test_passes_over_different_sentences_are_refused(second: list[Annotation]):
    with pytest.raises(InvalidData, match="The two passes hold different sentences"):
        measure_agreement(FIRST, second, LABELS)


@pytest.mark.parametrize(
    ("one", "other", "labels"),
    [
        ([note("s1")], [note("s1")], LABELS),
        ([note("s1", harbour="harbour")], [note("s1", school="school")], LABELS),
        ([note("s1", harbour="harbour")], [note("s1", harbour="harbour")], LABELS[:1]),
    ],
    ids=["no label", "no label in common", "every label throughout"],
)
def test_passes_that_decide_nothing_in_common_are_refused(one, other, labels):
    with pytest.raises(InvalidData, match="agreement is undefined"):
        measure_agreement(one, other, labels)
