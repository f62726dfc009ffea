"""Add a label of a user's own to a codebook, in a file beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import yaml
from pydantic import ValidationError

from diplophrase.codebook import OWN_FOLDER, Codebook, OwnLabel, load_codebook
from diplophrase.errors import Detail, InvalidRequest
from diplophrase.files import write_whole


def add_label(
    codebook_file: Path,
    label: str,
    definition: str,
    *,
    name: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    examples: Sequence[str] = (),
) -> tuple[Path, Codebook]:
    """Write the label to `own/<label>.yaml` beside the codebook; return the path and the whole.

    Raises:
        InvalidRequest: naming everything that is wrong with the label; nothing is written.
        InvalidData: if the codebook, or a label of a user's own that is there, cannot be read.
        DiplophraseError: `storage` if the file cannot be written.
    """
    codebook = load_codebook(codebook_file)
    fields = {
        "id": label,
        "name": label.replace("_", " ") if name is None else name.strip(),
        "definition": definition.strip(),
        "include": [case.strip() for case in include],
        "exclude": [case.strip() for case in exclude],
        "examples": [sentence.strip() for sentence in examples],
    }
    faults = _find_faults(fields, codebook)
    if faults:
        lines = "\n".join(f"  {fault.field}: found {fault.found}; {fault.rule}" for fault in faults)
        raise InvalidRequest(
            f"The label {label[:50]!r} was not added:\n{lines}\nMend that and give the command "
            f"again.",
            details=faults,
        )
    path = codebook_file.parent / OWN_FOLDER / f"{label}.yaml"
    content = {field: value for field, value in fields.items() if value}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    with suppress(OSError):  # told by `write_whole`, with what to do
        path.parent.mkdir(exist_ok=True)
    write_whole(path, text.encode())
    return path, load_codebook(codebook_file)


def _find_faults(fields: Mapping[str, object], codebook: Codebook) -> list[Detail]:
    faults = []
    try:
        OwnLabel.model_validate(fields)
    except ValidationError as error:
        rules = {
            "id": "a small letter, then small letters, digits and underscores, such as climate",
            "name": "a name has a letter",
            "definition": "a definition says when a sentence earns the label",
        }
        for fault in error.errors():
            field = str(fault["loc"][0])
            faults.append(Detail(field, repr(fault["input"])[:80], rules.get(field, fault["msg"])))
    label = str(fields["id"])
    if label in codebook.ids:
        whose = "your own" if label in codebook.own else "ours"
        faults.append(Detail("id", repr(label), f"a new label has a new id; {whose} is called so"))
    for field in ("include", "exclude", "examples"):
        values = fields[field]
        assert isinstance(values, list)
        for index, value in enumerate(values):
            if not value:
                faults.append(Detail(field, repr(value), "a case has a word", index))
    return faults
