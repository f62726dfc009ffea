"""The parts of the classifier that need no model: batches, refusals, and the evidence span."""

import random
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diplophrase.classifier import (
    MAX_BATCH_TEXTS,
    MAX_BATCH_TOKENS,
    Evidence,
    LabelHit,
    Result,
    _whole_words,
    best_run,
    check_texts,
    find_evidence,
    plan_batches,
)
from diplophrase.errors import Detail, InvalidRequest


def padded_tokens(batch: list[int], lengths: list[int]) -> int:
    return len(batch) * max(lengths[row] for row in batch)


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        ([], []),
        ([7], [[0]]),
        ([9, 3, 5], [[1, 2, 0]]),
        ([4, 4, 4], [[0, 1, 2]]),
        ([600], [[0]]),
        ([600, 3], [[1], [0]]),
        ([256, 256], [[0, 1]]),
        ([256, 257], [[0], [1]]),
        ([257, 255], [[1], [0]]),
        ([512, 512, 1], [[2], [0], [1]]),
        ([1] * 17, [list(range(16)), [16]]),
        ([32] * 17, [list(range(16)), [16]]),
        ([33] * 17, [list(range(15)), [15, 16]]),
        ([170, 10, 171, 20, 170], [[1, 3, 0], [4, 2]]),
    ],
)
def test_plan_of_batches(lengths: list[int], batches: list[list[int]]) -> None:
    assert list(plan_batches(lengths)) == batches


@pytest.mark.parametrize("seed", range(10))
def test_every_row_is_in_one_batch_within_the_bounds(seed: int) -> None:
    rng = random.Random(seed)
    lengths = [rng.randint(1, 700) for _ in range(rng.randint(1, 200))]
    batches = list(plan_batches(lengths))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= MAX_BATCH_TEXTS
        assert len(batch) == 1 or padded_tokens(batch, lengths) <= MAX_BATCH_TOKENS
    ordered = [lengths[row] for batch in batches for row in batch]
    assert ordered == sorted(lengths)


@pytest.mark.parametrize("texts", [[], ["one"], ["one", " two\n", "🤝", "."], ("one", "two")])
def test_texts_that_can_be_read(texts: list[str]) -> None:
    check_texts(texts)


@pytest.mark.parametrize(
    ("text", "found", "rule"),
    [
        (None, "NoneType", "a text is a string"),
        (7, "int", "a text is a string"),
        (b"one", "bytes", "a text is a string"),
        (["one"], "list", "a text is a string"),
        ("", "''", "a text has a visible character"),
        (" \t\n", r"' \t\n'", "a text has a visible character"),
        ("\xa0\u3000", r"'\xa0\u3000'", "a text has a visible character"),
        ("\u200b\u202e\ufeff\x00", r"'\u200b\u202e\ufeff\x00'", "a text has a visible character"),
        ("one \ud83e two", r"'\ud83e'", "a text has no half of a surrogate pair"),
        ("\udcff", r"'\udcff'", "a text has no half of a surrogate pair"),
        (" " * 100, "'" + " " * 39, "a text has a visible character"),
    ],
)
def test_a_text_that_cannot_be_read(text: Any, found: str, rule: str) -> None:
    message = "1 of 2 texts cannot be read. Mend or leave out the items at these indices: 1."
    with pytest.raises(InvalidRequest, match=f"^{re.escape(message)}$") as caught:
        check_texts(["one", text])
    assert caught.value.details == [Detail("texts", found, rule, 1)]
    assert (caught.value.kind, caught.value.status) == ("invalid_request", 422)


def test_every_bad_text_is_named_and_twenty_in_the_message() -> None:
    texts = ["one", *[""] * 24, 3]
    message = (
        "25 of 26 texts cannot be read. Mend or leave out the items at these indices: "
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20."
    )
    with pytest.raises(InvalidRequest, match=f"^{re.escape(message)}$") as caught:
        check_texts(texts)  # type: ignore[arg-type]
    assert [detail.index for detail in caught.value.details] == list(range(1, 26))
    assert caught.value.details[-1] == Detail("texts", "int", "a text is a string", 25)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_run_has_higher_ends(seed: int) -> None:
    rng = np.random.default_rng(seed)
    firsts, lasts = rng.integers(-9, 9, (2, rng.integers(1, 30))).astype(np.float32)
    first, last = best_run(firsts, lasts)
    assert first <= last
    runs = [(i, j) for i in range(len(firsts)) for j in range(i, len(firsts))]
    assert firsts[first] + lasts[last] == max(firsts[i] + lasts[j] for i, j in runs)


