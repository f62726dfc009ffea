"""Hidden states kept on disk: a text goes through a frozen encoder once, and never again.

A file holds the states of the texts that one run met for the first time. It is written aside and
renamed, so a run that is cut off loses only what it had not finished; a file that cannot be read
is left out, and its texts are read anew. All of it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from training.encoder import Codes, Encoder

_TEXTS_PER_FILE = 2_000


@dataclass(frozen=True, slots=True)
class States:
    """The states of N texts, all tokens in one array: `scale * (code - zero)`."""

    codes: Codes  # [tokens of all texts, H]
    starts: npt.NDArray[np.int64]  # [N + 1]
    scale: float
    zero: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def of(self, row: int) -> npt.NDArray[np.float32]:
        """Return the states [T, H] of one text."""
        codes = self.codes[self.starts[row] : self.starts[row + 1]]
        return (codes.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)

    def embed(self) -> npt.NDArray[np.float32]:
        """Return each text's mean state [N, H], of length 1."""
        means = np.stack([self.of(row).mean(0) for row in range(len(self))])
        return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True))

    def part(self, first: int, end: int) -> States:
        """Return the texts from `first` to before `end`."""
        start, stop = self.starts[first], self.starts[end]
        return States(
            self.codes[start:stop], self.starts[first : end + 1] - start, self.scale, self.zero
        )

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self.starts)


@dataclass(frozen=True, slots=True)
class StateStore:
    """The kept states of one encoder with one tokenizer, in a folder of their own."""

    folder: Path
    encoder: Encoder
    tokenizer: Tokenizer

    def read(
        self, texts: Sequence[str], *, threads: int, on_text: Callable[[int, int], None]
    ) -> States:
        """Return the states of `texts`, in order; those not kept yet are computed and kept.

        `on_text` is told how many of the new texts are done, and how many there are.
        """
        keys = [_key(text) for text in texts]
        kept = self._load(set(keys))
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in kept}
        done = 0
        order = sorted(new)
        for first in range(0, len(order), _TEXTS_PER_FILE):
            part = order[first : first + _TEXTS_PER_FILE]
            found: dict[bytes, Codes] = {}
            encodings = self.tokenizer.encode_batch([new[key] for key in part])
            for row, codes in self.encoder.run(encodings, threads=threads):
                found[part[row]] = codes
                done += 1
                on_text(done, len(new))
            self._keep(found)
            kept |= found
        lengths = [len(kept[key]) for key in keys]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        codes = np.empty((int(starts[-1]), self.encoder.width), dtype=np.uint8)
        for row, key in enumerate(keys):
            codes[starts[row] : starts[row + 1]] = kept[key]
        return States(codes, starts, self.encoder.scale, self.encoder.zero)

    def _load(self, wanted: set[bytes]) -> dict[bytes, Codes]:
        found: dict[bytes, Codes] = {}
        for path in sorted(self.folder.glob("*.npz")):
            found |= {key: codes for key, codes in _read_file(path) if key in wanted}
        return found

    def _keep(self, found: dict[bytes, Codes]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = sorted(found)
        name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
        scratch = self.folder / f".{name}-{os.getpid()}"
        try:
            with scratch.open("wb") as file:
                np.savez(
                    file,
                    keys=np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1),
                    lengths=np.array([len(found[key]) for key in keys]),
                    codes=np.concatenate([found[key] for key in keys]),
                )
            scratch.replace(self.folder / f"{name}.npz")
        finally:
            scratch.unlink(missing_ok=True)


def open_states(runs: Path, encoder: Encoder, tokenizer: Tokenizer) -> StateStore:
    """Return the store below `runs` for an encoder, and texts as the tokenizer reads them."""
    digest = hashlib.sha256(f"{encoder.hash} {tokenizer.to_str()}".encode()).hexdigest()
    return StateStore(runs / f"states-{digest[:16]}", encoder, tokenizer)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _read_file(path: Path) -> Iterator[tuple[bytes, Codes]]:
    try:
        with path.open("rb") as file, np.load(file) as kept:
            keys, lengths, codes = kept["keys"], kept["lengths"], kept["codes"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return
    ends = np.cumsum(lengths)
    for key, length, end in zip(keys, lengths, ends, strict=True):
        yield key.tobytes(), codes[end - length : end]
