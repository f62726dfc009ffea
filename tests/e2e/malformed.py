"""Bodies that no client should send, the same ones for the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator

PATHS = ("/v1/classify", "/v1/statements")
_LARGE_EVERY = 500  # one body in so many is near the bound of 2,000,000 bytes
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\u00ad\u2800"
_FOREIGN = "سلام שלום Мир 平和 🤝🏽 e\u0301 \u202e\u0000\u0007\ufffd\ue000"
_ENDINGS = ('?"', "...)", ".'", '…"', "!?", "a.\n", "1.\n", ". ", "\u2028", "()", "-", "#")
_WORDS = ("Both", "sides", "agreed", "to", "lift", "relations.", "U.S.", "3.5", "“Peace”")

Maker = Callable[[random.Random], bytes]


def bodies(count: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield `count` bodies, each with the name of its kind and the path to send it to."""
    rng = random.Random(seed)
    for number in range(count):
        makers = _LARGE if number % _LARGE_EVERY == _LARGE_EVERY - 1 else _SMALL
        turn = number // _LARGE_EVERY if makers is _LARGE else number
        make = makers[turn % len(makers)]
        yield make.__name__, rng.choice(PATHS), make(rng)


def _request(rng: random.Random, text: str) -> dict[str, object]:
    field = rng.choice(("texts", "text"))
    return {field: [text] if field == "texts" else text, "evidence": rng.random() < 0.5}


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, 12)))


def _value(rng: random.Random, depth: int = 3) -> object:
    simple = [None, True, -1, 0.5, "", "text", 10**400, _sentence(rng)]
    if depth == 0 or rng.random() < 0.5:
        return rng.choice(simple)
    if rng.random() < 0.5:
        return [_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    return {rng.choice(_WORDS): _value(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def random_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(0, 400))


def truncated(rng: random.Random) -> bytes:
    whole = json.dumps(_request(rng, _sentence(rng))).encode()
    return whole[: rng.randrange(len(whole))]


def flipped_bits(rng: random.Random) -> bytes:
    whole = bytearray(json.dumps(_request(rng, _sentence(rng))).encode())
    for _ in range(rng.randint(1, 4)):
        whole[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
    return bytes(whole)


def deeply_nested(rng: random.Random) -> bytes:
    depth = rng.choice((10, 300, 900, 1100, 50_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('{"texts":[', "]}")))
    return (opening * depth + "1" + closing * depth * rng.randint(0, 1)).encode()


def controls(rng: random.Random) -> bytes:
    text = "".join(chr(rng.randrange(32)) for _ in range(rng.randint(1, 20)))
    body = json.dumps(_request(rng, text + _sentence(rng) * rng.randint(0, 1)))
    return (body if rng.random() < 0.5 else body.replace("\\u0000", "\x00")).encode()


def lone_surrogates(rng: random.Random) -> bytes:
    half = chr(rng.randrange(0xD800, 0xE000))
    text = rng.choice((half, f"one {half} two", half * 50))
    request = _request(rng, rng.choice((text, "Peace.")))
    where = rng.choice(("text", "id", "field"))
    if where != "text":
        request[text if where == "field" else "id"] = text
    return json.dumps(request).encode()


def huge_numbers(rng: random.Random) -> bytes:
    number = rng.choice(("9" * 4000, "-" + "9" * 5000, "1e999999", "-1e-999999", "NaN", "Infinity"))
    shape = rng.choice(('{"texts":[%s]}', '{"text":%s}', '{"texts":["a"],"evidence":%s}', "%s"))
    return (shape % number).encode()


def unseen_characters(rng: random.Random) -> bytes:
    text = "".join(rng.choice(_INVISIBLE) for _ in range(rng.randint(1, 30)))
    words = _sentence(rng) if rng.random() < 0.5 else ""
    return json.dumps(_request(rng, text + words), ensure_ascii=rng.random() < 0.5).encode()


def foreign_characters(rng: random.Random) -> bytes:
    text = "".join(rng.choice(_FOREIGN) for _ in range(rng.randint(1, 60)))
    encoding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-16", "utf-32", "utf-7"))
    return json.dumps(_request(rng, text), ensure_ascii=False).encode(encoding)


def wrong_types(rng: random.Random) -> bytes:
    fields = ("texts", "text", "evidence", "scores", "id", "Texts", "")
    request = {field: _value(rng) for field in rng.sample(fields, rng.randint(0, 4))}
    return json.dumps(request if rng.random() < 0.8 else _value(rng)).encode()


def one_large_word(rng: random.Random) -> bytes:
    return json.dumps(_request(rng, rng.choice("x.é-") * 1_000_000), ensure_ascii=False).encode()


def word_of_endings(rng: random.Random) -> bytes:
    piece = rng.choice(_ENDINGS)
    return json.dumps({"text": piece * (200_000 // len(piece))}).encode()


def many_items(rng: random.Random) -> bytes:
    item = rng.choice(("0", '""', "[]", '"a"', "null"))
    return f'{{"texts":[{",".join([item] * 300_000)}]}}'.encode()


def many_fields(rng: random.Random) -> bytes:
    name = rng.choice(("", "é", "x" * 10))
    return json.dumps({f"{name}{number}": number for number in range(80_000)}).encode()


def too_large(rng: random.Random) -> bytes:
    return json.dumps(_request(rng, "x" * 2_100_000)).encode()


_SMALL: tuple[Maker, ...] = (
    random_bytes,
    truncated,
    flipped_bits,
    deeply_nested,
    controls,
    lone_surrogates,
    huge_numbers,
    unseen_characters,
    foreign_characters,
    wrong_types,
)
_LARGE: tuple[Maker, ...] = (one_large_word, word_of_endings, many_items, many_fields, too_large)
