"""The tokenizer of a checkpoint or a bundle, as training and the classifier both use it."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer


def open_tokenizer(folder: Path, max_tokens: int) -> Tokenizer:
    """Return the tokenizer in `folder`, without padding, that cuts texts at `max_tokens`.

    A checkpoint's file may pad and cut every text to a length of its own.

    Raises:
        Exception: from the library, if there is no tokenizer.json or it cannot be read.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer
