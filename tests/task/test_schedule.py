from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import ConfigError
from ofasys.task.schedule import SCHEDULES, Accumulate, Entry, Ledger, RoundRobin, Schedule, Turn, find

A, B, C = Entry("a"), Entry("b"), Entry("c")
weights = st.one_of(st.integers(1, 9), st.sampled_from([0.1, 0.25, 0.5, 1.5, 2.2, 1e6, 1e-6]), st.floats(0.01, 100))


class Largest:
    """What docs show: a schedule of one's own."""

    def turns(self, step, tasks):
        by_size = sorted(tasks, key=lambda task: -(task.size or 0))
        return [Turn(by_size[0].name, 2), Turn(by_size[step % len(by_size)].name)]


@st.composite
def entry_lists(draw):
    found = [Entry("t0", draw(weights))]
    for i in range(draw(st.integers(0, 5))):
        join = draw(st.integers(0, 60))
        leave = draw(st.none() | st.integers(join + 1, 90))
        found.append(Entry(f"t{i + 1}", draw(weights), join, leave, draw(st.none() | st.integers(1, 9))))
    return found


def positions(schedule, entries, step):
    return Ledger(schedule, entries, max_steps=step).positions(step)


def order(schedule, entries, steps):
    ledger = Ledger(schedule, entries)
    return "".join(turn.task * turn.count for step in range(steps) for turn in ledger.turns(step))


def test_round_robin_takes_turns():
    assert order("round_robin", [A, B, C], 7) == "abcabca"
    assert order("round_robin", [replace(A, weight=2), B, C], 8) == "abcaabca"
    assert order("round_robin", [replace(A, weight=0.5), replace(B, weight=0.25)], 6) == "abaaba"


@pytest.mark.slow
@given(st.lists(weights, min_size=1, max_size=8))
@settings(deadline=None, max_examples=25)
def test_round_robin_keeps_to_the_weights_within_one_turn(given_weights):
    entries = [Entry(f"t{i}", weight) for i, weight in enumerate(given_weights)]
    schedule = RoundRobin()
    pattern = schedule.count(0, 10**6, entries)
    period = 4096
    for name, weight in zip(pattern, given_weights, strict=True):
        share = weight / sum(given_weights)
        assert abs(pattern[name] / 10**6 - share) < 9 / period
    drawn = Counter({entry.name: 0 for entry in entries})
    shares = {name: count / 10**6 for name, count in schedule.count(0, 10**6, entries).items()}
    for step in range(100):
        for turn in schedule.turns(step, entries):
            drawn[turn.task] += turn.count
        assert all(abs(drawn[name] - shares[name] * (step + 1)) < 1.01 for name in shares)


def test_a_light_task_is_not_forgotten():
    counts = RoundRobin().count(0, 4096, [Entry("big", 1e6), Entry("small", 1)])
    assert counts == {"big": 4095, "small": 1}


def test_accumulate_gives_every_task_its_turn():
    assert order("accumulate", [A, replace(B, weight=2), replace(C, weight=0.2)], 2) == "abbcabbc"
    assert order("accumulate", [replace(A, weight=1.5), B], 4) == "abaabab" + "aab"
    assert Accumulate().count(0, 1000, [replace(A, weight=1.1)]) == {"a": 1100}


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["round_robin", "accumulate", Largest()])
@given(entries=entry_lists(), stops=st.lists(st.integers(0, 110), min_size=1, max_size=4))
@settings(deadline=None, max_examples=25)
def test_positions_equal_the_sum_of_all_turns(schedule, entries, stops):
    ledger = Ledger(schedule, entries)
    sums = [Counter({entry.name: 0 for entry in entries})]
    for step in range(110):
        after = sums[-1].copy()
        for turn in ledger.turns(step):
            after[turn.task] += turn.count
        sums.append(after)
    for stop in stops:  # forwards and backwards
        assert ledger.positions(stop) == dict(sums[stop]) == positions(schedule, entries, stop)


@pytest.mark.parametrize("schedule", ["round_robin", "accumulate"])
def test_a_far_step_costs_nothing(schedule):
    entries = [replace(A, weight=3), replace(B, join=10**9), replace(C, leave=10**6)]
    found = positions(schedule, entries, 10**12)
    assert found["c"] == (250_000 if schedule == "round_robin" else 10**6)
    assert sum(found.values()) == 10**12 or schedule == "accumulate"


