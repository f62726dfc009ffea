"""The card's plots: there where there are figures, the same for the same figures."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from test_training_card import METRICS

from training.plots import draw_plots

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
