"""Texts as token ids: nothing padded, and cut where it was asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_fixtures import make_tokenizer

from diplophrase.tokenizer import open_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder whose tokenizer.json pads and cuts every text, as checkpoints' files do."""
    tokenizer = make_tokenizer(["the", "harbour"])
    tokenizer.enable_padding(length=32)
    tokenizer.enable_truncation(24)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_nothing_is_padded_or_cut_as_the_checkpoints_file_has_it(folder: Path):
    assert open_tokenizer(folder, 64).encode("The harbour.").ids == [2, 8, 9, 4, 3]
    assert len(open_tokenizer(folder, 64).encode(" ".join(["harbour"] * 40)).ids) == 42


def test_texts_are_cut_where_it_was_asked(folder: Path):
    assert open_tokenizer(folder, 16).encode(" ".join(["harbour"] * 40)).ids[-2:] == [9, 3]
    assert len(open_tokenizer(folder, 16).encode(" ".join(["harbour"] * 40)).ids) == 16
