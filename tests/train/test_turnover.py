"""Tasks that join and leave on a condition, and between a stop and a resume."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch

from ofasys import ConfigError, Task, Trainer
from ofasys.cli.runfile import read_run, resolved
from ofasys.train import quarantine as rows
from ofasys.train import validation
from tests.train import tiny

SETTINGS = {"max_steps": 16, "warmup": 1, "lr": 5e-3, "live": False, "log_every": 50, "seed": 3, "decay": "constant"}


@pytest.fixture
def drawn(monkeypatch):
    """(step, task, number, rows) of every micro-batch that was learned from."""
    found = []
    take = rows.Quarantine.take

    def watched(own, step, delivery):
        found.append((step - 1, delivery.ticket.task, delivery.ticket.k, delivery.rows))
        take(own, step, delivery)

    monkeypatch.setattr(rows.Quarantine, "take", watched)
    return found


@pytest.fixture
def accuracies(monkeypatch):
    """Valid accuracies of the task `label`, one an evaluation, that it seems to reach."""
    given: list[float] = []
    evaluate, spent = validation.evaluate_task, []

    def answered(model, task, split, **options):
        found = evaluate(model, task, split, **options)
        if task.name == "label" and given:
            found = found | {"accuracy": given[min(len(spent), len(given) - 1)]}
            spent.append(task.name)
        return found

    monkeypatch.setattr(validation, "evaluate_task", answered)
    return given


def fit(out=None, tasks=None, model=None, **changes):
    trainer = Trainer(out=out, **(SETTINGS | changes))
    model = model or tiny.model()
    trainer.fit(model=model, tasks=tasks or [tiny.label_task(), tiny.fill_task()])
    return tiny.weights(model)


def by_task(drawn, name):
    return [(k, own) for _, task, k, own in drawn if task == name]


def steps_of(drawn, name):
    return [step for step, task, *_ in drawn if task == name]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_task_leaves_after_so_many_epochs_and_another_joins(drawn, workers, caplog):
    """Ten rows in micro-batches of three: the seventh begins the third epoch. The others keep their order."""
    tasks = [
        tiny.label_task(valid=None),
        tiny.fill_task(leave="2 epochs"),
        tiny.box_task(join="2 epochs of fill"),
    ]
    fit(tasks=tasks, schedule="accumulate", workers=workers, max_steps=10)
    assert steps_of(drawn, "fill") == list(range(7))
    assert steps_of(drawn, "box") == [7, 8, 9]
    assert "task 'fill' leaves at step 7: 2 epochs of 'fill' are done" in caplog.text
    assert "task 'box' joins at step 7: 2 epochs of 'fill' are done" in caplog.text
    alone = list(drawn)
    drawn.clear()
    fit(tasks=[tiny.label_task(valid=None), tiny.fill_task(), tiny.box_task()], schedule="accumulate", max_steps=10)
    for name in ("label", "fill", "box"):
        own = by_task(alone, name)
        assert own == by_task(drawn, name)[: len(own)], name


def test_a_task_leaves_when_a_figure_is_reached(drawn, accuracies, tmp_path):
    accuracies += [0.1, 0.5, 0.9, 0.2]
    tasks = [tiny.label_task(leave="accuracy >= 0.9"), tiny.fill_task(join="label.accuracy >= 0.5")]
    fit(tmp_path, tasks=tasks, eval_every=3, schedule="accumulate")
    assert steps_of(drawn, "fill")[0] == 6
    assert steps_of(drawn, "label")[-1] == 8
    lines = [line for line in tiny.lines(tmp_path / "metrics.jsonl") if line["kind"] == "turnover"]
    assert [(line["step"], line["task"]) for line in lines] == [(6, "fill"), (9, "label")]
    assert lines[1]["leave"] == "label.accuracy is 0.9, at least 0.9"


def test_a_task_leaves_when_it_gets_no_better(drawn, accuracies):
    accuracies += [0.1, 0.4, 0.3, 0.4, 0.9]
    fit(tasks=[tiny.label_task(leave="no better accuracy in 2"), tiny.fill_task()], eval_every=2, schedule="accumulate")
    assert steps_of(drawn, "label")[-1] == 7
    assert max(steps_of(drawn, "fill")) == 15


@pytest.mark.parametrize("stop", [3, 7])
def test_stopped_and_resumed_is_never_stopped(stop, drawn, tmp_path):
    """Before and after a condition is met, which a resumed run does not look at again."""
    given = lambda: [  # noqa: E731
        tiny.label_task(valid=None),
        tiny.fill_task(leave="1.5 epochs"),
        tiny.box_task(join="1 epoch of fill", leave="3 epochs of fill"),
    ]
    settings = {"schedule": "accumulate", "accumulate": 2, "max_steps": 9}
    whole = fit(tmp_path / "whole", tasks=given(), **settings)
    alone = list(drawn)
    drawn.clear()
    fit(tmp_path / "parts", tasks=given(), **(settings | {"max_steps": stop}))
    parts = fit(tmp_path / "parts", tasks=given(), **settings)
    assert drawn == alone
    assert tiny.same_weights(parts, whole)


def test_a_run_without_anybody_left_ends_early_and_says_so(tmp_path, caplog):
    fit(tmp_path, tasks=[tiny.label_task(leave="1 epoch")])
    assert "the run ends early at step 3 of 16: no task is active from step 3 to step 15" in caplog.text
    caplog.clear()
    fit(tmp_path, tasks=[tiny.label_task(leave="1 epoch")])
    assert "ended early at step 3" in caplog.text
    fit(tmp_path, tasks=[tiny.label_task(leave="2 epochs")], max_steps=17)
    assert "ends early at step 6 of 17" in caplog.text


@pytest.mark.parametrize(
    ("fields", "changes", "message"),
    [
        (
            {"leave": "2 epochs of lable"},
            {},
            "leave '2 epochs of lable', and no task is called 'lable'; did you mean label",
        ),
        ({"leave": "label.accuracy >= 1"}, {}, "trainer.eval_every is 0: nothing would find it; give it"),
        ({"leave": "label.acuracy >= 1"}, {"eval_every": 2}, "there is no figure 'acuracy'; did you mean accuracy"),
        ({"join": "loss <= 1"}, {"eval_every": 2}, "task 'fill' has no valid rows"),
        ({"leave": "no better label.accuracies in 3"}, {"eval_every": 2}, "no figure 'accuracies'"),
    ],
)
def test_a_condition_that_cannot_be_met_is_refused_before_the_first_step(fields, changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        fit(tmp_path, tasks=[tiny.label_task(), tiny.fill_task(**fields)], **changes)
    assert not (tmp_path / "checkpoints").exists()


def test_a_run_file_and_a_command_line_may_say_conditions(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny.label_rows()))
    path = tmp_path / "run.yaml"
    path.write_text(
        """
