"""What a version answered out of fold: `predictions.jsonl`, one line a sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from diplophrase.bundle import PREDICTIONS, Bundle
from diplophrase.errors import BundleError, DiplophraseError


class Prediction(BaseModel):
    """One sentence: the hand labels of the time, and what a model that had not seen it answered.

    `event` names the event that the sentence reports, where the run noted it; sentences of one
    event are in one fold. `text_sha256` is of the text that was answered, where the run noted it.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    fold: int
    event: str | None = None
    gold: tuple[str, ...]
    given: tuple[str, ...]
    scores: dict[str, float]
    text_sha256: str | None = None


def hash_text(text: str) -> str:
    """Return the sha256 of a text in UTF-8, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def read_predictions(bundle: Bundle, name: str = PREDICTIONS) -> dict[str, Prediction]:
    """Return the out-of-fold answers of a version by the sentence's id, in the file's order.

    `name` is `control.jsonl` for those of a fast version's control.

    Raises:
        DiplophraseError: `not_comparable` if the version was not measured out of fold.
        BundleError: if the file is not what a run writes; the message names the line.
    """
    path = bundle.path / name
    if not path.is_file():
        raise DiplophraseError(
            f"{bundle.version} holds no answers out of fold ({name}): it was trained with "
            f"--folds 0, or by a program older than this one. Train it again: diplophrase train",
            kind="not_comparable",
        )
    labels = {label.id for label in bundle.config.labels}
    lines = path.read_text(encoding="utf-8").strip().split("\n")
    rows = [_read_line(path, number, line, labels) for number, line in enumerate(lines, 1)]
    found = {row.id: row for row in rows}
    if len(found) != len(rows):
        raise BundleError(
            f"{path} holds {len(rows) - len(found)} sentence(s) twice. Train the version again."
        )
    return found


def _read_line(path: Path, number: int, line: str, labels: set[str]) -> Prediction:
    try:
        row = Prediction.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BundleError(
            f"{path}, line {number}: {where}: {first['msg']}. Train the version again."
        ) from None
    if set(row.scores) != labels or not set(row.given) <= labels:
        raise BundleError(
            f"{path}, line {number}: its labels are not those of config.json. The files are of "
            f"different models."
        )
    return row
