"""Two processes that share a run learn what one alone learns: the same rows, losses, figures and weights."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ofasys import Callback, Task, Trainer
from ofasys.train import steps as room
from ofasys.train.callback import RunView
from tests.laws import test_accumulate as kinds
from tests.parallel.processes import on_ranks
from tests.train import tiny

EXACT = {"rtol": 2e-4, "atol": 2e-6}  # two sums of the same numbers in another order, through eight steps of AdamW


def mixed_tasks() -> list[Task]:
    """Bad rows, two instructions, a picture task that joins and leaves, pairs that are compared, one row left over."""
    pairs = [{"left": f"{word} {i}", "right": f"{i} is {word}"} for i, word in enumerate(tiny.WORDS)]
    return [
        tiny.label_task(train=tiny.label_rows(12, bad=(3, 7)), bad_limit=5),
        tiny.fill_task(
            instruction=[tiny.FILL, "[TEXT:text,noise_ratio=0.2] -> [TEXT:text]"], valid=tiny.label_rows(3), weight=2.0
        ),
        tiny.box_task(join=3, leave=9, smoothing=0.1),
        Task("pairs", "[TEXT:left|TEXT:right] ->", train=pairs, micro_batch_size=5),
    ]


class At(Callback):
    """Does something after a step."""

    def __init__(self, step: int, do: Callable[[RunView], None] | None, hook: str = "after_step") -> None:
        self.step, self.do, self.hook = step, do, hook

    def after_step(self, run: RunView) -> None:
        self._reached(run, "after_step")

    def before_evaluation(self, run: RunView) -> None:
        self._reached(run, "before_evaluation")

    def _reached(self, run: RunView, hook: str) -> None:
        if run.step == self.step and self.do is not None and hook == self.hook:
            self.do(run)


def terminated(run: RunView) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def train(rank: int, out: Path, stop: int = 0) -> dict:
    """A run, and what it drew, told and learned. stop: the step after which the first process gets a signal."""
    drawn: dict[str, list] = {}
    backward = room.Steps.backward

    def watched(run, part, whole, of):
        ticket = part.delivery.ticket
        drawn[f"{ticket.step} {ticket.task} {ticket.k}"] = sorted(part.delivery.rows)
        return backward(run, part, whole, of)

    room.Steps.backward = watched
    try:
        settings = {"max_steps": 8, "warmup": 2, "lr": 2e-3, "log_every": 4, "eval_every": 4, "accumulate": 2}
        callbacks = [At(stop, terminated if rank == 0 else None)]
        trainer = Trainer(out=out, live=False, callbacks=callbacks, **settings)
        model = tiny.model(dropout=0.0)
        trainer.fit(model=model, tasks=mixed_tasks())
    finally:
        room.Steps.backward = backward
    history = [{k: v for k, v in line.items() if k not in tiny.TIMES} for line in trainer.history]
    return {"drawn": drawn, "history": history, "weights": {k: v.numpy() for k, v in tiny.weights(model).items()}}


def together(ended: list) -> list[dict]:
    assert [one.error for one in ended] == [""] * len(ended)
    return [one.value for one in ended]


def learned(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Without the biases of keys, which no softmax sees: what AdamW makes of their gradient is rounding."""
    found = dict(weights)
    for name, value in weights.items():
        if name.endswith(("qkv.bias", "kv.bias")):
            keys = slice(tiny.CONFIG.width * name.endswith("qkv.bias"), -tiny.CONFIG.width)
            found[name] = np.delete(value, keys)
    return found


def same_weights(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Within what adding the same numbers in another order changes."""
    one, other = learned(one), learned(other)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, **EXACT, err_msg=name)


def alike(one: dict, other: dict) -> None:
    """Same weights and figures."""
    same_weights(one["weights"], other["weights"])
    same_lines(one["history"], other["history"])


def same_lines(one: list[dict], other: list[dict]) -> None:
    """Of a log; what padding there would be is another of another batch."""
    assert len(one) == len(other)
    for line, own in zip(one, other, strict=True):
        assert line.keys() == own.keys()
        for name, value in line.items():
            if isinstance(value, float) and name != "useful":
                assert own[name] == pytest.approx(value, rel=1e-3, abs=1e-5, nan_ok=True), (line, own)
            elif name != "useful":
                assert own[name] == value, (line, own)


def rows_of(*runs: dict) -> dict[str, list]:
    """The rows of each micro-batch, of all processes."""
    return {key: sorted(row for run in runs for row in run["drawn"][key]) for key in runs[0]["drawn"]}


def test_two_processes_are_one(tmp_path: Path) -> None:
    alone = train(0, tmp_path / "one")
    first, second = together(on_ranks(2, train, tmp_path / "two"))
    assert rows_of(first, second) == rows_of(alone)
    assert first["drawn"] != second["drawn"]
    alike(alone, first)
    assert all(np.array_equal(value, second["weights"][name]) for name, value in first["weights"].items())
    assert first["history"] == second["history"]
    assert tiny.lines(tmp_path / "one" / "quarantine.jsonl") == tiny.lines(tmp_path / "two" / "quarantine.jsonl")
    states = [json.loads((tmp_path / n / "checkpoints/step-00000008/state.json").read_text()) for n in ("one", "two")]
    assert states[0]["bad"] == states[1]["bad"] == {"label": [3, 7], "fill": [], "box": [], "pairs": []}


def test_three_processes_of_which_one_has_nothing_to_learn_from(tmp_path: Path) -> None:
    """Four rows a micro-batch over three processes, of which one or two at a time have bad rows alone."""

    def run(rank: int, out: Path) -> dict[str, np.ndarray]:
        task = tiny.label_task(train=tiny.label_rows(12, bad=(0, 1, 2, 5, 6, 9)), bad_limit=9, valid=None)
        model = tiny.model(dropout=0.0)
        Trainer(max_steps=6, lr=2e-3, out=out, live=False).fit(model=model, tasks=task)
        return {k: v.numpy() for k, v in tiny.weights(model).items()}

    alone = run(0, tmp_path / "one")
    for found in together(on_ranks(3, run, tmp_path / "three")):
        same_weights(alone, found)


@pytest.mark.parametrize("name", [*kinds.LINES, "contrast", "reward"])
def test_every_kind_of_target_has_the_gradient_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = kinds.LINES | {
        "contrast": "[TEXT:q|TEXT:a] ->",
        "reward": "[TEXT:q] -> [TEXT:b,criterion=reward,reward=cer]",
    }

    def gradient(rank: int) -> torch.Tensor:
        return kinds.gradient(
            monkeypatch, kinds.task(lines[name], 4, generate={"max_length": 4} if "reward" in name else {})
        ).numpy()

    whole = torch.from_numpy(gradient(0))
    for found in together(on_ranks(2, gradient)):
        assert kinds.alike(whole, torch.from_numpy(found)), float(
            torch.cosine_similarity(whole, torch.from_numpy(found), 0)
        )
