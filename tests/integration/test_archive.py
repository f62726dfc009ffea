"""Archives scored with the committed model, from Python and as a command."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import diplophrase
from diplophrase.annotations import read_annotations
from diplophrase.classifier import Classifier
from diplophrase.errors import InvalidData, InvalidRequest
from serving.archive import Counts
from serving.archive import run as archive_run
from serving.archive.ledger import locked
from tests.integration.conftest import ROOT
from tests.integration.test_command import run

MODELS = ROOT / "models"
TEXTS = [note.text for note in read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")]


def write_jsonl(path: Path, texts: list[Any]) -> Path:
    lines = [json.dumps({"n": n, "text": text}) for n, text in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Sixty rows, some repeated, two of them bad."""
    texts: list[Any] = [*TEXTS[:30], *TEXTS[10:38]]
    return write_jsonl(tmp_path / "in.jsonl", [*texts[:7], None, *texts[7:40], "  ", *texts[40:]])


def score(*inputs: Any, **given: Any) -> Counts:
    return diplophrase.score(*inputs, models=MODELS, **given)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_answer_to_a_text_is_the_same_to_the_bit_in_any_company() -> None:
    classifier = Classifier.load(MODELS / (MODELS / "CURRENT").read_text().strip())
    encodings = classifier.encode(TEXTS[:60])
    together = classifier.run(encodings)
    for encoding, raw in zip(encodings, together, strict=True):
        [alone] = classifier.run([encoding])
        assert np.array_equal(alone.logits, raw.logits)
        assert np.array_equal(alone.evidence, raw.evidence)


def test_rows_hold_what_the_classifier_says(
    archive: Path, tmp_path: Path, classifier: Classifier
) -> None:
    counts = score(archive, tmp_path / "o.jsonl")
    rows = read_jsonl(tmp_path / "o.jsonl")
    assert (counts.rows, counts.sentences, counts.rejected) == (60, 58, {"empty": 2})
    assert [row["n"] for row in rows] == [n for n in range(60) if n not in (7, 41)]
    for row, result in zip(rows, classifier.classify([r["text"] for r in rows]), strict=True):
        assert row["labels"] == [hit.id for hit in result.labels]
        assert {name: row[f"score_{name}"] for name in classifier.labels} == result.scores
        spans = [hit.evidence for hit in result.labels]
        shown = [(each["start"], each["end"], each["text"]) for each in row["evidence"]]
        assert shown == [(span.start, span.end, span.text) for span in spans if span]
        assert (row["speaker"], row["model_version"]) == (result.speaker, result.model_version)
    assert counts.labels == {
        label: sum(label in row["labels"] for row in rows) for label in counts.labels
    }
    assert counts.repeated == 58 - len({row["text"] for row in rows})
    assert read_jsonl(tmp_path / "o.jsonl.rejected.jsonl") == [
        {
            "input": str(archive),
            "line": line,
            "column": "text",
            "reason": "empty",
            "found": found,
        }
        for line, found in ((8, "no value"), (42, "2 blank characters"))
    ]


def test_the_three_formats_hold_the_same(archive: Path, tmp_path: Path) -> None:
    for ending in ("jsonl", "csv", "parquet"):
        score(archive, tmp_path / f"o.{ending}")
    lines = read_jsonl(tmp_path / "o.jsonl")
    table = pq.read_table(tmp_path / "o.parquet")
    assert table.to_pylist() == lines
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["n"] == "int64"
    assert kinds["labels"] == kinds["taiwan_formula"] == "list<element: string>"
    assert kinds["score_" + lines[0]["labels"][0] if lines[0]["labels"] else "n"] in (
        "double",
        "int64",
    )
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert [cell["labels"].split("|") if cell["labels"] else [] for cell in cells] == [
        line["labels"] for line in lines
    ]
    assert [json.loads(cell["evidence"]) for cell in cells] == [line["evidence"] for line in lines]
    assert list(cells[0]) == list(lines[0]) == table.schema.names


