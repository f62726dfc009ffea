"""Folds: articles, events, near-duplicates and how groups are dealt out."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest
from training_fixtures import make_note

from diplophrase.annotations import Annotation, Source, read_annotations
from diplophrase.errors import InvalidData
from training.dataset import label_targets
from training.folds import (
    NEAR_DUPLICATE,
    article_of,
    assign_folds,
    group_events,
    near_duplicates,
    read_articles,
    read_folds,
)

ROOT = Path(__file__).parents[2]

CATALOGUE = """
    documents:
      - file: one.txt
        articles:
          - {id: one-a, start: 0, end: 100, same_as: []}
          - {id: one-b, start: 100, end: 200, same_as: [two-a]}
          - {id: one-c, start: 200, end: 300}
      - file: two.txt
        articles:
          - {id: two-a, start: 0, end: 100, same_as: [one-b, two-b]}
          - {id: two-b, start: 100, end: 200, same_as: [two-a]}
          - {id: two-c, start: 200, end: 300, same_as: []}
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    path = tmp_path / "sources.yaml"
    path.write_text(textwrap.dedent(CATALOGUE), encoding="utf-8")
    return path


def place(doc: str, start: int | None) -> Source:
    return Source(doc=doc, start=start, end=None if start is None else start + 10)


def note_at(key: str, doc: str, start: int, text: str, words: str | None = None) -> Annotation:
    spans = {"harbour": words} if words else None
    return make_note(key, text, spans, source=place(doc, start))


def pairs_of(*sentences: tuple[str, bool]) -> list[tuple[int, int]]:
    """Return the near-duplicates among sentences, each given with whether it has a label."""
    notes = [
        make_note(str(number), text, {"harbour": text.split()[0]} if labelled else None)
        for number, (text, labelled) in enumerate(sentences)
    ]
    return near_duplicates(notes)


def test_articles_carry_the_file_they_stand_in(sources: Path):
    articles = read_articles(sources)
    assert [article["id"] for article in articles] == [
        *("one-a", "one-b", "one-c"),
        *("two-a", "two-b", "two-c"),
    ]
    assert articles[1] == {
        "doc": "one.txt",
        "id": "one-b",
        "start": 100,
        "end": 200,
        "same_as": ["two-a"],
    }


@pytest.mark.parametrize(
    ("doc", "start", "article"),
    [
        ("one.txt", 0, "one-a"),
        ("one.txt", 99, "one-a"),
        ("one.txt", 100, "one-b"),
        ("two.txt", 199, "two-b"),
    ],
)
def test_a_sentence_belongs_to_the_article_it_starts_in(
    sources: Path, doc: str, start: int, article: str
):
    note = make_note("n", "A text.", source=place(doc, start))
    assert article_of(note, read_articles(sources)) == article


@pytest.mark.parametrize(
    "source",
    [None, place("one.txt", None), place("one.txt", 300), place("three.txt", 5)],
    ids=["no source", "no offset", "past the last article", "unknown document"],
)
def test_a_sentence_outside_every_article_is_named(sources: Path, source: Source | None):
    note = make_note("n-17", "A text.", source=source)
    with pytest.raises(InvalidData, match=r"n-17: no article of sources\.yaml holds its place"):
        article_of(note, read_articles(sources))


def test_a_link_to_no_article_is_named(sources: Path):
    sources.write_text(sources.read_text().replace("[two-a]", "[two-z]", 1))
    with pytest.raises(InvalidData, match="one-b has same_as 'two-z', which is no article"):
        group_events([note_at("n", "one.txt", 0, "A text.")], sources)


def test_near_duplicates_start_at_six_tenths_of_all_words():
    assert NEAR_DUPLICATE == 0.6
    base = "alpha beta gamma delta epsilon zeta eta theta"
    six_of_ten = "alpha beta gamma delta epsilon zeta iota kappa"
    six_of_eleven = "alpha beta gamma delta epsilon zeta iota kappa lambda"
    assert pairs_of((base, True), (six_of_ten, True)) == [(0, 1)]
    assert pairs_of((base, True), (six_of_eleven, True)) == []


