"""Sentences, a codebook and a tiny seeded checkpoint, shared by the tests of `training`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from diplophrase.annotations import Annotation, Source, Speaker
from diplophrase.codebook import Codebook

LABELS = ("harbour", "school", "river")

_SENTENCES: tuple[tuple[str, Speaker, dict[str, str]], ...] = (
    ("Both islands will widen the harbour before winter.", "joint", {"harbour": "the harbour"}),
    ("A deeper harbour was promised to the fishermen.", "third", {"harbour": "deeper harbour"}),
    ("We want a harbour with two cranes.", "counterpart", {"harbour": "a harbour"}),
    ("The old harbour stays closed at night.", "none", {"harbour": "old harbour"}),
    ("Both islands will found a school for pilots.", "joint", {"school": "a school for pilots"}),
    ("A school was promised to the fishermen.", "third", {"school": "A school"}),
    ("We want a school with two gardens and a library.", "counterpart", {"school": "a school"}),
    ("The old school stays closed at night.", "none", {"school": "old school"}),
    ("Both islands will clean the river together.", "joint", {"river": "clean the river"}),
    ("A clean river was promised to the fishermen.", "third", {"river": "clean river"}),
    ("We want a river with two bridges.", "counterpart", {"river": "a river"}),
    (
        "The old school and the old harbour stay open in summer.",
        "none",
        {"school": "old school", "harbour": "old harbour"},
    ),
    (
        "We want a river with boats and a school beside it.",
        "counterpart",
        {"river": "a river", "school": "a school"},
    ),
    ("The weather stays cold at night.", "none", {}),
    ("Both islands will wait for the weather.", "joint", {}),
    ("A clean table was promised to the fishermen.", "third", {}),
)


def make_note(
    key: str,
    text: str,
    spans: dict[str, str] | None = None,
    *,
    speaker: Speaker = "none",
    source: Source | None = None,
) -> Annotation:
    """Return an annotation whose `spans` give the words of `text` that earn each label."""
    spans = spans or {}
    starts = {label: text.index(words) for label, words in spans.items()}
    return Annotation(
        id=key,
        text=text,
        labels=tuple(spans),
        evidence={label: (starts[label], starts[label] + len(spans[label])) for label in spans},
        speaker=speaker,
        source=source,
    )


def make_notes() -> list[Annotation]:
    """Return sixteen sentences, labelled."""
    return [
        make_note(f"s{number:02}", text, spans, speaker=speaker)
        for number, (text, speaker, spans) in enumerate(_SENTENCES)
    ]


def make_codebook() -> Codebook:
    """Return a codebook of the three labels, without attributes."""
    labels = [
        {
            "id": label,
            "name": label.title(),
            "definition": f"The sentence names a {label}.",
            "examples": [f"A {label}.", f"Another {label}."],
        }
        for label in LABELS
    ]
    return Codebook.model_validate({"version": "0.1", "labels": labels})


def make_tokenizer(words: Iterable[str]) -> Tokenizer:
    """Return a lower-casing WordPiece tokenizer; `words` get the ids from 8 on, in order."""
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", ",", "##s", "##n"]
    vocabulary = {token: index for index, token in enumerate([*marks, *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def write_base(folder: Path) -> Path:
    """Write a BERT of two layers with seeded random weights, and its tokenizer."""
    import torch
    from transformers import BertConfig, BertModel

    words = {word for text, _, _ in _SENTENCES for word in text.lower().strip(".").split()}
    tokenizer = make_tokenizer(sorted(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.enable_padding(length=32)  # as checkpoints' files have it; nothing may take it over
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