def test_part_size_and_workers_change_no_row(archive: Path, tmp_path: Path) -> None:
    score(archive, tmp_path / "a.jsonl")
    score(archive, tmp_path / "b.jsonl", part_rows=7, workers=3)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_documents_give_a_row_a_sentence_and_a_summary(tmp_path: Path) -> None:
    folder = ROOT / "seeds"
    counts = score(
        [folder / "002_f9b14d92b94f1e5a.txt", folder / "003_606a9464ba09ff0c.txt"],
        tmp_path / "o.jsonl",
        documents=True,
        input_format="document",
        summary=tmp_path / "s.parquet",
        part_rows=1,
    )
    rows = read_jsonl(tmp_path / "o.jsonl")
    summaries = pq.read_table(tmp_path / "s.parquet").to_pylist()
    assert (counts.rows, counts.sentences) == (2, len(rows))
    assert [each["sentences"] for each in summaries][1] == 26
    for each in summaries:
        text = Path(each["document_id"]).read_text(encoding="utf-8")
        own = [row for row in rows if row["document_id"] == each["document_id"]]
        assert [row["sentence"] for row in own] == list(range(each["sentences"]))
        assert all(text[row["start"] : row["end"]] == row["text"] for row in own)
        for label in each["labels"]:
            given = [row[f"score_{label}"] for row in own if label in row["labels"]]
            assert (each[f"count_{label}"], each[f"max_{label}"]) == (len(given), max(given))


