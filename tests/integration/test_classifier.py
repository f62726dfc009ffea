"""The committed bundle through the class that answers, scores and is evaluated."""

from __future__ import annotations

import numpy as np
import pytest

from diplophrase.annotations import read_annotations
from diplophrase.classifier import Classifier
from diplophrase.errors import InvalidRequest
from tests.integration.conftest import ROOT

SEEDS = ROOT / "labels" / "annotations" / "seeds.jsonl"


def test_labels_are_those_of_the_codebook_in_order(classifier: Classifier) -> None:
    from diplophrase.codebook import load_codebook

    codebook = load_codebook(ROOT / "labels" / "codebook.yaml")
    assert classifier.labels == codebook.ids
    assert classifier.config.codebook_hash == codebook.hash


def test_an_answer_does_not_depend_on_its_batch_mates(classifier: Classifier) -> None:
    texts = [note.text for note in read_annotations(SEEDS)][::6]
    random = np.random.default_rng(11)
    alone = {text: classifier.classify([text])[0] for text in texts}
    for _ in range(3):
        mixed = list(random.permutation(texts))
        for text, result in zip(mixed, classifier.classify(mixed), strict=True):
            gaps = [abs(result.scores[k] - alone[text].scores[k]) for k in result.scores]
            assert max(gaps) <= 1e-4
            assert {hit.id for hit in result.labels} == {hit.id for hit in alone[text].labels}


def test_same_texts_twice_give_the_same_numbers(classifier: Classifier) -> None:
    texts = [note.text for note in read_annotations(SEEDS)][:40]
    assert classifier.classify(texts) == classifier.classify(texts)


def test_evidence_is_words_of_the_text(classifier: Classifier) -> None:
    texts = [note.text for note in read_annotations(SEEDS)][:120]
    spans = [
        (text, hit.evidence)
        for text, result in zip(texts, classifier.classify(texts), strict=True)
        for hit in result.labels
    ]
    assert len(spans) > 100
    for text, span in spans:
        assert span is not None
        assert text[span.start : span.end] == span.text
        assert span.text.strip() == span.text != ""


def test_a_text_over_the_token_limit_is_flagged(classifier: Classifier) -> None:
    short, long = classifier.classify(["Peace.", "peace " * 600])
    assert (short.truncated, long.truncated) == (False, True)


def test_attributes_are_read_from_what_the_network_read(classifier: Classifier) -> None:
    agreed = "China and Kenya lift their relations to a comprehensive strategic partnership. "
    text = agreed * 20 + "strategic, " * 18_000  # minutes, if all of it is looked through
    [result] = classifier.classify([text])
    tiers = [hit.attributes["tier"] for hit in result.labels if hit.id == "partnership_tier"]
    assert tiers == ["comprehensive strategic partnership"]
    assert result.truncated


def test_blank_texts_are_refused_by_index(classifier: Classifier) -> None:
    with pytest.raises(InvalidRequest, match=r"2 of 3 texts cannot be read.* indices: 0, 2\."):
        classifier.classify(["", "Peace.", " \n"])


def test_what_the_lexicon_finds_counts_in_the_score(classifier: Classifier) -> None:
    text = "They back the one-China principle."
    [encoding] = classifier.encode([text])
    [raw] = classifier.run([encoding])
    moved = classifier.margins(text, raw) - raw.logits
    weight = classifier.config.phrase_weight
    found = dict(zip(classifier.labels, moved.tolist(), strict=True))
    assert found.pop("taiwan_one_china") == pytest.approx(0.8 * weight)
    assert list(found.values()) == pytest.approx([-0.2 * weight] * len(found))
