"""A comparison of two versions as people read it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from diplophrase.compare import Comparison
from diplophrase.errors import Detail
from diplophrase.figures import Difference, Paired

_BASES = {
    "heads": "Both rest on one encoder, which has seen these sentences: all figures here flatter, "
    "and their difference tells what the training of the heads brought. A full version is stood "
    "in for by heads trained afresh on its encoder, from what it had learnt.",
    "test": "The two rest on different encoders, one under heads trained alone: only the test "
    "file tells.",
}


def print_comparison(comparison: Comparison, faults: Sequence[Detail]) -> None:
    """Print the tables, the verdict and its reasons on stdout."""
    console = Console()
    if comparison.unseen is not None:
        console.print(_table(comparison.unseen, comparison, _title(comparison.unseen, comparison)))
    if comparison.basis != "network":
        console.print(_BASES[comparison.basis])
    if comparison.relabelled:
        console.print(f"{comparison.relabelled} hand labels differ; those of B are taken.")
    if comparison.test is not None:
        figures = comparison.test.figures
        console.print(
            _table(figures, comparison, f"{comparison.test.data}: {figures.sentences} sentences")
        )
    for row in comparison.only_one:
        found = (
            f"recall {_percent(row.recall)}, F1 {_percent(row.f1)} on {row.support} sentences."
            if row.support
            else f"these sentences do not tell of it; see diplophrase models show {row.version}"
        )
        console.print(f"Only {row.version} knows {row.label}: {found}")
    speed = comparison.speed
    console.print(
        f"Speed: A {speed.a_per_s:g}, B {speed.b_per_s:g} sentences a second; B answers "
        f"{speed.ratio:.2f} times as many (processor time, median of {speed.rounds} rounds)."
    )
    console.print(f"Verdict: {'fail' if faults else 'pass'}", style="bold")
    for fault in faults:
        console.print(f"  {fault.field}: {fault.found}; {fault.rule}", highlight=False)


def _title(unseen: Paired, comparison: Comparison) -> str:
    whose = "both" if comparison.basis == "network" else "the heads of both"
    count, units = unseen.sentences, unseen.units
    return f"{count} sentences that {whose} answered unseen, in {units} units ({comparison.by})"


def _table(figures: Paired, comparison: Comparison, title: str) -> Table:
    table = Table(title=title, caption=f"A: {comparison.a}\nB: {comparison.b}")
    table.add_column("figure", overflow="fold")
    for name in ("support", "A", "B", "B - A", "95%", "over all labels"):
        table.add_column(name, justify="right")
    table.add_row(f"macro-F1 of {figures.macro_labels}", "", *_cells(figures.macro_f1), "")
    error_a, error_b = figures.calibration_error
    difference = f"{100 * (error_b - error_a):+.1f}"
    table.add_row("calibration error", "", _percent(error_a), _percent(error_b), difference, "", "")
    for row in figures.recalls:
        joint = _interval(row.joint_interval)
        table.add_row(f"recall of {row.label}", str(row.support), *_cells(row.recall), joint)
    return table


def _cells(found: Difference) -> tuple[str, str, str, str]:
    difference = f"{100 * found.difference:+.1f}"
    return _percent(found.a), _percent(found.b), difference, _interval(found.interval)


def _interval(bounds: tuple[float, float]) -> str:
    return f"{100 * bounds[0]:+.1f} to {100 * bounds[1]:+.1f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
