"""Where a run reads and writes, and the annotations it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diplophrase.annotations import Annotation, check_annotations
from diplophrase.codebook import Codebook, load_codebook
from training.domain import ForeignText, read_foreign


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a run reads and writes."""

    labels: Path
    sources: Path
    models: Path

    @property
    def codebook(self) -> Path:
        return self.labels / "codebook.yaml"

    @property
    def annotations(self) -> Path:
        return self.labels / "annotations"

    @property
    def foreign(self) -> Path:
        return self.labels / "out_of_domain.jsonl"

    @property
    def runs(self) -> Path:
        return self.models / ".runs"

    @property
    def training(self) -> Path:
        return Path(__file__).parent

    @property
    def lexicon(self) -> Path:
        return self.training / "lexicon.yaml"


@dataclass(frozen=True, slots=True)
class Data:
    """The annotations of a run: all train; seeds and added ones evaluate, authored ones do not."""

    codebook: Codebook
    seeds: Sequence[Annotation]
    authored: Sequence[Annotation]
    added: Sequence[Annotation]
    foreign: Sequence[ForeignText]

    @property
    def extra(self) -> list[Annotation]:
        return [*self.authored, *self.added]

    @property
    def all(self) -> list[Annotation]:
        return [*self.seeds, *self.extra]

    def mark(self, marked: Sequence[Annotation]) -> Data:
        """Return the same with `marked`, as `all` has them, in their place."""
        ends = np.cumsum([len(self.seeds), len(self.authored)])
        seeds, authored, added = (
            marked[: ends[0]],
            marked[ends[0] : ends[1]],
            marked[ends[1] :],
        )
        return Data(self.codebook, seeds, authored, added, self.foreign)


def read_data(paths: Paths) -> Data:
    """Read and check the codebook, the seeds and, where they are there, the other annotations."""
    codebook = load_codebook(paths.codebook)
    seeds = check_annotations(paths.annotations / "seeds.jsonl", codebook)
    authored, added = (
        check_annotations(paths.annotations / name, codebook)
        if (paths.annotations / name).is_file()
        else []
        for name in ("authored.jsonl", "added.jsonl")
    )
    return Data(codebook, seeds, authored, added, read_foreign(paths.foreign))
