"""`diplophrase labels`: import, export, and what training takes from the store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from diplophrase.annotations import check_annotations, read_annotations
from diplophrase.command import main
from diplophrase.command.label_store import bring_training_up_to_date
from diplophrase.errors import DiplophraseError, InvalidData
from serving.store.conflicts import ReferenceFiles
from serving.store.training import export_to_training
from tests.integration.conftest import ROOT
from tests.integration.store_fixtures import (
    CODEBOOK,
    draft,
    entries,
    make_labels,
    open_store,
    plain,
)

SEEDS = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")


@pytest.fixture
def labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_labels(tmp_path / "labels", "seeds.jsonl")


def run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *arguments: object
) -> tuple[object, str, str]:
    """Run the command as a shell does; return its exit code and what it prints."""
    monkeypatch.setattr("sys.argv", ["diplophrase", "labels", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    printed = capfd.readouterr()
    return caught.value.code, printed.out, printed.err


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_bad_row_keeps_the_whole_file_out(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = write(labels / "new.jsonl", draft(1), draft(2, labels=["nothing"]), draft(3, tier="x"))
    code, out, err = run(monkeypatch, capfd, "import", file)
    assert (code, out) == (3, "")
    assert err.startswith("error: new.jsonl: 4 fault(s), so nothing was taken in.\n")
    assert "row 2, labels: found nothing;" in err
    assert "row 3, tier: found x; tier is given exactly where partnership_tier is" in err
    assert run(monkeypatch, capfd, "export")[1] == ""


def test_ids_of_others_are_named_by_their_row(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write(labels / "one.jsonl", draft(1, id="x"))
    write(labels / "two.jsonl", draft(2), draft(3, id="x"))
    assert run(monkeypatch, capfd, "import", labels / "one.jsonl")[0] == 0
    code, _, err = run(monkeypatch, capfd, "import", labels / "two.jsonl")
    assert (code, "two.jsonl: 1 fault(s)" in err, "row 2, id: found x" in err) == (3, True, True)


def test_rows_that_do_not_say_who_get_the_annotator_of_the_command(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    nameless = {name: value for name, value in draft(1).items() if name != "annotator"}
    file = write(labels / "new.jsonl", nameless, draft(2, "bea"))
    assert "row 1, annotator: found nothing" in run(monkeypatch, capfd, "import", file)[2]
    code, out, _ = run(monkeypatch, capfd, "import", file, "--annotator", "eve")
    assert (code, json.loads(out)["added"]) == (0, 2)
    exported = run(monkeypatch, capfd, "export")[1].splitlines()
    assert {json.loads(line)["annotator"] for line in exported} == {"eve", "bea"}


def test_an_import_tells_its_conflicts(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seed = next(note for note in SEEDS if note.labels)
    file = write(labels / "new.jsonl", plain(0, text=seed.text))
    _, out, err = run(monkeypatch, capfd, "import", file)
    assert json.loads(out)["added"] == 1
    assert "1 text(s) are labelled otherwise elsewhere:" in err
    assert f"seeds.jsonl ({seed.id}): {', '.join(sorted(seed.labels))}" in err
    [line] = run(monkeypatch, capfd, "conflicts", "--json")[1].splitlines()
    assert [claim["by"] for claim in json.loads(line)["claims"]] == ["seeds.jsonl", "ada"]


def test_training_takes_what_is_settled_and_not_learnt_already(labels: Path) -> None:
    seed = next(note for note in SEEDS if not note.labels)
    store = open_store(f"sqlite:///{labels / 'store.db'}")
    rows = [
        draft(1),
        draft(1, "bea", note="The newest word."),
        draft(2),
        plain(2, "bea"),
        plain(0, text=seed.text),
        plain(3),
    ]
    store.add(entries(*rows), origin="import")
    done = export_to_training(store, labels)
    assert (done.annotations, done.known, len(done.conflicts)) == (2, 1, 1)
    notes = check_annotations(done.path, CODEBOOK)
    assert {note.text: note.note for note in notes} == {
        draft(1)["text"]: "The newest word.",
        draft(3)["text"]: None,
    }
    assert [note.id for note in notes] == sorted(note.id for note in notes)
    again = export_to_training(store, labels)
    assert again.data_hash == done.data_hash
    store.database.close()


def test_lines_put_in_by_hand_are_not_lost(labels: Path) -> None:
    store = open_store(f"sqlite:///{labels / 'store.db'}")
    store.add(entries(draft(1)), origin="import")
    path = export_to_training(store, labels).path
    byhand = entries(draft(2, id="mine"))[0].annotation
    before = path.read_text() + byhand.to_json() + "\n"
    path.write_text(before)
    with pytest.raises(InvalidData, match=r"1 annotation\(s\).*: mine. Take them in first: diplo"):
        export_to_training(store, labels)
    assert path.read_text() == before
    store.add(entries(draft(2, id="mine", created=byhand.created)), origin="import")
    assert export_to_training(store, labels).annotations == 2
    store.database.close()


def test_training_brings_itself_up_to_date_only_with_a_store(labels: Path) -> None:
    added = labels / "annotations" / "added.jsonl"
    bring_training_up_to_date(labels)
    assert not added.exists()
    store = open_store(f"sqlite:///{labels / 'store.db'}")
    store.add(entries(draft(1)), origin="import")
    store.database.close()
    bring_training_up_to_date(labels)
    assert len(read_annotations(added)) == 1


def test_a_file_that_cannot_be_written_stays_as_it_was(labels: Path) -> None:
    store = open_store(f"sqlite:///{labels / 'store.db'}")
    store.add(entries(draft(1)), origin="import")
    elsewhere = labels / "none"
    with pytest.raises(DiplophraseError, match="cannot be written: No such file") as raised:
        export_to_training(store, elsewhere)
    assert raised.value.kind == "storage"
    store.database.close()


def test_the_files_beside_the_store_are_read_again_when_they_change(labels: Path) -> None:
    files = ReferenceFiles(labels)
    count = len(files.claims())
    path = labels / "annotations" / "authored.jsonl"
    path.write_text(entries(draft(1))[0].annotation.to_json() + "\n")
    assert len(files.claims()) == count + 1


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "labelstudio"])
def test_what_goes_out_comes_in_again_unchanged(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], kind: str
) -> None:
    write(labels / "new.jsonl", draft(1, note="A note."), plain(2, source={"doc": "d"}))
    run(monkeypatch, capfd, "import", labels / "new.jsonl")
    file = labels / "out"
    code, digest, _ = run(monkeypatch, capfd, "export", "--format", kind, "--out", file)
    assert code == 0
    _, out, _ = run(monkeypatch, capfd, "import", file, "--format", kind)
    assert json.loads(out) == {"added": 0, "changed": 0, "unchanged": 2}
    again = run(monkeypatch, capfd, "export", "--format", kind, "--out", file)
    assert again[1] == digest


def test_a_scored_archive_fills_the_queue_with_its_least_sure_texts(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (labels.parent / "models").symlink_to(ROOT / "models")
    texts = [draft(number)["text"] for number in range(6)]
    sure = {f"score_{label}": [0.0] * 6 for label in CODEBOOK.ids}
    unsure = {"score_economic_cooperation": [0.0, 0.35, 1.0, 0.4, 0.0, 0.001]}
    pq.write_table(pa.table({"text": texts, **sure, **unsure}), labels / "scored.parquet")
    code, _, err = run(monkeypatch, capfd, "queue", labels / "scored.parquet", "--keep", 2)
    assert (code, err) == (0, "2 text(s) joined the queue.\n")
    lines = run(monkeypatch, capfd, "review")[1].splitlines()
    assert {json.loads(line)["text"] for line in lines} == {texts[1], texts[3]}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xml", "x", "give a file that ends in .txt, .csv, .jsonl, .parquet"),
        ("a.jsonl", '{"text": "x"}\n{"words": "x"}\n', "row 2, text: found None; a row has a text"),
        ("a.jsonl", '{"text": "x"}\n{', "row 2, line: found '{'; must be a JSON object"),
        ("a.csv", "text,score_x\ny,z\n", "row 2, scores: found {'x': 'z'}; scores are numbers"),
        ("a.txt", "x" * 5001, "row 1, text: .*at most 5000 characters"),
        ("a.parquet", "x", "is not Parquet"),
    ],
)
def test_archives_that_cannot_be_read_are_refused(
    labels: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    content: str,
    message: str,
) -> None:
    (labels.parent / "models").symlink_to(ROOT / "models")
    (labels / name).write_text(content)
    code, _, err = run(monkeypatch, capfd, "queue", labels / name)
    assert code == 3
    assert re.search(message, err), err
    assert run(monkeypatch, capfd, "review")[1] == ""


def test_the_history_of_a_text_is_listed(
    labels: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    store = open_store(f"sqlite:///{labels / 'store.db'}")
    [receipt] = store.add(
        entries(draft(1, model_version="m1")), origin="api", key_id="0123456789abcdef"
    )
    store.retract([receipt.id], origin="import")
    store.database.close()
    code, out, err = run(monkeypatch, capfd, "history", draft(1)["text"])
    assert (code, err) == (0, "2 event(s).\n")
    said, taken = (line.partition(" ")[2] for line in out.splitlines())
    assert said == (
        f"ada said: economic_cooperation ({receipt.id}, key 0123456789abcdef, correcting m1)"
    )
    assert taken == f"ada took back: economic_cooperation ({receipt.id}, import)"
    _, out, _ = run(monkeypatch, capfd, "history", draft(1)["text"], "--json")
    assert [json.loads(line)["event"] for line in out.splitlines()] == [1, 2]
