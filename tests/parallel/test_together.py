"""float16, tasks that join and leave on a condition, and memory that runs out: with two processes as with one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofasys import Callback, GeneralistModel, Task, Trainer
from ofasys.train import loss_scale
from ofasys.train.best import Choice
from ofasys.train.steps import Steps
from tests.parallel.processes import on_ranks
from tests.parallel.test_ends import each
from tests.parallel.test_laws import same_lines, same_weights, together
from tests.train import tiny
from tests.train.test_saver import failing_at

PAIRS = [{"left": f"{word} {i}", "right": f"{i} is {word}"} for i, word in enumerate(tiny.WORDS)]
SETTINGS = {"max_steps": 6, "warmup": 2, "lr": 2e-3, "log_every": 3, "precision": "float32", "schedule": "accumulate"}


def pairs(name: str = "pairs") -> Task:
    return Task(name, "[TEXT:left|TEXT:right] ->", train=PAIRS, micro_batch_size=3)


def train(tasks: list[Task], out: Path, **changes: Any) -> dict[str, Any]:
    """A run: its history, weights, and the state of its last checkpoint."""
    model, trainer = tiny.model(dropout=0.0), Trainer(out=out, live=False, **(SETTINGS | changes))
    trainer.fit(model=model, tasks=tasks)
    history = [{k: v for k, v in line.items() if k not in tiny.TIMES} for line in trainer.history]
    folder = json.loads((out / "checkpoints/last.json").read_text())["folder"]
    state = json.loads((out / "checkpoints" / folder / "state.json").read_text())
    return {"history": history, "weights": {k: v.numpy() for k, v in tiny.weights(model).items()}, "state": state}


def same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert all(np.array_equal(value, other[name]) for name, value in one.items())


# --- float16 --------------------------------------------------------------------------------------------------------


def half(rank: int, out: Path, start: float = 2.0**10, odd: int = -1, **changes: Any) -> dict[str, Any]:
    """In float16. start: of the scale. odd: a process whose gradients overflow in the second update."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_scale, "START", start)
        callbacks = [Overflows()] if rank == odd else [Callback()]
        callbacks[0].name = "same"
        tasks = [tiny.label_task(), pairs(), tiny.box_task(join=2)]
        return train(tasks, out, precision="float16", callbacks=callbacks, **changes)


class Overflows(Callback):
    """A gradient that this process alone has is too large in the update after the first."""

    def before_step(self, run: Any) -> None:
        weight = next(iter(run.model.engine.parameters()))
        if run.step == 1:
            self.hook = weight.register_hook(lambda gradient: gradient * torch.inf)

    def after_step(self, run: Any) -> None:
        if run.step == 2:
            self.hook.remove()


def test_float16_is_that_of_one_process(tmp_path: Path) -> None:
    alone = half(0, tmp_path / "one")
    first, second = together(on_ranks(2, half, tmp_path / "two"))
    same_bits(first["weights"], second["weights"])
    assert first["history"] == second["history"]
    assert first["state"]["loss_scale"] == alone["state"]["loss_scale"]
    for line, own in zip(alone["history"], first["history"], strict=True):
        for name in {"loss", "gradient_norm"} & line.keys():
            assert own[name] == pytest.approx(line[name], rel=0.02, abs=0.02), name


def test_gradients_that_overflow_on_one_process_are_an_update_that_none_takes(tmp_path: Path) -> None:
    first, second = together(on_ranks(2, half, tmp_path / "two", odd=1))
    same_bits(first["weights"], second["weights"])
    assert first["state"]["loss_scale"] == {"scale": 2.0**9, "good": 4, "skipped": 1}


def test_a_scale_is_found_and_gone_on_with_together(tmp_path: Path) -> None:
    settings = {"start": 2.0**22, "decay": "constant", "lr": 1e-4}
    whole = together(on_ranks(2, half, tmp_path / "whole", max_steps=8, **settings))[0]
    for steps in (5, 8):
        parts = together(on_ranks(2, half, tmp_path / "parts", max_steps=steps, **settings))[0]
    same_bits(whole["weights"], parts["weights"])
    assert parts["state"]["loss_scale"] == whole["state"]["loss_scale"]
    assert 0 < whole["state"]["loss_scale"]["skipped"] < 8


def test_rows_whose_loss_is_not_finite_are_named_by_all(tmp_path: Path) -> None:
    """Those of the process that had them, in an update that none takes."""

    def run(rank: int) -> tuple[list[list[int]], dict[str, Any]]:
        rows: list[list[int]] = []
        piece = Steps.piece

        def broken(steps: Steps, part: Any, *rest: Any, **given: Any) -> None:
            rows.append(sorted(row for _, row in part.delivery.rows))
            with pytest.MonkeyPatch.context() as patch:
                if (rank, len(rows)) == (1, 3):
                    forward = GeneralistModel.forward
                    patch.setattr(GeneralistModel, "forward", lambda *own: nan(forward(*own)))
                piece(steps, part, *rest, **given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Steps, "piece", broken)
            return rows, train([tiny.label_task()], tmp_path / "out", decay="constant")

    def nan(loss: Any) -> Any:
        return replace(loss, total=loss.total * torch.nan)

    first, second = together(on_ranks(2, run))
    same_bits(first[1]["weights"], second[1]["weights"])
    assert first[1]["state"]["skipped"] == 1
    lines = [line for line in tiny.lines(tmp_path / "out/metrics.jsonl") if line["kind"] == "skipped"]
    assert [(line["step"], line["task"], sorted(line["rows"])) for line in lines] == [(3, "label", second[0][2])]


