"""Kinds of target that need no modality of their own: contrast, classification, reward, and values given in between."""

import numpy as np
import pytest
import torch

from ofasys import DataError, GeneralistModel, OFASys, Task, Trainer, flow
from ofasys.errors import ConfigError
from ofasys.generator.options import SearchOptions
from ofasys.model.sizes import ModelConfig

pytestmark = pytest.mark.slow

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
FIGURES = ("0", "1", "2", "3", "4", "5", "6", "7")
CONFIG = ModelConfig(width=64, heads=4, ffn=128, encoder_layers=1, decoder_layers=1, max_positions=64, dropout=0.0)
PAIRS = [{"word": word, "figure": figure} for word, figure in zip(NUMBERS, FIGURES, strict=True)]


def trained(folder, task, steps=60, lr=5e-3):
    """(the model as it is trained, the same loaded from its run)."""
    model = GeneralistModel(config=CONFIG)
    trainer = Trainer(max_steps=steps, lr=lr, warmup=5, out=folder, live=False, log_every=10)
    trainer.fit(model=model, tasks=[task] if isinstance(task, Task) else task)
    return trainer, model, OFASys.from_pretrained(folder)


@pytest.fixture(scope="module")
def contrast(tmp_path_factory):
    task = Task(
        "match", "[TEXT:word|TEXT:figure] ->", train=PAIRS, valid=PAIRS, metrics=["retrieval"], micro_batch_size=8
    )
    return task, *trained(tmp_path_factory.mktemp("contrast"), task)


@pytest.mark.slow
def test_views_find_each_other(contrast):
    task, trainer, model, _ = contrast
    figures = trainer.evaluate(model=model, tasks=[task], split="valid")["match"]
    assert figures["recall@1"] == 1.0
    assert figures["loss"] < 0.5
    last = [line for line in trainer.history if line["kind"] == "train"][-1]
    assert last["accuracy/word"] == 1.0
    assert "loss/word" in last


@pytest.mark.slow
def test_views_of_a_loaded_model(contrast):
    _, _, model, loaded = contrast
    line = "[TEXT:word|TEXT:figure] ->"
    out = loaded.inference(line, data=PAIRS[3])
    words = loaded.embed(line, [{"word": word} for word in NUMBERS])["word"]
    figures = loaded.embed(line, [{"figure": figure} for figure in FIGURES])["figure"]
    np.testing.assert_allclose(out["word"], words[3], atol=1e-5)
    assert out.score == pytest.approx(float(words[3] @ figures[3]), abs=1e-5)
    assert (words @ figures.T).argmax(1).tolist() == list(range(8))
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1.0, atol=1e-5)
    assert loaded.embed(line, {"word": "two"})["word"].shape == (model.config.width,)
    with pytest.raises(DataError, match="'word' or 'figure'"):
        loaded.embed(line, [{"other": "two"}])
    with pytest.raises(ConfigError, match="no contrast to embed by"):
        loaded.embed("[TEXT:word] -> [TEXT:figure]", PAIRS)


@pytest.mark.slow
def test_a_view_does_not_depend_on_the_other_or_on_neighbours(contrast):
    *_, loaded = contrast
    program = loaded.program(flow.parse("[TEXT:word|TEXT:figure] ->"))
    samples = [flow.preprocess(program, row) for row in PAIRS[:3]]
    together = flow.generate(loaded.model, program, samples, SearchOptions())
    alone = flow.generate(loaded.model, program, samples[1:2], SearchOptions())
    for slot in (0, 1):
        np.testing.assert_allclose(together[1][0].extras[slot], alone[0][0].extras[slot], atol=1e-5)


@pytest.mark.slow
def test_classification_without_a_decoder(tmp_path):
    rows = [{"t": word, "kind": "even" if i % 2 == 0 else "odd"} for i, word in enumerate(NUMBERS)]
    line = "[TEXT:t,criterion=classify,classify_target=kind] ->"
    task = Task("parity", line, train=rows, valid=rows, metrics=["accuracy"], micro_batch_size=8)
    trainer, model, loaded = trained(tmp_path, task)
    assert trainer.evaluate(model=model, tasks=[task], split="valid")["parity"]["accuracy"] == 1.0
    out = loaded.inference(line, data={"t": "three"})
    assert out.label == out["kind"] == "odd"
    assert str(out) == "odd"
    assert -0.5 < out.score <= 0


def test_a_missing_goal_column_names_it(tmp_path):
    line = "[TEXT:t,criterion=classify,classify_target=kind] ->"
    task = Task("parity", line, train=[{"t": "a"}] * 4, closed_set=["x", "y"], micro_batch_size=2, on_bad="stop")
    with pytest.raises(DataError, match=r"the column is missing.*column 'kind'"):
        Trainer(max_steps=1, live=False).fit(model=GeneralistModel(), tasks=[task])


@pytest.mark.slow
def test_a_source_loss_beside_a_target_loss(tmp_path):
    """Both sides of the arrow learn at once; the total is their weighted sum, and each is logged."""
    rows = [{"t": word, "kind": "even" if i % 2 == 0 else "odd", "n": FIGURES[i]} for i, word in enumerate(NUMBERS)]
    line = "[TEXT:t,criterion=classify,classify_target=kind,weight=0.5] -> [TEXT:n]"
    task = Task("both", line, train=rows, micro_batch_size=8)
    trainer, _, loaded = trained(tmp_path, task, steps=80)
    last = [step for step in trainer.history if step["kind"] == "train"][-1]
    assert last["loss"] == pytest.approx(0.5 * last["loss/t"] + last["loss/n"], rel=0.2)
    out = loaded.inference(line, data={"t": "four"})
    assert (out["n"], out["kind"]) == ("4", "even")


