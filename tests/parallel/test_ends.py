"""However a run of several processes ends, it ends on all of them, soon, and each says why."""

from __future__ import annotations

import json
import os
import platform
import signal
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import pytest
from torch.distributed import HashStore

from ofasys import Trainer
from ofasys.parallel.join import joined
from ofasys.parallel.meeting import fresh_name
from ofasys.parallel.place import Place
from tests.parallel.processes import Ended, on_ranks
from tests.parallel.test_laws import At, rows_of, same_lines, same_weights, together, train
from tests.train import tiny


def label(
    rank: int, out: Path | None, *does: Any, task: dict[str, Any] | None = None, hook: str = "", **changes: Any
) -> int:
    """A short run; the step it came to. does: what each process does after its second step."""
    settings = {"max_steps": 5, "live": False, "save_every": 2 if out else 0} | changes
    callbacks = [At(2, does[rank], hook or "after_step")] if does else []
    trainer = Trainer(out=out, callbacks=callbacks, **settings)
    trainer.fit(model=tiny.model(dropout=0.0), tasks=tiny.label_task(**(task or {})))
    return trainer.history[-1]["step"]


def each(ended: list[Ended]) -> list[str]:
    """What each process raised; none was killed by the test."""
    assert all(one.code is not None and one.code >= 0 for one in ended), ended
    return [one.error for one in ended]


@pytest.mark.parametrize("sizes", [(2, 1), (1, 2)])
def test_saved_on_some_resumed_on_others(sizes: tuple[int, int], tmp_path: Path) -> None:
    """The rows, losses and weights of a run that was never stopped; the bad rows are counted once."""
    whole = train(0, tmp_path / "whole")
    begun = on_ranks(sizes[0], train, tmp_path / "out", stop=6)
    assert each(begun) == ["Terminated: 143"] * sizes[0]
    went_on = together(on_ranks(sizes[1], train, tmp_path / "out"))
    same_weights(whole["weights"], went_on[0]["weights"])
    logs = [tiny.lines(tmp_path / name / "metrics.jsonl") for name in ("whole", "out")]
    same_lines(*logs)
    assert [line["step"] for line in logs[0]] == [4] * 7 + [8] * 7
    assert rows_of(*went_on).items() < rows_of(whole).items()
    assert tiny.lines(tmp_path / "whole/quarantine.jsonl") == tiny.lines(tmp_path / "out/quarantine.jsonl")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_ends_all_at_the_same_step(number: int, tmp_path: Path) -> None:
    def told(run: Any) -> None:
        os.kill(os.getpid(), number)

    first, second = each(on_ranks(2, label, tmp_path / "out", None, told))
    assert first == second == ("Terminated: 143" if number == signal.SIGTERM else "KeyboardInterrupt: ")
    assert json.loads((tmp_path / "out/checkpoints/last.json").read_text()) == {"folder": "step-00000002"}
    assert len([p for p in (tmp_path / "out/checkpoints").iterdir() if p.is_dir()]) == 1


