"""The setfit package on a labelled file, from the checkpoint and the sentences of our own training.

Needs `pip install setfit`, which is no dependency of this project.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

from diplophrase.annotations import check_annotations
from training.base import DEFAULT_BASE, find_base
from training.data import Paths, read_data
from training.dataset import label_targets
from training.evaluate import MIN_SUPPORT
from training.metrics import label_table

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Labelled sentences.")
    parser.add_argument("--steps", type=int, default=400, help="Contrastive steps of 16 pairs.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    torch.set_num_threads(given.threads)
    data = read_data(Paths(ROOT / "labels", ROOT / "seeds" / "sources.yaml", ROOT / "models"))
    labels = [label for label in data.codebook.ids if label not in data.codebook.own]
    notes = [*data.seeds, *data.authored]
    _, base = find_base(DEFAULT_BASE)
    known = Dataset.from_dict(
        {
            "text": [note.text for note in notes],
            "label": label_targets(notes, labels).astype(int).tolist(),
        }
    )
    model = SetFitModel.from_pretrained(str(base), multi_target_strategy="one-vs-rest")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            batch_size=16,
            max_steps=given.steps,
            seed=given.seed,
            report_to="none",
            save_strategy="no",
            output_dir=scratch,
        )
        Trainer(model=model, args=arguments, train_dataset=known).train()
    print(f"trained on {len(known)} sentences in {time.monotonic() - started:.0f} s", flush=True)
    unseen = check_annotations(given.data, data.codebook, record=True)
    answers = np.asarray(model.predict([note.text for note in unseen])) > 0
    truth = label_targets(unseen, labels) > 0
    table = label_table(answers, truth, labels, min_support=MIN_SUPPORT)
    print(f"macro-F1 {table['macro']['f1']:.4f}, micro-F1 {table['micro']['f1']:.4f}")


if __name__ == "__main__":
    main()
