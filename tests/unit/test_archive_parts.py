"""Parts, columns, the manifest, the lock, threads and messages, each alone."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from diplophrase.errors import InvalidData, InvalidRequest
from serving.archive.ahead import run_ahead
from serving.archive.columns import choose_columns
from serving.archive.counts import Counts
from serving.archive.ledger import Ledger, locked
from serving.archive.options import Options
from serving.archive.parts import Part, cut_parts
from serving.archive.progress import Reporter
from serving.archive.records import BadRow, Row
from serving.archive.write import join_parts, write_part

JOB: dict[str, Any] = {"schema": 1, "input": [{"input": "a", "content": "1"}], "options": {}}


def rows(*texts: str) -> Iterator[Row]:
    return (Row("in", k, text, {"text": text}) for k, text in enumerate(texts, 1))


def entry(part: int, digest: str = "d") -> dict[str, Any]:
    return {"part": part, "digest": digest, "rows": 1, "sentences": 1, "labels": {}, "rejected": {}}


def test_parts_end_at_rows_or_characters() -> None:
    options = Options(part_rows=3, part_characters=10)
    parts = list(cut_parts(rows("a", "b", "c", "d" * 12, "e"), options))
    assert [(part.number, len(part.rows)) for part in parts] == [(0, 3), (1, 1), (2, 1)]
    again = list(cut_parts(rows("a", "b", "c", "d" * 12, "f"), options))
    assert [part.digest for part in again][:2] == [part.digest for part in parts][:2]
    assert again[2].digest != parts[2].digest


def first_part(*columns: dict[str, Any]) -> Part:
    return Part(0, [Row("in", k, "t", each) for k, each in enumerate(columns, 1)], "d")


def test_columns_of_json_get_a_type_where_all_values_have_one() -> None:
    part = first_part(
        {"a": 1, "b": "x", "c": True, "d": 1, "e": 1, "f": None},
        {"a": None, "b": "y", "c": False, "d": 0.5, "e": "x", "f": None},
    )
    columns = choose_columns({}, part, table=True, taken=frozenset({"b"}))
    kinds = {field.name: field.type for field in columns.fields()}
    assert kinds == {
        "a": pa.int64(),
        "input_b": pa.string(),
        "c": pa.bool_(),
        "d": pa.float64(),
        "e": pa.string(),
        "f": pa.string(),
    }
    [row, _] = part.rows
    assert columns.values(row) == {"a": 1, "input_b": "x", "c": True, "d": 1, "e": "1", "f": None}


def test_no_two_columns_get_one_name_and_no_number_is_rounded() -> None:
    part = first_part({"labels": 1, "input_labels": 2, "big": 2**60}, {"big": 0.5})
    for table in (True, False):
        columns = choose_columns({}, part, table=table, taken=frozenset({"labels"}))
        values = columns.values(part.rows[0])
        assert list(values) == ["input_input_labels", "input_labels", "big"]
        assert values["big"] == (str(2**60) if table else 2**60)


def test_a_row_that_a_table_cannot_hold_is_a_bad_row() -> None:
    columns = choose_columns({}, first_part({"a": 1}), table=True, taken=frozenset())
    late, mixed = Row("in", 9, "t", {"b": 1}), Row("in", 10, "t", {"a": "x"})
    for row, column in ((late, "b"), (mixed, "a")):
        bad = columns.check(row)
        assert isinstance(bad, BadRow)
        assert (bad.line, bad.column, bad.reason) == (row.line, column, "not a row")
    free = choose_columns({}, first_part({"a": 1}), table=False, taken=frozenset())
    assert free.check(late) is late


def test_a_manifest_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "o.csv", JOB)
    ledger.open(restart=False)
    ledger.record(entry(0))
    manifest = ledger.folder / "manifest.jsonl"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole + b'{"part": 1, "dig')
    again = Ledger(tmp_path / "o.csv", JOB)
    again.open(restart=False)
    assert (list(again.done), manifest.read_bytes()) == ([0], whole)
    assert (again.verify(0, "d"), again.verify(1, "d")) == (True, False)


def test_a_changed_job_is_refused_with_what_changed(tmp_path: Path) -> None:
    output = tmp_path / "o.csv"
    Ledger(output, JOB).open(restart=False)
    changed = Ledger(output, {**JOB, "options": {"limit": 3}})
    with pytest.raises(InvalidRequest, match=r'options: then {}, now {"limit": 3}\n.*--restart'):
        changed.open(restart=False)
    changed.open(restart=True)
    assert changed.done == {}


def test_other_rows_than_before_are_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "o.csv", JOB)
    ledger.open(restart=False)
    ledger.record(entry(0))
    ledger.record(entry(1))
    with pytest.raises(InvalidData, match=r"differs from what .* from part 0 on"):
        ledger.verify(0, "other")
    with pytest.raises(InvalidData, match="from part 1 on"):
        ledger.check_end(1)
    ledger.check_end(2)


def test_a_finished_output_is_left_alone_and_grown_input_refused(tmp_path: Path) -> None:
    output = tmp_path / "o.csv"
    ledger = Ledger(output, JOB)
    ledger.open(restart=False)
    ledger.record(entry(0))
    output.write_text("whole", encoding="utf-8")
    ledger.finish()
    assert not ledger.folder.exists()
    again = Ledger(output, JOB)
    again.open(restart=False)
    assert again.verify(0, "d")
    with pytest.raises(InvalidData, match="from part 1 on"):
        again.verify(1, "d")
    output.unlink()
    with pytest.raises(InvalidRequest, match="but it is gone"):
        Ledger(output, JOB).open(restart=False)


def test_a_file_of_others_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(InvalidRequest, match="is not the work of this command"):
        Ledger(tmp_path / "o.csv", JOB).open(restart=False)


def test_the_second_of_two_runs_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "o.csv"
    with locked(output), pytest.raises(InvalidRequest, match="Another run writes"), locked(output):
        pytest.fail("two runs hold one lock")
    with locked(output):
        pass
    assert list(tmp_path.iterdir()) == []


def test_steps_ahead_keep_order_and_pass_errors_on() -> None:
    assert list(run_ahead(iter(range(50)))) == list(range(50))

    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("of the thread")

    taken = run_ahead(failing())
    assert next(taken) == 1
    with pytest.raises(ValueError, match="of the thread"):
        next(taken)


def test_a_step_is_no_further_ahead_than_its_bound() -> None:
    made = 0
    two_more = threading.Event()

    def counting() -> Iterator[int]:
        nonlocal made
        for number in range(100):
            made += 1
            if made == 3:
                two_more.set()
            yield number

    ahead = run_ahead(counting(), size=1)
    next(ahead)
    assert two_more.wait(timeout=10)  # one in the queue, one in hand
    assert made <= 3
    ahead.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_parts_join_to_one_file_and_an_empty_part_adds_nothing(tmp_path: Path, kind: str) -> None:
    words = pa.list_(pa.string())
    schema = None if kind == "jsonl" else pa.schema([("a", pa.int64()), ("w", words)])
    parts = [tmp_path / f"{k}.{kind}" for k in range(3)]
    contents = ([{"a": 1, "w": ["x", "y"]}], [], [{"a": 2, "w": []}])
    for path, content in zip(parts, contents, strict=True):
        write_part(path, content, schema, kind)
    whole = tmp_path / f"o.{kind}"
    join_parts(whole, parts, schema, kind)
    if kind == "parquet":
        table = pa.parquet.read_table(whole)
        assert table.to_pylist() == [{"a": 1, "w": ["x", "y"]}, {"a": 2, "w": []}]
    else:
        lines = whole.read_text(encoding="utf-8").splitlines()
        expected = {
            "jsonl": ['{"a": 1, "w": ["x", "y"]}', '{"a": 2, "w": []}'],
            "csv": ['"a","w"', '1,"x|y"', '2,""'],
        }
        assert lines == expected[kind]


def test_counts_add_up_over_runs() -> None:
    counts = Counts(seconds=2.0, scored=4, repeated=1)
    counts.add_parts(
        [
            {"rows": 3, "sentences": 2, "labels": {"x": 1}, "rejected": {"empty": 1}},
            {"rows": 2, "sentences": 2, "labels": {"x": 1, "y": 3}, "rejected": {}},
        ]
    )
    assert counts.lines() == [
        "rows 5, sentences 4, skipped 1 (empty 1)",
        "labels: y 3, x 2",
        "this run: 4 sentences in 2.0 s, 2 a second, 25.0% repeated",
    ]


def test_progress_is_a_line_a_minute_where_there_is_no_terminal() -> None:
    now = [0.0]
    shown = io.StringIO()
    with Reporter(Console(file=shown, width=200), clock=lambda: now[0]) as reporter:
        for seconds, sentences, share in (
            (10, 10, 0.0),
            (59, 50, 0.2),
            (61, 61, 0.25),
            (70, 70, 0.3),
        ):
            now[0] = float(seconds)
            reporter.update(sentences, share)
        now[0] = 122.0
        reporter.update(122, 0.5)
    assert shown.getvalue().splitlines() == [
        "61 sentences, 1 a second, 25% read, 3 min left",
        "122 sentences, 1 a second, 50% read, 2 min left",
    ]


def test_progress_is_a_bar_on_a_terminal() -> None:
    shown = io.StringIO()
    console = Console(file=shown, width=120, force_terminal=True, legacy_windows=False)
    with Reporter(console) as reporter:
        reporter.update(40, 0.5)
    assert "50%" in shown.getvalue()
    assert "40 sentences" in shown.getvalue()


def test_manifest_lines_are_json(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "o.csv", JOB)
    ledger.open(restart=False)
    ledger.record(entry(4))
    lines = (ledger.folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"job": JOB}, entry(4)]