@pytest.mark.parametrize(
    ("text", "tokens", "words"),
    [
        ("Both sides agree.", "sides", "sides"),
        ("Both sides agree.", "ide", "sides"),
        ("Both sides agree.", "th sid", "Both sides"),
        ("Both sides agree.", "sides ag", "sides agree"),
        ("Both sides agree.", "agree.", "agree."),
        ("Both sides agree.", ".", "."),
        ("Both sides agree.", "Both sides agree.", "Both sides agree."),
        ("an all-weather bond", "weather", "all-weather"),
        ("an all-weather bond", "all", "all-weather"),
        ("an all-weather bond", "-", "all-weather"),
        ("an “all-weather” bond", "weather", "all-weather"),
        ("an “all-weather” bond", "“all", "“all-weather"),
        ("one–two", "one", "one"),
        ("China’s role", "China", "China’s"),
        ("China's role", "s", "China's"),
        ("the U.S. side", "U", "U.S"),
        ("in R&D and 5G/6G", "D", "R&D"),
        ("in R&D and 5G/6G", "6", "5G/6G"),
        ("it grew 3.5 percent", "5", "3.5"),
        ("coopération accrue", "op", "coopération"),
        ("talks 🤝 begin", "🤝", "🤝"),
        ("talks 🤝 begin", "ks 🤝 be", "talks 🤝 begin"),
    ],
)
def test_a_span_is_widened_to_whole_words(text: str, tokens: str, words: str) -> None:
    start = text.index(tokens)
    found = _whole_words(text, start, start + len(tokens))
    assert found == Evidence(text.index(words), text.index(words) + len(words), words)


def test_only_the_word_that_is_cut_is_widened() -> None:
    text = "aid aid aid"
    assert _whole_words(text, 5, 6) == Evidence(4, 7, "aid")
    assert _whole_words(text, 4, 7) == Evidence(4, 7, "aid")
    assert _whole_words(text, 3, 4) == Evidence(3, 4, " ")
    assert _whole_words(text, 1, 9) == Evidence(0, 11, text)


TEXT = "Both sides back all-weather ties."
TOKENS = ["Both", "sides", "back", "all", "-", "wea", "ther", "ties", "."]


def encode_by_hand() -> Any:
    """Return the encoding of TEXT in TOKENS with a special token at both ends."""
    offsets, done = [], 0
    for token in TOKENS:
        start = TEXT.index(token, done)
        done = start + len(token)
        offsets.append((start, done))
    mask = [1, *[0] * len(TOKENS), 1]
    return SimpleNamespace(special_tokens_mask=mask, offsets=[(0, 0), *offsets, (0, 0)])


@pytest.mark.parametrize(
    ("firsts", "lasts", "evidence"),
    [
        ({"ties": 4.0}, {"ties": 4.0}, "ties"),
        ({"back": 4.0}, {"ties": 4.0}, "back all-weather ties"),
        ({"wea": 4.0}, {"wea": 4.0}, "all-weather"),  # widened to the whole word
        ({"back": 4.0}, {"all": 2.0}, "back all-weather"),
        ({"ties": 4.0, "Both": 1.0}, {"sides": 4.0}, "Both sides"),  # never ends before it begins
        ({"ties": 4.0}, {"Both": 4.0, "ties": 1.0}, "ties"),
        ({}, {}, "Both"),  # nothing stands out: the first word
        ({".": 4.0}, {".": 4.0}, "."),
        ({"Both": 1e9}, {".": 1e9}, TEXT),
    ],
)
def test_evidence_runs_from_the_likeliest_first_word_to_the_likeliest_last(
    firsts: dict[str, float], lasts: dict[str, float], evidence: str
) -> None:
    ends = [
        [50.0, *[scores.get(token, -9.0) for token in TOKENS], 50.0] for scores in (firsts, lasts)
    ]
    found = find_evidence(TEXT, encode_by_hand(), np.array(ends, dtype=np.float32))
    start = TEXT.index(evidence)
    assert found == Evidence(start, start + len(evidence), evidence)


def test_a_result_in_json_leaves_out_what_was_not_asked() -> None:
    hit = LabelHit("ties", 0.9, Evidence(0, 4, "Both"), {"tier": "strategic partnership"})
    result = Result([hit, LabelHit("trade", 0.6)], "joint", "v1", {"ties": 0.9}, truncated=False)
    plain = {
        "labels": [
            {
                "id": "ties",
                "score": 0.9,
                "evidence": {"start": 0, "end": 4, "text": "Both"},
                "tier": "strategic partnership",
            },
            {"id": "trade", "score": 0.6},
        ],
        "speaker": "joint",
        "model_version": "v1",
        "truncated": False,
        "out_of_domain": False,
    }
    assert result.to_dict() == plain
    assert result.to_dict(scores=True) == plain | {"scores": {"ties": 0.9}}


def test_a_non_breaking_hyphen_joins_a_word() -> None:
    text = "an all\u2011weather partnership"
    assert _whole_words(text, 7, 26) == Evidence(3, 26, text[3:])
