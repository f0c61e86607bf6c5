"""A whole run on a device that is not the host: nothing of a step meets the other side, waits for it or asks it.

torch's "meta" device stands for the GPU: what is on it has shapes and no numbers, so whatever would bring a number back
is an error, on any machine.
"""

from __future__ import annotations

import contextlib
import importlib
import traceback
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ofasys import Callback, GeneralistModel, Task, Trainer
from ofasys.errors import PluginError
from ofasys.model import attention
from ofasys.train import run as loop
from ofasys.train import setup as room
from ofasys.train.callbacks import EMA
from ofasys.train.groups import groups_of
from ofasys.train.optimizer import optimizer_tensors, restore_optimizer
from ofasys.train.optimizers import ADAMW
from tests.laws.test_accumulate import CONFIG, LINES, ROWS
from tests.laws.test_no_sync import OWN

FAR = torch.device("meta")
FUSED = importlib.import_module("torch.optim.optimizer"), "_get_fused_kernels_supported_devices"
DROPPED = replace(CONFIG, dropout=0.1)
ON_HOST = {"ctc", "both sides"}  # torch has no backward of ctc_loss for this device
ALIKE = {"cross_entropy", "two slots", "huber"}  # others go through the same


class Crossings(TorchDispatchMode):
    """Notes what goes from host to device and waits, and what is computed of tensors of both."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.seen = Counter[str]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name, out = function._schema.name, function(*args, **kwargs)
        self.seen[name] += 1
        if name in ("aten::_to_copy", "aten::copy_"):
            source, goal = (args[0], out) if name == "aten::_to_copy" else (args[1], args[0])
            waits = not (kwargs.get("non_blocking") or (name == "aten::copy_" and args[2:3] == (True,)))
            if waits and source.device != goal.device:
                self.note(f"{name} waits")
            return out
        known = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        if len({one.device for one in known if one.dim()}) > 1:
            self.note(f"{name} of both")
        return out

    def note(self, what: str) -> None:
        ours = [frame for frame in traceback.extract_stack() if "/ofasys/" in frame.filename]
        self.found.append(f"{what}: {ours[-1].line if ours else ''}")


class EnoughError(Exception):
    """Three updates were made."""


class End(Callback):
    def after_step(self, run: Any) -> None:
        if run.step == 3:
            raise EnoughError


@pytest.fixture
def crossings(monkeypatch: pytest.MonkeyPatch) -> Crossings:
    """Runs are on the far device; their updates, and what callbacks do after these, are watched."""
    watched = Crossings()

    def within(method: Any) -> Any:
        def call(*args: Any, **given: Any) -> Any:
            with watched:
                return method(*args, **given)

        return call

    monkeypatch.setattr(loop.Run, "update", within(loop.Run.update))
    monkeypatch.setattr(loop.Run, "close", within(loop.Run.close))
    monkeypatch.setattr(Trainer, "on", lambda self: FAR)
    monkeypatch.setattr(room, "not_finite", lambda *args: None)  # looked at before the first step
    monkeypatch.setattr(torch, "autocast", lambda *args, **given: contextlib.nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *args: False)
    monkeypatch.setattr(*FUSED, lambda: ["cpu", FAR.type])
    return watched


def updates(tasks: list[Task], **settings: Any) -> None:
    """Three of them, which end before anything is reported."""
    callbacks = [EMA(), *settings.pop("callbacks", []), End()]
    trainer = Trainer(**({"max_steps": 5, "log_every": 9, "live": False, "precision": "float32"} | settings))
    trainer.callbacks = callbacks
    with pytest.raises(PluginError, match="callback 'End' raised EnoughError in after_step at step 3"):
        trainer.fit(model=GeneralistModel(config=DROPPED, text_pieces=300), tasks=tasks)


@pytest.mark.parametrize("name", sorted(OWN.keys() - ON_HOST - ALIKE))
def test_a_step_stays_on_its_device(name: str, crossings: Crossings) -> None:
    smoothing = 0.1 if name == "smoothed" else 0.0
    updates([Task("t", OWN[name], train=ROWS, micro_batch_size=2, smoothing=smoothing)], accumulate=2)
    assert not crossings.found


@pytest.mark.parametrize("balance", ["uncertainty", "dwa", "gradnorm", "famo"])
def test_so_does_a_balanced_one(balance: str, crossings: Crossings) -> None:
    tasks = [Task(kind, LINES[kind], train=ROWS, micro_batch_size=2) for kind in ("cross_entropy", "mse")]
    updates(tasks, balance=balance, schedule="accumulate")
    assert not crossings.found


@pytest.mark.parametrize(
    "settings",
    [
        {"recompute": True},
        {"groups": [{"match": "engine.*", "lora": 2, "dora": True}, {"match": "*.bias", "freeze": 1}]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_however_it_is_computed(settings: dict[str, Any], crossings: Crossings) -> None:
    updates([Task("t", OWN["pictures"], train=ROWS, micro_batch_size=2)], **settings)
    assert not crossings.found


@pytest.mark.parametrize("positions", ["rotary", "alibi", "relative"])
def test_wherever_positions_come_from(positions: str, crossings: Crossings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.laws.test_other_device.DROPPED", replace(DROPPED, positions=positions))
    updates([Task("t", OWN["pictures"], train=ROWS, micro_batch_size=2)])
    assert not crossings.found


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_without_rectangles(positions: str, crossings: Crossings, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's own operation, forward and backward, in what it is given and gives."""
    pytest.importorskip("torch.nn.attention.varlen")
    monkeypatch.setattr(attention, "packs", lambda device, width: True)
    monkeypatch.setattr("tests.laws.test_other_device.DROPPED", replace(DROPPED, positions=positions))
    updates([Task("t", "[TEXT:a] -> [TEXT:b]", train=ROWS, micro_batch_size=4)])
    assert not crossings.found
    assert crossings.seen["torch_attn::_varlen_attn"] == 9  # each update: both sides, and across
    assert crossings.seen["torch_attn::_varlen_attn_backward"] == 9


