"""Documents at the bound of 200,000 characters, and single sentences beside them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

from diplophrase.annotations import read_annotations
from diplophrase.client import Client, StatementResult
from tests.e2e.server import ROOT, running_server

CHARACTERS = 200_000
DOCUMENTS = 5


def long_document() -> str:
    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")
    rows, size = [], 0
    for note in cycle(notes):
        if size > CHARACTERS:
            break
        rows.append(note.text)
        size += len(note.text) + 2
    return "\n\n".join(rows)[:CHARACTERS]


def test_five_long_documents_and_single_sentences_are_all_answered() -> None:
    document = long_document()
    assert len(document) == CHARACTERS
    with (
        running_server(deadline_s=600) as server,
        Client(server.url, timeout_s=600) as client,
        ThreadPoolExecutor(DOCUMENTS) as pool,
    ):
        reading = [pool.submit(client.classify_statement, document) for _ in range(DOCUMENTS)]
        singles = 0
        while not all(task.done() for task in reading):
            assert len(client.classify(["Both sides agreed to deepen mutual trust."])) == 1
            singles += not any(task.done() for task in reading)
        answers = [task.result() for task in reading]
    assert singles > 0  # answered while all documents were running
    assert {len(answer.sentences) for answer in answers} == {len(answers[0].sentences)}
    for answer in answers:
        assert_whole(document, answer)


def assert_whole(document: str, answer: StatementResult) -> None:
    """Assert that the sentences are all of the document, in order, each labelled by one model."""
    done = 0
    for row in answer.sentences:
        assert document[row.start : row.end] == row.text
        assert document[done : row.start].strip() == ""
        done = row.end
    assert document[done:].strip() == ""
    assert {row.result.model_version for row in answer.sentences} == {answer.model_version}