# --- tasks that join and leave --------------------------------------------------------------------------------------


def turning(rank: int, out: Path, **changes: Any) -> dict[str, Any]:
    tasks = [
        tiny.label_task(leave="accuracy >= 0.25"),
        tiny.fill_task(leave="2 epochs", train=tiny.label_rows(10, bad=(4,)), bad_limit=3),
        tiny.box_task(join="1 epochs of fill", micro_batch_size=2),
    ]
    return train(tasks, out, **({"max_steps": 12, "eval_every": 2, "lr": 1e-2, "decay": "constant"} | changes))


def test_tasks_join_and_leave_at_the_same_step(tmp_path: Path) -> None:
    alone = turning(0, tmp_path / "one")
    first, second = together(on_ranks(2, turning, tmp_path / "two"))
    same_bits(first["weights"], second["weights"])
    assert first["state"]["turnover"] == alone["state"]["turnover"]
    assert {name: list(met) for name, met in first["state"]["turnover"].items()} == {
        "fill": ["leave"],
        "box": ["join"],
        "label": ["leave"],
    }
    same_lines(alone["history"], first["history"])
    logs = [tiny.lines(tmp_path / name / "metrics.jsonl") for name in ("one", "two")]
    assert [(line["step"], line["task"]) for line in logs[0] if line["kind"] == "turnover"] == [
        (line["step"], line["task"]) for line in logs[1] if line["kind"] == "turnover"
    ]


def test_a_turnover_is_gone_on_with_by_more_processes(tmp_path: Path) -> None:
    alone = turning(0, tmp_path / "one")
    turning(0, tmp_path / "two", max_steps=5)
    first, _ = together(on_ranks(2, turning, tmp_path / "two"))
    assert first["state"]["turnover"] == alone["state"]["turnover"]
    same_weights(alone["weights"], first["weights"])


def test_a_callback_that_stops_one_at_an_evaluation_stops_all(tmp_path: Path) -> None:
    class Stops(Callback):
        def __init__(self, rank: int) -> None:
            self.rank = rank

        def after_evaluation(self, run: Any) -> None:
            if self.rank == 1:
                run.stop("good enough")

    def run(rank: int) -> dict[str, Any]:
        return train([tiny.label_task()], tmp_path / "out", callbacks=[Stops(rank)], eval_every=2, log_every=5)

    first, second = together(on_ranks(2, run))
    assert [(line["kind"], line["step"]) for line in first["history"]] == [("train", 2), ("valid", 2)]
    assert first["history"] == second["history"]
    assert first["state"]["stopped"]["why"] == "good enough"


def test_a_best_that_could_not_be_saved_is_none_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process alone learns that a checkpoint was not written: all take the best before it for the best."""
    found = iter([0.4, 0.1, 0.3, 0.35])
    monkeypatch.setattr(Choice, "value", lambda self, figures: next(found))
    failing_at(monkeypatch, 4)

    def run(rank: int) -> dict[str, Any]:
        return train([tiny.label_task()], tmp_path / "out", max_steps=12, eval_every=2, patience=1)

    first, second = together(on_ranks(2, run))
    assert [line["step"] for line in first["history"] if line["kind"] == "valid"] == [2, 4, 6, 8]
    assert first["history"] == second["history"]
    assert first["state"]["best"]["step"] == 6
    assert first["state"]["stopped"]["why"] == "no better loss than 0.3 at step 6 in 1 validations"


# --- memory ---------------------------------------------------------------------------------------------------------


def short(rank: int, out: Path, where: tuple[int, ...], of: str, rows: int = 1, **changes: Any) -> dict[str, Any]:
    """Processes whose memory holds `rows` rows of a task; the sizes that they tried."""
    tried: list[int] = []
    forward = GeneralistModel.forward

    def limited(self: GeneralistModel, program: Any, batch: Any, *rest: Any) -> Any:
        if self.training and of in str(program.plan.instruction):
            tried.append(batch.size)
            if rank in where and batch.size > rows:
                raise torch.OutOfMemoryError("no memory left")
        return forward(self, program, batch, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GeneralistModel, "forward", limited)
        label = tiny.label_task(train=tiny.label_rows(12, bad=(3, 7)), bad_limit=5, weight=2)
        found = train([pairs(), label, tiny.box_task(), pairs(name="again")], out, **changes)
    return found | {"tried": tried}


@pytest.mark.parametrize(("where", "balance"), [((1,), "sum"), ((0,), "gradnorm"), ((0, 1), "sum")])
def test_one_that_runs_out_of_memory_keeps_nobody_waiting(where: tuple[int, ...], balance: str, tmp_path: Path) -> None:
    """Before and after a contrast, at which processes wait for each other: all take the task in pieces from then on."""
    settings = {"of": "colour", "balance": balance}
    alone = short(0, tmp_path / "one", (), **settings)
    first, second = together(on_ranks(2, short, tmp_path / "two", where, **settings))
    same_weights(alone["weights"], first["weights"])
    same_bits(first["weights"], second["weights"])
    same_lines(alone["history"], first["history"])
    assert first["state"]["pieces"] == {"label": 2}
    assert 2 in first["tried"][:4]
    assert 2 not in first["tried"][4:]


def test_what_one_process_cannot_halve_is_told_by_all(tmp_path: Path) -> None:
    errors = each(on_ranks(2, short, tmp_path / "out", (1,), of="left", rows=0))
    assert errors[1].startswith("ConfigError: task 'pairs': a micro-batch of 1 rows does not fit the memory at step 1")
    assert errors[0].startswith("RankError: process 1 of 2 ended by ConfigError: task 'pairs'")
