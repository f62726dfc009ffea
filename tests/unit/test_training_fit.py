"""Fine-tuning, export and quantisation, on a tiny model that learns sixteen sentences."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer
from training_fixtures import LABELS, make_codebook, make_note, make_notes

from diplophrase.annotations import data_hash
from diplophrase.bundle import Base, Calibration, OperatingPoint, load_bundle
from diplophrase.classifier import Classifier, pad
from diplophrase.errors import BundleError, TrainingError
from diplophrase.lexicon import LexiconEntry
from diplophrase.tokenizer import open_tokenizer
from training import fit as fit_module
from training.calibration import PHRASE_WEIGHT, Fitted
from training.config import TrainConfig
from training.dataset import NO_EVIDENCE, Batch
from training.definitions import start_from_definitions
from training.export import verify_export
from training.finetune import finetune, losses, prepare_model
from training.fit import Training, _spread, bundle_config, draft_bundle, fit_or_reuse
from training.metrics import span_f1
from training.model import ModelOutput, PhraseModel
from training.stages import plan_first, read_dataset

KINDS = ("float32", "int8")


def open_draft(trained, kind: str) -> Classifier:
    return Classifier.load(getattr(trained.candidate, kind))


def tokenizer_of(trained) -> Tokenizer:
    return open_tokenizer(trained.recipe.base_path, trained.config.max_tokens)


def train_again(trained, **changes) -> tuple[PhraseModel, list[float]]:
    """Train the tiny model anew; return it and its losses."""
    config = replace(trained.config, **changes)
    dataset = read_dataset(trained.recipe, trained.notes, config.max_tokens)
    model = prepare_model(config, len(LABELS))
    start_from_definitions(model, trained.recipe.codebook.labels, tokenizer_of(trained))
    return model, [step.loss for step in finetune(model, dataset, config)]


@pytest.fixture(scope="module")
def same_again(trained) -> tuple[PhraseModel, list[float]]:
    return train_again(trained)


# learning


@pytest.mark.parametrize("kind", KINDS)
def test_overfitting(trained, kind: str):
    results = open_draft(trained, kind).classify([note.text for note in trained.notes])
    found = [sorted(hit.id for hit in result.labels) for result in results]
    expected = [sorted(note.labels) for note in trained.notes]
    wrong = sum(one != other for one, other in zip(found, expected, strict=True))
    if kind == "float32":
        assert found == expected
        speakers = [note.speaker for note in trained.notes]
        assert [result.speaker for result in results] == speakers
    assert wrong <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_overfitting_of_evidence(trained, kind: str):
    results = open_draft(trained, kind).classify([note.text for note in trained.notes])
    quality = [
        span_f1(note.text, note.evidence[hit.id], (hit.evidence.start, hit.evidence.end))
        for note, result in zip(trained.notes, results, strict=True)
        for hit in result.labels
        if hit.id in note.evidence
    ]
    assert np.mean(quality) > 0.95


def test_steps_are_numbered_and_the_loss_falls(trained):
    assert [step.number for step in trained.steps] == list(range(1, 161))
    assert {step.total for step in trained.steps} == {160}
    first, last = trained.steps[0], trained.steps[-1]
    assert first.loss > 2.0
    assert last.loss < 0.3
    for step in (first, last):
        parts = step.parts["labels"] + 2.0 * step.parts["attention"]
        parts += step.parts["evidence"] + 0.5 * step.parts["speaker"]
        assert step.loss == pytest.approx(parts, rel=1e-5)


def test_the_same_seed_gives_the_same_losses(trained, same_again):
    assert same_again[1] == [step.loss for step in trained.steps]


@pytest.mark.parametrize("changes", [{}, {"dropout": 0.3}, {"bfloat16": True}])
def test_seeds_repeat_themselves_and_differ_from_one_another(trained, changes):
    changes = {"epochs": 3, **changes}
    first, again = (train_again(trained, **changes) for _ in range(2))
    other = train_again(trained, **changes, seed=8)
    assert first[1] == again[1]
    for name, value in first[0].state_dict().items():
        assert torch.equal(value, again[0].state_dict()[name]), name
    assert all(one != two for one, two in zip(first[1], other[1], strict=True))


def test_word_embeddings_stay_as_they_were_and_all_else_learns(trained, same_again):
    before = prepare_model(trained.config, len(LABELS)).state_dict()
    after = same_again[0].state_dict()
    same = {name for name in before if torch.equal(before[name], after[name])}
    fixed = {"encoder.embeddings.word_embeddings.weight"}
    buffers = {name for name, _ in same_again[0].named_buffers()}
    assert same - buffers == fixed


def test_layers_learn_more_slowly_the_deeper_they_lie(trained, monkeypatch):
    groups = []

    class Watched(torch.optim.AdamW):
        def __init__(self, given) -> None:
            groups.extend(dict(group) for group in given)
            super().__init__(given)

    monkeypatch.setattr(torch.optim, "AdamW", Watched)
    rates = {"head_rate": 0.01, "encoder_rate": 0.001, "layer_decay": 0.5, "weight_decay": 0.02}
    model, _ = train_again(trained, epochs=1, **rates)
    place = {id(value): name.partition(".")[0] for name, value in model.named_parameters()}
    for part in ("encoder.layer.0", "encoder.layer.1", "embeddings"):
        place |= {id(value): part for value in model.encoder.get_submodule(part).parameters()}
    found = [
        ({place[id(value)] for value in group["params"]}, len(group["params"]), group["lr"])
        for group in groups
    ]
    head = {"query", "span", "weight", "bias", "speaker_query", "speaker_value", "speaker"}
    assert found == [
        (head, 14, 0.01),
        ({"encoder.layer.1"}, 16, 0.001),
        ({"encoder.layer.0"}, 16, 0.0005),
        ({"embeddings"}, 4, 0.00025),  # all but those of the words
    ]
    assert {group["weight_decay"] for group in groups} == {0.02}


def losses_of(*, lengths: list[int], padding: float) -> dict[str, float]:
    """Return the losses of a model that says 0 for everything, and `padding` for padding."""
    width = 6
    mask = torch.tensor([[1] * length + [0] * (width - length) for length in lengths])
    attention = torch.where(mask.bool().unsqueeze(1), 0.0, padding).expand(-1, 3, -1)
    ends = torch.where(mask.bool()[:, None, None], 0.0, padding).expand(-1, 2, 3, -1)
    count = len(lengths)
    output = ModelOutput(
        torch.zeros(count, 3), attention, ends, torch.zeros(count, 5), torch.ones(1)
    )
    batch = Batch(
        torch.zeros(count, width, dtype=torch.long),
        mask,
        torch.tensor([[1.0, 0.0, 0.0]] * count),
        torch.zeros(count, 3, width),
        torch.tensor([[[1, NO_EVIDENCE, NO_EVIDENCE]] * 2] * count),
        torch.zeros(count, dtype=torch.long),
    )
    return {name: float(value) for name, value in losses(output, batch).items()}


@pytest.mark.parametrize("lengths", [[6], [2], [6, 2, 3]])
@pytest.mark.parametrize("padding", [0.0, 50.0])
def test_losses_are_per_text_and_padding_costs_nothing(lengths: list[int], padding: float):
    # without knowledge every decision costs log 2, and the choice of a speaker log 5
    assert losses_of(lengths=lengths, padding=padding) == {
        "labels": pytest.approx(3 * math.log(2)),
        "attention": pytest.approx(3 * math.log(2)),
        "evidence": pytest.approx(2 * np.mean(np.log(lengths))),
        "speaker": pytest.approx(math.log(5)),
    }


# export


def test_the_export_says_what_torch_says(trained, same_again):
    assert 0.0 < trained.candidate.export_gap < 1e-4
    encodings = tokenizer_of(trained).encode_batch([note.text for note in trained.notes])
    network = trained.candidate.float32 / "model.onnx"
    assert verify_export(same_again[0], network, encodings) == trained.candidate.export_gap


def test_an_export_of_another_model_is_refused(trained):
    model, _ = train_again(trained, epochs=1, seed=8)
    encodings = tokenizer_of(trained).encode_batch([note.text for note in trained.notes])
    message = r"differs from torch by \d\.\d+e[+-]\d+ in probability; 1e-04 is allowed"
    with pytest.raises(TrainingError, match=message):
        verify_export(model, trained.candidate.float32 / "model.onnx", encodings)


def test_a_model_that_says_no_number_is_refused(trained):
    model, _ = train_again(trained, epochs=1)
    torch.nn.init.constant_(model.bias, math.nan)
    encodings = tokenizer_of(trained).encode_batch(["The old school."])
    with pytest.raises(TrainingError, match=r"differs from torch by nan in probability"):
        verify_export(model, trained.candidate.float32 / "model.onnx", encodings)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_does_not_depend_on_its_batch_mates(trained, kind: str):
    classifier = open_draft(trained, kind)
    texts = [note.text for note in trained.notes[:9]]
    long = " ".join(note.text for note in trained.notes[:4])
    encodings = classifier.encode([*texts, "The river.", "The old school", long])
    widths = [len(encoding.ids) for encoding in encodings]
    assert max(widths) * len(widths) <= 512  # one batch
    assert (min(widths), max(widths)) == (5, 36)
    together = classifier.run(encodings)
    for encoding, beside in zip(encodings, together, strict=True):
        (alone,) = classifier.run([encoding])
        gap = classifier.scores(beside.logits) - classifier.scores(alone.logits)
        assert np.abs(gap).max() <= 1e-5
        np.testing.assert_allclose(beside.evidence, alone.evidence, atol=1e-4, rtol=0)
        np.testing.assert_allclose(beside.embedding, alone.embedding, atol=1e-5, rtol=0)


def test_the_int8_network_has_fixed_scales_and_int8_weights(trained):
    graph = onnx.load(trained.candidate.int8 / "model.onnx").graph
    operations = {node.op_type for node in graph.node}
    assert "QuantizeLinear" in operations
    assert "DynamicQuantizeLinear" not in operations
    weights = [tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    shapes = sorted(tuple(tensor.dims) for tensor in weights if len(tensor.dims) == 2)
    assert (32, 64) in shapes
    assert (64, 32) in shapes
    assert (32, 3) in shapes


def test_the_networks_carry_no_trace_of_the_exporting_machine(trained):
    for kind in KINDS:
        network = onnx.load(getattr(trained.candidate, kind) / "model.onnx")
        told = [node.name for node in network.graph.node if node.doc_string or node.metadata_props]
        assert told == []
        assert str(Path(__file__).parents[2]).encode() not in network.SerializeToString()


def test_pad_fills_up_to_the_longest(trained):
    feed = pad(tokenizer_of(trained).encode_batch(["the", "the river"]))
    ids, mask = feed["input_ids"], feed["attention_mask"]
    assert ids.shape == (2, 4)
    assert ids[0].tolist()[::2] == [2, 3]
    assert ids[0, 3] == 0
    assert ids[1].tolist()[::3] == [2, 3]
    assert ids[0, 1] == ids[1, 1]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


# drafts


def test_drafts_are_whole_bundles_without_calibration(trained):
    for kind in KINDS:
        config = load_bundle(getattr(trained.candidate, kind)).config
        assert config.model_version == kind
        assert tuple(label.id for label in config.labels) == LABELS
        assert {label.threshold for label in config.labels} == {0.5}
        plain = Calibration(slope=1.0, intercept=0.0)
        assert {label.calibration for label in config.labels} == {plain}
        assert config.max_tokens == 64
        assert (config.base, config.codebook_hash) == (trained.recipe.base, make_codebook().hash)


def test_a_config_takes_calibration_and_thresholds_in_the_order_of_the_labels(trained):
    calibrations = tuple(Calibration(slope=k + 0.5, intercept=-float(k)) for k in range(3))
    points = tuple((OperatingPoint(precision=0.9, threshold=0.5 + k / 10),) for k in range(3))
    fitted = Fitted(calibrations, np.array([0.2, 0.3, 0.4]), points)
    words = {"school": LexiconEntry(match=("schools?",))}
    config = bundle_config(trained.recipe, "v2", 128, fitted, lexicon=words)
    assert [(c.id, c.threshold, c.calibration) for c in config.labels] == [
        ("harbour", 0.2, calibrations[0]),
        ("school", 0.3, calibrations[1]),
        ("river", 0.4, calibrations[2]),
    ]
    assert tuple(label.operating_points for label in config.labels) == points
    assert (config.lexicon, config.phrase_weight) == (words, PHRASE_WEIGHT)
    assert (config.model_version, config.max_tokens) == ("v2", 128)


def test_a_draft_makes_its_folder_and_never_replaces_another(trained, tmp_path: Path):
    models, network = tmp_path / "new" / "models", trained.candidate.int8 / "model.onnx"
    path = draft_bundle(models, trained.recipe, network, "v1", 64, metrics={"f1": 0.5}, card="A\n")
    assert path == models / "v1"
    assert (path / "metrics.json").read_text() == '{\n "f1": 0.5\n}'
    assert (path / "README.md").read_text() == "A\n"
    with pytest.raises(BundleError, match=r"v1 exists\. Versions are never edited"):
        draft_bundle(models, trained.recipe, network, "v1", 64)
    assert [entry.name for entry in models.iterdir()] == ["v1"]
    assert (path / "README.md").read_text() == "A\n"


@pytest.mark.parametrize(("count", "taken"), [(5, 5), (400, 400), (799, 799), (800, 400)])
def test_the_quantiser_sees_texts_from_the_whole_list(count: int, taken: int):
    notes = [make_note(str(number), f"Text {number}.") for number in range(count)]
    texts = _spread(notes)
    assert len(texts) == taken
    places = [int(text[5:-1]) for text in texts]
    assert {second - first for first, second in pairwise(places)} == {count // taken}


def tell_nothing(step) -> None:
    raise AssertionError(f"step {step.number} of a run that was to be used again")


def test_a_run_is_used_again_for_the_same_data_config_and_base(trained, tmp_path, monkeypatch):
    fitted = []

    def fit(recipe, training, folder: Path, runs, on_step) -> None:
        fitted.append(training.config.seed)
        for kind in KINDS:
            (folder / kind).mkdir()
        (folder / "float32" / "manifest.json").write_text('{"onnx_gap": 2e-7}')

    monkeypatch.setattr(fit_module, "fit_candidate", fit)
    runs = tmp_path / "runs"

    def ask(recipe=trained.recipe, notes=trained.notes, config=trained.config, first=None):
        training = Training("again", notes, config, first)
        return fit_or_reuse(recipe, training, runs, tell_nothing)

    first = ask()
    assert ask() == first
    assert first.export_gap == 2e-7
    assert first.int8 == first.float32.parent / "int8"
    assert first.float32.parents[1] == runs
    other_base = Base(checkpoint=trained.recipe.base.checkpoint, revision="0")
    others = [
        ask(config=replace(trained.config, seed=8)),
        ask(notes=trained.notes[1:]),
        ask(recipe=replace(trained.recipe, base=other_base)),
        ask(first=plan_first("before", trained.notes[:1], trained.config)),
        ask(first=plan_first("before", trained.notes[:2], trained.config)),
    ]
    assert fitted == [7, 8, 7, 7, 7, 7]
    assert len({candidate.int8 for candidate in [first, *others]}) == 6
    assert ask(config=replace(trained.config, base="elsewhere")) == first
    assert len(fitted) == 6


def test_a_run_that_fails_leaves_nothing_to_use_again(trained, tmp_path, monkeypatch):
    def fail(recipe, training, folder: Path, runs, on_step) -> None:
        (folder / "half").write_text("done")
        raise TrainingError("Out of luck.")

    monkeypatch.setattr(fit_module, "fit_candidate", fail)
    training = Training("bad luck", trained.notes, trained.config)
    with pytest.raises(TrainingError, match=r"^Out of luck\.$"):
        fit_or_reuse(trained.recipe, training, tmp_path, tell_nothing)
    assert list(tmp_path.iterdir()) == []


def test_the_data_hash_is_of_what_is_learnt_from():
    notes = make_notes()
    digest = data_hash(notes)
    assert data_hash(notes[::-1]) == digest
    told = {"created": "2020-01-01", "annotator": "somebody", "note": "A remark."}
    assert data_hash([notes[0].model_copy(update=told), *notes[1:]]) == digest
    changed = [
        {"text": notes[0].text + " "},
        {"labels": (), "evidence": {}},
        {"evidence": {"harbour": (0, 4)}},
        {"speaker": "china"},
        {"id": "s99"},
    ]
    found = {data_hash([notes[0].model_copy(update=update), *notes[1:]]) for update in changed}
    assert len(found | {digest}) == 6
    assert data_hash(notes[1:]) not in found | {digest}


def test_the_configuration_is_written_whole():
    config = TrainConfig(base="b", seed=3)
    assert config.to_dict()["seed"] == 3
    assert TrainConfig(**config.to_dict()) == config
