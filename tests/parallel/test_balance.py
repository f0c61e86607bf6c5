"""Balancers, and schedules that go by losses, decide the same on every process, and what one process alone decides."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ofasys import Callback, Task, Trainer
from ofasys.train import steps as room
from ofasys.train.balance import BALANCERS, Balancing
from ofasys.train.callbacks import EMA, Conflict
from ofasys.train.update import Part
from tests.parallel.processes import on_ranks
from tests.parallel.test_ends import each
from tests.parallel.test_laws import rows_of, same_lines, same_weights, together
from tests.train import tiny

PAIRS = [{"left": f"{word} {i}", "right": f"{i} is {word}"} for i, word in enumerate(tiny.WORDS)]


def tasks() -> list[Task]:
    """Bad rows, of which a process may have all; a contrast; a task that joins; rows that no process shares evenly."""
    return [
        tiny.label_task(train=tiny.label_rows(12, bad=(3, 7, 8)), bad_limit=5, valid=tiny.label_rows(3)),
        Task("pairs", "[TEXT:left|TEXT:right] ->", train=PAIRS, micro_batch_size=3, loss_weight=0.5),
        tiny.box_task(join=2, weight=2.0, micro_batch_size=2),
    ]


class Losses(Callback):
    """The losses of each step, as they are shown to callbacks."""

    def __init__(self) -> None:
        self.told: list[dict[str, float]] = []

    def after_step(self, run: Any) -> None:
        self.told.append({task: float(loss) for task, loss in run.losses.items()})


def train(rank: int, out: Path | None, **changes: Any) -> dict[str, Any]:
    """A run, and what it drew, told and learned; of how many micro-batches it took all that others have too."""
    drawn: dict[str, list[Any]] = {}
    taken: list[Part] = []
    part = room.Steps.part

    def watched(run: Any, step: int, delivery: Any, waited: float) -> Part:
        ticket = delivery.ticket
        drawn[f"{ticket.step} {ticket.task} {ticket.k}"] = sorted(delivery.rows)
        taken.append(part(run, step, delivery, waited))
        return taken[-1]

    settings = {"max_steps": 6, "warmup": 2, "lr": 2e-3, "log_every": 3, "precision": "float32", "decay": "constant"}
    losses, besides = Losses(), EMA(0.5) if changes.get("shard") else Conflict(every=3)
    trainer = Trainer(out=out, live=False, callbacks=[losses, besides], **(settings | changes))
    model = tiny.model(dropout=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room.Steps, "part", watched)
        trainer.fit(model=model, tasks=tasks())
    history = [{k: v for k, v in line.items() if k not in tiny.TIMES} for line in trainer.history]
    weights = {k: v.float().numpy() for k, v in tiny.weights(model).items()}
    whole = sum(one.whole for one in taken)
    return {"drawn": drawn, "history": history, "losses": losses.told, "weights": weights, "whole": whole}


def same_as_one(settings: dict[str, Any], place: Path) -> list[dict[str, Any]]:
    """The run in one process and in two: rows, figures, losses and weights."""
    alone = train(0, place / "one", **settings)
    first, second = together(on_ranks(2, train, place / "two", **settings))
    assert rows_of(first, second) == rows_of(alone)
    assert all(np.array_equal(value, second["weights"][name]) for name, value in first["weights"].items())
    assert first["losses"] == second["losses"]
    return [alone, first]


ACCUMULATED = {"schedule": "accumulate", "accumulate": 2}


@pytest.mark.parametrize(
    ("name", "shard"), [*((name, False) for name in BALANCERS), ("uncertainty", True), ("dwa", True)]
)
def test_a_balancer_is_that_of_one_process(name: str, shard: bool, tmp_path: Path) -> None:
    """Those that weigh losses also with the weights in pieces."""
    balance = {"name": "dwa", "every": 1} if name == "dwa" else name
    alone, first = same_as_one(ACCUMULATED | {"balance": balance, "shard": shard}, tmp_path)
    same_weights(alone["weights"], first["weights"])
    same_lines(alone["history"], first["history"])
    for one, other in zip(alone["losses"], first["losses"], strict=True):
        assert other == pytest.approx(one, rel=1e-3)


def test_a_balancer_in_bfloat16_is_the_same_on_every_process(tmp_path: Path) -> None:
    """And is no further from one process than the order of adding numbers of eight bits takes it."""
    alone, first = same_as_one(ACCUMULATED | {"balance": "famo", "precision": "bfloat16"}, tmp_path)
    for one, other in zip(alone["losses"], first["losses"], strict=True):
        assert other == pytest.approx(one, rel=0.05, abs=5e-3)


@pytest.mark.parametrize(("figure", "shard"), [("train loss", False), ("valid loss", False), ("train loss", True)])
def test_an_adaptive_schedule_is_that_of_one_process(figure: str, shard: bool, tmp_path: Path) -> None:
    """Also with the weights in pieces, where every process takes all of a micro-batch of which one has bad rows alone,
    and an average is evaluated.
    """
    settings = {"schedule": {"name": "adaptive", "every": 4, "figure": figure, "power": 4.0, "floor": 0.01}}
    settings |= {"max_steps": 14, "eval_every": 2, "eval_samples": 1, "lr": 5e-3, "accumulate": 2, "shard": shard}
    alone, first = same_as_one(settings, tmp_path)
    same_weights(alone["weights"], first["weights"])
    same_lines(alone["history"], first["history"])
    assert bool(first["whole"]) is shard
    for one, other in zip(alone["losses"], first["losses"], strict=True):
        assert other == pytest.approx(one, rel=1e-3)
    kept = [state_of(tmp_path / name)["follow"]["schedule"] for name in ("one", "two")]
    assert kept[1]["latest"] == pytest.approx(kept[0]["latest"], rel=1e-3)
    left = kept[0]["left"]["4"]
    assert any(abs(one - 1.0) > 0.3 for one in left.values())  # turns are drawn by it


@pytest.mark.parametrize("sizes", [(2, 1), (1, 2)])
def test_begun_on_some_gone_on_with_on_others(sizes: tuple[int, int], tmp_path: Path) -> None:
    """A balancer and a schedule that are in the midst of a period."""
    settings = {"schedule": {"name": "adaptive", "every": 4}, "accumulate": 3, "max_steps": 10, "lr": 1e-2}
    settings |= {"balance": {"name": "dwa", "every": 2}}
    whole = train(0, tmp_path / "whole", **settings)
    together(on_ranks(sizes[0], train, tmp_path / "out", **(settings | {"max_steps": 3})))
    last = together(on_ranks(sizes[1], train, tmp_path / "out", **settings))
    assert rows_of(*last).items() < rows_of(whole).items()
    same_weights(whole["weights"], last[0]["weights"])
    kept = [state_of(tmp_path / name) for name in ("whole", "out")]
    assert kept[1]["balance"]["kept"]["periods"] == [
        pytest.approx(one, rel=1e-3) for one in kept[0]["balance"]["kept"]["periods"]
    ]
    assert kept[1]["follow"]["losses"] == {
        t: pytest.approx(one, rel=1e-3) for t, one in kept[0]["follow"]["losses"].items()
    }


def state_of(out: Path) -> dict[str, Any]:
    """Of the last checkpoint."""
    folder = json.loads((out / "checkpoints/last.json").read_text())["folder"]
    return json.loads((out / "checkpoints" / folder / "state.json").read_text())


def test_a_balancer_of_ones_own_is_told_the_losses_of_all(tmp_path: Path) -> None:
    """Each process is told the same, of each task that any of them learned from, and gives the same gradient."""

    def told(rank: int) -> list[Any]:
        found: list[Any] = []

        class Listening(Balancing):
            apart = True

            def take(self, task: str, loss: Any, gradient: Any) -> None:
                length = sum(float(one.square().sum()) for one in gradient.values())
                found.append((task, float(loss), length, len(gradient)))
                self.kept = gradient

            def gradient(self, step: int) -> Any:
                return self.kept

            def finish(self, losses: Any, shares: Any) -> None:
                found.append(dict(shares))

        listening = SimpleNamespace(cost="nothing", begin=lambda run: Listening())
        train(rank, None, **ACCUMULATED | {"balance": listening, "max_steps": 3})
        return found

    alone = told(0)
    first, second = together(on_ranks(2, told))
    assert first == second
    for one, other in zip(alone, first, strict=True):
        if isinstance(one, dict):
            assert other == pytest.approx(one)
        else:
            assert (other[0], other[3]) == (one[0], one[3])
            assert other[1:3] == pytest.approx(one[1:3], rel=1e-3)


def test_losses_are_computed_again_with_weights_in_pieces() -> None:
    """As on one process, micro-batches that all take whole among them; and the next update is as it would be."""

    def told(rank: int, shard: bool) -> tuple[list[dict[str, float]], dict[str, np.ndarray]]:
        found: list[dict[str, float]] = []

        class Again(Balancing):
            def after(self, again: Any) -> None:
                found.append({task: float(loss) for task, loss in again().items()})

        again = SimpleNamespace(cost="a second forward pass", begin=lambda run: Again())
        made = train(rank, None, **ACCUMULATED | {"balance": again, "max_steps": 4, "shard": shard})
        assert not rank or made["whole"]
        return found, made["weights"]

    losses, weights = told(0, False)
    for found, own in together(on_ranks(2, told, True)):
        same_weights(weights, own)
        for one, other in zip(losses, found, strict=True):
            assert other == pytest.approx(one, rel=1e-3)


def test_gradients_that_are_wanted_on_one_process_alone_are_told() -> None:
    class Wants(Callback):
        def __init__(self, rank: int) -> None:
            self.rank = rank

        def wants_gradients(self, run: Any) -> bool:
            return run.step == self.rank == 1

    def run(rank: int) -> None:
        trainer = Trainer(max_steps=3, live=False, callbacks=[Wants(rank)])
        trainer.fit(model=tiny.model(dropout=0.0), tasks=tiny.label_task())

    for error in each(on_ranks(2, run)):
        assert error.startswith("RankError: process")
        assert "at 'an update whose gradients are wanted'" in error
        assert "a callback, metric or schedule does not do the same on all of them" in error


def test_options_that_differ_are_refused_before_the_first_step() -> None:
    def run(rank: int, **changes: Any) -> None:
        train(rank, None, **ACCUMULATED | {name: own[rank] for name, own in changes.items()})

    for what, name in (("schedule", "adaptive"), ("balance", "dwa")):
        options = [{"name": name, "every": 4 + rank} for rank in range(2)]
        for error in each(on_ranks(2, run, **{what: options})):
            assert error.startswith(f"ConfigError: trainer.{what} is {{'name': '{name}', 'every': 4}} on process 0 and")