def test_what_crosses_is_noted(crossings: Crossings, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = GeneralistModel.forward

    def crossing(self: GeneralistModel, *args: Any) -> Any:
        torch.ones(3).to(self.device)
        self.table.detach().index_select(0, torch.arange(3))
        return forward(self, *args)

    monkeypatch.setattr(GeneralistModel, "forward", crossing)
    updates([Task("t", LINES["cross_entropy"], train=ROWS, micro_batch_size=4)])
    assert {what.split(":")[2] for what in crossings.found} == {"_to_copy waits", "index_select of both"}


def test_a_number_that_is_asked_for_is_an_error(crossings: Crossings, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = GeneralistModel.forward

    def asking(self: GeneralistModel, *args: Any) -> Any:
        loss = forward(self, *args)
        loss.total.item()
        return loss

    monkeypatch.setattr(GeneralistModel, "forward", asking)
    with pytest.raises(RuntimeError, match="meta"):
        Trainer(max_steps=1, live=False, precision="float32").fit(
            model=GeneralistModel(config=CONFIG, text_pieces=300),
            tasks=Task("t", LINES["cross_entropy"], train=ROWS, micro_batch_size=4),
        )


@pytest.mark.parametrize(("fused", "where"), [(True, "meta"), (False, "cpu")])
def test_an_optimizer_that_goes_on_counts_where_it_would(
    fused: bool, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*FUSED, lambda: ["cpu", FAR.type])
    here = torch.nn.Linear(2, 3)
    made = ADAMW.optimizer(here, groups_of(here, 0.0), 0.1, (0.9, 0.99))
    for parameter in here.parameters():
        parameter.grad = torch.ones_like(parameter)
    made.step()
    there = torch.nn.Linear(2, 3).to(FAR)
    again = torch.optim.AdamW(there.parameters(), fused=fused)
    restore_optimizer(again, there, optimizer_tensors(made, here))
    assert {state["step"].device.type for state in again.state.values()} == {where}
    assert {state["exp_avg"].device.type for state in again.state.values()} == {"meta"}
