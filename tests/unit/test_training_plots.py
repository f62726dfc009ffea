"""The card's plots: there where there are figures, the same for the same figures."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_training_card import METRICS

from training.plots import draw_plots, draw_retraining

CURVE = [
    {"authored": 0, "macro_f1": 0.5, "micro_f1": 0.6, "labels": 9},
    {"authored": 400, "macro_f1": 0.7, "micro_f1": 0.75, "labels": 9},
]


def words_of(path: Path) -> str:
    return " ".join(ElementTree.parse(path).getroot().itertext())


@pytest.fixture
def drawn(tmp_path: Path) -> dict[str, Path]:
    return {path.name: path for path in draw_plots(tmp_path, {**METRICS, "learning_curve": CURVE})}


def test_every_plot_says_what_it_shows(drawn: dict[str, Path]):
    assert set(drawn) == {"labels.svg", "reliability.svg", "learning_curve.svg"}
    shown = words_of(drawn["labels.svg"])
    for label in METRICS["cross_validation"]["model"]["labels"]:
        assert label in shown
    assert "share that is right" in words_of(drawn["reliability.svg"])
    assert "authored sentences" in words_of(drawn["learning_curve.svg"])


def test_the_same_figures_give_the_same_files(drawn: dict[str, Path], tmp_path: Path):
    (tmp_path / "again").mkdir()
    for path in draw_plots(tmp_path / "again", {**METRICS, "learning_curve": CURVE}):
        assert path.read_bytes() == drawn[path.name].read_bytes()


def test_what_was_not_measured_is_not_drawn(tmp_path: Path):
    assert draw_plots(tmp_path, {}) == []
    assert [path.name for path in draw_plots(tmp_path, METRICS)] == [
        "labels.svg",
        "reliability.svg",
    ]


def test_the_plot_of_added_labels_has_both_ways_of_choosing(tmp_path: Path):
    points = [
        {
            "seed": seed,
            "chosen_by": name,
            "added": 40.0 * step,
            "macro_f1": 0.6 + 0.05 * step,
            "network_macro_f1": 0.5 + 0.05 * step,
        }
        for name in ("queue", "random")
        for seed in (1, 2)
        for step in range(3)
    ]
    drawn = [draw_retraining(tmp_path / f"{name}.svg", points) for name in "ab"]
    assert drawn[0].read_bytes() == drawn[1].read_bytes()
    shown = words_of(drawn[0])
    for words in ("queue", "random", "as served", "labels added to the first half"):
        assert words in shown
