"""Schedules whose turns follow shares: in proportion to rows, to a root of them, to weights that move."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofasys.errors import ConfigError
from ofasys.task.schedule import SCHEDULES, Entry, Ledger, find
from ofasys.task.schedule.spread import counts, place

BIG, SMALL = Entry("big", size=9000, micro_batch_size=10), Entry("small", size=100, micro_batch_size=5)
shares = st.lists(st.one_of(st.integers(1, 9), st.floats(1e-6, 1e6)), min_size=1, max_size=7)


def drawn(schedule, entries, steps):
    """Micro-batches of each task, turn by turn."""
    ledger = Ledger(schedule, entries)
    return Counter(task for step in range(steps) for task, _ in ledger.draws(step))


def samples(schedule, entries, steps=20_000):
    """The share of each task in all samples."""
    found = drawn(schedule, entries, steps)
    each = {entry.name: found[entry.name] * entry.micro_batch_size for entry in entries}
    return {name: count / sum(each.values()) for name, count in each.items()}


@given(shares, st.integers(0, 300), st.integers(0, 300))
@settings(deadline=None, max_examples=40)
def test_turns_counted_in_closed_form_are_the_turns(given_shares, start, more):
    stop, found = start + more, Counter(place(step, given_shares) for step in range(start, start + more))
    assert counts(start, stop, given_shares) == [found[i] for i in range(len(given_shares))]


@given(shares, st.integers(0, 10**15), st.integers(1, 10**12))
@settings(deadline=None, max_examples=40)
def test_turns_stay_near_their_share_however_long_the_stretch(given_shares, start, more):
    found = counts(start, start + more, given_shares)
    assert sum(found) == more
    for count, share in zip(found, given_shares, strict=True):
        assert abs(count - share / sum(given_shares) * more) < 2 + math.log2(more)


def test_a_share_of_nothing_has_no_turn():
    assert {place(step, [0, 1, 0, 2, 0]) for step in range(1000)} == {1, 3}
    assert counts(0, 10**9, [0, 1, 0])[1] == 10**9


def test_in_proportion_tasks_end_an_epoch_together():
    entries = [BIG, SMALL]
    found = Ledger("proportional", entries).positions(900 + 20)
    assert abs(found["big"] - 900) <= 1
    assert abs(found["small"] - 20) <= 1
    assert samples("proportional", [BIG, replace(SMALL, weight=3)])["small"] == pytest.approx(300 / 9300, rel=0.01)


def test_in_proportion_by_tokens():
    entries = [Entry("picture", size=1000, micro_batch_size=8, tokens=300), Entry("text", size=1000, tokens=20)]
    found = drawn({"name": "proportional", "by": "tokens"}, entries, 9000)
    assert found["picture"] * 8 * 300 == pytest.approx(found["text"] * 20, rel=0.02)


@pytest.mark.parametrize(
    ("options", "share"),
    [
        ({"temperature": 1.0}, 100 / 9100),
        ({"temperature": 2.0}, 10 / (10 + math.sqrt(9000))),
        ({"temperature": 1.0, "cap": 300}, 100 / 400),
        ({"temperature": 2.0, "cap": 400}, 10 / 30),
        ({"temperature": math.inf}, 1 / 2),
        ({"temperature": 0.001}, 0.0),
    ],
)
def test_a_temperature_and_a_cap(options, share):
    assert samples({"name": "temperature", **options}, [BIG, SMALL])["small"] == pytest.approx(share, rel=0.01)


def test_a_curriculum_moves_from_one_task_to_another():
    easy, hard, own = Entry("easy"), Entry("hard"), Entry("own", weight=0.5)
    moving = {"name": "curriculum", "weights": {"easy": {0: 1, 1000: 1, 3000: 0}, "hard": {1000: 0, 3000: 1}}}
    ledger = Ledger(moving, [easy, hard, own], 4000)
    at = [ledger.positions(step) for step in (0, 1000, 2000, 3000, 4000)]
    each = [{name: after[name] - before[name] for name in after} for before, after in pairwise(at)]
    assert each[0]["hard"] == 0
    assert each[0]["own"] == pytest.approx(333, abs=3)
    assert each[1]["hard"] == pytest.approx(1000 * 0.25 / 1.5, abs=5)
    assert each[2]["hard"] == pytest.approx(1000 * 0.75 / 1.5, abs=5)
    assert each[3]["easy"] == 0


def test_a_curriculum_is_by_updates():
    """Two steps of the schedule make an update."""
    entries = [Entry("a", per_update=2), Entry("b", per_update=2)]
    swap = {"name": "curriculum", "weights": {"a": {9: 1, 10: 0}, "b": {9: 0, 10: 1}}}
    ledger = Ledger(swap, entries, 40)
    assert ledger.positions(20) == {"a": 20, "b": 0}
    assert ledger.positions(40)["b"] == 20


@pytest.mark.parametrize(
    ("weights", "stop", "message"),
    [
        ({"aa": {0: 1}}, 9, "weights for 'aa', and no task is called so; did you mean a"),
        ({"a": {0: 1, 5: 0}, "b": {0: 0}}, 9, r"no task a weight above 0 at update 5 \(active: a, b\)"),
        ({"a": {0: 0}}, 9, r"above 0 at update 7 \(active: a\)"),
    ],
)
def test_a_curriculum_that_cannot_be_is_found_before_the_run(weights, stop, message):
    entries = [Entry("a"), Entry("b", leave=7)]
    with pytest.raises(ConfigError, match=message):
        Ledger({"name": "curriculum", "weights": weights}, entries, stop)
    Ledger({"name": "curriculum", "weights": {"a": {0: 1, 9: 0}}}, entries, 9)
    Ledger({"name": "curriculum", "weights": {"a": {0: 1, 5: 0}, "b": {0: 0}}}, entries, 5)


@pytest.mark.parametrize("schedule", ["proportional", "temperature"])
def test_a_far_step_costs_nothing(schedule):
    found = Ledger(schedule, [BIG, replace(SMALL, join=10**9)]).positions(10**12)
    assert sum(found.values()) == 10**12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 2}, "give its name too"),
        ({"name": "temprature"}, "unknown schedule 'temprature'; did you mean temperature"),
        (
            {"name": "temperature", "temprature": 3},
            "'temperature' has no option 'temprature'; did you mean temperature",
        ),
        ({"name": "round_robin", "by": "tokens"}, "schedule 'round_robin' has no option 'by'; it has none"),
        ({"name": "temperature", "temperature": "hot"}, "has temperature='hot'; it is a number"),
        ({"name": "temperature", "temperature": 0}, "temperature=0; it is a number above 0"),
        ({"name": "temperature", "cap": 0}, "cap=0; it is 1 row or more"),
        ({"name": "proportional", "by": "token"}, "counts by='token'; did you mean tokens"),
        ({"name": "curriculum", "weights": {"a": {}}}, "has {} for task 'a'; give update: weight"),
        ({"name": "curriculum", "weights": {"a": {0: -1}}}, "weights of 0 or more"),
        (
            {"name": "adaptive", "figure": "accuracy"},
            "figure='accuracy'; it is 'train loss', or one of the evaluations",
        ),
        ({"name": "adaptive", "figure": "valid accuracy"}, "and no goal"),
        ({"name": "adaptive", "every": 0}, "every=0; it is 1 update or more"),
        ({"name": "adaptive", "floor": 0}, "floor above 0"),
    ],
)
def test_options_that_cannot_be_are_answered(options, message):
    with pytest.raises(ConfigError, match=message):
        find(options)


def test_options_are_fields_of_a_record_and_leave_the_registered_one_as_it_is():
    assert find({"name": "temperature", "cap": 7}).cap == 7
    assert find("temperature").cap is None
    assert find({"name": "adaptive", "figure": "valid accuracy", "goal": 1}).goal == 1


def test_rows_that_are_not_known_are_named():
    for schedule in ("proportional", "temperature"):
        with pytest.raises(ConfigError, match="task 'a' has no known number of rows"):
            Ledger(schedule, [Entry("a")]).draws(0)
    with pytest.raises(ConfigError, match="tokens of a row of task 'a' were not measured; count by='samples'"):
        Ledger({"name": "proportional", "by": "tokens"}, [Entry("a", size=3)]).draws(0)


# --- by what the run finds ------------------------------------------------------------------------------------------


def test_adaptive_gives_turns_to_what_is_furthest_from_its_goal():
    entries = [Entry("slow"), Entry("quick"), Entry("done", weight=2)]
    run = find({"name": "adaptive", "every": 1000}).begin({})
    run.told("train", {"slow": {"loss": 4.0}, "quick": {"loss": 4.0}, "done": {"loss": 4.0}})
    run.decide(1000)
    run.told("train", {"slow": {"loss": 3.0}, "quick": {"loss": 1.0}, "done": {"loss": 0.01}})
    run.decide(2000)
    turns = [Counter(run.turns(step, entries)[0].task for step in range(p * 1000, p * 1000 + 1000)) for p in range(5)]
    for period in (0, 1, 2, 4):  # nothing found yet, nothing lost yet, or nothing told
        assert [turns[period][name] for name in ("slow", "quick", "done")] == pytest.approx([250, 250, 500], abs=5)
    left = {"slow": 0.75, "quick": 0.25, "done": 2 * 0.1}  # 0.01 / 4 is below the floor
    for name, own in left.items():
        assert turns[3][name] == pytest.approx(1000 * own / sum(left.values()), abs=5)


def test_adaptive_by_a_figure_that_grows():
    record = find({"name": "adaptive", "figure": "valid accuracy", "goal": 1.0, "every": 5, "power": 2.0})
    run = record.begin({})
    run.told("train", {"a": {"loss": 9.0}})
    run.told("valid", {"a": {"accuracy": 0.2}, "b": {"accuracy": 0.5, "loss": 3.0}, "c": {"loss": 1.0}})
    run.told("valid", {"a": {"accuracy": 0.6}, "b": {"accuracy": float("nan")}})
    run.decide(10)
    assert run.left == {3: {"a": pytest.approx(0.25), "b": 1.0}}
    run.told("valid", {"a": {"accuracy": 1.0}, "b": {"accuracy": 0.4}})
    run.decide(15)
    assert run.left[4] == {"a": 0.1, "b": pytest.approx(1.44)}


def test_adaptive_goes_on_from_its_state_unless_it_is_of_another_figure():
    record = find({"name": "adaptive", "every": 2})
    run = record.begin({})
    run.told("train", {"a": {"loss": 2.0}, "b": {"loss": 0.3}})
    run.decide(2)
    run.told("train", {"a": {"loss": 1.3}})
    run.decide(4)
    again = record.begin(run.state())
    entries = [Entry("a"), Entry("b")]
    assert [again.turns(step, entries) for step in range(20)] == [run.turns(step, entries) for step in range(20)]
    assert again.state() == run.state()
    other = find({"name": "adaptive", "every": 2, "figure": "valid loss"}).begin(run.state())
    assert not other.latest
    assert not other.left


def test_every_schedule_by_name_can_be_had_without_options():
    entries = [replace(BIG, tokens=3.0), replace(SMALL, tokens=5.0)]
    for name in SCHEDULES:
        assert set(drawn(name, entries, 300)) == {"big", "small"}, name
