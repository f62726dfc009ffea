"""The file that says how far long work is."""

from __future__ import annotations

import json
from pathlib import Path

from diplophrase.progress import ProgressFile


def test_the_fraction_counts_stages_alike_and_the_file_is_written_twice_a_second(
    tmp_path: Path,
) -> None:
    now = [0.0]
    path = tmp_path / "progress.json"
    progress = ProgressFile(path, stages=4, clock=lambda: now[0])

    def read() -> tuple[float, str, int, int]:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found["fraction"], found["stage"], found["step"], found["of"]

    progress.update("fold 1", 1, 10)
    assert read() == (0.025, "fold 1", 1, 10)
    progress.update("fold 1", 2, 10)
    assert read() == (0.025, "fold 1", 1, 10)  # so soon after
    now[0] = 0.5
    progress.update("fold 2", 5, 10)
    assert read() == (0.175, "fold 2", 5, 10)
    progress.update("fold 1", 10, 10)  # the end of a stage is always told
    assert read() == (0.375, "fold 1", 10, 10)
    for stage in ("fold 2", "fold 3", "final", "one more than was said"):
        progress.update(stage, 3, 3)
    assert read()[0] == 1.0
    assert [file.name for file in tmp_path.iterdir()] == ["progress.json"]
