"""Settings: what wins, what is refused, and the exact words of a refusal."""

import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from diplophrase.errors import SettingsError
from diplophrase.settings import Settings, load_settings

DEFAULTS = {
    "labels": Path("labels"),
    "seeds": Path("seeds"),
    "jobs": None,
    "job_command": [],
    "job_grace_s": 10.0,
    "archives": None,
    "frozen_test": None,
    "keys": Path("keys.json"),
    "open_reading": True,
    "cors_origins": [],
    "models": Path("models"),
    "database": None,
    "host": "127.0.0.1",
    "port": 8000,
    "workers": 1,
    "runners": 2,
    "threads": 1,
    "batch_texts": 16,
    "batch_tokens": 512,
    "max_in_flight": 8192,
    "deadline_s": 30.0,
    "model_poll_s": 2.0,
    "max_texts": 256,
    "max_characters": 5000,
    "max_statement_characters": 200_000,
    "max_body_bytes": 2_000_000,
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without settings in the environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DIPLOPHRASE_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(settings: Settings) -> dict[str, Any]:
    """Return the settings that differ from the defaults."""
    fields = Settings.model_fields
    return {
        name: value
        for name, value in settings.model_dump().items()
        if value != fields[name].default
    }


def refuse(message: str, file: str | Path | None = None, **given: Any) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}$"):
        load_settings(file, **given)


def test_defaults() -> None:
    assert load_settings().model_dump() == DEFAULTS


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_the_file_of_the_working_folder_is_read(folder: Path) -> None:
    (folder / "diplophrase.yaml").write_text("port: 9001\nmodels: /srv/models\n")
    assert changed(load_settings()) == {"port": 9001, "models": Path("/srv/models")}


def test_a_named_file_takes_the_place_of_the_default(folder: Path) -> None:
    (folder / "diplophrase.yaml").write_text("port: 9001\nthreads: 4\n")
    (folder / "other.yaml").write_text("port: 9002\n")
    assert changed(load_settings("other.yaml")) == {"port": 9002}


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "---\n"])
def test_an_empty_file_changes_nothing(folder: Path, content: str) -> None:
    (folder / "diplophrase.yaml").write_text(content)
    assert changed(load_settings()) == {}


def test_command_line_over_environment_over_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "diplophrase.yaml").write_text("port: 9001\nthreads: 3\nmax_texts: 10\n")
    monkeypatch.setenv("DIPLOPHRASE_PORT", "9002")
    monkeypatch.setenv("DIPLOPHRASE_THREADS", "5")
    assert changed(load_settings(port=9003)) == {"port": 9003, "threads": 5, "max_texts": 10}


def test_what_the_command_line_leaves_out_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIPLOPHRASE_HOST", "0.0.0.0")
    settings = load_settings(host=None, port=None, models=None)
    assert changed(settings) == {"host": "0.0.0.0"}


def test_a_good_value_hides_a_bad_one_below_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "diplophrase.yaml").write_text("port: many\n")
    monkeypatch.setenv("DIPLOPHRASE_PORT", "9002")
    assert load_settings().port == 9002


def test_port_zero_takes_a_free_one() -> None:
    assert load_settings(port=0).port == 0


def test_a_missing_named_file_is_refused() -> None:
    refuse("The settings file nowhere.yaml is not there. Check the path.", "nowhere.yaml")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"port": -1}, "port: found -1; Input should be greater than or equal to 0"),
        ({"port": 65536}, "port: found 65536; Input should be less than or equal to 65535"),
        ({"threads": 0}, "threads: found 0; Input should be greater than or equal to 1"),
        ({"threads": 65}, "threads: found 65; Input should be less than or equal to 64"),
        ({"workers": 0}, "workers: found 0; Input should be greater than or equal to 1"),
        ({"runners": 0}, "runners: found 0; Input should be greater than or equal to 1"),
        ({"batch_texts": 257}, "batch_texts: found 257; Input should be less than or equal to 256"),
        ({"batch_tokens": 0}, "batch_tokens: found 0; Input should be greater than or equal to 1"),
        (
            {"max_in_flight": 0},
            "max_in_flight: found 0; Input should be greater than or equal to 1",
        ),
        ({"deadline_s": 0}, "deadline_s: found 0; Input should be greater than 0"),
        ({"max_texts": 0}, "max_texts: found 0; Input should be greater than or equal to 1"),
        (
            {"max_characters": 0},
            "max_characters: found 0; Input should be greater than or equal to 1",
        ),
        (
            {"max_statement_characters": 0},
            "max_statement_characters: found 0; Input should be greater than or equal to 1",
        ),
        (
            {"max_body_bytes": 999},
            "max_body_bytes: found 999; Input should be greater than or equal to 1000",
        ),
        ({"colour": "red"}, "colour: found 'red'; Extra inputs are not permitted"),
        (
            {"port": "many"},
            "port: found 'many'; Input should be a valid integer, "
            "unable to parse string as an integer",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_setting_that_cannot_be_used(given: dict[str, Any], fault: str) -> None:
    refuse(
        f"1 setting(s) cannot be used:\n  {fault}\n"
        "Settings come from diplophrase.yaml if it is there, then from DIPLOPHRASE_* variables, "
        "then from the command line.",
        **given,
    )


def test_every_fault_is_named_wherever_it_stands(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "other.yaml").write_text("threads: 0\ncolour: red\n")
    monkeypatch.setenv("DIPLOPHRASE_MAX_TEXTS", "0")
    refuse(
        "4 setting(s) cannot be used:\n"
        "  port: found 70000; Input should be less than or equal to 65535\n"
        "  threads: found 0; Input should be greater than or equal to 1\n"
        "  max_texts: found '0'; Input should be greater than or equal to 1\n"
        "  colour: found 'red'; Extra inputs are not permitted\n"
        "Settings come from other.yaml if it is there, then from DIPLOPHRASE_* variables, "
        "then from the command line.",
        "other.yaml",
        port=70_000,
    )


@pytest.mark.parametrize("content", ["- port\n- host\n", "port", "8000", "1: 2"])
def test_a_file_that_holds_no_settings_is_refused(folder: Path, content: str) -> None:
    (folder / "diplophrase.yaml").write_text(content)
    refuse("diplophrase.yaml holds no settings. Give each as a line, such as 'port: 8000'.")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"port: [", "while parsing a flow node"),
        (b"port: \xff", "'utf-8' codec can't decode byte 0xff in position 6"),
    ],
)
def test_a_file_that_is_not_yaml_is_refused(folder: Path, content: bytes, fault: str) -> None:
    (folder / "diplophrase.yaml").write_bytes(content)
    start = re.escape(f"diplophrase.yaml is not YAML: {fault}")
    with pytest.raises(SettingsError, match=rf"(?s)^{start}.*\. Mend the file\.$"):
        load_settings()


def test_a_refusal_ends_the_process_with_its_own_code() -> None:
    with pytest.raises(SettingsError, match=r"^1 setting\(s\) cannot be used") as caught:
        load_settings(port=-1)
    assert (caught.value.kind, caught.value.exit_code) == ("settings", 7)


def test_settings_can_be_sent_to_another_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "diplophrase.yaml").write_text("port: 9001\n")
    monkeypatch.setenv("DIPLOPHRASE_THREADS", "5")
    settings = load_settings(workers=2)
    monkeypatch.delenv("DIPLOPHRASE_THREADS")
    assert changed(pickle.loads(pickle.dumps(settings))) == {
        "port": 9001,
        "threads": 5,
        "workers": 2,
    }


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()
    with pytest.raises(ValueError, match="Instance is frozen"):
        settings.port = 1
