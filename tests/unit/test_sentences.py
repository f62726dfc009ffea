"""Sentences: exact offsets, nothing but white space lost, and the boundaries a statement has."""

import random
from pathlib import Path

import pytest

from diplophrase.sentences import Sentence, split_sentences
from diplophrase.visible import is_blank

SEEDS = Path(__file__).parents[2] / "seeds"
COUNTS = {
    "000_20b3506b5588fa8a.txt": 32,
    "001_1231222c1bcd52b5.txt": 16,
    "002_f9b14d92b94f1e5a.txt": 21,
    "003_606a9464ba09ff0c.txt": 26,
    "004_2253a84684cec00c.txt": 737,
}

# name -> the sentences, and what stands between them; the text is all parts joined
CASES = {
    "one sentence": ["The two sides met."],
    "three kinds of end": ["Did they meet?", " ", "Yes!", " ", "They did...", " ", "And then?"],
    "no full stop at the end": ["The two sides met.", " ", "They"],
    "space around": ["", "\n\n  ", "The two sides met.", " \t\n"],
    "French spacing": ["Merci !", " ", "Au revoir !"],
    # datelines
    "dateline with an em dash": [
        "BEIJING, Jan. 18 (Xinhua) — The two sides signed an accord.",
        " ",
        "They will meet again in spring.",
    ],
    "dateline with two hyphens": ["BEIJING, Jan. 18 (Xinhua) -- The two sides signed an accord."],
    "dateline without an agency": [
        "NEW YORK, Sept. 20 — The forum opened.",
        " ",
        "It closed on Friday.",
    ],
    # abbreviations
    "Dr. inside": ["The delegation thanked the Dr. in charge.", " ", "It left."],
    "Mr. and Mrs.": ["Mr. and Mrs. are titles.", " ", "So is Prof. here."],
    "St. in a name": ["They spoke with the Prime Minister of St. Lucia.", " ", "He agreed."],
    "U.S. inside": [
        "The U.S. side welcomed the plan.",
        " ",
        "The U.S.-China talks went on.",
        " ",
        "U.S. officials left.",
    ],
    "U.S. before a lower case word": ["Trade with the U.S. grew.", " ", "Exports rose."],
    "U.S. at the end": ["The minister flew to the U.S.", " ", "The visit lasted two days."],
    "U.S. at the end of all": ["The U.S. and China talk.", " ", "Ties with the U.S."],
    "U.N. inside": ["The U.N. Security Council met.", " ", "The G20 met."],
    "vs. inside": ["It was cooperation vs. confrontation.", " ", "The choice is clear."],
    "vs. before a number": ["Prices rose 0.5 percent vs. 0.7 percent.", " ", "Wages fell."],
    "Co., Ltd.": ["The company, a Co., Ltd. of the province, signed.", " ", "It left."],
    "a.m. inside": ["The meeting was at 10 a.m. on Monday.", " ", "It was short."],
    "p.m. at the end": ["They came at 5 p.m.", " ", "The talks began."],
    # numbers that are values
    "Dec. 5. at the end": ["They will meet on Dec. 5.", " ", "The agenda is open."],
    "Dec. 5 inside": ["The talks began on Dec. 5 in the capital."],
    "Sept. 12. at the end": ["They agreed on Sept. 12.", " ", "They will meet."],
    "Art. 5. at the end": ["The pact has Art. 5.", " ", "It binds both."],
    "Nos. 3. at the end": ["See Nos. 3.", " ", "They are void."],
    "decimal numbers": ["Growth reached 3.5 percent.", " ", "The deficit is 2,000.50 yuan."],
    "decimal number at the end": ["The value is 1.5.", " ", "The next is 2.5."],
    "item numbers inside": ["The pact covers items 1. to 4. in full."],
    "a number begins a sentence": ["The 2+2 talks opened.", " ", "80 envoys came."],
    # bullets and points
    "bullets on lines": ["• Trade", "\n", "• Energy", "\n", "• Culture"],
    "bullets in one line": ["• Trade will grow.", " ", "• Energy will follow."],
    "hyphens on lines": ["- Trade", "\n", "- Energy"],
    "a wrapped bullet": ["• Trade in farm\n  goods", "\n", "• Energy"],
    "points on lines": ["1. The two sides met.", "\n", "2. They agreed.", "\n", "3. They left."],
    "points with a blank line": ["1. The two sides met.", "\n\n", "2. They agreed."],
    "points in one line": [
        "1. The two sides met.",
        " ",
        "2. They agreed on trade.",
        " ",
        "3. They left.",
    ],
    "points after prose": [
        "It is in force.",
        " ",
        "16. The two sides will meet.",
        " ",
        "17. They will report.",
    ],
    "points after a colon": ["They agreed as follows:", " ", "1. Trade.", " ", "2. Energy."],
    "point after a semicolon": ["They agreed;", " ", "2. They will meet."],
    "point after an ellipsis": ["They spoke at length…", " ", "2. They left."],
    "point after a quotation": ["They said: “We agree.”", " ", "2. They left."],
    "points with a hyphen": ["16-The two sides met.", "\n", "17-They agreed."],
    "points in brackets": ["They agreed.", " ", "(2) They will meet.", " ", "(3) They left."],
    "lettered points": ["(a) Trade grows.", " ", "(b) Energy follows."],
    "lettered points on lines": ["a) Trade grows.", "\n", "b) Energy follows."],
    "capital letters as points": ["A. Trade grows.", " ", "B. Energy follows."],
    "Roman points on lines": ["i. Trade", "\n", "ii. Energy", "\n", "iii. Culture"],
    "wrapped points": [
        "1. The two sides will widen trade in farm goods and will\n"
        "open new border crossings in the north.",
        "\n",
        "2. The two sides will hold a dialogue on security once a\nyear.",
    ],
    # quotations and brackets
    "quotation of several sentences": [
        "“We are friends.",
        " ",
        "We trust each other.",
        " ",
        "We will stay so,” the envoy said.",
        " ",
        "They left.",
    ],
    "straight quotes": [
        '"We are friends.',
        " ",
        'We trust each other."',
        " ",
        "The envoy left.",
    ],
    "quotation after a colon": ["The envoy said: “We are friends.”", " ", "They smiled."],
    "quotation inside a sentence": [
        "The envoy asked, “Why now?” and left.",
        " ",
        "The host stayed.",
    ],
    "two quotations": ["“Trade is growing.”", " ", "“Let us go on.”", " ", "They did."],
    "a sentence in brackets": ["(They met in May.)", " ", "They left in June."],
    "a full stop in brackets": ["The plan (see Annex 2.) was adopted.", " ", "They left."],
    # lines
    "heading without a full stop": ["Talks open in the capital", "\n\n", "The two sides met."],
    "heading on the line before": [
        "Talks open in the capital",
        "\n",
        "The two sides met.",
        " ",
        "They agreed.",
    ],
    "heading in capitals": [
        "OPENING OF THE FORUM",
        "\n",
        "The forum opened on Monday.",
        "\n",
        "It closed on Friday.",
    ],
    "hard-wrapped paragraph": [
        "The two sides met in the capital on Monday and agreed to\n"
        "deepen cooperation in trade, energy and culture, and they will\n"
        "hold a second round of talks in spring.",
        " ",
        "Both thanked the\nhosts.",
    ],
    "wrapped before a capital": [
        "The envoys of the two countries met on the margins of the\nSummit and spoke for an hour.",
        " ",
        "They then went on to the\nCapital, where a banquet was held in their honour.",
    ],
    "wrapped once": ["Both sides agreed to\ndeepen trade."],
    "two lines are not wrapped before a capital": ["Both sides agreed to", "\n", "Deepen trade."],
    "lower case after a full stop": ["They met.", "\n", "they left."],
    "lower case after a colon": ["Talks:", "\n", "they left."],
    "a line too long to be wrapped": [
        "Cooperation " * 10 + "grows",
        "\n",
        "and goes on.",
        " ",
        "It ends.",
    ],
    "CRLF": ["The two sides met.", "\r\n", "They agreed.", "\r\n\r\n", "Both left."],
    "CRLF inside a sentence": ["Both sides agreed to\r\ndeepen trade.", "\r\n", "They left."],
    "CR alone": ["The two sides met.", "\r", "They agreed."],
    "line separator": ["The two sides met", "\u2028", "They agreed"],
    "paragraph separator": ["The two sides met", "\u2029", "They agreed"],
    # characters
    "non-breaking spaces": ["The two\xa0sides met.", "\xa0", "They agreed.", "\xa0\xa0"],
    "wide space": ["The two sides met.", "\u3000", "They agreed."],
    "emoji inside": ["The talks went well 👍🏽.", " ", "They end 🎉"],
    "emoji belongs to what it follows": ["The talks went well. 👍🏽"],
    "emoji alone": ["🤝"],
    "combining characters": ["Cafe\u0301 talks ended.", " ", "A second cafe\u0301 opened."],
    "byte order mark": ["\ufeffThe two sides met.", " ", "They agreed."],
    # captions and source lines
    "agency tail": [
        "The leaders attend the ceremony, May 4, 2023. /CFP)",
        "\n\n",
        "The leaders met.",
    ],
    "agency tail in brackets": ["(The leaders shake hands in the hall. /CFP)"],
    "source line": ["The leaders shake hands in the hall, May 4, 2023. /Xinhua"],
    # marks with nothing after them
    "a number alone": ["4."],
    "a bracketed number alone": ["(1)"],
    "dots alone": ["..."],
    "a dash alone": ["—"],
    "a number at the end": ["They agreed on trade.", " ", "2."],
    "one long word": ["a" * 10_000],
    "one long word and a sentence": ["a" * 10_000 + ".", " ", "They agreed."],
    "many lower case sentences": ["We met. " + "we spoke. " * 999 + "we left."],
}