def test_near_duplicates_ignore_case_order_and_punctuation():
    one = "The two ports will share one old crane."
    other = "One OLD crane, the two ports will share"
    assert pairs_of((one, True), ("Rain fell on all the hills again", True), (other, True)) == [
        (0, 2)
    ]


@pytest.mark.parametrize(("count", "pairs"), [(5, []), (6, [(0, 1)])])
def test_near_duplicates_have_six_words_or_more(count: int, pairs: list[tuple[int, int]]):
    text = " ".join(["alpha", "beta", "gamma", "delta", "epsilon", "zeta"][:count])
    assert pairs_of((text, True), (text, True)) == pairs


@pytest.mark.parametrize(("first", "second"), [(False, False), (True, False), (False, True)])
def test_unlabelled_sentences_are_no_near_duplicates(first: bool, second: bool):
    text = "Photo of the old harbour by the agency"
    assert pairs_of((text, first), (text, second)) == []


def test_linked_articles_form_one_event_under_the_first_name(sources: Path):
    starts = [("one.txt", 0), ("one.txt", 100), ("one.txt", 200), ("two.txt", 0), ("two.txt", 150)]
    notes = [
        note_at(str(number), doc, start, f"Text {number}.")
        for number, (doc, start) in enumerate(starts)
    ]
    assert group_events(notes, sources) == ["one-a", "one-b", "one-c", "one-b", "one-b"]


def test_a_repeated_labelled_sentence_joins_articles_and_a_credit_line_does_not(sources: Path):
    said = "The two ports will share one old crane and a harbour."
    credit = "Photo of the old town by the agency, all rights reserved"
    notes = [
        note_at("a", "one.txt", 0, said, "a harbour"),
        note_at("b", "one.txt", 10, credit),
        note_at("c", "one.txt", 200, credit),
        note_at("d", "two.txt", 200, "However, " + said, "a harbour"),
        note_at("e", "two.txt", 210, credit),
    ]
    assert group_events(notes, sources) == ["one-a", "one-a", "one-c", "one-a", "one-a"]
    assert group_events(notes[::-1], sources) == ["one-a", "one-a", "one-c", "one-a", "one-a"]


def test_groups_are_dealt_largest_first_to_the_emptiest_fold():
    groups = [*"aaaa", *"bbb", *"cc", *"dd", "e"]
    folds = assign_folds(groups, np.zeros((12, 1), np.float32), folds=2, seed=3)
    assert folds[:4].tolist() == [0, 0, 0, 0]
    assert folds[4:7].tolist() == [1, 1, 1]
    assert sorted((folds[7:9].tolist(), folds[9:11].tolist())) == [[0, 0], [1, 1]]
    assert folds[11] == 1
    assert np.bincount(folds).tolist() == [6, 6]


def test_labels_are_spread_over_the_folds():
    groups = list("aabbccdd")
    targets = np.zeros((8, 2), np.float32)
    targets[:4, 0] = 1  # groups a and b
    targets[4:, 1] = 1  # groups c and d
    for seed in range(5):
        folds = assign_folds(groups, targets, folds=2, seed=seed)
        assert {folds[0], folds[2]} == {0, 1}
        assert {folds[4], folds[6]} == {0, 1}


def test_groups_stay_whole_wherever_their_rows_stand():
    groups = list("abcabcabcdef")
    folds = assign_folds(groups, np.zeros((12, 1), np.float32), folds=3, seed=1)
    homes = {(group, int(fold)) for group, fold in zip(groups, folds, strict=True)}
    assert len(homes) == 6
    assert np.bincount(folds).tolist() == [4, 4, 4]


def test_the_seed_decides_and_only_the_seed():
    groups = [f"g{number}" for number in range(12)]
    targets = np.zeros((12, 1), np.float32)
    first, again, other = (assign_folds(groups, targets, folds=3, seed=s) for s in (5, 5, 6))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
    assert np.bincount(other).tolist() == [4, 4, 4]


def test_groups_keep_their_folds_and_new_ones_even_them_out():
    groups = [*"aaa", *"bb", *"cc", "d"]
    kept = np.array([2, 2, 1, 0, -1, -1, -1, -1])  # most of a in 2, half of b in 0, c and d new
    folds = assign_folds(groups, np.zeros((8, 1), np.float32), folds=3, seed=3, kept=kept)
    assert folds.tolist() == [2, 2, 2, 0, 0, 1, 1, folds[7]]
    assert folds[7] in (0, 1)


