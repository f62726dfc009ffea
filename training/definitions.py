"""A network that starts from what the codebook says: a label's heads point to its definition."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from diplophrase.codebook import Label
from training.model import PhraseModel

_LENGTH = 0.4  # of a head's weights at the start, against 0.4 of a random start


def point_at(meanings: Tensor) -> Tensor:
    """Return heads [L, H] that point to the embeddings [L, H], less what all of these share."""
    heads = nn.functional.normalize(meanings, dim=1)
    return (heads - heads.mean(0)) * _LENGTH


def start_from_definitions(
    model: PhraseModel, labels: Sequence[Label], tokenizer: Tokenizer
) -> None:
    """Set each label's attention and weights to the embedding of its name and definition.

    What all definitions share is taken out. A label with few sentences starts near its words
    instead of anywhere.
    """
    model.eval()
    with torch.no_grad():
        embeddings = []
        for encoding in tokenizer.encode_batch([label.meaning for label in labels]):
            ids = torch.tensor([encoding.ids[: model.encoder.config.max_position_embeddings]])
            mask = torch.ones_like(ids)
            states = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            embeddings.append(states.mean(1)[0])
        heads = point_at(torch.stack(embeddings))
        model.query.weight.copy_(heads)
        model.weight.copy_(heads)
