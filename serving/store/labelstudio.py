"""Label Studio's JSON, both ways, and its labelling configuration from the codebook.

The format is https://labelstud.io/guide/task_format (a list of tasks, each with `data` and
`annotations`, whose `result` lists what each control of the configuration gave). Offsets count
Unicode code points since HumanSignal/label-studio#1559; older versions counted UTF-16 units, which
is told by the words that stand beside them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from diplophrase.annotations import SPEAKERS, Annotation
from diplophrase.codebook import Codebook, FormulaAttribute
from diplophrase.errors import Detail

TEXT = "text"  # the name of the text in the configuration, and of its field in `data`
_DATA = ("id", "annotator", "source", "provenance", "codebook", "created")
_CHOICES = {"labels": False, "speaker": True, "taiwan_formula": False}  # is one value all there is
_AREAS = ("tier", "note")


def labelling_config(codebook: Codebook) -> str:
    """Return the XML that Label Studio asks for: labels, their evidence, speaker, attributes."""
    view = ET.Element("View")
    ET.SubElement(view, "Header", value="Mark the words that earn each label")
    spans = ET.SubElement(view, "Labels", name="evidence", toName=TEXT)
    for label in codebook.labels:
        ET.SubElement(spans, "Label", value=label.id, hint=label.name)
    ET.SubElement(view, "Text", name=TEXT, value=f"${TEXT}", granularity="word")
    ET.SubElement(view, "Header", value="Every label that holds; none is an answer too")
    choices = _add_choices(view, "labels", "multiple")
    for label in codebook.labels:
        ET.SubElement(choices, "Choice", value=label.id, hint=label.meaning)
    for attribute in codebook.attributes:
        shown = {"visibleWhen": "choice-selected", "whenTagName": "labels"}
        box = ET.SubElement(view, "View", shown, whenChoiceValue=attribute.label)
        ET.SubElement(box, "Header", value=f"{attribute.id}: {attribute.rule}")
        if isinstance(attribute, FormulaAttribute):
            values = _add_choices(box, attribute.id, "multiple")
            for value in (*attribute.values, attribute.otherwise):
                ET.SubElement(values, "Choice", value=value)
        else:
            ET.SubElement(box, "TextArea", name=attribute.id, toName=TEXT, maxSubmissions="1")
    ET.SubElement(view, "Header", value="Whose statement it is")
    speakers = _add_choices(view, "speaker", "single")
    for speaker in SPEAKERS:
        ET.SubElement(speakers, "Choice", value=speaker)
    ET.SubElement(view, "TextArea", name="note", toName=TEXT, maxSubmissions="1")
    ET.indent(view)
    return ET.tostring(view, encoding="unicode") + "\n"


def _add_choices(parent: ET.Element, name: str, choice: str) -> ET.Element:
    return ET.SubElement(parent, "Choices", name=name, toName=TEXT, choice=choice)


def write_tasks(annotations: Sequence[Annotation]) -> list[dict[str, Any]]:
    """Return a task for each annotation, labelled as it is."""
    return [_task(note) for note in annotations]


def _task(note: Annotation) -> dict[str, Any]:
    fields = note.model_dump(mode="json", exclude_none=True)
    data = {TEXT: note.text, **{name: fields[name] for name in _DATA if name in fields}}
    return {"data": data, "annotations": [{"result": list(_results(note))}]}


def _results(note: Annotation) -> Iterator[dict[str, Any]]:
    def result(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        key = f"{note.id}\0{name}\0{value}".encode()
        ident = hashlib.sha256(key).hexdigest()[:10]
        return {"id": ident, "from_name": name, "to_name": TEXT, "type": kind, "value": value}

    yield result("labels", "choices", {"choices": list(note.labels)})
    for label, (start, end) in note.evidence.items():
        span = {"start": start, "end": end, "text": note.text[start:end], "labels": [label]}
        yield result("evidence", "labels", span)
    yield result("speaker", "choices", {"choices": [note.speaker]})
    if note.taiwan_formula is not None:
        yield result("taiwan_formula", "choices", {"choices": list(note.taiwan_formula)})
    for name in _AREAS:
        if (value := getattr(note, name)) is not None:
            yield result(name, "textarea", {"text": [value]})


def read_tasks(tasks: object) -> tuple[list[tuple[int, object]], list[Detail]]:
    """Return the annotations of an export as rows, by the number of the task from 1, and faults.

    Tasks that nobody labelled, and those that were skipped, give no row. Who labelled a task in
    Label Studio (`completed_by`) is the annotator, and then the task's own id is not kept, as it
    stands for what somebody else said.
    """
    if not isinstance(tasks, list):
        return [], [Detail("file", type(tasks).__name__, "must be a list of tasks", 1)]
    rows: list[tuple[int, object]] = []
    faults: list[Detail] = []
    for index, task in enumerate(tasks, 1):
        data = task.get("data") if isinstance(task, dict) else None
        done = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(data, dict) or not isinstance(done, list):
            rule = "a task has data and a list of annotations: export as JSON, not JSON-MIN"
            faults.append(Detail("task", repr(task)[:60], rule, index))
            continue
        for annotation in done:
            if isinstance(annotation, dict) and annotation.get("was_cancelled"):
                continue
            try:
                rows.append((index, _row(data, annotation)))
            except _Unreadable as error:
                faults.append(Detail(error.field, error.found, error.rule, index))
    return rows, faults


class _Unreadable(Exception):
    def __init__(self, field: str, found: object, rule: str) -> None:
        super().__init__(rule)
        self.field, self.found, self.rule = field, repr(found)[:60], rule


def _row(data: dict[str, Any], annotation: Any) -> dict[str, Any]:
    row = {name: data[name] for name in (TEXT, *_DATA) if data.get(name) is not None}
    results = annotation.get("result") if isinstance(annotation, dict) else None
    if not isinstance(results, list):
        raise _Unreadable("annotations", annotation, "an annotation has a list `result`")
    row["labels"] = []
    evidence: dict[str, Any] = {}
    for result in results:
        _read_result(result, row, evidence)
    row["evidence"] = evidence
    who = annotation.get("completed_by")
    if who is not None:
        named = who.get("email") or who.get("id") if isinstance(who, dict) else who
        row["annotator"] = named if isinstance(named, str) else f"label-studio-{named}"
        row.pop("id", None)
        row.pop("created", None)
    return row


def _read_result(result: Any, row: dict[str, Any], evidence: dict[str, Any]) -> None:
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        raise _Unreadable("result", result, "each result has a from_name and a value")
    name = result.get("from_name")
    if name in _CHOICES and isinstance(value.get("choices"), list):
        choices = value["choices"]
        if _CHOICES[name] and len(choices) != 1:
            raise _Unreadable(name, choices, "must be one choice")
        row[name] = choices[0] if _CHOICES[name] else choices
    elif name in _AREAS and isinstance(value.get("text"), list | str):
        text = value["text"]
        row[name] = text if isinstance(text, str) else "\n".join(map(str, text))
    elif name == "evidence" and isinstance(value.get("labels"), list):
        for label in value["labels"]:
            if label in evidence:
                raise _Unreadable(f"evidence.{label}", value, "one span for a label")
            evidence[label] = _span(str(row.get(TEXT, "")), value)
    else:
        rule = "must be a control of `diplophrase labels labelstudio-config`"
        raise _Unreadable("result.from_name", name, rule)


def _span(text: str, value: dict[str, Any]) -> list[Any]:
    start, end, words = value.get("start"), value.get("end"), value.get("text")
    if type(start) is not int or type(end) is not int:
        raise _Unreadable("evidence", value, "a span has whole numbers as start and end")
    if words is None or text[start:end] == words:
        return [start, end]
    units = text.encode("utf-16-le", "surrogatepass")
    if units[2 * start : 2 * end].decode("utf-16-le", "replace") == words:
        first = len(units[: 2 * start].decode("utf-16-le", "replace"))
        return [first, first + len(words)]
    rule = f"its words must stand in the text at [{start}, {end}]"
    raise _Unreadable("evidence", words, rule)
