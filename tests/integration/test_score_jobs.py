"""Archives scored as jobs of the service: what comes out, and that nothing else can be touched."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import diplophrase
from diplophrase.errors import InvalidRequest, SettingsError
from diplophrase.settings import Settings
from serving.app import create_app
from serving.archive import Counts
from serving.jobs import kinds
from serving.jobs.board import JobBoard
from tests.integration.test_archive import TEXTS, write_jsonl
from tests.integration.test_jobs import TELL, Jobs, kill_all, service, wait_until
from tests.versions import ROOT

REAL = "from diplophrase.command import main; main()"
OPTIONS = {"inputs": ["in.jsonl"], "output": "out.jsonl"}


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    folder = tmp_path / "archives"
    folder.mkdir()
    write_jsonl(folder / "in.jsonl", [*TEXTS[:40], None])
    (tmp_path / "outside.jsonl").write_text('{"text": "Kenya abides by it."}\n')
    (folder / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (folder / "away").symlink_to(tmp_path)
    return folder


@pytest.fixture
def jobs(tmp_path: Path, archives: Path) -> Iterator[Jobs]:
    with service(tmp_path, REAL, archives=archives) as found:
        yield found


def score(jobs: Jobs, **options: Any) -> dict[str, Any]:
    status, job = jobs.ask("POST", body={"kind": "score", "options": {**OPTIONS, **options}})
    assert status == 200, job
    return jobs.end(job)


def refusal(jobs: Jobs, **options: Any) -> dict[str, Any]:
    status, error = jobs.ask("POST", body={"kind": "score", "options": {**OPTIONS, **options}})
    assert status == 422, error
    assert not jobs.settings.jobs_folder.exists()
    return error


def test_a_scoring_gives_what_the_command_gives(jobs: Jobs, archives: Path, tmp_path: Path) -> None:
    ended = score(jobs, part_rows=7)
    assert ended["state"] == "done", jobs.log(ended)
    result = ended["result"]
    assert (result["output"], result["rows"], result["sentences"]) == ("out.jsonl", 41, 40)
    assert list(result["rejected"].values()) == [1]
    progress = ended["progress"]
    assert progress == {"fraction": 1.0, "stage": "scoring", "step": 1000, "of": 1000}
    expected = tmp_path / "expected.jsonl"
    diplophrase.score(archives / "in.jsonl", expected, models=ROOT / "models", part_rows=7)
    assert (archives / "out.jsonl").read_bytes() == expected.read_bytes()


def test_every_option_reaches_the_command(tmp_path: Path, archives: Path) -> None:
    options = {
        "inputs": ["--models=/etc", "a*.csv"],
        "output": "deep/out.parquet",
        "text_column": "body",
        "id_column": "key",
        "documents": True,
        "summary": "deep/sum.csv",
        "labels": ["taiwan_one_china", "core_interests"],
        "min_score": 0.5,
        "limit": 9,
        "format": "parquet",
        "input_format": "csv",
        "max_characters": 70,
        "part_rows": 8,
        "strict": True,
        "restart": True,
        "workers": 2,
    }
    with service(tmp_path, TELL, archives=archives) as jobs:
        _, job = jobs.ask("POST", body={"kind": "score", "options": options})
        ended = jobs.end(job)
        assert (ended["options"], ended["result"]) == (options, {})  # it printed no counts
        told = json.loads(jobs.folder(job).output.read_text(encoding="utf-8").splitlines()[1])
    assert told[:5] == ["score", "--json", "--documents", "--strict", "--restart"]
    assert told[-3:] == ["--", "--models=/etc", "a*.csv"]
    assert set(told[5:-3]) == {
        f"--within={archives.resolve()}",
        f"--models={(ROOT / 'models').resolve()}",
        f"--progress={jobs.settings.jobs_folder.resolve() / job['id'] / 'progress.json'}",
        "--output=deep/out.parquet",
        "--summary=deep/sum.csv",
        "--text-column=body",
        "--id-column=key",
        "--labels=taiwan_one_china,core_interests",
        "--min-score=0.5",
        "--limit=9",
        "--format=parquet",
        "--input-format=csv",
        "--max-characters=70",
        "--part-rows=8",
        "--workers=2",
    }


def test_a_job_killed_and_started_again_goes_on(jobs: Jobs, archives: Path) -> None:
    texts = [f"{text} No. {number}" for number in range(10) for text in TEXTS[:40]]
    write_jsonl(archives / "in.jsonl", texts)
    body = {"kind": "score", "options": {**OPTIONS, "part_rows": 20}}
    _, job = jobs.ask("POST", body=body)
    manifest = archives / "out.jsonl.parts" / "manifest.jsonl"
    wait_until(
        lambda: manifest.exists() and manifest.read_bytes().count(b"\n") > 3, "some parts are done"
    )
    kill_all(jobs.folder(job))
    assert jobs.end(job)["state"] == "lost"
    done = manifest.read_bytes().count(b"\n") - 1
    assert 0 < done < 20
    ended = score(jobs, part_rows=20)
    assert ended["state"] == "done", jobs.log(ended)
    assert ended["result"]["sentences"] == 400
    assert ended["result"]["scored"] == 400 - 20 * done
    rows = (archives / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["text"] for row in rows] == texts


def test_a_job_that_is_cancelled_keeps_its_parts(jobs: Jobs, archives: Path) -> None:
    write_jsonl(archives / "in.jsonl", [f"{TEXTS[0]} {n}" for n in range(4000)])
    body = {"kind": "score", "options": {**OPTIONS, "part_rows": 20}}
    _, job = jobs.ask("POST", body=body)
    wait_until(lambda: jobs.ask("GET", f"/{job['id']}")[1]["progress"], "it has begun")
    jobs.ask("DELETE", f"/{job['id']}")
    assert jobs.end(job)["state"] == "cancelled"
    assert (archives / "out.jsonl.parts").is_dir()
    assert not (archives / "out.jsonl").exists()


def test_without_the_setting_nothing_is_scored(tmp_path: Path) -> None:
    with service(tmp_path, TELL) as jobs:
        error = refusal(jobs)
        assert error["message"].startswith(
            "This service scores no archives: the setting `archives` must name the folder"
        )
        assert [detail["field"] for detail in error["details"]] == ["kind"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with service(tmp_path, TELL, archives=tmp_path / "none") as jobs:
        status, error = jobs.ask("POST", body={"kind": "score", "options": OPTIONS})
        assert (status, error["kind"]) == (503, "not_ready")
        assert "of the setting `archives` is not there" in error["message"]


@pytest.mark.parametrize(
    ("options", "field", "rule"),
    [
        ({"inputs": ["in.jsonl", "/etc/passwd"]}, "inputs", "relative"),
        ({"inputs": ["in.jsonl", "../outside.jsonl"]}, "inputs", "relative"),
        ({"inputs": ["in.jsonl", "s3://bucket/a.csv"]}, "inputs", "no URL"),
        ({"inputs": ["in.jsonl", "file:/etc/passwd"]}, "inputs", "no URL"),
        ({"inputs": ["in.jsonl", "zip://a.csv::file:///x.zip"]}, "inputs", "no URL"),
        ({"inputs": ["in.jsonl", "data:text/csv,text"]}, "inputs", "no URL"),
        ({"inputs": ["in.jsonl", "~/secret.csv"]}, "inputs", "no URL"),
        ({"inputs": ["in.jsonl", "-"]}, "inputs", "stdin"),
        ({"inputs": ["in.jsonl", "link.jsonl"]}, "inputs", "link"),
        ({"inputs": ["in.jsonl", "away/outside.jsonl"]}, "inputs", "link"),
        ({"output": "/tmp/out.jsonl"}, "output", "relative"),
        ({"output": "a/../../out.jsonl"}, "output", "relative"),
        ({"output": "memory://out.jsonl"}, "output", "no URL"),
        ({"output": "link.jsonl"}, "output", "link"),
        ({"output": "away/new.jsonl"}, "output", "link"),
        ({"output": "x.csv.manifest.json"}, "output", "beside"),
        ({"output": "x.csv.parts/rows.jsonl"}, "output", "beside"),
        ({"documents": True, "summary": "away/s.csv"}, "summary", "link"),
        ({"documents": True, "summary": "../s.csv"}, "summary", "relative"),
    ],
)
def test_names_that_lead_elsewhere_are_refused_at_once(
    jobs: Jobs, tmp_path: Path, options: dict[str, Any], field: str, rule: str
) -> None:
    error = refusal(jobs, **options)
    assert error["kind"] == "invalid_request"
    [detail] = error["details"]
    assert (detail["field"], detail["index"]) == (field, 1 if field == "inputs" else None)
    assert rule in detail["rule"]
    assert not (tmp_path / "new.jsonl").exists()


def test_files_beside_an_output_may_be_no_links_out(jobs: Jobs, archives: Path) -> None:
    (archives / "out.jsonl.rejected.jsonl").symlink_to(archives.parent / "outside.jsonl")
    assert "link" in refusal(jobs)["details"][0]["rule"]


@pytest.fixture
def inside(archives: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Counts]:
    """What `diplophrase score --within ARCHIVES` calls."""
    monkeypatch.chdir(archives)

    def run(**given: Any) -> Counts:
        named = {**OPTIONS, **given}
        return diplophrase.score(models=ROOT / "models", within=archives, **named)

    return run


@pytest.mark.parametrize("inputs", ["link*", "documents"])
def test_what_a_pattern_or_a_folder_holds_outside_is_refused(
    inside: Callable[..., Counts], archives: Path, inputs: str
) -> None:
    (archives / "documents").mkdir()
    (archives.parent / "secret.txt").write_text("A secret.")
    (archives / "documents" / "a.txt").symlink_to(archives.parent / "secret.txt")
    with pytest.raises(InvalidRequest, match="lies outside the folder"):
        inside(inputs=[inputs])
    assert not (archives / "out.jsonl").exists()


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("place", ["output", "summary"])
def test_files_of_others_are_not_replaced(
    inside: Callable[..., Counts], archives: Path, place: str, restart: bool
) -> None:
    (archives / "theirs.jsonl").write_text("{}\n")
    with pytest.raises(InvalidRequest, match="was not made by a run for the output"):
        inside(**{place: "theirs.jsonl"}, documents=True, restart=restart)
    assert (archives / "theirs.jsonl").read_text() == "{}\n"


def test_a_restart_replaces_its_own(inside: Callable[..., Counts], archives: Path) -> None:
    inside(documents=True, summary="sum.csv")
    write_jsonl(archives / "in.jsonl", TEXTS[50:60])
    with pytest.raises(InvalidRequest, match="was begun by a run that differs"):
        inside(documents=True, summary="sum.csv")
    assert inside(documents=True, summary="sum.csv", restart=True).rows == 10
    assert (archives / "sum.csv").read_text(encoding="utf-8").count("\n") == 11


def test_a_summary_is_no_file_beside_the_output(
    inside: Callable[..., Counts], tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match="is also a file that --output"):
        diplophrase.score(
            "in.jsonl",
            "o.csv",
            documents=True,
            summary="o.csv.rejected.jsonl",
            models=ROOT / "models",
        )


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"inputs": []}, "options.inputs"),
        ({"inputs": ["a\0b"]}, "options.inputs"),
        ({"output": ""}, "options.output"),
        ({"format": "xml"}, "options.format"),
        ({"min_score": 2}, "options.min_score"),
        ({"labels": ["A,B"]}, "options.labels"),
        ({"models": "/etc"}, "options.models"),
        ({"within": "/"}, "options.within"),
        ({"engine": "ray"}, "options.engine"),
    ],
)
def test_bad_options_are_refused(jobs: Jobs, options: dict[str, Any], field: str) -> None:
    assert [detail["field"] for detail in refusal(jobs, **options)["details"]] == [field]


def test_what_kinds_there_are_is_told(jobs: Jobs) -> None:
    _, error = jobs.ask("POST", body={"kind": "bake"})
    assert error["details"] == [
        {
            "field": "kind",
            "index": None,
            "found": "a string of 4 characters",
            "rule": "must be 'train' or 'score'",
        }
    ]
    _, error = jobs.ask("POST", body={"kind": "score", "score": 1})
    assert [detail["field"] for detail in error["details"]] == ["options", "score"]


def test_scoring_needs_a_key(jobs: Jobs) -> None:
    del jobs.client.headers["Authorization"]
    assert jobs.ask("POST", body={"kind": "score", "options": OPTIONS})[0] == 401


def test_training_and_scoring_share_the_one_place(tmp_path: Path, archives: Path) -> None:
    go = tmp_path / "go"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)"
    with service(tmp_path, wait, archives=archives) as jobs:
        job = jobs.start()
        status, error = jobs.ask("POST", body={"kind": "score", "options": OPTIONS})
        assert (status, error["kind"]) == (409, "conflict")
        threading.Timer(0, go.touch).start()
        jobs.end(job)


@pytest.mark.parametrize("setting", ["models", "labels", "seeds", "jobs", "database"])
def test_a_folder_that_holds_more_than_archives_is_refused(tmp_path: Path, setting: str) -> None:
    inside = tmp_path / "archives" / "other"
    inside.mkdir(parents=True)
    places = {name: tmp_path / name for name in ("models", "labels", "seeds", "jobs", "keys")}
    given: dict[str, Any] = {**places, setting: inside}
    if setting == "database":
        given["database"] = f"sqlite:///{inside / 'store.db'}"
    with pytest.raises(SettingsError, match=re.escape(f"the setting {setting!r}")):
        create_app(Settings(archives=tmp_path / "archives", **given))
    given = {**places, "archives": tmp_path / "models" / "deep"}
    with pytest.raises(SettingsError, match="lies in it"):
        create_app(Settings(**given))


def test_a_service_without_the_packages_says_what_to_install(
    tmp_path: Path, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with service(tmp_path, TELL, archives=archives) as jobs:
        board = JobBoard(jobs.settings.model_copy(update={"job_command": []}))
        monkeypatch.setattr(kinds, "find_spec", lambda name: None if name == "pyarrow" else name)
        with pytest.raises(Exception, match=r"needs the package pyarrow.*diplophrase\[score\]"):
            board.start("score", OPTIONS, by="me")
