"""The card's plots, as SVG files that are the same for the same figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

_INK, _PALE = "#1f4e79", "#b0b7bf"
_STYLE = {
    "svg.hashsalt": "diplophrase",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw_plots(folder: Path, metrics: dict[str, Any]) -> list[Path]:
    """Write the plots that `metrics` has figures for into `folder`; return their paths."""
    drawn = []
    with mpl.rc_context(_STYLE):
        if measured := metrics.get("cross_validation"):
            drawn.append(_save(_labels(measured), folder / "labels.svg"))
            drawn.append(_save(_reliability(metrics["reliability"]), folder / "reliability.svg"))
        if curve := metrics.get("learning_curve"):
            drawn.append(_save(_curve(curve), folder / "learning_curve.svg"))
    return drawn


def draw_retraining(path: Path, points: Sequence[dict[str, Any]]) -> Path:
    """Draw macro-F1 against labels added: a line a seed, and each way of choosing its mean."""
    panels = {"macro_f1": "as served", "network_macro_f1": "network without the lexicon"}
    colours = {"queue": _INK, "random": _PALE}
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9, 3.5))
        for axes, (field, title) in zip(figure.subplots(1, 2), panels.items(), strict=True):
            for name, colour in colours.items():
                rows = [point for point in points if point["chosen_by"] == name]
                curves = [
                    [(row["added"], row[field]) for row in rows if row["seed"] == seed]
                    for seed in sorted({row["seed"] for row in rows})
                ]
                for curve in curves:
                    axes.plot(*zip(*curve, strict=True), color=colour, linewidth=0.6, alpha=0.6)
                means = np.mean(curves, axis=0)
                axes.plot(means[:, 0], means[:, 1], "o-", color=colour, markersize=4, label=name)
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("labels added to the first half")
            axes.set_ylabel("macro-F1 on held-out events")
            axes.legend(frameon=False)
        return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    return path


def _labels(measured: dict[str, Any]) -> Figure:
    """Draw each label's F1 with its interval, the lexicon's beside it."""
    model, lexicon = measured["model"], measured["baselines"].get("lexicon")
    names = sorted(model["labels"], key=lambda name: float(model["labels"][name]["f1"]))
    figure = Figure(figsize=(7, 0.3 * len(names) + 1))
    axes = figure.subplots()
    for row, name in enumerate(names):
        low, high = model["intervals"][name]
        axes.plot([low, high], [row, row], color=_INK, linewidth=1.5, zorder=1)
        axes.plot(model["labels"][name]["f1"], row, "o", color=_INK, markersize=5)
        if lexicon:
            axes.plot(lexicon["labels"][name]["f1"], row, "D", color=_PALE, markersize=4, zorder=0)
    support = [model["labels"][name]["support"] for name in names]
    axes.set_yticks(
        range(len(names)), [f"{name} ({count})" for name, count in zip(names, support, strict=True)]
    )
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("F1 out of fold with 95% interval (dots); keyword lexicon (diamonds)")
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    return figure


def _reliability(bins: Sequence[dict[str, float]]) -> Figure:
    """Draw how often a label was right against its score."""
    figure = Figure(figsize=(4.5, 4))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_PALE, linewidth=1, linestyle="--")
    scores = [row["mean_score"] for row in bins]
    axes.plot(scores, [row["frequency"] for row in bins], "o-", color=_INK, markersize=5)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("mean score")
    axes.set_ylabel("share that is right")
    return figure


def _curve(curve: Sequence[dict[str, Any]]) -> Figure:
    """Draw F1 against the number of authored sentences."""
    figure = Figure(figsize=(5.5, 3.5))
    axes = figure.subplots()
    counts = [row["authored"] for row in curve]
    axes.plot(counts, [row["macro_f1"] for row in curve], "o-", color=_INK, label="macro-F1")
    axes.plot(counts, [row["micro_f1"] for row in curve], "D-", color=_PALE, label="micro-F1")
    axes.set_xlabel("authored sentences beside the seeds")
    axes.set_ylabel("F1 on held-out seeds")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False)
    return figure
