"""The training loop: fine-tune encoder and heads on a dataset, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from torch import Tensor, nn
from transformers import get_linear_schedule_with_warmup

from training.config import TrainConfig
from training.dataset import NO_EVIDENCE, UNKNOWN, Batch, iterate_batches
from training.model import ModelOutput, PhraseModel, load_model


@dataclass(slots=True)
class Step:
    """One step done: its number, the number of all, and the loss."""

    number: int
    total: int
    loss: float
    parts: dict[str, float] = field(default_factory=dict)


def seed_everything(seed: int, threads: int) -> None:
    """Make torch and numpy repeat themselves: seeds, kernels, number of threads."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # slow


def prepare_model(config: TrainConfig, label_count: int) -> PhraseModel:
    """Seed everything and build the model; word embeddings stay as they are in `base`."""
    seed_everything(config.seed, config.threads)
    model = load_model(Path(config.base), label_count, dropout=config.dropout)
    for parameter in model.encoder.get_input_embeddings().parameters():
        parameter.requires_grad = False
    return model


def finetune(
    model: PhraseModel, dataset: Dataset, config: TrainConfig, replay: Dataset | None = None
) -> Iterator[Step]:
    """Train `model` in place, yielding after every step.

    Each pass takes `config.replay` rows of `replay` besides, drawn anew.
    The same model with the same dataset and config gets the same weights after `seed_everything` on
    the same machine; its dropout draws from torch's generator.
    """
    generator = np.random.default_rng(config.seed)
    again = min(config.replay, len(replay)) if replay is not None else 0
    steps = config.epochs * math.ceil((len(dataset) + again) / config.batch_size)
    optimizer = torch.optim.AdamW(_parameter_groups(model, config))
    schedule = get_linear_schedule_with_warmup(optimizer, int(config.warmup * steps), steps)
    model.train()
    number = 0
    for _ in range(config.epochs):
        rows = dataset
        if replay is not None and again:
            drawn = replay.select(generator.permutation(len(replay))[:again])
            rows = concatenate_datasets([dataset, drawn])
        for batch in iterate_batches(rows, size=config.batch_size, generator=generator):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bfloat16):
                output = model(batch.input_ids, batch.attention_mask)
            parts = losses(output, batch)
            loss = (
                parts["labels"]
                + config.attention_weight * parts["attention"]
                + config.evidence_weight * parts["evidence"]
                + config.speaker_weight * parts["speaker"]
            )
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            number += 1
            values = {name: float(part.detach()) for name, part in parts.items()}
            yield Step(number, steps, float(loss.detach()), values)
    model.eval()


def losses(output: ModelOutput, batch: Batch) -> dict[str, Tensor]:
    """Return the loss of labels, attention, evidence's ends and speaker, each per text.

    What is not known of a text costs nothing.
    """
    known = (batch.targets != UNKNOWN).float()
    labels = nn.functional.binary_cross_entropy_with_logits(
        output.logits.float(), batch.targets.clamp(min=0.0), weight=known, reduction="sum"
    )
    tokens = nn.functional.binary_cross_entropy_with_logits(
        output.attention.float(), batch.evidence, reduction="none"
    )
    kept = batch.attention_mask.unsqueeze(1)
    # averaged over a text's tokens, so that a long sentence weighs as much as a short one
    attention = ((tokens * kept).sum(-1) / kept.sum(-1) * known).sum()
    ends = output.evidence.float() + (1.0 - batch.attention_mask[:, None, None]) * -1e4
    evidence = nn.functional.cross_entropy(  # labels without evidence are ignored
        ends.flatten(0, 2), batch.ends.flatten(), reduction="sum", ignore_index=NO_EVIDENCE
    )
    speaker = nn.functional.cross_entropy(output.speaker.float(), batch.speaker)
    size = len(batch.targets)
    return {
        "labels": labels / size,
        "attention": attention / size,
        "evidence": evidence / size,
        "speaker": speaker,
    }


def _parameter_groups(model: PhraseModel, config: TrainConfig) -> list[dict[str, object]]:
    """Give heads their own rate and each encoder layer a lower one than the layer above."""
    layers = list(model.encoder.encoder.layer)
    head = [value for name, value in model.named_parameters() if not name.startswith("encoder.")]
    groups: list[dict[str, object]] = [{"params": head, "lr": config.head_rate}]
    for depth, layer in enumerate(reversed(layers)):
        rate = config.encoder_rate * config.layer_decay**depth
        groups.append({"params": list(layer.parameters()), "lr": rate})
    rest = [value for value in model.encoder.embeddings.parameters() if value.requires_grad]
    rate = config.encoder_rate * config.layer_decay ** len(layers)
    groups.append({"params": rest, "lr": rate})
    return [{**group, "weight_decay": config.weight_decay} for group in groups]