def assert_covers(text: str, sentences: list[Sentence]) -> None:
    """Assert that the offsets are exact, in order, and skip nothing visible."""
    done = 0
    for sentence in sentences:
        assert text[sentence.start : sentence.end] == sentence.text
        assert sentence.text == sentence.text.strip() != ""
        assert is_blank(text[done : sentence.start])
        assert sentence.start >= done
        done = sentence.end
    assert is_blank(text[done:])


@pytest.mark.parametrize("parts", CASES.values(), ids=CASES.keys())
def test_boundaries(parts: list[str]) -> None:
    text = "".join(parts)
    found = split_sentences(text)
    assert [sentence.text for sentence in found] == [part for part in parts if part.strip()]
    assert_covers(text, found)


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "\r\n\r\n", "\t \xa0\u3000\u2028\n", "\u200b\n\n\ufeff \x00"]
)
def test_blank_text_has_no_sentence(text: str) -> None:
    assert split_sentences(text) == []


def test_a_line_of_zero_width_characters_is_no_sentence() -> None:
    assert split_sentences("One.\n\n\u200b\n\nTwo.") == [
        Sentence("One.", 0, 4),
        Sentence("Two.", 9, 13),
    ]


@pytest.mark.parametrize("piece", ['?"', "...)", ".'", '…"', "!?", "!", "a.b?)"])
def test_a_word_full_of_endings_takes_no_quadratic_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))  # minutes, if each ending looks through the word
    assert_covers(text, split_sentences(text))


