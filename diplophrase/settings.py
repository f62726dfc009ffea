"""Settings of the service in one strict table: file < environment < command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from diplophrase.errors import SettingsError

ENV_PREFIX = "DIPLOPHRASE_"
DEFAULT_FILE = "diplophrase.yaml"
MOST_TEXTS = 10_000  # that `max_texts` may allow: faults are listed for each


class Settings(BaseSettings):
    """What the service can be told; every field may stand in the file or the environment."""

    model_config = SettingsConfigDict(extra="forbid", env_prefix=ENV_PREFIX, frozen=True)

    models: Path = Field(Path("models"), description="folder of bundles, with CURRENT")
    database: str | None = Field(
        None, description="URL of the label store; none: a SQLite file in `labels`"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(1, ge=1, le=64, description="processes that share the port")
    runners: int = Field(2, ge=1, le=64, description="batches that run at the same time")
    threads: int = Field(1, ge=1, le=64, description="threads inside one batch")
    batch_texts: int = Field(16, ge=1, le=256, description="texts in a batch")
    batch_tokens: int = Field(512, ge=1, description="padded tokens in a batch")
    max_in_flight: int = Field(8_192, ge=1, description="texts waiting or running, in all requests")
    deadline_s: float = Field(30.0, gt=0, description="seconds from arrival to answer")
    labels: Path = Field(Path("labels"), description="folder of codebook and hand labels")
    seeds: Path = Field(Path("seeds"), description="folder of source documents")
    jobs: Path | None = Field(None, description="folder of jobs; default: `.jobs` in `models`")
    job_command: list[str] = Field(
        [], description="what runs jobs; default: the `diplophrase` of the service"
    )
    job_grace_s: float = Field(
        10.0, ge=0, description="seconds that a cancelled job has to end by itself"
    )
    archives: Path | None = Field(
        None, description="the one folder that scoring jobs read and write; none: no such jobs"
    )
    frozen_test: Path | None = Field(
        None, description="labelled sentences on which a version is tested before its promotion"
    )
    keys: Path = Field(Path("keys.json"), description="file of API keys, which writing needs")
    open_reading: bool = Field(True, description="only writing needs a key; if false, all of /v1")
    cors_origins: list[str] = Field([], description="origins whose pages may read answers")
    model_poll_s: float = Field(2.0, gt=0, description="seconds between looks at CURRENT")
    max_texts: int = Field(256, ge=1, le=MOST_TEXTS, description="texts per request")
    max_characters: int = Field(5_000, ge=1, description="characters per text")
    max_statement_characters: int = Field(200_000, ge=1, description="characters per statement")
    max_body_bytes: int = Field(2_000_000, ge=1_000, description="bytes per request body")

    @property
    def jobs_folder(self) -> Path:
        return self.models / ".jobs" if self.jobs is None else self.jobs

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls)


def load_settings(file: str | Path | None = None, **given: Any) -> Settings:
    """Read the settings; `given` are those of the command line, None meaning not given.

    Without `file`, `diplophrase.yaml` of the working folder is read where it is there.

    Raises:
        SettingsError: naming every field that is unknown or out of bounds, and a file that is
            missing or holds no settings.
    """
    if file is not None and not Path(file).is_file():
        raise SettingsError(f"The settings file {file} is not there. Check the path.")
    path = Path(file) if file is not None else Path(DEFAULT_FILE)
    _check_file(path)

    class FromFile(Settings):
        model_config = SettingsConfigDict(yaml_file=path)

    named = {name: value for name, value in given.items() if value is not None}
    try:
        values = FromFile(**named).model_dump()
    except ValidationError as error:
        faults = "\n".join(
            f"  {'.'.join(str(part) for part in fault['loc'])}: found {fault['input']!r}; "
            f"{fault['msg']}"
            for fault in error.errors()
        )
        raise SettingsError(
            f"{error.error_count()} setting(s) cannot be used:\n{faults}\n"
            f"Settings come from {path} if it is there, then from {ENV_PREFIX}* variables, "
            f"then from the command line."
        ) from None
    return Settings.model_construct(**values)  # of the class itself, so that workers can be sent it


def _check_file(path: Path) -> None:
    """Refuse what the reader of YAML settings would answer with exceptions of its own."""
    if not path.is_file():
        return
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not YAML: {error}. Mend the file.") from None
    rows = {} if content is None else content
    if not isinstance(rows, dict) or not all(isinstance(name, str) for name in rows):
        raise SettingsError(f"{path} holds no settings. Give each as a line, such as 'port: 8000'.")
