"""What tells texts of the domain from any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diplophrase.errors import InvalidData
from training.domain import (
    ForeignText,
    Measured,
    fit_domain,
    measure,
    read_foreign,
    score_foreign,
    split_kinds,
)

OUT_OF_DOMAIN = Path(__file__).parents[2] / "labels" / "out_of_domain.jsonl"


def clouds(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return two clouds of unit vectors [200, 4], apart from each other."""
    random = np.random.default_rng(seed)
    own, foreign = random.normal(0, 0.3, (2, 200, 4))
    own[:, 0] += 1.0
    foreign[:, 1] += 1.0
    return tuple(x / np.linalg.norm(x, axis=1, keepdims=True) for x in (own, foreign))


def test_clouds_are_told_apart():
    own, foreign = clouds()
    scores = score_foreign(own, foreign, np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]]))
    assert scores[0] < 0.05
    assert scores[1] > 0.95


def test_the_threshold_lets_all_but_few_of_the_held_out_pass():
    own, foreign = clouds()
    held_out = np.linspace(0, 0.8, 1001)
    domain = fit_domain(own, foreign, held_out)
    assert (held_out > domain.threshold).mean() == pytest.approx(0.01, abs=0.001)
    assert fit_domain(own, foreign, np.zeros(9)).threshold == 0.5  # never below even odds
    scores = 1 / (1 + np.exp(-(foreign @ np.array(domain.weights) + domain.intercept)))
    assert scores == pytest.approx(score_foreign(own, foreign, foreign), abs=1e-3)


def test_a_kind_stays_in_one_fold():
    rows = [ForeignText(kind, f"{kind} {k}") for k in range(4) for kind in "cab"]
    folds = split_kinds(rows, 2)
    assert {(row.kind, int(fold)) for row, fold in zip(rows, folds, strict=True)} == {
        ("a", 0),
        ("b", 1),
        ("c", 0),
    }


def test_figures_count_by_kind():
    measured = Measured(np.array([0.1, 0.95]), np.array([0.99, 0.2, 0.97]), ("a", "a", "b"))
    assert measured.figures(0.9) == {
        "threshold": 0.9,
        "false_alarms": 0.5,
        "found": 0.6667,
        "found_by_kind": {"a": 0.5, "b": 1.0},
    }


@pytest.mark.parametrize("extra", [2, 0])
def test_every_text_is_scored_by_a_bundle_that_did_not_see_it(trained, extra: int):
    seeds = [note.text for note in trained.notes]
    folds = np.arange(len(seeds)) % 2
    foreign = [ForeignText(kind, f"{word} {word} 7") for kind in "ab" for word in ("oil", "tea")]
    network = trained.candidate.int8
    measured = measure([network, network], folds, seeds, seeds[:extra], foreign)
    assert (measured.own.shape, measured.foreign.shape) == ((len(seeds),), (4,))
    assert measured.kinds == ("a", "a", "b", "b")
    assert ((measured.own > 0) & (measured.own < 1)).all()
    assert (measured.foreign > 0).all()


def test_the_texts_that_come_with_the_project():
    rows = read_foreign(OUT_OF_DOMAIN)
    kinds = {row.kind for row in rows}
    assert len(kinds) >= 20
    assert len({row.text for row in rows}) == len(rows)


@pytest.mark.parametrize("line", ["{", '{"kind": "a"}', "[1]"])
def test_a_line_that_is_no_text_is_named(tmp_path: Path, line: str):
    file = tmp_path / "texts.jsonl"
    file.write_text('{"kind": "a", "text": "b"}\n' + line + "\n")
    with pytest.raises(InvalidData, match=r"texts.jsonl:2 is not an object with kind and text"):
        read_foreign(file)
