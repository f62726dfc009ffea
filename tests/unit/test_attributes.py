"""Grades and formulae read from a sentence by the rules of the committed codebook."""

from pathlib import Path

import pytest

from diplophrase.attributes import read_attribute, read_formula, read_grade
from diplophrase.codebook import FormulaAttribute, GradeAttribute, load_codebook

CODEBOOK = load_codebook(Path(__file__).parents[2] / "labels" / "codebook.yaml")
(TIER,) = [item for item in CODEBOOK.attributes if isinstance(item, GradeAttribute)]
(FORMULA,) = [item for item in CODEBOOK.attributes if isinstance(item, FormulaAttribute)]

GRADES = {
    "They form a strategic partnership.": "strategic partnership",
    "They form a STRATEGIC Partnership.": "strategic partnership",
    "They are all-weather strategic cooperative partners.": (
        "all-weather strategic cooperative partnership"
    ),
    "They form a permanent comprehensive strategic partnership.": (
        "permanent comprehensive strategic partnership"
    ),
    # the order is the order named
    "They form an innovative comprehensive partnership.": "innovative comprehensive partnership",
    "They form a comprehensive innovative partnership.": "comprehensive innovative partnership",
    # one form for each word
    "They form a strategic cooperation partnership.": "strategic cooperative partnership",
    "They form a co-operative partnership.": "cooperative partnership",
    "They form a partnership for innovation.": "innovative partnership",
    "They form an all weather partnership.": "all-weather partnership",
    # commas, "and" and broken lines between the words
    "They form an all-weather, strategic and cooperative partnership.": (
        "all-weather strategic cooperative partnership"
    ),
    "They form a comprehensive and strategic partnership.": "comprehensive strategic partnership",
    "They form a comprehensive\nstrategic\r\n  partnership.": "comprehensive strategic partnership",
    "They form an all\n  weather strategic partnership.": "all-weather strategic partnership",
    "They form an all-\nweather strategic partnership.": "all-weather strategic partnership",
    # words after the noun
    "They form a partnership of comprehensive cooperation.": (
        "comprehensive cooperative partnership"
    ),
    "They form a comprehensive partnership of cooperation.": (
        "comprehensive cooperative partnership"
    ),
    "They form a comprehensive strategic partnership of coordination for a new era.": (
        "comprehensive strategic partnership of coordination"
    ),
    "They form a partnership of strategic Coordination.": "strategic partnership of coordination",
    "They form a strategic partnership of peace.": "strategic partnership",
    "It is the highest cooperation framework.": "cooperative partnership",
    # a word counts once
    "They form a strategic partnership of strategic cooperation.": (
        "strategic cooperative partnership"
    ),
    # no grade
    "They are partners.": "unspecified",
    "They form a firm partnership.": "unspecified",
    "They enjoy an all-weather friendship.": "unspecified",
    "They deepen strategic mutual trust.": "unspecified",
    "They form a geostrategic partnership.": "unspecified",
    "They form a strategic partnershipping.": "unspecified",
    "": "unspecified",
}


@pytest.mark.parametrize(("text", "grade"), GRADES.items())
def test_grade(text: str, grade: str) -> None:
    assert read_grade(TIER, text, 0, len(text)) == grade
    assert TIER.unknown_values(grade) == []


@pytest.mark.parametrize(
    ("evidence", "grade"),
    [
        ("strategic partnership and", "strategic partnership"),
        ("strategic", "strategic partnership"),
        ("permanent partners", "permanent partnership"),
        ("comprehensive", "comprehensive strategic partnership"),
        ("partnership in trade", "comprehensive strategic partnership"),
        ("in trade", "comprehensive strategic partnership"),
        ("They turn", "comprehensive strategic partnership"),
        ("partnership and permanent", "strategic partnership"),
    ],
    ids=lambda value: value.replace(" ", "-"),
)
def test_the_grade_in_the_evidence_counts_then_the_longest(evidence: str, grade: str) -> None:
    text = (
        "They turn a strategic partnership and permanent partners "
        "into a comprehensive strategic partnership in trade."
    )
    start = text.index(evidence)
    assert read_grade(TIER, text, start, start + len(evidence)) == grade


