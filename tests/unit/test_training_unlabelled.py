"""What older sentences say of a newer label: unknown, or reliably not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from training_fixtures import make_codebook, make_note

from diplophrase.annotations import Annotation
from diplophrase.codebook import Codebook
from diplophrase.own_labels import add_label
from training.dataset import UNKNOWN, Batch, known_targets
from training.finetune import losses
from training.model import ModelOutput
from training.unlabelled import PartlyKnown, known_cells, mark_unknown, untold_labels

NEW = "0.1+storm"


@pytest.fixture
def book(tmp_path: Path) -> Codebook:
    path = tmp_path / "codebook.yaml"
    path.write_text(yaml.safe_dump(make_codebook().model_dump(mode="json")))
    return add_label(path, "storm", "The sentence names a storm.")[1]


def note(key: str, text: str, label: str | None = None, codebook: str = "0.1") -> Annotation:
    """Return an annotation of a text; its label, if any, is earned by the first word."""
    spans = {label: text.split()[0]} if label else {}
    return make_note(key, text, spans).model_copy(update={"codebook": codebook})


def corpus() -> list[Annotation]:
    """Return six storms, forty older sentences without any, and ten older unmarked storms."""
    days = ("Monday", "Tuesday", "Friday", "Sunday", "spring", "winter")
    storms = [
        note(f"y{k}", f"Storms and heavy winds came over the coast on {day}.", "storm", NEW)
        for k, day in enumerate(days)
    ]
    things = ("harbour", "school", "river", "garden", "library", "market", "bridge", "table")
    calm = [
        note(f"c{k}{day}", f"The {thing} opens to all the fishermen on {day}.")
        for k, thing in enumerate(things)
        for day in days[:5]
    ]
    hidden = [
        note(f"h{k}", f"In {year} storms and heavy winds came over the coast.")
        for k, year in enumerate(range(1990, 2000))
    ]
    return [*storms, *calm, *hidden]


def embed(notes: list[Annotation]) -> np.ndarray:
    """Return embeddings in which storms lie on one side and all else on the other."""
    random = np.random.default_rng(1)
    sides = np.array(
        [["storm" in note.text.lower(), "storm" not in note.text.lower()] for note in notes]
    )
    return sides + random.normal(0, 0.2, sides.shape)


def mark(notes: list[Annotation], book: Codebook) -> list[Annotation]:
    return mark_unknown(notes, book, lambda: embed(notes), seed=7)


def test_absence_is_told_only_by_a_codebook_that_had_the_label(book: Codebook) -> None:
    notes = [
        note("a", "Rain falls."),
        note("b", "Rain falls.", codebook=NEW),
        note("c", "Storms come.", "storm"),
        note("d", "School begins.", "school", codebook="0.1+other"),
    ]
    assert [untold_labels(each, book) for each in notes] == [("storm",), (), (), ("storm",)]
    assert known_cells(notes, book).tolist() == [
        [True, True, True, False],
        [True] * 4,
        [True] * 4,
        [True, True, True, False],
    ]


def test_what_looks_like_the_label_stays_unknown_and_the_rest_counts_as_no(book: Codebook) -> None:
    notes = corpus()
    marked = mark(notes, book)
    unknown = {each.id for each in marked if isinstance(each, PartlyKnown)}
    assert unknown <= {f"h{k}" for k in range(10)}
    assert len(unknown) >= 7
    assert [each.text for each in marked] == [each.text for each in notes]
    targets = known_targets(marked, book.ids)[:, 3]
    assert targets[:46].tolist() == [1.0] * 6 + [0.0] * 40
    assert {each.id for each, target in zip(marked, targets, strict=True) if target < 0} == unknown


def test_a_sentence_that_was_labelled_again_is_told_of_by_the_newer_label(book: Codebook) -> None:
    again = note("again", "The harbour opens to all the fishermen on Monday.", codebook=NEW)
    marked = mark([*corpus(), again], book)
    unknown = {each.id for each in marked if isinstance(each, PartlyKnown)}
    assert {key for key in unknown if key[0] != "h"} == {"c0Monday"}


def test_with_few_positives_nothing_is_presumed(book: Codebook) -> None:
    marked = mark(corpus()[2:], book)
    unknown = sum(isinstance(each, PartlyKnown) for each in marked)
    assert unknown == 50


def test_without_own_labels_nothing_is_marked() -> None:
    notes = corpus()[6:]
    assert mark(notes, make_codebook()) == notes


def test_where_all_is_known_the_loss_is_the_plain_one_to_the_bit() -> None:
    torch.manual_seed(1)
    logits, targets = torch.randn(7, 5), (torch.rand(7, 5) > 0.7).float()
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
    shape = (7, 5, 3)
    output = ModelOutput(
        logits, torch.randn(shape), torch.zeros(7, 2, 5, 3), torch.zeros(7, 5), torch.ones(1)
    )
    batch = Batch(
        torch.zeros(7, 3, dtype=torch.long),
        torch.ones(7, 3, dtype=torch.long),
        targets,
        torch.zeros(shape),
        torch.full((7, 2, 5), -100),
        torch.zeros(7, dtype=torch.long),
    )
    found = losses(output, batch)
    assert float(found["labels"]) == float(plain / 7)
    tokens = torch.nn.functional.softplus(output.attention).sum(-1) / 3
    assert float(found["attention"]) == pytest.approx(float(tokens.sum() / 7))


def loss_parts(targets: list[float], logit: float) -> dict[str, float]:
    torch.manual_seed(0)
    known = [logit if value == UNKNOWN else 0.3 for value in targets]
    scores = torch.tensor([[[value] * 4 for value in known]])
    output = ModelOutput(
        torch.tensor([known]), scores, torch.zeros(1, 2, 3, 4), torch.zeros(1, 5), torch.ones(1)
    )
    batch = Batch(
        torch.zeros(1, 4, dtype=torch.long),
        torch.ones(1, 4, dtype=torch.long),
        torch.tensor([targets]),
        torch.zeros(1, 3, 4),
        torch.full((1, 2, 3), -100),
        torch.zeros(1, dtype=torch.long),
    )
    return {name: float(value) for name, value in losses(output, batch).items()}


def test_what_is_unknown_costs_nothing_whatever_is_said() -> None:
    one, other = (loss_parts([1.0, 0.0, UNKNOWN], logit) for logit in (-5.0, 5.0))
    assert one["labels"] == other["labels"]
    assert one["attention"] == other["attention"]
    whole = loss_parts([1.0, 0.0, 0.0], 0.0)
    last = np.log1p(np.exp(0.3))
    assert one["labels"] == pytest.approx(whole["labels"] - last)
    assert one["attention"] == pytest.approx(whole["attention"] - last)
