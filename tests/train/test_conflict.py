"""The cosines of tasks' gradients, and what an update's gradients are told to be."""

from __future__ import annotations

import pytest
import torch

from ofasys import Callback, ConfigError, Trainer
from ofasys.train import steps as room
from ofasys.train.callbacks import Conflict
from tests.train import tiny


def fit(tasks=None, **changes):
    given = {
        "max_steps": 6,
        "warmup": 1,
        "live": False,
        "log_every": 1,
        "schedule": "accumulate",
        "precision": "float32",
    }
    trainer, model = Trainer(**(given | changes)), tiny.model(dropout=0.0)
    trainer.fit(model=model, tasks=tasks or [tiny.label_task(valid=None), tiny.fill_task(), tiny.box_task()])
    return tiny.weights(model), trainer


def told(trainer):
    return [line for line in trainer.history if line["kind"] == "conflict"]


class Keeping(Callback):
    """Keeps each task's gradient of every update, by the weights' names."""

    def __init__(self):
        self.kept = []

    def wants_gradients(self, run):
        return True

    def after_step(self, run):
        names = {parameter: name for name, parameter in run.model.named_parameters()}
        self.kept.append({t: {names[p]: g for p, g in own.items()} for t, own in run.gradients.items()})


@pytest.mark.parametrize("balance", ["sum", "gradnorm", "pcgrad"])
def test_each_task_has_its_own_gradient(balance, monkeypatch):
    """As where the other tasks are not there, but for its share of the update; and their sum is what is descended."""
    whole = []
    descend = room.Steps.descend

    def watched(run, step):
        whole.append({n: p.grad.clone() for n, p in run.model.named_parameters() if p.grad is not None})
        descend(run, step)

    monkeypatch.setattr(room.Steps, "descend", watched)

    def tasks(label=0, fill=0):
        return [tiny.label_task(valid=None, weight=2, join=label), tiny.fill_task(join=fill)]

    keeping = Keeping()
    fit(tasks(), callbacks=[keeping], max_steps=1, accumulate=2, balance=balance)
    together, own = whole.pop(), keeping.kept[0]
    for i, (name, share) in enumerate((("label", 2 / 3), ("fill", 1 / 3))):
        fit(tasks(**{("fill", "label")[i]: 3}), max_steps=1, accumulate=2)
        alone = whole.pop()
        for key, gradient in alone.items():
            torch.testing.assert_close(own[name][key], gradient * share, rtol=1e-3, atol=1e-6)
    if balance != "pcgrad":
        for key, gradient in together.items():
            found = sum(one[key] for one in own.values() if key in one)
            torch.testing.assert_close(found, gradient, rtol=1e-3, atol=1e-6)


def test_cosines_are_those_of_torch():
    keeping = Keeping()
    _, trainer = fit(callbacks=[keeping, Conflict(every=3)])
    lines = told(trainer)
    assert [(line["step"], line["task"]) for line in lines] == [
        (s, t) for s in (3, 6) for t in ("label", "fill", "box")
    ]
    flat = {}
    for task, own in keeping.kept[2].items():
        names = sorted({name for each in keeping.kept[2].values() for name in each})
        sizes = {name: g.shape for each in keeping.kept[2].values() for name, g in each.items()}
        flat[task] = torch.cat([own.get(name, torch.zeros(sizes[name])).reshape(-1) for name in names])
    for line in lines[:3]:
        others = [one for one in flat if one != line["task"]]
        for other in others:
            expected = torch.cosine_similarity(flat[line["task"]], flat[other], dim=0)
            assert line[f"cosine/{other}"] == pytest.approx(float(expected), abs=1e-5)
        assert line["cosine"] == pytest.approx(sum(line[f"cosine/{other}"] for other in others) / 2)


def test_to_look_changes_nothing():
    """Nor does it matter where nobody asked."""
    for settings in ({}, {"accumulate": 2}, {"balance": "famo"}):
        assert tiny.same_weights(fit(**settings)[0], fit(callbacks=[Conflict(every=2)], **settings)[0])


def test_two_tasks_alike_pull_the_same_way_and_two_that_contradict_against_each_other():
    rows = [{"text": word, "label": "red" if i % 2 else "blue"} for i, word in enumerate(tiny.WORDS)]
    swapped = [{"text": row["text"], "label": "blue" if row["label"] == "red" else "red"} for row in rows]
    given = {"valid": None, "shuffle": False, "micro_batch_size": 12}
    tasks = [tiny.label_task(n, train=own, **given) for n, own in (("a", rows), ("same", rows), ("other", swapped))]
    _, trainer = fit(tasks, callbacks=[Conflict(every=30)], max_steps=30, lr=1e-3)
    first = told(trainer)[0]
    assert first["cosine/same"] == pytest.approx(1.0, abs=1e-4)
    assert first["cosine/other"] < 0


def test_tasks_that_take_turns_are_compared_too():
    _, trainer = fit(schedule="round_robin", callbacks=[Conflict(every=4)], max_steps=12)
    assert [line["step"] for line in told(trainer)] == [6] * 3 + [10] * 3
    _, trainer = fit(schedule="round_robin", callbacks=[Conflict(every=4, tasks=["box", "label"])], max_steps=9)
    assert {line["task"] for line in told(trainer)} == {"box", "label"}


def test_gradients_are_there_for_the_update_alone():
    class Looking(Callback):
        def __init__(self):
            self.seen = []

        def wants_gradients(self, run):
            return run.step == 1

        def after_step(self, run):
            self.seen.append(sorted(run.gradients))

    looking = Looking()
    fit(callbacks=[looking], max_steps=3)
    assert looking.seen == [[], ["box", "fill", "label"], []]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"every": 0}, "Conflict has every=0; it is 1 update or more"),
        ({"tasks": ["a"]}, "give two names or more"),
        ({"tasks": "ab"}, "give two names or more"),
    ],
)
def test_what_cannot_be_is_answered(given, message):
    with pytest.raises(ConfigError, match=message):
        Conflict(**given)


def test_a_task_there_is_not_is_answered():
    with pytest.raises(ConfigError, match="Conflict has a task 'lable', and there is none; did you mean label"):
        fit(callbacks=[Conflict(tasks=["lable", "box"])])


def test_a_line_of_the_run_s_own_kind_is_refused():
    class Telling(Callback):
        def after_step(self, run):
            run.tell("train", {"loss": 0.0})

    with pytest.raises(ConfigError, match="a callback tells a line of kind 'train', which is the run's own"):
        fit(callbacks=[Telling()])


def test_lines_are_in_the_log_and_cut_back_with_it(tmp_path):
    fit(out=tmp_path, callbacks=[Conflict(every=2)], max_steps=4, save_every=1)
    lines = [line for line in tiny.lines(tmp_path / "metrics.jsonl") if line["kind"] == "conflict"]
    assert [line["step"] for line in lines] == [2] * 3 + [4] * 3


def test_the_length_of_the_gradients_is_told(monkeypatch):
    lengths = []
    norm = room.gradient_norm

    def watched(optimizer):
        lengths.append(float(norm(optimizer)))
        return norm(optimizer)

    monkeypatch.setattr(room, "gradient_norm", watched)
    tasks = [tiny.label_task(valid=None), tiny.fill_task(join=2)]
    _, trainer = fit(tasks, max_steps=4, log_every=4)
    found = {line["task"]: line["gradient_norm"] for line in trainer.history}
    assert found["label"] == pytest.approx(sum(lengths) / 4, rel=1e-5)
    assert found["fill"] == pytest.approx(sum(lengths[2:]) / 2, rel=1e-5)