def test_a_thousand_tasks_are_looked_at_once_a_stretch(monkeypatch):
    """Not at each step: there is a border at step 50, and so two stretches."""
    entries = [Entry(f"t{i}", size=1 + i, leave=50 if i % 2 else None) for i in range(1000)]
    asked = []
    active = Entry.active
    monkeypatch.setattr(Entry, "active", lambda entry, step: asked.append(step) or active(entry, step))
    for schedule in ("round_robin", "proportional", "temperature"):
        asked.clear()
        ledger = Ledger(schedule, entries, max_steps=300)
        drawn = [ledger.draws(step) for step in range(300)]
        assert len(asked) <= 2 * len(entries)
        assert all(int(task[1:]) % 2 == 0 for ((task, _),) in drawn[50:])
        assert ledger.positions(300) == Ledger(schedule, entries, max_steps=300).positions(300)


def test_draws_number_the_micro_batches():
    ledger = Ledger("accumulate", [replace(A, weight=2), replace(B, join=1)])
    assert ledger.draws(0) == [("a", 0), ("a", 1)]
    assert ledger.draws(1) == [("a", 2), ("a", 3), ("b", 0)]
    assert Ledger("accumulate", ledger.entries).draws(5) == [("a", 10), ("a", 11), ("b", 4)]


def test_tasks_join_and_leave():
    ledger = Ledger("round_robin", [replace(A, leave=4), replace(B, join=2)], max_steps=8)
    assert [ledger.turns(step)[0].task for step in range(8)] == ["a", "a", "a", "b", "b", "b", "b", "b"]
    assert ledger.positions(8) == {"a": 3, "b": 5}
    assert not A.active(-1)
    assert replace(A, leave=4).active(3)
    assert not replace(A, leave=4).active(4)


def test_a_run_goes_on_with_other_tasks():
    before = Ledger("round_robin", [A, B])
    at = before.positions(10)
    after = Ledger("round_robin", [replace(A, weight=3), C], origin=(10, at))
    assert after.positions(10) == {"a": 5, "c": 0}
    assert after.positions(14) == {"a": 8, "c": 1}
    with pytest.raises(ConfigError, match="step 9 lies before the run's first, 10"):
        after.positions(9)


def test_ones_own_schedule():
    own = find(Largest())
    assert isinstance(own, Schedule)
    entries = [replace(A, size=3), replace(B, size=7)]
    assert order(own, entries, 3) == "bbb" + "bba" + "bbb"
    assert positions(own, entries, 3) == {"a": 1, "b": 8}


def test_new_turns_are_not_counted_by_an_inherited_count():
    class OnlyFirst(RoundRobin):
        def turns(self, step, tasks):
            return [Turn(tasks[0].name)]

    assert positions(OnlyFirst(), [A, B], 10) == {"a": 10, "b": 0}


def test_a_misspelt_schedule_is_answered_with_the_nearest():
    assert find("accumulate") is SCHEDULES["accumulate"]
    with pytest.raises(
        ConfigError, match=r"unknown schedule 'round-robin'; did you mean round_robin\? known here: acc"
    ):
        find("round-robin")
    for wrong in (RoundRobin, 3):
        with pytest.raises(ConfigError, match="not a schedule"):
            find(wrong)


@pytest.mark.parametrize(
    ("entries", "max_steps", "message"),
    [
        ([], None, "there is no task to schedule"),
        ([A, A], None, "two tasks are named 'a'"),
        ([Entry("a", join=2)], None, "no task is active from step 0 to step 1; let one join earlier"),
        ([Entry("a", leave=5), Entry("b", join=7)], 9, "from step 5 to step 6"),
        ([Entry("a", leave=5)], 9, "from step 5 to step 8"),
        ([Entry("a", leave=5)], None, "from step 5 on"),
    ],
)
def test_a_step_without_a_task_is_found_before_the_run(entries, max_steps, message):
    with pytest.raises(ConfigError, match=message):
        Ledger("round_robin", entries, max_steps)
    Ledger("round_robin", [Entry("a", leave=5), Entry("b", join=5)], max_steps)
    Ledger("round_robin", [Entry("a", leave=5)], 5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weight": 0}, "weight 0; a weight is a number above 0"),
        ({"weight": float("nan")}, "weight nan"),
        ({"join": -1}, "steps begin at 0"),
        ({"join": 5, "leave": 5}, "it leaves after it joins"),
        ({"micro_batch_size": 0}, "at least 1"),
    ],
)
def test_a_wrong_entry_says_what(fields, message):
    with pytest.raises(ConfigError, match=f"task 'a' .*{message}"):
        Entry("a", **fields)


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ([], "gives no task a turn at step 0"),
        ([Turn("a", 0)], "gives no task a turn at step 0"),
        ([Turn("x")], "gives a turn to 'x' at step 0; active: a"),
        ([Turn("a", -1)], "gives 'a' -1 micro-batches"),
    ],
)
def test_a_schedule_that_does_not_keep_its_word(turns, message):
    class Wrong:
        def turns(self, step, tasks):
            return turns

    with pytest.raises(ConfigError, match=message):
        Ledger(Wrong(), [A]).turns(0)