def test_a_signal_in_the_midst_of_an_evaluation_waits_for_all(tmp_path: Path) -> None:
    def told(run: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    assert (
        each(on_ranks(2, label, tmp_path / "out", None, told, hook="before_evaluation", eval_every=2))
        == ["Terminated: 143"] * 2
    )
    assert json.loads((tmp_path / "out/checkpoints/last.json").read_text())["folder"] == "step-00000003"


def test_an_evaluation_that_fails_on_one_is_saved_where_all_know(tmp_path: Path) -> None:
    """A metric fails: all hear of it, and the step is saved. A callback fails on one: the others are not there."""

    def metric(answers: Any, truths: Any) -> float:
        raise ValueError("no figure")

    settings = {"metrics": [metric], "closed_set": {"label": tiny.COLOURS}}
    first, second = each(on_ranks(2, label, tmp_path / "metric", task=settings, eval_every=2))
    assert "no figure" in first
    assert second.startswith("RankError: process 0 of 2 ended by ")
    state = json.loads((tmp_path / "metric/checkpoints/step-00000002/state.json").read_text())
    assert state["due"] == 2
    first, second = each(on_ranks(2, label, tmp_path / "one", None, fails, hook="before_evaluation", eval_every=2))
    assert second.startswith("PluginError: callback 'At' raised ValueError in before_evaluation at step 2")
    assert "RankError" in first
    assert not (tmp_path / "one/checkpoints").exists()


def test_a_callback_that_stops_one_stops_all(tmp_path: Path) -> None:
    ended = on_ranks(2, label, tmp_path / "out", None, lambda run: run.stop("enough"))
    assert [one.value for one in ended] == [2, 2]
    state = json.loads((tmp_path / "out/checkpoints/step-00000002/state.json").read_text())
    assert state["stopped"]["why"] == "enough"


def fails(run: Any) -> None:
    raise ValueError("out of luck")


@pytest.mark.parametrize("who", [0, 1])
def test_an_error_on_one_is_told_by_all(who: int) -> None:
    does = [fails if rank == who else None for rank in range(2)]
    errors = each(on_ranks(2, label, None, *does))
    assert errors[who].startswith("PluginError: callback 'At' raised ValueError in after_step at step 2: out of luck")
    assert errors[1 - who].startswith(f"RankError: process {who} of 2 ended by PluginError: callback 'At' raised")


def test_an_error_in_the_midst_of_three() -> None:
    errors = each(on_ranks(3, label, None, None, fails, None, task={"micro_batch_size": 3}))
    assert errors[1].startswith("PluginError")
    assert all(errors[i].startswith("RankError: process 1 of 3 ended by PluginError") for i in (0, 2))


def test_one_that_is_killed_is_missed_by_the_others() -> None:
    def die(run: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    first, second = on_ranks(2, label, None, None, die)
    assert second.code == -signal.SIGKILL
    assert first.error.startswith("RankError: another of the 2 processes has ended or cannot be reached")
    assert "goes on from its last checkpoint" in first.error


def test_a_bad_row_that_stops_is_named_by_all() -> None:
    """Of the four rows of a micro-batch each reads two; look_ahead reads those that are good."""
    rows = tiny.label_rows(40, bad=(21,))
    errors = each(on_ranks(2, label, None, task={"train": rows, "on_bad": "stop"}, max_steps=10))
    own = [error for error in errors if error.startswith("DataError")]
    other = [error for error in errors if error.startswith("RankError")]
    assert len(own) == len(other) == 1
    assert "train row 21" in own[0]
    assert f"ended by {own[0]}" in other[0]


def test_what_differs_is_refused_before_the_first_step() -> None:
    def rows(rank: int) -> None:
        label(rank, None, task={"train": tiny.label_rows(12)[: 12 - rank] + tiny.label_rows(1) * rank})

    def rate(rank: int) -> None:
        label(rank, None, lr=1e-3 * (1 + rank))

    def version(rank: int) -> None:
        if rank:
            platform.python_version_tuple = lambda: ("3", "10", "1")
        label(rank, None)

    for do, what in (
        (rows, "task 'label': the content of its train rows is"),
        (rate, "trainer.lr is 0.001 on process 0 and 0.002 on process 1 of 2; start all of them with the same"),
        (version, "the version of Python is"),
    ):
        errors = each(on_ranks(2, do))
        assert all(error.startswith(f"ConfigError: {what}") for error in errors), errors


def test_a_folder_that_not_all_can_read_is_refused(tmp_path: Path) -> None:
    label(0, tmp_path / "0")

    def elsewhere(rank: int) -> None:
        label(rank, tmp_path / str(rank), max_steps=9)

    for error in each(on_ranks(2, elsewhere)):
        assert error.startswith("ConfigError: the step of the run in `out` is 5 on process 0 and 0 on process 1")


def test_fewer_rows_than_processes_are_refused() -> None:
    for error in each(on_ranks(2, label, None, task={"micro_batch_size": 1})):
        assert error.startswith(
            "ConfigError: task 'label' has micro_batch_size 1, which 2 processes are to share; give"
        )
    assert [one.value for one in on_ranks(2, label, None, task={"micro_batch_size": 2})] == [5, 5]


def test_weights_that_have_parted_are_not_saved(tmp_path: Path) -> None:
    def part(run: Any) -> None:
        next(run.model.parameters()).data.add_(1e-3)

    for error in each(on_ranks(2, label, tmp_path / "out", None, part)):
        assert error.startswith("RankError: the weights of process 1 of 2 are not those of process 0 at step 2")
    assert not (tmp_path / "out/checkpoints").exists()


def test_processes_at_different_things_are_told() -> None:
    def differ(rank: int) -> None:
        with joined() as ranks:
            ranks.objects(f"thing {rank}", rank)

    first, second = each(on_ranks(2, differ))
    assert (
        first == "RankError: process 1 of 2 is at 'thing 1', and process 0 at 'thing 0'; a callback, metric or "
        "schedule does not do the same on all of them"
    )
    assert second.startswith("RankError: process 0 of 2 is at 'thing 0', and process 1 at 'thing 1'")


@pytest.mark.parametrize("who", [0, 1])
def test_whoever_does_not_come_is_missed(who: int) -> None:
    def wait(rank: int) -> None:
        os.environ["OFASYS_RANK_TIMEOUT"] = "1"
        if rank == who:
            with joined():
                pass

    errors = each(on_ranks(2, wait))
    assert errors[1 - who] == ""
    assert errors[who].startswith(f"ConfigError: process {who} of 2 did not meet the others at 127.0.0.1 port ")


def test_a_signal_is_heard_while_others_are_waited_for() -> None:
    def wait(rank: int) -> None:
        if rank == 0:
            Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
            with joined():
                pass

    assert each(on_ranks(2, wait)) == ["KeyboardInterrupt: ", ""]


def test_one_run_after_another() -> None:
    """In the same processes, also after one that failed."""

    def several(rank: int) -> tuple[int, int]:
        first = label(rank, None)
        with pytest.raises(Exception, match="out of luck"):
            label(rank, None, fails, None)
        return first, label(rank, None)

    assert together(on_ranks(2, several)) == [(5, 5), (5, 5)]


def test_what_was_said_in_a_meeting_before_misleads_nobody() -> None:
    """Two rounds in one store, as torchrun has it: the second begins while words of the first stand there."""
    store = HashStore()
    places = [Place(rank, 3) for rank in range(3)]

    def meet(place: Place, names: dict[int, str], late: Event) -> None:
        if place.rank == 2:
            late.wait(10)
        names[place.rank] = fresh_name(store, place, 20)

    before: dict[int, str] = {}
    for _ in range(3):
        names, late = dict[int, str](), Event()
        threads = [Thread(target=meet, args=(place, names, late)) for place in places]
        for thread in threads:
            thread.start()
        while before and json.loads(store.get("meeting"))[0] in before.values():
            pass  # the first has not yet named the meeting anew
        assert not names
        late.set()
        for thread in threads:
            thread.join()
        assert len(set(names.values())) == 1
        assert not set(names.values()) & set(before.values())
        before |= {len(before): names[0]}
    with pytest.raises(RuntimeError, match="not all of 3 came within"):
        fresh_name(store, places[0], 0.2)
