"""The keyword lexicon: what it finds, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diplophrase.codebook import load_codebook
from diplophrase.errors import InvalidData
from diplophrase.hyphens import plain_hyphens
from diplophrase.lexicon import Lexicon, LexiconEntry, add_hits, build_lexicon, load_lexicon
from training.baselines import rule_decisions

ROOT = Path(__file__).parents[2]

FILE = r"""
version: 1
labels:
  harbour:
    match: ['\bharbours?\b', '\b(?:old|new) (?:harbours?|ports?)\b', '\bports?\b']
    unless: ['\bpasta port\b', '\bport of call\b']
  school:
    match: ['\bschools? of \w+', '\bschools?\b']
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lexicon.yaml"


@pytest.fixture
def lexicon(path: Path) -> Lexicon:
    path.write_text(FILE, encoding="utf-8")
    return load_lexicon(path)


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("Rain fell on the hills.", {}),
        ("The HARBOUR opens.", {"harbour": "HARBOUR"}),
        ("A port, then the new harbour.", {"harbour": "new harbour"}),
        ("One port and one port more.", {"harbour": "port"}),
        ("The old port has a school of art.", {"harbour": "old port", "school": "school of art"}),
        ("Shanghai is a port of call.", {}),
        ("A port of call and the old port.", {"harbour": "old port"}),
        ("An old port of call, a harbour.", {"harbour": "harbour"}),
        ("🚢 Le café, the port", {"harbour": "port"}),
        ("A seaport and preschooling.", {}),
    ],
)
def test_the_longest_phrase_that_nothing_bars_is_found(
    lexicon: Lexicon, text: str, phrases: dict[str, str]
):
    spans = lexicon.find(text)
    assert {label: text[start:end] for label, (start, end) in spans.items()} == phrases


def test_of_phrases_of_one_length_the_first_counts(lexicon: Lexicon):
    assert lexicon.find("One port and one port more.") == {"harbour": (4, 8)}


def test_an_exception_beside_a_phrase_does_not_bar_it(path: Path):
    path.write_text("version: 1\nlabels: {a: {match: ['port'], unless: ['the ', ' call']}}")
    assert load_lexicon(path).find("the port call") == {"a": (4, 8)}


def test_labels_are_given_in_the_order_asked_for(lexicon: Lexicon):
    texts = ["A school.", "A port.", "Rain.", "A school by the harbour."]
    given = lexicon.predict(texts, ["school", "harbour"])
    assert given.tolist() == [[True, False], [False, True], [False, False], [True, True]]
    assert lexicon.predict(texts, ["harbour"]).tolist() == [[False], [True], [False], [True]]
    assert lexicon.predict([], ["harbour"]).shape == (0, 1)


def test_a_label_without_expressions_is_never_found_and_weighs_nothing(lexicon: Lexicon):
    labels = ["river", "harbour", "bridge"]
    assert lexicon.predict(["A port."], labels).tolist() == [[False, True, False]]
    weights = lexicon.weigh(labels, 2.5)
    assert weights.tolist() == [0.0, 2.5, 0.0]
    moved = add_hits(np.zeros((1, 3)), lexicon.predict(["A school."], labels), weights)
    assert moved == pytest.approx(np.array([[0.0, -0.5, 0.0]]))


def test_a_missing_file_is_named(path: Path):
    with pytest.raises(InvalidData, match=r"lexicon\.yaml is not there\. Name the lexicon's file"):
        load_lexicon(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("labels: [", r"lexicon\.yaml is not YAML: "),
        ("", r"(?s)breaks the lexicon's schema:.*valid dictionary"),
        ("version: 2\nlabels: {a: {match: [b]}}", r"(?s)schema:\n  version: Input should be 1$"),
        ("version: 1\nlabels: {}", r"(?s)schema:\n  labels: Dictionary should have at least 1"),
        ("version: 1\nlabels: {a: {match: []}}", r"(?s)\n  labels\.a\.match: Tuple should have"),
        ("version: 1\nlabels: {a: {unless: [b]}}", r"(?s)\n  labels\.a\.match: Field required"),
        (
            "version: 1\nextra: 2\nlabels: {a: {match: [b], until: [c]}}",
            r"(?s)\n  labels\.a\.until: Extra inputs.*\n  extra: Extra inputs",
        ),
    ],
)
def test_a_file_that_breaks_the_schema_is_refused_with_every_fault(
    path: Path, content: str, message: str
):
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InvalidData, match=message):
        load_lexicon(path)


