"""The command as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import ROOT

LIFTED = "Both sides agreed to lift relations to a comprehensive strategic partnership."


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from diplophrase.command import main; main()", *arguments]
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=120,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_classify_prints_a_table() -> None:
    done = run("classify", LIFTED)
    assert done.returncode == 0
    assert "partnership_tier" in done.stdout
    assert "comprehensive strategic partnership" in done.stdout


def test_classify_reads_arguments_a_file_and_stdin_alike(tmp_path: Path) -> None:
    file = tmp_path / "sentences.txt"
    file.write_text(f"{LIFTED}\n\n", encoding="utf-8")
    answers = [
        run("classify", "--json", LIFTED),
        run("classify", "--json", "--file", str(file)),
        run("classify", "--json", "-", stdin=f"{LIFTED}\n"),
    ]
    rows = [[json.loads(line) for line in answer.stdout.splitlines()] for answer in answers]
    assert rows[0] == rows[1] == rows[2]
    assert [row["text"] for row in rows[0]] == [LIFTED]
    assert "partnership_tier" in [hit["id"] for hit in rows[0][0]["labels"]]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["classify", "-"], 2, "error: There is no sentence to read."),
        (["classify", "--file", "nowhere.txt"], 2, "error: nowhere.txt is not a file."),
        (["classify", "--models", "nowhere", "a"], 5, "error: nowhere/CURRENT is missing."),
        (["models", "promote", "none"], 5, "error: models/none is not a folder."),
        (["labels", "check", "--labels", "nowhere"], 3, "error: nowhere/codebook.yaml is not"),
        (["serve", "--settings", "nowhere.yaml"], 7, "error: The settings file nowhere.yaml"),
    ],
)
def test_bad_input_ends_with_a_message_and_a_code(
    arguments: list[str], code: int, message: str
) -> None:
    done = run(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(message)
    assert done.stdout == ""


def test_models_list_marks_the_current_one() -> None:
    current = (ROOT / "models" / "CURRENT").read_text(encoding="utf-8").strip()
    done = run("models", "list")
    [row] = [line for line in done.stdout.splitlines() if current[:12] in line]
    assert "yes" in row
    assert "whole" in row