tasks:
  one: {instruction: "[TEXT:text] -> [TEXT:label,closed_set]", train: rows.jsonl, leave: 3 epochs}
  two: {instruction: "[TEXT:text] -> [TEXT:label]", train: rows.jsonl, join: 1 epoch of one, leave: 9 epochs}
model: tiny
"""
    )
    run = read_run(path, ["tasks.two.leave=no better loss in 2"])
    one, two = run.tasks()
    assert (one.leave, two.join, two.leave) == ("3 epochs", "1 epoch of one", "no better loss in 2")
    again = tmp_path / "again.yaml"
    again.write_text(resolved(run, [one, two], run.model(), run.trainer(), tmp_path))
    assert [task.conditions for task in read_run(again).tasks()] == [one.conditions, two.conditions]
    path.write_text(path.read_text().replace("3 epochs", "3 epcohs"))
    with pytest.raises(ConfigError, match=r"run\.yaml, line 3.*task 'one' has leave='3 epcohs'; it is a step, or a"):
        read_run(path).tasks()


def test_a_step_beside_a_condition():
    with pytest.raises(ConfigError, match="joins on a condition and leaves at step 9, which may be before"):
        tiny.fill_task(join="1 epoch of label", leave=9)
    assert tiny.fill_task(join=3, leave="1 epoch").entry().join == 3


# --- between a stop and a resume ------------------------------------------------------------------------------------


def test_tasks_added_dropped_and_reweighted_are_told_and_the_others_keep_their_order(drawn, tmp_path, caplog):
    """Under a schedule of shares: which turn is whose changes, and no task's own rows do."""
    fit(tmp_path, tasks=[tiny.label_task(), tiny.fill_task(), tiny.label_task("more", weight=2)], max_steps=8)
    fit(tmp_path, tasks=[tiny.label_task(weight=3), tiny.fill_task(), tiny.box_task()])
    for line in ("task 'box' is new", "task 'more' is not trained any more", "tasks.label.weight 1.0 -> 3"):
        assert line in caplog.text
    first = Counter(task for step, task, *_ in drawn if step < 8)
    then = Counter(task for step, task, *_ in drawn if step >= 8)
    assert first == {"label": 2, "fill": 2, "more": 4}
    assert then["label"] == pytest.approx(3 * 8 / 5, abs=1)
    own = {name: by_task(drawn, name) for name in ("label", "fill", "box")}
    drawn.clear()
    for name, task in (("label", tiny.label_task()), ("fill", tiny.fill_task()), ("box", tiny.box_task())):
        fit(tasks=[task])
        assert by_task(drawn, name)[: len(own[name])] == own[name], name