def test_a_corrected_label_moves_no_sentence_that_has_a_fold():
    groups = [f"g{row // 3}" for row in range(60)]
    targets = np.zeros((60, 2), np.float32)
    targets[:20, 0] = targets[30:, 1] = 1
    before = assign_folds(groups, targets, folds=5, seed=7)
    targets[1, 0], targets[25, 1] = 0, 1
    assert assign_folds(groups, targets, folds=5, seed=7, kept=before).tolist() == before.tolist()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder whose current version was measured on three folds with seed 7."""
    version = tmp_path / "v1"
    version.mkdir()
    metrics = {"folds": {"a": 2, "b": 0, "c": 1}, "run": {"seed": 7}}
    (version / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    (tmp_path / "CURRENT").write_text("v1\n", encoding="utf-8")
    return tmp_path


def test_folds_are_those_of_the_current_version(models: Path):
    notes = [make_note(key, "Text.") for key in "cxa"]
    assert read_folds(models, notes, folds=3, seed=7).tolist() == [1, -1, 2]


@pytest.mark.parametrize(("folds", "seed"), [(3, 8), (4, 7)])
def test_other_seeds_and_numbers_of_folds_begin_anew(models: Path, folds: int, seed: int):
    notes = [make_note(key, "Text.") for key in "ab"]
    assert read_folds(models, notes, folds=folds, seed=seed).tolist() == [-1, -1]


def test_without_a_current_version_there_are_no_folds(tmp_path: Path):
    notes = [make_note("a", "Text.")]
    assert read_folds(tmp_path, notes, folds=3, seed=7).tolist() == [-1]


def test_the_real_seeds_keep_the_folds_of_the_committed_version(seeds: list[Annotation]):
    groups = group_events(seeds, ROOT / "seeds" / "sources.yaml")
    targets = label_targets(seeds, sorted({label for note in seeds for label in note.labels}))
    kept = read_folds(ROOT / "models", seeds, folds=5, seed=7)
    assert assign_folds(groups, targets, folds=5, seed=7, kept=kept).tolist() == kept.tolist()


def test_too_few_groups_are_refused():
    with pytest.raises(InvalidData, match=r"^2 groups cannot fill 3 folds\. Ask for fewer folds"):
        assign_folds(["a", "b", "a"], np.zeros((3, 1), np.float32), folds=3, seed=0)


@pytest.fixture(scope="module")
def seeds() -> list[Annotation]:
    return read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")


def test_no_event_of_the_real_seeds_is_in_two_folds(seeds: list[Annotation]):
    groups = group_events(seeds, ROOT / "seeds" / "sources.yaml")
    names = sorted({label for note in seeds for label in note.labels})
    targets = label_targets(seeds, names)
    folds = assign_folds(groups, targets, folds=5, seed=7)
    again = assign_folds(groups, targets, folds=5, seed=7)
    assert folds.tolist() == again.tolist()
    assert sorted(set(folds.tolist())) == [0, 1, 2, 3, 4]
    homes = {(group, int(fold)) for group, fold in zip(groups, folds, strict=True)}
    assert len(homes) == len(set(groups))


def test_no_labelled_near_duplicates_of_the_real_seeds_are_in_two_folds(seeds: list[Annotation]):
    groups = group_events(seeds, ROOT / "seeds" / "sources.yaml")
    pairs = near_duplicates(seeds)
    assert len(pairs) > 0
    assert [pair for pair in pairs if groups[pair[0]] != groups[pair[1]]] == []
    articles = read_articles(ROOT / "seeds" / "sources.yaml")
    event_of = {
        article_of(note, articles): group for note, group in zip(seeds, groups, strict=True)
    }
    linked = [
        (str(article["id"]), str(other))
        for article in articles
        for other in article.get("same_as") or []
        if {str(article["id"]), str(other)} <= event_of.keys()
    ]
    assert len(linked) > 0
    assert [pair for pair in linked if event_of[pair[0]] != event_of[pair[1]]] == []
