"""The gate that a version passes before it answers, and the way back.

A candidate is compared with the version that answers. It fails if it is worse by more than noise
explains, and is then promoted only by force, with a reason. `models/promotions.jsonl` keeps it all.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diplophrase.bundle import current_bundle, load_version, set_current
from diplophrase.compare import Comparison, compare_versions
from diplophrase.errors import BundleError, Detail, DiplophraseError, InvalidRequest
from diplophrase.figures import Paired
from diplophrase.promotions import (
    Promotion,
    PromotionLog,
    deciding,
    earlier_version,
    read_promotions,
)

MACRO_LOSS = 0.005  # of macro-F1, from which a candidate fails
RECALL_LOSS = 0.03  # of a label's recall, from which it fails if chance does not explain it
LEAST_SPEED = 0.9  # of the current version's sentences a second, at which it fails


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate says of a version beside the one that answers, `against`.

    Without a comparison either there was none to be made, or `faults` say why it could not be.
    """

    version: str
    against: str | None
    faults: tuple[Detail, ...] = ()
    comparison: Comparison | None = None

    @property
    def verdict(self) -> Literal["pass", "fail", "not compared"]:
        if self.faults:
            return "fail"
        return "not compared" if self.comparison is None else "pass"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return each fault as a sentence."""
        return tuple(f"{fault.field}: {fault.found}; {fault.rule}" for fault in self.faults)


def judge(comparison: Comparison) -> tuple[Detail, ...]:
    """Return why version B of a comparison fails; nothing if it passes."""
    faults = list(_judge_figures(comparison.unseen, "")) if comparison.unseen else []
    if comparison.test is not None:
        faults += _judge_figures(comparison.test.figures, f" on {comparison.test.data}")
    speed = comparison.speed
    if speed.ratio <= LEAST_SPEED:
        found = (
            f"{speed.b_per_s:g} sentences a second beside {speed.a_per_s:g}, {speed.ratio:.2f} "
            f"times as many"
        )
        faults.append(Detail("speed", found, f"more than {LEAST_SPEED:g} times as many"))
    return tuple(faults)


def _judge_figures(figures: Paired, where: str) -> Iterator[Detail]:
    macro = figures.macro_f1
    if macro.difference <= -MACRO_LOSS:
        rule = f"down by less than {100 * MACRO_LOSS:g} points"
        yield Detail(f"macro-F1{where}", _fall(macro.a, macro.b), rule)
    for row in figures.recalls:
        if row.recall.difference <= -RECALL_LOSS and row.joint_interval[1] < 0:
            low, high = (100 * bound for bound in row.joint_interval)
            found = (
                f"{_fall(row.recall.a, row.recall.b)} on {row.support} sentences, interval over "
                f"all labels {low:.1f} to {high:.1f}"
            )
            rule = f"down by less than {100 * RECALL_LOSS:g} points, or by no more than noise"
            yield Detail(f"recall of {row.label}{where}", found, rule)


def _fall(a: float, b: float) -> str:
    return f"{100 * a:.1f} to {100 * b:.1f}, down by {100 * (a - b):.1f} points"


def current_version(models: str | Path) -> str | None:
    """Return the version that CURRENT names, None if it names none."""
    try:
        return current_bundle(models).name
    except BundleError:
        return None


def decide(models: str | Path, version: str, *, test: str | Path | None = None) -> Decision:
    """Compare `version` with the one that CURRENT names, which takes some seconds.

    No comparison is needed where CURRENT names the version itself, or none that is whole.

    Raises:
        BundleError: if the version is not whole or does not open.
        InvalidData: if the file of the test cannot be used.
    """
    load_version(models, version)
    against = current_version(models)
    if against in (None, version) or not _is_whole(models, against):
        return Decision(version, against)
    try:
        comparison = compare_versions(models, str(against), version, test=test)
    except DiplophraseError as error:
        if error.kind != "not_comparable":
            raise
        rule = "a candidate is compared with the version that answers"
        return Decision(version, against, (Detail("comparison", error.message, rule),))
    return Decision(version, against, judge(comparison), comparison)


def _is_whole(models: str | Path, version: str | None) -> bool:
    try:
        load_version(models, str(version))
    except BundleError:
        return False
    return True


def carry_out(
    models: str | Path, decision: Decision, *, by: str, force: str | None = None
) -> Promotion:
    """Record the decision and, if it passed or is forced, make its version current.

    Raises:
        InvalidRequest: if the reason to force it is blank.
        DiplophraseError: `gate_refused` if the version fails and no reason to force it is given;
            `conflict` if CURRENT has moved since; `storage` if the record cannot be written.
        BundleError: if the version is not whole any more or CURRENT cannot be written; it is as
            it was, and the record says that it failed.
    """
    if force is not None and not force.strip():
        raise InvalidRequest("--force: found a blank reason; give the reason in words.")
    refused = bool(decision.faults) and force is None
    record = Promotion(
        action="promote",
        before=decision.against,
        to=decision.version,
        verdict=decision.verdict,
        outcome="refused" if refused else "promoted",
        reasons=decision.reasons,
        forced=force if decision.faults else None,
        by=by,
        figures=summarise(decision.comparison) if decision.comparison else None,
    )
    with deciding(models) as log:
        if refused:
            log.add(record)
            raise _refusal(decision)
        current = current_version(models)
        if current not in (decision.against, decision.version):
            raise DiplophraseError(
                f"CURRENT has moved from {decision.against} to {current} while "
                f"{decision.version} was compared. Promote it again.",
                kind="conflict",
            )
        record = record.model_copy(update={"before": current})
        _make_current(log, models, record)
    return record


def _refusal(decision: Decision) -> DiplophraseError:
    listed = "\n".join(f"  {reason}" for reason in decision.reasons)
    return DiplophraseError(
        f"{decision.version} is not promoted; {decision.against} stays. The gate found:\n{listed}\n"
        f'To promote it all the same, give the reason that is to be recorded: --force "...", over '
        f'HTTP the body {{"force": "..."}}.',
        kind="gate_refused",
        details=list(decision.faults),
    )


def _make_current(log: PromotionLog, models: str | Path, record: Promotion) -> None:
    """Record first, then swap: no version ever answers of which the log does not know."""
    start = log.add(record)
    try:
        set_current(models, record.to)
    except BundleError as error:
        log.take_back(start)
        failed = {"outcome": "failed", "reasons": (*record.reasons, error.message)}
        log.add(record.model_copy(update=failed))
        raise


def earlier(models: str | Path) -> str:
    """Return the version that a rollback would go back to.

    Raises:
        DiplophraseError: `conflict` if `promotions.jsonl` knows of none, `storage` if it cannot
            be read.
    """
    found = earlier_version(read_promotions(models), current_version(models))
    if found is None:
        raise DiplophraseError(
            "There is no version to go back to: promotions.jsonl knows of none before the current "
            "one. Name a version: diplophrase models promote VERSION",
            kind="conflict",
        )
    return found


def roll_back(models: str | Path, *, by: str, to: str | None = None) -> Promotion:
    """Make the version that answered before current again; the gate is not asked.

    With `to`, only if that is the version.

    Raises:
        DiplophraseError: `conflict` if there is none, or another than `to`; `storage` if the
            record cannot be written.
        BundleError: if that version is not whole any more; CURRENT is as it was.
    """
    with deciding(models) as log:
        version, current = earlier(models), current_version(models)
        if to not in (None, version):
            raise DiplophraseError(
                f"The version before is {version} by now, not {to}. Go back again.",
                kind="conflict",
            )
        record = Promotion(
            action="rollback",
            before=current,
            to=version,
            verdict="not compared",
            outcome="promoted",
            by=by,
        )
        _make_current(log, models, record)
    return record


def summarise(comparison: Comparison) -> dict[str, Any]:
    """Return the main figures of a comparison, as the log keeps them."""
    figures: dict[str, Any] = {"basis": comparison.basis}
    if comparison.unseen is not None:
        figures["unseen"] = _main(comparison.unseen)
    if comparison.test is not None:
        figures["test"] = {"data": comparison.test.data, **_main(comparison.test.figures)}
    return {**figures, "speed_ratio": comparison.speed.ratio}


def _main(figures: Paired) -> dict[str, Any]:
    macro = figures.macro_f1
    return {
        "sentences": figures.sentences,
        "macro_f1": [macro.a, macro.b],
        "interval": list(macro.interval),
        "calibration_error": list(figures.calibration_error),
    }


def user_name() -> str:
    """Return the name of the user whom the program runs as."""
    try:
        return f"user {getpass.getuser()}"
    except (KeyError, OSError):  # a number without a name, as in some containers
        return f"user {os.getuid()}"
