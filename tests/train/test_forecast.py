"""What is told of a run before its first step is what the run then does."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from ofasys import Trainer
from ofasys.train import forecast as room
from ofasys.train import quarantine as rows
from ofasys.train.forecast import Expected, Forecast
from tests.train import tiny


@pytest.fixture
def happened(monkeypatch):
    """Task -> its samples, its stream positions, and the first update in which a row came again."""
    samples, positions, seen, repeats = Counter(), Counter(), set(), {}
    take = rows.Quarantine.take

    def watched(own, step, delivery):
        name = delivery.ticket.task
        samples[name] += len(delivery.rows)
        positions[name] += delivery.batch.positions
        for _, row in delivery.rows:
            if (name, row) in seen:
                repeats.setdefault(name, step)
            seen.add((name, row))
        take(own, step, delivery)

    monkeypatch.setattr(rows.Quarantine, "take", watched)
    return samples, positions, repeats


def tasks():
    long = [row for row in tiny.label_rows(60) if len(row["text"]) < 20]
    return [tiny.label_task(valid=None), tiny.fill_task("long", train=long), tiny.box_task(weight=2)]


@pytest.mark.parametrize(
    ("schedule", "accumulate"),
    [
        ("round_robin", 1),
        ("round_robin", 2),
        ("accumulate", 1),
        ("proportional", 1),
        ({"name": "curriculum", "weights": {"box": {0: 0, 20: 2}}}, 1),
    ],
)
def test_it_is_what_the_run_then_does(happened, schedule, accumulate):
    settings = {"max_steps": 24, "schedule": schedule, "accumulate": accumulate, "live": False, "precision": "float32"}
    found = Trainer(**settings).forecast(model=tiny.model(), tasks=tasks())
    Trainer(**settings).fit(model=tiny.model(), tasks=tasks())
    samples, positions, repeats = happened
    assert {one.task: one.samples for one in found.tasks} == samples
    for one in found.tasks:
        assert one.tokens == pytest.approx(positions[one.task], rel=0.2)
        assert one.share == pytest.approx(positions[one.task] / positions.total(), abs=0.05)
        assert one.epochs == one.samples / one.rows
        assert (one.repeats is None) == (one.task not in repeats)
        assert one.repeats is None or abs(one.repeats - repeats[one.task]) <= 1
    assert found.total.samples == samples.total()
    assert found.total.repeats == min(one.repeats for one in found.tasks if one.repeats)


def test_it_is_of_the_steps_that_are_left(tmp_path):
    settings = {"schedule": "accumulate", "live": False, "precision": "float32", "out": tmp_path}
    Trainer(max_steps=4, **settings).fit(model=tiny.model(), tasks=tasks())
    before = sorted(path.name for path in tmp_path.iterdir())
    found = Trainer(max_steps=10, **settings).forecast(model=tiny.model(), tasks=tasks())
    assert found.steps == 6
    assert [one.samples for one in found.tasks] == [24, 18, 48]
    assert [one.repeats for one in found.tasks] == [0, 8, 0]
    assert "before" in str(found)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_time_is_that_of_a_few_micro_batches(monkeypatch):
    """A clock that goes on by a second at each look: each pass takes one."""
    ticks = iter(range(1000))
    monkeypatch.setattr(room, "clock", lambda: float(next(ticks)))
    found = Trainer(max_steps=40, live=False, precision="float32").forecast(
        model=tiny.model(),
        tasks=[tiny.label_task(train=[{"text": "a fish", "label": word} for word in ("red", "blue")] * 4, valid=None)],
    )
    assert found.tasks[0].seconds == pytest.approx(40)
    assert next(ticks) == 4  # it was run twice, and no more


def test_a_long_run_of_a_schedule_that_cannot_count_is_as_its_first_part(monkeypatch):
    monkeypatch.setattr(room, "WALKED", 50)
    schedule = {"name": "curriculum", "weights": {"box": {0: 1}}}
    settings = {"live": False, "precision": "float32", "schedule": schedule}
    found = Trainer(max_steps=10**9, **settings).forecast(model=tiny.model(), tasks=tasks())
    assert sum(one.samples / size for one, size in zip(found.tasks, (4, 3, 4), strict=True)) == pytest.approx(
        10**9, rel=0.01
    )


def test_notes_say_what_the_numbers_do_not():
    given = [tiny.label_task(leave="3 epochs"), tiny.fill_task(join="1 epoch of label")]
    settings = {"max_steps": 4, "live": False, "precision": "float32"}
    text = str(Trainer(**settings, schedule="adaptive").forecast(model=tiny.model(), tasks=given))
    assert "shares at the beginning" in text
    assert "not counted: label leaves at '3 epochs', fill joins at '1 epoch of label'" in text
    given = [tiny.label_task(valid=None), tiny.fill_task()]
    text = str(Trainer(**settings, schedule="accumulate", balance="famo").forecast(model=tiny.model(), tasks=given))
    assert "balance: FAMO, which costs a second forward pass of every micro-batch" in text


def test_the_table():
    one = Expected("caption", 1200, 24_000, 1_234_567.0, 0.25, 20.0, 76, 3725.0)
    two = dataclasses.replace(one, task="colour", share=0.75, repeats=None)
    assert str(Forecast((one, two), 100, (), ("a note",))).splitlines() == [
        "task      rows  samples     tokens   share  epochs  repeats from     time",
        "caption  1,200   24,000  1,234,567   25.0%   20.00       step 76  1:02:05",
        "colour   1,200   24,000  1,234,567   75.0%   20.00             -  1:02:05",
        "all      2,400   48,000  2,469,134  100.0%   20.00       step 76  2:04:10",
        "a note",
    ]


def test_fit_tells_it_only_where_somebody_asks(monkeypatch):
    told = []
    trainer = Trainer(max_steps=2, live=False)
    trainer.foretell = told.append
    trainer.fit(model=tiny.model(), tasks=tasks())
    assert [one.task for one in told[0].tasks] == ["label", "long", "box"]
    monkeypatch.setattr("ofasys.train.run.forecast", lambda *given: pytest.fail("nobody asked"))
    Trainer(max_steps=2, live=False).fit(model=tiny.model(), tasks=tasks())


def test_to_foretell_changes_nothing():
    weights = []
    for asked in (None, lambda found: None):
        model, trainer = tiny.model(), Trainer(max_steps=3, live=False)
        trainer.foretell = asked
        trainer.fit(model=model, tasks=tasks())
        weights.append(tiny.weights(model))
    assert tiny.same_weights(*weights)