def test_an_id_column_names_documents(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text(f'key,body,labels\nk1,"{TEXTS[0]} {TEXTS[1]}",mine\n', encoding="utf-8")
    score(file, tmp_path / "o.csv", documents=True, text_column="body", id_column="key")
    with (tmp_path / "o.csv").open(encoding="utf-8", newline="") as content:
        rows = list(csv.DictReader(content))
    assert {row["document_id"] for row in rows} == {"k1"}
    assert {row["input_labels"] for row in rows} == {"mine"}
    assert "body" not in rows[0]


def test_filters_leave_labels_out_and_rows_in(
    archive: Path, tmp_path: Path, classifier: Classifier
) -> None:
    given = [r.labels[0] for r in classifier.classify(TEXTS[:30]) if r.labels]
    label, least = given[0].id, 0.9
    score(archive, tmp_path / "o.jsonl", labels=[label], min_score=least, limit=20)
    rows = read_jsonl(tmp_path / "o.jsonl")
    assert len(rows) == 19
    assert {name for row in rows for name in row["labels"]} == {label}
    assert all(row[f"score_{label}"] >= least for row in rows if row["labels"])
    assert [name for name in rows[0] if name.startswith("score_")] == [f"score_{label}"]
    with pytest.raises(InvalidRequest, match=r"--labels names none_such.*It has "):
        score(archive, tmp_path / "p.jsonl", labels=["none_such"])


def test_strict_stops_at_the_first_bad_row_and_keeps_what_is_done(
    archive: Path, tmp_path: Path
) -> None:
    output = tmp_path / "o.jsonl"
    with pytest.raises(InvalidData, match=r"in\.jsonl, line 8, column 'text': empty"):
        score(archive, output, strict=True, part_rows=5)
    assert not output.exists()
    counts = score(archive, output, part_rows=5)
    assert counts.scored == 53  # the first part was there


class Stopped(Exception):
    pass


def stop_after(parts: int) -> Any:
    """Return what `Output.write` becomes so that a run stops after some parts."""
    write = archive_run.Output.write
    written = iter(range(parts))

    def wrapped(self: Any, scored: Any) -> None:
        if next(written, None) is None:
            raise Stopped
        write(self, scored)

    return wrapped


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    whole, broken = tmp_path / f"whole.{kind}", tmp_path / f"broken.{kind}"
    score(archive, whole, part_rows=7)
    for parts in (0, 2, 1):
        with monkeypatch.context() as patch:
            patch.setattr(archive_run.Output, "write", stop_after(parts))
            with pytest.raises(Stopped):
                score(archive, broken, part_rows=7)
    counts = score(archive, broken, part_rows=7)
    assert (counts.rows, counts.scored) == (60, 58 - 20)
    for ending in ("", ".rejected.jsonl", ".manifest.json"):
        first, second = (Path(f"{path}{ending}").read_bytes() for path in (whole, broken))
        assert first == second
    assert not Path(f"{broken}.parts").exists()
    assert score(archive, broken, part_rows=7).scored == 0


def test_a_changed_input_option_or_model_is_refused_unless_restarted(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "o.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(archive_run.Output, "write", stop_after(1))
        with pytest.raises(Stopped):
            score(archive, output, part_rows=7)
    with pytest.raises(InvalidRequest, match=r"options: then .*\n.*--restart"):
        score(archive, output, part_rows=7, min_score=0.5)
    with monkeypatch.context() as patch:
        patch.setattr(archive_run, "sha256_of", lambda path: "another")
        with pytest.raises(InvalidRequest, match="model: then "):
            score(archive, output, part_rows=7)
    write_jsonl(archive, ["Changed.", *TEXTS[:3]])
    with pytest.raises(InvalidRequest, match="input: then "):
        score(archive, output, part_rows=7)
    assert score(archive, output, part_rows=7, restart=True).rows == 4


def test_texts_in_memory_resume_and_are_checked_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "o.jsonl"
    with monkeypatch.context() as patch:
        patch.setattr(archive_run.Output, "write", stop_after(2))
        with pytest.raises(Stopped):
            score(None, output, texts=TEXTS[:20], part_rows=5)
    with pytest.raises(InvalidData, match="from part 1 on"):
        score(None, output, texts=[*TEXTS[:5], "Changed.", *TEXTS[6:20]], part_rows=5)
    assert score(None, output, texts=TEXTS[:20], part_rows=5).scored == 10
    with pytest.raises(InvalidData, match="from part 4 on"):
        score(None, output, texts=TEXTS[:21], part_rows=5)
    with pytest.raises(InvalidData, match="from part 3 on"):
        score(None, output, texts=TEXTS[:15], part_rows=5)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_an_input_without_rows_gives_an_output_without_rows(tmp_path: Path, kind: str) -> None:
    (tmp_path / "in.csv").write_text("id,text\n", encoding="utf-8")
    counts = score(tmp_path / "in.csv", tmp_path / f"o.{kind}")
    assert (counts.rows, counts.sentences) == (0, 0)
    content = (tmp_path / f"o.{kind}").read_bytes()
    if kind == "parquet":
        assert pq.read_table(tmp_path / "o.parquet").schema.names[:3] == ["id", "text", "labels"]
    else:
        assert content.startswith(b'"id","text","labels"' if kind == "csv" else b"")
        assert content.count(b"\n") == (kind == "csv")


def test_no_input_is_ever_overwritten(archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(InvalidRequest, match="is an input and would be written, too"):
        score(archive, archive, restart=True)
    with pytest.raises(InvalidRequest, match="is also a file"):
        score(archive, tmp_path / "o.csv", documents=True, summary=tmp_path / "o.csv")
    assert archive.read_bytes() == before


def test_a_second_run_on_one_output_is_refused(archive: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "o.jsonl"):
        done = run("score", str(archive), "--output", str(tmp_path / "o.jsonl"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: Another run writes")


def test_rows_without_files_are_those_of_a_file(archive: Path, tmp_path: Path) -> None:
    score(archive, tmp_path / "o.jsonl")
    rejected: list[dict[str, Any]] = []
    rows = diplophrase.score_rows(archive, models=MODELS, rejected=rejected, part_rows=9)
    assert list(rows) == read_jsonl(tmp_path / "o.jsonl")
    assert [bad["line"] for bad in rejected] == [8, 42]


def test_rows_need_not_be_taken_to_the_end(archive: Path) -> None:
    before = threading.active_count()

    def endless() -> Iterator[str]:
        while True:
            yield from TEXTS[:10]

    rows = diplophrase.score_rows(texts=endless(), models=MODELS, part_rows=4)
    assert next(rows)["text"] == TEXTS[0]
    rows.close()
    for thread in threading.enumerate():
        if "run_ahead" in thread.name or "_fill" in thread.name:
            thread.join(timeout=10)
    assert threading.active_count() <= before + 1


def test_the_command_scores_stdin_and_sums_up(tmp_path: Path) -> None:
    output = tmp_path / "o.csv"
    done = run("score", "-", "--output", str(output), stdin=f"{TEXTS[0]}\n\n{TEXTS[0]}\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "rows 2, sentences 2, skipped 0"
    assert lines[1].startswith("labels: ")
    assert lines[2].endswith("50.0% repeated")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere.csv", "--output", "{}/o.csv"], 2, "error: The input nowhere.csv is not there."),
        (["-", "--output", "s3://b/o.csv"], 2, "error: --output s3://b/o.csv is a URL."),
        (["-", "--output", "{}"], 2, "error: --output {} is a folder."),
        (["-", "--output", "{}/o.csv", "--engine", "x"], 2, "error: --engine is 'x'"),
        (["-", "a.csv", "--output", "{}/o.csv"], 2, "error: '-' (stdin) stands beside"),
        (["-", "--output", "{}/o.csv", "--models", "no"], 5, "error: no/CURRENT is missing."),
    ],
)
def test_what_the_command_cannot_do_ends_with_a_message(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = run("score", *(each.format(tmp_path) for each in arguments))
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(message.format(tmp_path))
