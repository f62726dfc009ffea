"""The log of decisions: whole lines, whoever writes, and what it says of the version before."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from diplophrase.errors import DiplophraseError
from diplophrase.promotions import FILE, Promotion, deciding, earlier_version, read_promotions

ROOT = Path(__file__).parents[2]
WRITE_OFTEN = """
import sys
from diplophrase.promotions import Promotion, deciding
models, name, rounds = sys.argv[1:]
for number in range(int(rounds)):
    with deciding(models) as log:
        log.add(Promotion(action="promote", before=name, to=str(number), verdict="pass",
                          outcome="promoted", by=name))
"""


def decision(before: str | None, to: str, **changes: Any) -> Promotion:
    values = {"action": "promote", "verdict": "pass", "outcome": "promoted", "by": "user ada"}
    return Promotion.model_validate({"from": before, "to": to, **values, **changes})


def back(before: str, to: str) -> Promotion:
    return decision(before, to, action="rollback", verdict="not compared")


def add(models: Path, *decisions: Promotion) -> None:
    with deciding(models) as log:
        for found in decisions:
            log.add(found)


def test_decisions_come_back_as_they_were_added(tmp_path: Path) -> None:
    assert read_promotions(tmp_path) == []
    refused = decision("a", "b", outcome="refused", verdict="fail", reasons=("speed: low",))
    forced = refused.model_copy(update={"outcome": "promoted", "forced": "the old one is wrong"})
    add(tmp_path, refused)
    add(tmp_path, forced)
    assert read_promotions(tmp_path) == [refused, forced]
    first = json.loads((tmp_path / FILE).read_text(encoding="utf-8").splitlines()[0])
    assert (first["from"], first["to"], first["reasons"]) == ("a", "b", ["speed: low"])
    assert "before" not in first


@pytest.mark.parametrize(
    ("decisions", "current", "expected"),
    [
        ([], "a", None),
        ([], None, None),
        ([decision("a", "b")], "b", "a"),
        ([decision(None, "b")], "b", None),
        ([decision("a", "b"), decision("b", "c")], "c", "b"),
        ([decision("a", "b"), decision("b", "c"), back("c", "b")], "b", "a"),
        ([decision("a", "b"), decision("b", "c"), back("c", "b"), back("b", "a")], "a", None),
        ([decision("a", "b"), decision("b", "a")], "a", "b"),
        ([decision("a", "b"), back("b", "a"), decision("a", "c")], "c", "a"),
        ([decision("a", "b"), decision("b", "b")], "b", "a"),
        ([decision("a", "b"), decision("b", "c", outcome="refused")], "b", "a"),
        ([decision("a", "b"), decision("b", "c", outcome="failed")], "b", "a"),
        # CURRENT was moved by hand: elsewhere, and back to the version before
        ([decision("a", "b")], "x", "b"),
        ([decision("a", "b"), decision("b", "c")], "b", "a"),
        ([decision("a", "b"), decision("x", "c")], "c", "x"),
        ([decision("a", "b"), decision("a", "c")], "c", "a"),
    ],
)
def test_the_version_before(
    decisions: list[Promotion], current: str | None, expected: str | None
) -> None:
    assert earlier_version(decisions, current) == expected


def test_what_a_crash_left_of_a_line_is_left_out_and_goes(tmp_path: Path) -> None:
    add(tmp_path, decision("a", "b"))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"time":"2026')
    assert [found.to for found in read_promotions(tmp_path)] == ["b"]
    add(tmp_path, decision("b", "c"))
    assert [found.to for found in read_promotions(tmp_path)] == ["b", "c"]


def test_a_line_that_is_no_decision_is_named(tmp_path: Path) -> None:
    add(tmp_path, decision("a", "b"))
    with (tmp_path / FILE).open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(
        DiplophraseError, match=r"promotions\.jsonl, line 2 is no decision"
    ) as found:
        read_promotions(tmp_path)
    assert found.value.kind == "storage"


@pytest.mark.parametrize("step", ["fsync", "pwrite"])
def test_a_full_disk_leaves_the_log_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    add(tmp_path, decision("a", "b"))
    before = (tmp_path / FILE).read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(f"diplophrase.promotions.os.{step}", fail)
        with pytest.raises(DiplophraseError, match="cannot be written: No space left") as found:
            add(tmp_path, decision("b", "c"))
    assert found.value.kind == "storage"
    assert (tmp_path / FILE).read_bytes() == before


def test_a_write_that_comes_in_parts_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = os.pwrite
    with monkeypatch.context() as patch:
        patch.setattr(
            "diplophrase.promotions.os.pwrite", lambda fd, data, at: whole(fd, data[:7], at)
        )
        add(tmp_path, decision("a", "b"))
    assert [found.to for found in read_promotions(tmp_path)] == ["b"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DiplophraseError, match="cannot be written: No such file"):
        add(tmp_path / "nowhere", decision("a", "b"))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    names = [f"p{k}" for k in range(4)]
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITE_OFTEN, str(tmp_path), name, "50"], cwd=ROOT)
        for name in names
    ]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    found = read_promotions(tmp_path)
    for name in names:
        assert [row.to for row in found if row.by == name] == [str(k) for k in range(50)]
