"""Schedules in a run: what is measured for them, what they are told, and that a resumed run goes on exactly."""

from __future__ import annotations

import json

import pytest

from ofasys import CheckpointError, ConfigError, Trainer
from ofasys.cli.runfile import read_run, resolved
from ofasys.task.schedule import find
from ofasys.train import quarantine as rows
from tests.train import tiny

ADAPTIVE = {"name": "adaptive", "every": 3}


@pytest.fixture
def drawn(monkeypatch):
    """The task, number and rows of every micro-batch, as they come."""
    found = []
    take = rows.Quarantine.take

    def watched(own, step, delivery):
        found.append((step, delivery.ticket.task, delivery.ticket.k, delivery.rows))
        take(own, step, delivery)

    monkeypatch.setattr(rows.Quarantine, "take", watched)
    return found


def fit(out=None, tasks=None, **changes):
    given = {"max_steps": 12, "warmup": 1, "lr": 5e-3, "live": False, "log_every": 4, "seed": 3}
    trainer = Trainer(out=out, **(given | changes))
    model = tiny.model()
    trainer.fit(model=model, tasks=tasks or [tiny.label_task(), tiny.fill_task(), tiny.box_task(weight=0.5)])
    return tiny.weights(model)


@pytest.mark.parametrize(
    ("schedule", "workers", "accumulate"),
    [
        (ADAPTIVE, 0, 2),
        ({**ADAPTIVE, "figure": "valid loss"}, 0, 1),
        ({"name": "adaptive", "every": 5}, 1, 1),
        ({"name": "curriculum", "weights": {"box": {0: 0, 8: 3}}}, 0, 2),
        ({"name": "temperature", "by": "tokens", "cap": 10}, 0, 1),
    ],
)
def test_stopped_and_resumed_is_never_stopped(tmp_path, drawn, schedule, workers, accumulate):
    settings = {
        "schedule": schedule,
        "workers": workers,
        "accumulate": accumulate,
        "decay": "constant",
        "eval_every": 4,
        "eval_samples": 1,
    }
    whole = fit(tmp_path / "whole", **settings)
    alone = list(drawn)
    drawn.clear()
    for stop in (4, 12):
        parts = fit(tmp_path / "parts", **settings, max_steps=stop)
    assert drawn == alone
    assert tiny.same_weights(parts, whole)


def test_workers_change_nothing_of_an_adaptive_run(drawn):
    tasks = lambda: [tiny.label_task(), tiny.fill_task()]  # noqa: E731
    settings = {"schedule": {"name": "adaptive", "every": 5, "power": 3.0}, "max_steps": 24}
    one = fit(tasks=tasks(), **settings)
    alone = list(drawn)
    drawn.clear()
    other = fit(tasks=tasks(), workers=1, **settings)
    assert drawn == alone
    assert tiny.same_weights(one, other)


def test_an_adaptive_run_gives_more_turns_to_the_task_that_learns_less(drawn):
    """One task is learned by heart at once; the other's labels are another thing each time."""
    noise = [{"text": f"{i * 7919 % 97} {i * 31 % 89}", "label": tiny.COLOURS[i * 7 % 4]} for i in range(200)]
    tasks = [tiny.label_task("easy", train=tiny.label_rows(4), valid=None), tiny.label_task("noise", train=noise)]
    fit(tasks=tasks, schedule={"name": "adaptive", "every": 10}, max_steps=80, lr=1e-2)
    late = [task for step, task, *_ in drawn if step > 60]
    assert late.count("noise") > 1.5 * late.count("easy")


def test_more_workers_than_a_period_allows_are_refused_before_anything_is_made():
    with pytest.raises(ConfigError, match="decides every 3 updates, and 1 workers prepare up to 4 micro-batches ahead"):
        fit(schedule=ADAPTIVE, workers=1)


@pytest.mark.parametrize(
    ("figure", "changes", "message"),
    [
        ("valid loss", {}, "the schedule goes by 'loss' of the valid rows, and trainer.eval_every is 0"),
        ("valid acuracy", {"eval_every": 2}, "figure of the schedule is 'max:acuracy'.*did you mean accuracy"),
        ("valid loss", {"eval_every": 2, "tasks": [tiny.fill_task()]}, "no task has valid rows"),
    ],
)
def test_a_figure_that_nothing_finds_is_refused_before_the_first_step(figure, changes, message):
    with pytest.raises(ConfigError, match=message):
        fit(schedule={"name": "adaptive", "figure": figure, "goal": 0.0}, **changes)


def test_epochs_that_only_the_run_can_tell_are_refused():
    for schedule in (ADAPTIVE, {"name": "proportional", "by": "tokens"}):
        with pytest.raises(ConfigError, match=r"not known before the run with schedule .* give max_steps instead"):
            fit(schedule=schedule, max_steps=None, epochs=2)
    tasks = [tiny.label_task(), tiny.fill_task(train=tiny.label_rows(9))]
    assert 12 <= Trainer(epochs=2, schedule="proportional").steps(tasks) <= 14


def test_tokens_are_measured_once_and_kept_with_the_run(tmp_path):
    fit(tmp_path, schedule={"name": "proportional", "by": "tokens"}, max_steps=2)
    state = next((tmp_path / "checkpoints").glob("step-*")) / "state.json"
    tokens = json.loads(state.read_text())["tokens"]
    assert tokens["box"] > 4  # a picture of four patches, and words
    assert set(tokens) == {"label", "fill", "box"}


@pytest.mark.parametrize(
    ("follow", "message"),
    [
        ({"losses": {"label": "x"}}, "follow is .*which no run has written"),
        ({"schedule": {"of": ["train loss", 3], "left": {"x": 3}}}, "schedule cannot go on from what it kept"),
    ],
)
def test_a_state_that_no_schedule_kept_is_an_error(tmp_path, follow, message):
    fit(tmp_path, schedule=ADAPTIVE, max_steps=2)
    tiny.rewrite_state(tmp_path, follow=follow)
    with pytest.raises(CheckpointError, match=message):
        fit(tmp_path, schedule=ADAPTIVE)


def test_a_run_file_has_a_schedule_with_options(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny.label_rows()))
    text = """
tasks:
  one: {instruction: "[TEXT:text] -> [TEXT:label,closed_set]", train: rows.jsonl}
model: tiny
trainer:
  max_steps: 2
  schedule:
    name: curriculum
    weights: {one: {0: 1, 100: 0.5}}
"""
    path = tmp_path / "run.yaml"
    path.write_text(text)
    run = read_run(path)
    trainer = run.trainer()
    assert find(trainer.schedule).weights == {"one": {0: 1, 100: 0.5}}
    again = tmp_path / "again.yaml"
    again.write_text(resolved(run, run.tasks(), run.model(), trainer, tmp_path))
    assert read_run(again).trainer().schedule == trainer.schedule
    path.write_text(text.replace("curriculum", "curiculum"))
    with pytest.raises(ConfigError, match=r"run\.yaml, line 7: unknown schedule 'curiculum'; did you mean curriculum"):
        read_run(path).trainer()