def test_the_ending_of_a_long_word_counts() -> None:
    first = "https://example.org/?" + "a.b/?" * 60 + 'end."'
    assert [sentence.text for sentence in split_sentences(f"{first} Two.")] == [first, "Two."]


def test_offsets_count_code_points() -> None:
    assert split_sentences("🤝🏽 e\u0301. Two.") == [
        Sentence("🤝🏽 e\u0301.", 0, 6),
        Sentence("Two.", 7, 11),
    ]


def test_seeds_are_those_counted() -> None:
    assert sorted(path.name for path in SEEDS.glob("*.txt")) == sorted(COUNTS)


@pytest.mark.parametrize("name", COUNTS)
def test_seeds_lose_nothing(name: str) -> None:
    text = (SEEDS / name).read_text(encoding="utf-8")
    found = split_sentences(text)
    assert len(found) == COUNTS[name]
    assert_covers(text, found)


@pytest.mark.parametrize("name", COUNTS)
def test_seeds_split_alike_with_crlf(name: str) -> None:
    text = (SEEDS / name).read_text(encoding="utf-8")
    with_crlf = text.replace("\n", "\r\n")
    found = split_sentences(with_crlf)
    assert_covers(with_crlf, found)
    assert [sentence.text.replace("\r\n", "\n") for sentence in found] == [
        sentence.text for sentence in split_sentences(text)
    ]


@pytest.mark.parametrize("name", COUNTS)
def test_leading_space_only_moves_the_offsets(name: str) -> None:
    text = (SEEDS / name).read_text(encoding="utf-8")
    assert split_sentences("\n\n  " + text) == [
        Sentence(sentence.text, sentence.start + 4, sentence.end + 4)
        for sentence in split_sentences(text)
    ]


def test_all_cases_together_lose_nothing() -> None:
    text = "\n\n".join("".join(parts) for parts in CASES.values())
    found = split_sentences(text)
    assert_covers(text, found)
    assert len(found) == sum(bool(part.strip()) for parts in CASES.values() for part in parts)


@pytest.mark.parametrize("seed", range(20))
def test_scrambled_pieces_lose_nothing(seed: int) -> None:
    pieces = [
        *("The", "they", "word", "Dr.", "U.S.", "Dec.", "Art.", "vs.", "/CFP)", "..."),
        *("5.", "3.5", "(3)", "16-", "a)"),
        *'•–—.!?…:;,“”"’()',
        *("🤝", "e\u0301", "\u200b", "\ufeff", "\x00"),
        *(" ", "\n", "\r\n", "\n\n", "\r", "\t", "\xa0", "\u2028", "\u3000", "\x0b", "\x85"),
    ]
    rng = random.Random(seed)
    for _ in range(50):
        text = "".join(
            rng.choice(pieces) + rng.choice(["", " "]) for _ in range(rng.randint(1, 40))
        )
        assert_covers(text, split_sentences(text))