@pytest.mark.slow
def test_a_reward_raises_what_it_rewards(tmp_path):
    """Trained on wrong answers by cross-entropy first, then rewarded for the right one among those it draws."""
    first = [{"q": "say", "a": word} for word in ("yes yes", "no no", "no yes", "yes no")]
    rows = [{"q": "say", "a": "yes yes"}] * 8
    model = GeneralistModel(config=CONFIG)
    task = Task("plain", "[TEXT:q] -> [TEXT:a]", train=first, micro_batch_size=4)
    Trainer(max_steps=50, lr=5e-3, warmup=5, live=False).fit(model=model, tasks=[task])
    line = "[TEXT:q] -> [TEXT:a,criterion=reward,reward=rouge_l]"
    rewarded = Task("reward", line, train=rows, micro_batch_size=8, generate={"max_length": 8})
    trainer = Trainer(max_steps=40, lr=1e-3, warmup=1, live=False, log_every=5)
    trainer.fit(model=model, tasks=[rewarded])
    rewards = [line["reward/a"] for line in trainer.history if line["kind"] == "train"]
    assert rewards[-1] > rewards[0] + 0.15
    assert OFASys(model).inference("[TEXT:q] -> [TEXT:a]", data={"q": "say"}).text == "yes yes"


@pytest.mark.slow
def test_a_value_given_between_two_that_are_made(tmp_path):
    rows = [{"a": w, "b": f, "c": c, "d": f + c} for w, f in zip(NUMBERS, FIGURES, strict=True) for c in "xy"]
    line = "[TEXT:a] -> [TEXT:b] [TEXT:c,no_loss] [TEXT:d]"
    _, model, loaded = trained(tmp_path, Task("t", line, train=rows, micro_batch_size=16), steps=150)
    out = loaded.inference(line, data={"a": "five", "c": "y"})
    assert (out["b"], out["d"]) == ("5", "5y")
    program = loaded.program(flow.parse(line))
    sample = flow.preprocess(program, rows[0])
    assert len(sample.target[0].prefix) == 1  # the start mark
    assert program.symbols.decode(sample.target[1].prefix) == "x"
    assert torch.isfinite(model.table).all()


def test_a_label_in_the_target_too_is_one_token_for_the_classifier():
    rows = [{"w": w, "kind": ("even number", "odd number")[i % 2]} for i, w in enumerate(NUMBERS)]
    line = "[TEXT:w,criterion=classify,classify_target=kind] -> [CATEGORY:kind]"
    task = Task("both", line, train=rows, valid=rows, micro_batch_size=4)
    trainer = Trainer(max_steps=3, live=False, log_every=1)
    model = trainer.fit(model=GeneralistModel(), tasks=[task])
    assert {"loss/w", "loss/kind"} <= set(trainer.history[0])
    figures = trainer.evaluate(model=model, tasks=[task], split="valid")["both"]
    assert np.isfinite(figures["loss"])


def test_the_valid_loss_weighs_slots_as_training_does():
    rows = [{"w": w, "kind": "ab"[i % 2]} for i, w in enumerate(NUMBERS)]
    line = "[TEXT:w,criterion=classify,classify_target=kind{}] -> [TEXT:w]"
    losses = {}
    model = GeneralistModel()
    for weight in ("", ",weight=0"):
        task = Task("t", line.format(weight), train=rows, valid=rows, micro_batch_size=8, generate={"max_length": 3})
        trainer = Trainer(max_steps=1, lr=1e-9, live=False, log_every=1)
        trainer.fit(model=model, tasks=[task])
        losses[weight] = trainer.evaluate(model=model, tasks=[task], split="valid")["t"]["loss"]
        told = trainer.history[0]
        assert losses[weight] == pytest.approx(told["loss"], rel=1e-3)
    assert losses[""] - losses[",weight=0"] == pytest.approx(told["loss/w:classify"], rel=1e-3)


@pytest.mark.parametrize(
    ("line", "more", "says"),
    [
        ("[TEXT:w|TEXT:kind] ->", {"micro_batch_size": 1}, "a contrast of one sample has nothing to tell apart"),
        ("[TEXT:w,criterion=classify,classify_target=same] ->", {}, "column 'same' has one label"),
    ],
)
def test_what_leaves_nothing_to_learn_says_so(line, more, says):
    rows = [{"w": w, "kind": "ab"[i % 2], "same": "x"} for i, w in enumerate(NUMBERS)]
    task = Task("t", line, train=rows, **{"micro_batch_size": 4} | more)
    with pytest.raises(ConfigError, match=says):
        Trainer(max_steps=1, live=False).fit(model=GeneralistModel(), tasks=[task])


def test_a_reward_that_is_better_when_lower(monkeypatch):
    """What makes more errors than the greedy answer is pushed away."""
    from ofasys.train import self_critical as room

    rows = [{"q": "say", "a": "yes"}] * 4
    line = "[TEXT:q] -> [TEXT:a,criterion=reward,reward=wer]"
    task = Task("t", line, train=rows, micro_batch_size=4, generate={"max_length": 4})
    model = Trainer(max_steps=1, live=False).fit(model=GeneralistModel(), tasks=[task])
    program = flow.bind(model, task.plan)
    samples = [flow.preprocess(program, row) for row in rows]
    values = iter([{"a": "no no"}, {"a": "yes"}] * 4)
    monkeypatch.setattr(room.flow, "postprocess", lambda *_: next(values))
    batch, figures = room.self_critical(model, program, flow.collate(program, samples), SearchOptions(max_length=4))
    assert figures == {"reward": 2.0, "greedy": 0.0}
    assert all((targets.weights < 0).all() for targets in batch.targets)
