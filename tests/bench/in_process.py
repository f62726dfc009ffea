"""The in-process classifier against transformers' pipeline, sentences a second."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from diplophrase.annotations import read_annotations
from diplophrase.bundle import current_bundle
from diplophrase.classifier import Classifier

ROOT = Path(__file__).parents[2]
BATCH_SIZES = (1, 8, 16, 32, 64)


def seed_sentences(count: int) -> list[str]:
    """Return `count` seed sentences in their natural order, from the start again at the end."""
    notes = read_annotations(ROOT / "labels" / "annotations" / "seeds.jsonl")
    return list(islice(cycle(note.text for note in notes), count))


def rate(work: Callable[[], object], texts: int, rounds: int) -> float:
    """Return the best rate of `rounds`, texts a second."""
    best = 0.0
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = max(best, texts / (time.perf_counter() - start))
    return best


def pipeline_rate(texts: list[str], labels: int, rounds: int) -> tuple[float, int]:
    """Return the best rate of a float32 text-classification pipeline, and its batch size."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    from training.base import DEFAULT_BASE, find_base

    _, folder = find_base(DEFAULT_BASE)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=labels, problem_type="multi_label_classification"
    )
    tokenizer = AutoTokenizer.from_pretrained(folder)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
    rates = {
        size: rate(lambda size=size: classify(texts, batch_size=size), len(texts), rounds)  # type: ignore[misc]
        for size in BATCH_SIZES
    }
    best = max(rates, key=rates.__getitem__)
    return rates[best], best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    texts = seed_sentences(given.texts)
    classifier = Classifier.load(current_bundle(ROOT / "models"), runners=2)
    classifier.classify(texts[:200])
    ours = rate(lambda: classifier.classify(texts), len(texts), given.rounds)
    theirs, size = pipeline_rate(texts, len(classifier.labels), 1)
    ours = max(ours, rate(lambda: classifier.classify(texts), len(texts), given.rounds))
    print(f"classifier {ours:.0f} sentences/s, pipeline {theirs:.0f} (batches of {size})")
    print(f"ratio {ours / theirs:.1f}")


if __name__ == "__main__":
    main()