def test_every_expression_that_does_not_compile_is_named(path: Path):
    path.write_text(
        "version: 1\n"
        "labels:\n"
        "  a: {match: ['b(', 'fine']}\n"
        "  c: {match: ['d'], unless: ['[e']}\n"
        "  f: {match: ['g*']}\n"
    )
    message = (
        r"(?s)These expressions do not compile:\n"
        r"  a: 'b\(': missing \).*\n"
        r"  c: '\[e': unterminated character set.*\n"
        r"  f: 'g\*': it matches the empty text$"
    )
    with pytest.raises(InvalidData, match=message):
        load_lexicon(path)


@pytest.mark.parametrize("name", ["lexicon.yaml", "rules.yaml"])
def test_the_lists_of_the_project_have_the_labels_of_the_codebook(name: str):
    found = load_lexicon(ROOT / "training" / name)
    codebook = load_codebook(ROOT / "labels" / "codebook.yaml")
    assert sorted(found.rules) == sorted(codebook.ids)


def test_both_lists_of_the_project_decide_on_the_same_sentences():
    labels = ("belt_and_road", "taiwan_one_china")
    texts = ("It rains.", "Fiji keeps to the one-China principle.", "It joined the Belt and Road.")
    expected = [[False, False], [False, True], [True, False]]
    decided = rule_decisions(texts, labels)
    assert {name: given.tolist() for name, given in decided.items()} == {
        "lexicon": expected,
        "rules": expected,
    }


def test_an_expression_beyond_the_automaton_still_counts():
    lexicon = build_lexicon({"harbour": LexiconEntry(match=(r"(?<!pasta )\bport\b",))})
    assert lexicon.find("The old port.") == {"harbour": (8, 12)}
    assert lexicon.find("The pasta port.") == {}


def test_hits_move_logits_apart():
    logits = np.array([[0.5, -0.5], [1.5, 0.0]], dtype=np.float32)
    hits = np.array([[False, True], [False, False]])
    assert add_hits(logits, hits, 2.5) == pytest.approx(np.array([[0.0, 1.5], [1.0, -0.5]]))
    assert add_hits(logits, hits, 0.0).tolist() == logits.tolist()


@pytest.mark.parametrize("hyphen", "\u2010\u2011\u2012\u2212\ufe63\uff0d")
def test_hyphens_of_all_kinds_are_read_as_one_and_spans_stay(hyphen: str) -> None:
    lexicon = build_lexicon({"ties": LexiconEntry(match=(r"\ball-weather (?:ties|partners)\b",))})
    text = f"“Our” all{hyphen}weather ties"
    assert lexicon.find(text) == {"ties": (6, len(text))}
    assert text[6:].startswith(f"all{hyphen}weather")


def test_our_own_sentences_have_no_such_hyphens() -> None:
    for folder, kind in (("seeds", "*.txt"), ("labels/annotations", "*.jsonl")):
        for path in (ROOT / folder).glob(kind):
            for line in path.read_text(encoding="utf-8").splitlines():
                text = json.loads(line)["text"] if kind == "*.jsonl" else line
                assert plain_hyphens(text) == text


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "lexicon.yaml"
    path.write_text("version: 1\nlabels: {a: {match: [tea]}}", encoding="utf-8")
    first = load_lexicon(path)
    assert load_lexicon(path) is first
    path.write_text("version: 1\nlabels: {a: {match: [coffee]}}", encoding="utf-8")
    assert load_lexicon(path).find("tea or coffee") == {"a": (7, 13)}
