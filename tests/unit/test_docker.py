"""Dockerfile, .dockerignore and compose.yaml keep what they promise and fit each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from dockerfile import (
    Instruction,
    command,
    environment,
    health_command,
    read_instructions,
    requirement,
    sources,
    texts_of,
)

from diplophrase.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built() -> list[Instruction]:
    return read_instructions(ROOT / "Dockerfile")


@pytest.fixture(scope="module")
def last_stage(built: list[Instruction]) -> list[Instruction]:
    """What the image itself is made of: all that follows the last FROM."""
    last = max(k for k, (name, _) in enumerate(built) if name == "FROM")
    return built[last:]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


@pytest.fixture(scope="module")
def service(compose: dict[str, Any]) -> dict[str, Any]:
    [only] = compose["services"].values()
    assert isinstance(only, dict)
    return only


def variables(built: list[Instruction]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in environment(built))


def test_the_reader_joins_lines_and_leaves_comments_out(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(
        "# a comment\nfrom x AS y\nRUN one \\\n    # within\n    && two\n\n"
        'HEALTHCHECK --retries=3 \\\n  CMD ["a", "b c"]\nCOPY --chown=1:1 p q /r\n'
        "COPY --from=y /s /t\nRUN pip install --quiet '.[some]'\n"
    )
    read = read_instructions(file)
    assert read[0] == ("FROM", "x AS y")
    assert read[1][1].split() == ["one", "&&", "two"]
    assert health_command(read) == ["a", "b c"]
    assert sources(read) == ["p", "q"]
    assert requirement(read) == [".[some]"]


def test_every_stage_starts_from_the_same_slim_python(built: list[Instruction]) -> None:
    bases = [text.split()[0] for text in texts_of(built, "FROM")]
    assert set(bases) == {"python:3.11-slim"}


def test_only_the_serve_extra_is_installed(built: list[Instruction]) -> None:
    assert requirement(built) == [".[serve]"]
    assert sum("pip install" in text for text in texts_of(built, "RUN")) == 1


def test_the_serve_extra_names_no_training_library() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["serve"]
    names = {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in needed}
    assert names.isdisjoint({"torch", "transformers", "datasets", "scikit-learn", "diplophrase"})


def test_the_last_stage_takes_the_installation_models_and_codebook_only(
    last_stage: list[Instruction],
) -> None:
    assert texts_of(last_stage, "COPY") == [
        "--from=build /opt/venv /opt/venv",
        "--chown=10001:10001 models /srv/diplophrase/models",
        "--chown=10001:10001 labels/codebook.yaml /srv/diplophrase/labels/codebook.yaml",
    ]


def test_it_runs_as_a_user_that_is_not_root(last_stage: list[Instruction]) -> None:
    assert texts_of(last_stage, "USER") == ["10001:10001"]
    names = [name for name, _ in last_stage]
    assert "RUN" not in names[names.index("USER") :]


def test_it_listens_on_every_address_of_the_container(last_stage: list[Instruction]) -> None:
    assert texts_of(last_stage, "EXPOSE") == ["8000"]
    given = variables(last_stage)
    assert (given["DIPLOPHRASE_HOST"], given["DIPLOPHRASE_PORT"]) == ("0.0.0.0", "8000")


def test_every_variable_of_ours_is_a_setting(last_stage: list[Instruction]) -> None:
    prefix = "DIPLOPHRASE_"
    ours = {name.removeprefix(prefix) for name in variables(last_stage) if name.startswith(prefix)}
    assert ours <= {name.upper() for name in Settings.model_fields}


def test_no_shell_stands_between_sigterm_and_the_process(last_stage: list[Instruction]) -> None:
    assert command(last_stage) == ["diplophrase", "serve"]
    assert texts_of(last_stage, "ENTRYPOINT") == []
    assert texts_of(last_stage, "STOPSIGNAL") == []


def test_the_health_check_asks_readyz_with_python_alone(last_stage: list[Instruction]) -> None:
    program, flag, code = health_command(last_stage)
    assert (program, flag) == ("python", "-c")
    assert "/readyz" in code
    assert "urllib.request" in code
    compile(code, "health check", "exec")


def test_the_build_sees_what_it_copies_and_nothing_else(built: list[Instruction]) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    assert sorted(line[1:] for line in patterns if line.startswith("!")) == sorted(sources(built))
    assert [source for source in sources(built) if not (ROOT / source).exists()] == []


def test_the_packages_copied_are_those_of_the_project(built: list[Instruction]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} <= set(sources(built))


def test_the_port_is_open_to_this_machine_only(
    service: dict[str, Any], last_stage: list[Instruction]
) -> None:
    [port] = texts_of(last_stage, "EXPOSE")
    assert service["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_container_cannot_change_itself(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "user" not in service


def test_models_and_keys_lie_on_volumes(
    compose: dict[str, Any], service: dict[str, Any], last_stage: list[Instruction]
) -> None:
    mounts = {
        target: name for name, _, target in (row.partition(":") for row in service["volumes"])
    }
    given = variables(last_stage)
    keys_folder = given["DIPLOPHRASE_KEYS"].rpartition("/")[0]
    assert mounts == {given["DIPLOPHRASE_MODELS"]: "models", keys_folder: "state"}
    assert set(compose["volumes"]) == set(mounts.values())


def test_it_starts_again_and_has_the_time_to_end_what_it_began(service: dict[str, Any]) -> None:
    assert service["restart"] == "unless-stopped"
    assert service["init"] is True
    deadline: float = Settings.model_fields["deadline_s"].default
    assert float(service["stop_grace_period"].removesuffix("s")) > deadline