def test_a_task_of_a_new_modality_moves_no_id_and_no_weight(tmp_path):
    """Its ranges come after all others, and what was there is the same to the bit: rows, adaptors, moments."""
    model = tiny.model()
    fit(tmp_path, tasks=[tiny.label_task(valid=None), tiny.fill_task()], model=model, max_steps=6)
    before, ranges = tiny.weights(model), list(model.symbols.vocabulary.ranges)
    seen = {}

    class Watching(Task):
        """Looks at the model when its first row is read, which is before the first step."""

        def learned(self, row, random):
            if not seen:
                seen.update(tiny.weights(grown))
            return super().learned(row, random)

    grown = tiny.model()
    box = Watching("box", tiny.BOX, train=tiny.box_rows(), settings=tiny.SMALL, micro_batch_size=4)
    fit(tmp_path, tasks=[tiny.label_task(valid=None), tiny.fill_task(), box], model=grown, max_steps=7)
    assert list(grown.symbols.vocabulary.ranges)[: len(ranges)] == ranges
    assert len(grown.symbols.vocabulary.ranges) > len(ranges)
    for name, value in before.items():
        now = seen[name]
        assert torch.equal(now[: len(value)] if value.ndim else now, value), name
    assert any("IMAGE" in name or "image" in name for name in set(seen) - set(before))


def test_a_task_that_left_comes_back_when_its_condition_is_another(drawn, tmp_path):
    tasks = lambda leave: [tiny.label_task(valid=None), tiny.fill_task(leave=leave)]  # noqa: E731
    fit(tmp_path, tasks=tasks("1 epoch"), max_steps=10)
    count = len(steps_of(drawn, "fill"))
    fit(tmp_path, tasks=tasks("1 epoch"), max_steps=12)
    assert len(steps_of(drawn, "fill")) == count
    fit(tmp_path, tasks=tasks("3 epochs"), max_steps=16)
    assert len(steps_of(drawn, "fill")) > count
    assert [k for k, _ in by_task(drawn, "fill")] == list(range(len(steps_of(drawn, "fill"))))
    state = json.loads(next(iter((tmp_path / "checkpoints").glob("step-00000016/state.json"))).read_text())
    assert "fill" not in state["turnover"]
