"""What an encoder that has read only some annotations makes of other sentences, kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from diplophrase.annotations import Annotation
from diplophrase.classifier import pad, plan_batches
from diplophrase.tokenizer import open_tokenizer
from training.config import Recipe, TrainConfig
from training.finetune import Step
from training.model import PhraseModel
from training.stages import FirstStage, learn_first

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LabelStates:
    """N sentences as a frozen encoder with L labels and H hidden units reads them.

    The logit of a label is `states[:, label] @ weights[label] + biases[label]`.
    """

    states: Floats  # [N, L, H], what each label's attention takes from the sentence
    embeddings: Floats  # [N, H]
    weights: Floats  # [L, H]
    biases: Floats  # [L]


def learn_states(
    recipe: Recipe,
    known: Sequence[Annotation],
    texts: Sequence[str],
    config: TrainConfig,
    runs: Path,
    on_step: Callable[[Step], None],
) -> LabelStates:
    """Fine-tune on `known` alone and read `texts`; what is kept below `runs` is not done again."""
    stage = FirstStage("authored sentences", known, config.first())
    kept = runs / f"states-{_key(recipe, stage, texts)}.npz"
    if not kept.is_file():
        tokenizer = open_tokenizer(recipe.base_path, config.max_tokens)
        model = learn_first(recipe, stage, runs, on_step)
        _save(kept, read_states(model, texts, tokenizer))
    with np.load(kept, allow_pickle=False) as arrays:
        return LabelStates(*(arrays[name] for name in LabelStates.__slots__))


def read_states(model: PhraseModel, texts: Sequence[str], tokenizer: Tokenizer) -> LabelStates:
    """Run the encoder and each label's attention over `texts`, cut as the tokenizer is set to."""
    model.eval()
    encodings = tokenizer.encode_batch(list(texts))
    count, hidden = model.weight.shape
    states = np.zeros((len(texts), count, hidden), dtype=np.float32)
    embeddings = np.zeros((len(texts), hidden), dtype=np.float32)
    for rows in plan_batches([len(encoding.ids) for encoding in encodings]):
        feed = pad([encodings[row] for row in rows])
        ids, mask = (torch.from_numpy(feed[name]) for name in ("input_ids", "attention_mask"))
        with torch.inference_mode():
            output = model(ids, mask)
            tokens = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            padding = (1.0 - mask.unsqueeze(1).to(tokens.dtype)) * -1e4
            attention = torch.softmax(output.attention + padding, dim=-1)  # [B, L, T]
        states[rows] = (attention @ tokens).numpy()
        embeddings[rows] = output.embedding.numpy()
    return LabelStates(
        states, embeddings, model.weight.detach().numpy(), model.bias.detach().numpy()
    )


def _key(recipe: Recipe, stage: FirstStage, texts: Sequence[str]) -> str:
    facts = [stage.key(recipe), *texts, Path(__file__).read_text(encoding="utf-8")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _save(path: Path, found: LabelStates) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.new.npz")
    try:
        np.savez(scratch, **{name: getattr(found, name) for name in LabelStates.__slots__})
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
