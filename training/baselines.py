"""What the model must beat on the same folds: lists of expressions, TF-IDF, embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from transformers import AutoModel

from diplophrase.classifier import pad, plan_batches
from diplophrase.lexicon import load_lexicon
from diplophrase.tokenizer import open_tokenizer


def predict_tfidf(
    texts: Sequence[str],
    targets: npt.NDArray[np.float32],
    unseen: Sequence[str],
    *,
    seed: int,
) -> npt.NDArray[np.bool_]:
    """Train on `texts` with `targets` [N, L]; return the labels [M, L] of `unseen`.

    Word unigrams and bigrams, balanced class weights, as scikit-learn's guide advises for
    short texts with rare classes.
    """
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        OneVsRestClassifier(
            LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000, random_state=seed)
        ),
    )
    return _predict_seen(model, list(texts), targets, list(unseen))


def rule_decisions(texts: Sequence[str], labels: Sequence[str]) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the labels [N, L] of the two lists in this folder: plain keywords, and long rules."""
    files = {"lexicon": "lexicon.yaml", "rules": "rules.yaml"}
    folder = Path(__file__).parent
    return {
        name: load_lexicon(folder / file).predict(texts, labels) for name, file in files.items()
    }


def _predict_seen(
    model: Any, known: Any, targets: npt.NDArray[np.float32], unseen: Any
) -> npt.NDArray[np.bool_]:
    """Fit `model` on the labels that occur in `targets` [N, L]; return the labels of `unseen`."""
    given = np.zeros((len(unseen), targets.shape[1]), dtype=bool)
    seen = targets.any(0)
    if seen.any():
        model.fit(known, targets[:, seen])
        # scikit-learn answers one label alone as [M], several as [M, L]
        given[:, seen] = model.predict(unseen).reshape(len(unseen), -1).astype(bool)
    return given


def predict_embedded(
    texts: Sequence[str],
    targets: npt.NDArray[np.float32],
    unseen: Sequence[str],
    base: Path,
    *,
    seed: int,
) -> npt.NDArray[np.bool_]:
    """Train logistic regression on frozen sentence embeddings; return the labels of `unseen`.

    The embedding is the checkpoint's own: the mean of its token vectors, length 1.
    """
    embedded = embed([*texts, *unseen], base)
    model = OneVsRestClassifier(
        LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000, random_state=seed)
    )
    return _predict_seen(model, embedded[: len(texts)], targets, embedded[len(texts) :])


def embed(texts: Sequence[str], base: Path, *, max_tokens: int = 256) -> npt.NDArray[np.float32]:
    """Return the sentence embeddings [N, H] of the checkpoint in the folder `base`."""
    encodings = open_tokenizer(base, max_tokens).encode_batch(list(texts))
    encoder = AutoModel.from_pretrained(str(base)).eval()
    rows: list[npt.NDArray[np.float32] | None] = [None] * len(texts)
    for batch in plan_batches([len(encoding.ids) for encoding in encodings]):
        feed = pad([encodings[row] for row in batch])
        ids, mask = (torch.from_numpy(feed[name]) for name in ("input_ids", "attention_mask"))
        with torch.inference_mode():
            states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        vectors = torch.nn.functional.normalize(mean, dim=-1).numpy()
        for row, vector in zip(batch, vectors, strict=True):
            rows[row] = vector
    return np.stack([row for row in rows if row is not None])
