"""Archives are read row by row; a bad row is told from a good one, with its line."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diplophrase.errors import InvalidData, InvalidRequest
from serving.archive.lines import read_lines
from serving.archive.options import Options, make_options
from serving.archive.read import Files, Stdin, Texts
from serving.archive.records import BadRow, Row
from serving.archive.sources import find_sources, fingerprint


def read(*inputs: str | Path, **given: Any) -> list[Row | BadRow]:
    options = Options(**given)
    files = Files(find_sources([str(each) for each in inputs], options.input_format), options)
    files.declared()
    return list(files.rows())


def brief(rows: list[Row | BadRow]) -> list[tuple[Any, ...]]:
    """Line and text of good rows; line, column and reason of bad ones."""
    return [
        (row.line, row.text) if isinstance(row, Row) else (row.line, row.column, row.reason)
        for row in rows
    ]


def test_delimited_rows_know_their_first_line(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes(
        b'\xef\xbb\xbfid,text\r\n1,"two\nlines"\r\n\r\n2,\xff\r\n3,a,b\r\n4,\r\n5,"last, one"\r\n'
    )
    assert brief(read(file)) == [
        (2, "two\nlines"),
        (5, "text", "undecodable bytes"),
        (6, None, "not a row"),
        (7, "text", "empty"),
        (8, "last, one"),
    ]
    [first, *_] = read(file)
    assert isinstance(first, Row)
    assert first.columns == {"id": "1", "text": "two\nlines"}


def test_tabs_separate_and_other_columns_may_be_undecodable(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_bytes(b"text\tnote\nPeace.\t\xe9\nWar.\tfine\n")
    assert brief(read(file)) == [(2, "note", "undecodable bytes"), (3, "War.")]


def test_json_lines_that_are_no_rows_are_told(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(
        b'{"text": "One."}\n\n{"text": 7}\n[1]\n{"text"\n\xff\n{"text": "  "}\n'
        b'{"text": "\\ud800"}\n{"text": "123456"}\n{"text": null}\n{}\n'
    )
    assert brief(read(file, max_characters=5)) == [
        (1, "One."),
        (3, "text", "not text"),
        (4, None, "not a row"),
        (5, None, "not a row"),
        (6, None, "undecodable bytes"),
        (7, "text", "empty"),
        (8, "text", "undecodable bytes"),
        (9, "text", "over the limit"),
        (10, "text", "empty"),
        (11, "text", "empty"),
    ]


def test_a_line_of_any_length_is_read_in_bounded_memory() -> None:
    content = io.BytesIO(b"ab\n" + b"x" * 50 + b"\nlast")
    assert list(read_lines(content, max_bytes=4)) == [(1, b"ab"), (2, None), (3, b"last")]
    assert list(read_lines(io.BytesIO(b"abcd\nabcd"), max_bytes=4)) == [(1, b"abcd"), (2, b"abcd")]


def test_parquet_gives_typed_columns_and_bad_bytes_singly(tmp_path: Path) -> None:
    raw = pa.array([b"Peace.", b"\xff", None, b"War."], pa.binary())
    text = pa.StringArray.from_buffers(4, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
    table = pa.table({"n": [1, 2, 3, 4], "text": text})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False, write_statistics=False)
    rows = read(tmp_path / "a.parquet")
    assert brief(rows) == [
        (1, "Peace."),
        (2, "text", "undecodable bytes"),
        (3, "text", "empty"),
        (4, "War."),
    ]
    assert rows[0].columns == {"n": 1, "text": "Peace."}  # type: ignore[union-attr]
    assert rows[-1].progress == 1.0


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_packed_files_read_as_unpacked_ones(tmp_path: Path, packing: str) -> None:
    content = b"One.\nTwo.\n"
    file = tmp_path / f"a.txt.{packing}"
    if packing == "gz":
        file.write_bytes(gzip.compress(content[:5]) + gzip.compress(content[5:]))
    else:
        with pa.CompressedOutputStream(str(file), "zstd") as stream:
            stream.write(content)
    assert brief(read(file)) == [(1, "One."), (2, "Two.")]


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_a_packed_file_that_is_damaged_is_named(tmp_path: Path, packing: str) -> None:
    (tmp_path / f"a.txt.{packing}").write_bytes(gzip.compress(b"One.\n" * 1000)[:-20])
    with pytest.raises(InvalidData, match=rf"a\.txt\.{packing} cannot be read to its end"):
        read(tmp_path / f"a.txt.{packing}")


def test_a_folder_gives_documents_named_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.md").write_text("# Two", encoding="utf-8")
    (tmp_path / "in" / "a.pdf").write_text("no", encoding="utf-8")
    (tmp_path / "a.txt").write_text("One.\nMore.", encoding="utf-8")
    rows = read(tmp_path)
    assert [row.columns for row in rows] == [  # type: ignore[union-attr]
        {"document": "a.txt", "text": "One.\nMore."},
        {"document": "in/b.md", "text": "# Two"},
    ]


def test_globs_and_urls_name_files(tmp_path: Path) -> None:
    for name in "ba":
        (tmp_path / f"{name}.txt").write_text(f"{name}\n", encoding="utf-8")
    assert brief(read(tmp_path / "*.txt")) == [(1, "a"), (1, "b")]
    assert brief(read(f"file://{tmp_path}/b.txt")) == [(1, "b")]
    with fsspec.open("memory://held/x.csv", "wb") as file:
        file.write(b"text\nPeace.\n")
    assert brief(read("memory://held/x.csv")) == [(2, "Peace.")]
    assert brief(read("memory://held/*.csv")) == [(2, "Peace.")]


def test_a_fingerprint_follows_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    prints = []
    for content in ("one", "two", "one"):
        file.write_text(content, encoding="utf-8")
        [source] = find_sources([str(file)])
        prints.append(fingerprint(source))
    assert prints[0] == prints[2] != prints[1]


def test_texts_in_memory_and_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = Texts(["One.", None, float("nan"), 3, pa.scalar("Two.")], Options())
    assert brief(list(texts.rows())) == [
        (1, "One."),
        (2, "text", "empty"),
        (3, "text", "empty"),
        (4, "text", "not text"),
        (5, "Two."),
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\n\nb")))
    assert brief(list(Stdin(Options()).rows())) == [(1, "a"), (3, "b")]


@pytest.mark.parametrize(
    ("name", "content", "given", "message"),
    [
        ("a.csv", "id,body\n1,x\n", {}, r"no column 'text'; it has 'id', 'body'.*--text-column"),
        ("a.csv", "id,text\n", {"id_column": "key"}, r"no column 'key'.*--id-column"),
        ("a.jsonl", '{"body": "x"}\n', {}, r"no column 'text'; it has 'body'"),
        ("a.csv", "", {}, "has no header"),
        ("a.csv", "text,text\n", {}, "names a column twice: text"),
        ("a.parquet", "text", {}, "is not a Parquet file"),
        ("a.doc", "text", {}, r"format of .*a\.doc cannot be told"),
    ],
)
def test_what_cannot_be_read_is_explained(
    tmp_path: Path, name: str, content: str, given: dict[str, str], message: str
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises((InvalidData, InvalidRequest), match=message):
        read(tmp_path / name, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "There is no input"),
        (["nowhere.csv"], r"nowhere\.csv is not there"),
        (["nowhere*.csv"], "fits no file"),
        (["nope://x.csv"], "nope://x.csv cannot be opened"),
        ([__file__ + "x"], "is not there"),
    ],
)
def test_inputs_that_name_nothing_are_refused(given: list[str], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        find_sources(given)


def test_a_folder_without_documents_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match=r"holds \.csv\. For files of rows give a glob"):
        find_sources([str(tmp_path)])


@pytest.mark.parametrize(
    ("output", "given", "message"),
    [
        ("o.txt", {}, "'txt'; jsonl, csv and parquet"),
        ("o", {}, "--format"),
        ("o.csv", {"summary": "s.csv"}, "needs --documents"),
        ("o.csv", {"min_score": 2.0}, "between 0 and 1"),
        ("o.csv", {"limit": 0}, "--limit is 0"),
        ("o.csv", {"input_format": "pdf"}, "--input-format is 'pdf'"),
    ],
)
def test_options_without_sense_are_refused(
    output: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        make_options(output, **given)


def test_documents_may_be_longer_than_rows() -> None:
    assert make_options("o.csv").max_characters == 5_000
    assert make_options("o.csv", documents=True).max_characters == 200_000
    assert make_options("o.x", format="ndjson").format == "jsonl"
