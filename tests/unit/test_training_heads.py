"""A frozen encoder, its kept states, the heads on them, and the network they make together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tokenizers import Tokenizer
from training_fixtures import LABELS

from diplophrase.annotations import SPEAKERS
from diplophrase.classifier import Classifier, pad
from diplophrase.errors import TrainingError
from diplophrase.tokenizer import open_tokenizer
from training.dataset import UNKNOWN, build_dataset, known_targets
from training.encoder import Encoder, cut_encoder
from training.finetune import prepare_model
from training.graft import graft, verify_graft
from training.heads import Heads, Lesson, answer, start_at, train_heads
from training.states import States, StateStore, open_states


@pytest.fixture(scope="module")
def encoder(trained) -> Encoder:
    return cut_encoder(trained.candidate.int8 / "model.onnx")


def tokenizer_of(trained) -> Tokenizer:
    return open_tokenizer(trained.candidate.int8, trained.config.max_tokens)


def open_store(trained, encoder: Encoder, folder: Path) -> StateStore:
    return open_states(folder, encoder, tokenizer_of(trained))


def read(store: StateStore, texts: list[str]) -> tuple[States, list[tuple[int, int]]]:
    """Return the states of `texts`, and what was told of those that were new."""
    told: list[tuple[int, int]] = []
    states = store.read(texts, threads=1, on_text=lambda done, total: told.append((done, total)))
    return states, told


@pytest.fixture(scope="module")
def lesson(trained, encoder, tmp_path_factory) -> Lesson:
    store = open_store(trained, encoder, tmp_path_factory.mktemp("states"))
    dataset = build_dataset(trained.notes, LABELS, store.tokenizer)
    return Lesson(
        read(store, [note.text for note in trained.notes])[0],
        known_targets(trained.notes, LABELS),
        dataset["evidence"][:],
        np.array(dataset["speaker"][:]),
        np.ones((len(trained.notes), 1), dtype=bool),
    )


def fresh(encoder: Encoder, sets: int = 1) -> Heads:
    torch.manual_seed(3)
    return Heads(encoder.width, len(LABELS), sets)


def learn(heads: Heads, lesson: Lesson, epochs: int = 60) -> list[float]:
    return [step.loss for step in train_heads(heads, lesson, epochs=epochs, seed=7)]


# encoder and states


def test_the_encoder_says_what_the_whole_network_says(trained, encoder, tmp_path):
    texts = [note.text for note in trained.notes]
    states, _ = read(open_store(trained, encoder, tmp_path), texts)
    classifier = Classifier.load(trained.candidate.int8)
    whole = np.stack([raw.embedding for raw in classifier.run(classifier.encode(texts))])
    assert states.embed() == pytest.approx(whole, abs=1e-5)
    assert states.lengths.tolist() == [len(e.ids) for e in classifier.encode(texts)]


def test_a_network_without_quantised_states_is_refused(trained):
    with pytest.raises(TrainingError, match="does not end its encoder with 8-bit states"):
        cut_encoder(trained.candidate.float32 / "model.onnx")


def test_a_text_is_read_once_and_never_again(trained, encoder, tmp_path, monkeypatch):
    texts = [note.text for note in trained.notes]
    first, told = read(open_store(trained, encoder, tmp_path), [*texts[:4], texts[0]])
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert np.array_equal(first.of(0), first.of(4))
    more, told = read(open_store(trained, encoder, tmp_path), texts[:6])
    assert told == [(1, 2), (2, 2)]
    assert np.array_equal(more.of(3), first.of(3))
    monkeypatch.setattr(Encoder, "run", None)
    again, told = read(open_store(trained, encoder, tmp_path), texts[:6][::-1])
    assert told == []
    assert np.array_equal(again.of(0), more.of(5))


def test_a_file_of_states_that_is_cut_short_is_read_anew(trained, encoder, tmp_path):
    texts = [note.text for note in trained.notes]
    store = open_store(trained, encoder, tmp_path)
    first, _ = read(store, texts)
    [file] = store.folder.iterdir()
    file.write_bytes(file.read_bytes()[:500])
    again, told = read(store, texts)
    assert len(told) == 16
    assert np.array_equal(again.codes, first.codes)


def test_another_cut_of_texts_has_states_of_its_own(trained, encoder, tmp_path):
    tokenizers = [open_tokenizer(trained.candidate.int8, size) for size in (32, 64)]
    folders = {open_states(tmp_path, encoder, tokenizer).folder for tokenizer in tokenizers}
    assert len(folders) == 2


# heads


def test_heads_say_what_the_heads_of_a_whole_model_say(trained, encoder):
    model = prepare_model(trained.config, len(LABELS)).eval()
    heads = fresh(encoder).eval()
    look, voices = (torch.nn.Linear(encoder.width, rows) for rows in (1, len(SPEAKERS)))
    ours = [model.query, model.span, look, voices]
    with torch.no_grad():
        for layer in ours:
            torch.nn.init.normal_(layer.weight, std=0.5)
        weights = [model.query.weight, model.weight, *[layer.weight for layer in ours[1:]]]
        biases = [model.query.bias, model.bias, *[layer.bias for layer in ours[1:]]]
        heads.weight.copy_(torch.cat(weights)[None])
        heads.bias.copy_(torch.cat(biases)[None])
        feed = pad(tokenizer_of(trained).encode_batch([note.text for note in trained.notes]))
        ids, mask = (torch.from_numpy(feed[name]) for name in ("input_ids", "attention_mask"))
        expected = model(ids, mask)
        states = model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        found = heads(states, mask.float())
        heard = torch.softmax(look(states) + (1.0 - mask.float()[..., None]) * -1e4, 1)
        speaker = (heard * voices(states)).sum(1)
    for name in ("logits", "attention", "evidence"):
        one, other = getattr(found, name)[:, 0], getattr(expected, name)
        assert torch.allclose(one, other, atol=1e-5), name
    assert torch.allclose(found.speaker[:, 0], speaker, atol=1e-5)


def test_heads_learn_sixteen_sentences(trained, encoder, lesson):
    heads = fresh(encoder)
    losses = learn(heads, lesson)
    assert losses[-1] < losses[0] / 4
    rows = np.arange(16)
    raws = answer(heads, lesson.states, rows, np.zeros(16, dtype=np.int64))
    found = np.stack([raw.logits for raw in raws]) > 0
    assert (found == (lesson.targets > 0)).mean() > 0.95
    assert np.mean([np.argmax(raw.speaker) for raw in raws] == lesson.speakers) > 0.8
    assert [raw.evidence.shape for raw in raws] == [(2, 3, n) for n in lesson.states.lengths]


def test_the_same_seed_gives_the_same_heads(encoder, lesson):
    heads = [fresh(encoder) for _ in range(2)]
    assert learn(heads[0], lesson, 3) == learn(heads[1], lesson, 3)
    assert torch.equal(heads[0].weight, heads[1].weight)


def test_a_set_learns_nothing_of_what_it_must_not_see(encoder, lesson):
    """Two sets beside each other: the first, which sees half, is as if the rest were not so."""
    half = np.ones((16, 2), dtype=bool)
    half[8:, 0] = False
    turned = lesson.targets.copy()
    turned[8:] = 1.0 - turned[8:]
    speakers = lesson.speakers.copy()
    speakers[8:] = 4 - speakers[8:]
    results = []
    for targets, said in ((lesson.targets, lesson.speakers), (turned, speakers)):
        heads = fresh(encoder, sets=2)
        learn(heads, Lesson(lesson.states, targets, lesson.spans, said, half), 2)
        results.append(heads.weight.detach())
    assert torch.equal(results[0][0], results[1][0])
    assert not torch.equal(results[0][1], results[1][1])


def test_what_is_unknown_is_not_learnt(encoder, lesson):
    results = []
    for logit in (2.0, -2.0):
        targets = lesson.targets.copy()
        targets[:, 2] = UNKNOWN
        heads = fresh(encoder)
        with torch.no_grad():
            heads.bias[:, 2] = heads.bias[:, 5] = logit
        spans = [[span for span in row if span[0] != 2] for row in lesson.spans]
        learn(heads, Lesson(lesson.states, targets, spans, lesson.speakers, lesson.seen), 2)
        results.append(heads.bias.detach()[0])
    assert torch.equal(results[0][:2], results[1][:2])
    moved = results[0][[2, 5]] - results[1][[2, 5]]
    assert moved.tolist() == pytest.approx(
        [4.0, 4.0], abs=0.01
    )  # nothing drew them together but weight decay


def test_a_pass_takes_some_of_the_many_and_all_others(lesson):
    many = np.arange(len(lesson.states)) >= 3
    some = replace(lesson, many=many, at_once=int(many.sum()) // 2)
    generator = np.random.default_rng(1)
    passes = [some.draw(generator).tolist() for _ in range(40)]
    assert {len(rows) for rows in passes} == {3 + some.at_once}
    assert all(len(rows) == len({*rows}) and {0, 1, 2} < {*rows} for rows in passes)
    assert set().union(*passes) == set(range(len(many)))
    everything = replace(some, at_once=int(many.sum()))
    assert everything.draw(generator).tolist() == list(range(len(many)))


def test_labels_start_at_their_definitions(encoder):
    heads = fresh(encoder)
    meanings = np.random.default_rng(0).normal(size=(3, encoder.width))
    start_at(heads, meanings)
    rows = heads.weight[0].detach().numpy()
    unit = meanings / np.linalg.norm(meanings, axis=1, keepdims=True)
    expected = 0.4 * (unit - unit.mean(0))
    assert rows[:3] == pytest.approx(expected, abs=1e-6)
    assert rows[3:6] == pytest.approx(expected, abs=1e-6)


# the network of both


def test_the_grafted_network_says_what_torch_says(trained, encoder, lesson, tmp_path):
    heads = fresh(encoder)
    learn(heads, lesson, 5)
    path = tmp_path / "model.onnx"
    graft(encoder, heads, path, LABELS)
    onnx.checker.check_model(onnx.load(path))
    encodings = tokenizer_of(trained).encode_batch([note.text for note in trained.notes])
    assert verify_graft(encoder, heads, path, encodings) < 1e-4
    assert cut_encoder(path).hash == encoder.hash  # so that states are kept for its children too
    with pytest.raises(TrainingError, match=r"differs from torch by .* Nothing was written"):
        verify_graft(encoder, fresh(encoder), path, encodings)
