"""The real server, asked over the network as users ask it."""

from __future__ import annotations

from diplophrase.annotations import read_annotations
from diplophrase.client import Client
from tests.e2e.server import ROOT


def labels_of(client: Client, texts: list[str]) -> list[set[str]]:
    return [{hit.id for hit in result.labels} for result in client.classify(texts)]


def test_sentences_of_the_seeds_get_their_hand_labels(client: Client) -> None:
    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")[:200]
    given = labels_of(client, [note.text for note in notes])
    right = sum(labels == set(note.labels) for labels, note in zip(given, notes, strict=True))
    assert right >= 0.8 * len(notes)  # the model was trained on them: this checks the plumbing


def test_unseen_sentences(client: Client) -> None:
    unseen = {
        "Dominica reiterated its adherence to the one-China principle and supports China's "
        "reunification.": ("taiwan_one_china", True),
        "Vietnam's long struggle for national reunification ended in 1975.": (
            "taiwan_one_china",
            False,
        ),
        "The two companies formed a strategic partnership on cloud storage.": (
            "partnership_tier",
            False,
        ),
        "Both sides agreed to lift relations to a comprehensive strategic partnership.": (
            "partnership_tier",
            True,
        ),
    }
    for (text, (label, expected)), given in zip(
        unseen.items(), labels_of(client, list(unseen)), strict=True
    ):
        assert (label in given) is expected, text


def test_a_whole_seed_document_is_labelled(client: Client) -> None:
    text = (ROOT / "seeds" / "003_606a9464ba09ff0c.txt").read_text(encoding="utf-8")
    answer = client.classify_statement(text)
    assert len(answer.sentences) == 26
    assert answer.summary["partnership_tier"].count >= 2