def test_evidence_that_only_touches_a_grade_does_not_overlap_it() -> None:
    text = "a strategic partnership, a comprehensive strategic partnership"
    first_end = text.index(",")
    assert read_grade(TIER, text, first_end, first_end + 2) == "comprehensive strategic partnership"
    assert read_grade(TIER, text, first_end - 1, first_end + 2) == "strategic partnership"
    assert read_grade(TIER, text, 0, 2) == "comprehensive strategic partnership"
    assert read_grade(TIER, text, 0, 3) == "strategic partnership"


FORMULAE = {
    "They respect the one-China policy.": ["policy"],
    "They respect the One China policies of others.": ["policy"],
    "They respect the “one-China” principle.": ["principle"],
    "They respect the principle of one China.": ["principle"],
    "Taiwan is an inalienable part of China.": ["part_of_china"],
    "The island is part of the territory of the state, and part of the People’s Republic.": [
        "part_of_china"
    ],
    "It is a province of the People’s Republic.": ["part_of_china"],
    "They back national reunification.": ["reunification"],
    "They oppose “Taiwan independence”.": ["opposes_independence"],
    "They oppose separatist acts.": ["opposes_independence"],
    "It is the sole legal government of the whole country.": ["sole_government"],
    "They call for peace across the Taiwan Strait.": ["status_quo"],
    "The Taiwan Strait needs stability.": ["status_quo"],
    # several, in the order of the codebook and not of the sentence
    "Taiwan is part of China, and they respect the one-China principle and policy.": [
        "principle",
        "part_of_china",
    ],
    "They oppose separatism, back reunification and respect the one-China policy.": [
        "policy",
        "reunification",
        "opposes_independence",
    ],
    # none
    "They spoke of arms sales to Taiwan.": ["other"],
    "Taiwan came up; trade is part of China’s plan.": ["other"],
    "": ["other"],
}


@pytest.mark.parametrize(("text", "values"), FORMULAE.items())
def test_formula(text: str, values: list[str]) -> None:
    assert read_formula(FORMULA, text) == values
    assert FORMULA.unknown_values(tuple(values)) == []


def test_read_attribute_goes_by_kind() -> None:
    text = "As strategic partners they respect the one-China policy."
    assert read_attribute(TIER, text, 0, 5) == "strategic partnership"
    assert read_attribute(FORMULA, text, 0, 5) == ["policy"]


def test_the_words_of_a_grade_come_from_the_codebook() -> None:
    other = TIER.model_copy(
        update={"words": {"golden": "gold"}, "nouns": ("pact",), "canonical_noun": "accord"}
    )
    assert read_grade(other, "A golden pact and a strategic partnership.", 0, 1) == "gold accord"
    assert read_grade(TIER, "A golden pact and a strategic partnership.", 0, 1) == (
        "strategic partnership"
    )


@pytest.mark.parametrize("hyphen", "-\u2010\u2011\u2012\u2212\ufe63\uff0d")
def test_whatever_looks_like_a_hyphen_is_one(hyphen: str) -> None:
    text = f"They form an all{hyphen}weather strategic co{hyphen}operative partnership."
    start, end = text.index("all"), len(text) - 1
    assert read_attribute(TIER, text, start, end) == "all-weather strategic cooperative partnership"
    said = f"Both abide by the one{hyphen}China principle."
    assert read_attribute(FORMULA, said, 0, len(said)) == ["principle"]


def test_a_dash_parts_words() -> None:
    text = "They form an all–weather strategic partnership."
    assert read_attribute(TIER, text, 0, len(text)) == "strategic partnership"
