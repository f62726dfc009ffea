"""What decides a run beside its data: the codebook, the checkpoint, and the numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from diplophrase.bundle import Base
from diplophrase.codebook import Codebook


@dataclass(frozen=True, slots=True)
class Recipe:
    """What stays the same from fold to fold: codebook, and checkpoint."""

    codebook: Codebook
    base: Base
    base_path: Path


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The numbers of a training.

    A training has two stages: passes over the authored sentences, which all folds have in common,
    and passes over the sentences of documents, each with some authored ones drawn anew. Where
    there are no authored sentences, the passes of both are made over the others.
    """

    base: str
    seed: int = 7
    epochs: int = 3  # passes of the first stage
    seed_epochs: int = 4  # passes of the second
    replay: int = 2000  # authored sentences in each pass of the second
    seed_rate: float = 0.5  # rates of the second stage against those of the first
    batch_size: int = 32
    encoder_rate: float = 8e-5
    head_rate: float = 2e-3
    layer_decay: float = 0.9  # a layer's rate against that of the layer above
    weight_decay: float = 0.01
    dropout: float = 0.1
    warmup: float = 0.1  # share of the steps
    attention_weight: float = 2.0
    evidence_weight: float = 0.3
    speaker_weight: float = 0.6
    max_tokens: int = 256
    bfloat16: bool = True
    threads: int = 2

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    def first(self) -> TrainConfig:
        """Return the same for the first stage alone, which the second's numbers do not change."""
        return replace(self, seed_epochs=0, replay=0, seed_rate=1.0)

    def second(self) -> TrainConfig:
        """Return the numbers of the second stage as those of a training of one stage."""
        return replace(
            self.first(),
            epochs=self.seed_epochs,
            replay=self.replay,
            encoder_rate=self.encoder_rate * self.seed_rate,
            head_rate=self.head_rate * self.seed_rate,
        )

    def whole(self) -> TrainConfig:
        """Return the numbers of a training of one stage, with the passes of both."""
        return replace(self.first(), epochs=self.epochs + self.seed_epochs)
