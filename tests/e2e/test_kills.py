"""Runs killed with SIGKILL end, when run again, with the bytes of an unbroken run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.kills import kill_and_compare


@pytest.mark.parametrize(("kind", "documents"), [("parquet", False), ("jsonl", True)])
def test_killed_runs_end_with_the_same_bytes(tmp_path: Path, kind: str, documents: bool) -> None:
    tally = kill_and_compare(
        tmp_path, kind=kind, kills=4, rows=600, part_rows=20, seed=3, documents=documents
    )
    assert tally.kills == 4
    assert tally.outputs >= 2
    assert tally.differences == 0
