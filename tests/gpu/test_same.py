"""What a device computes is what the host computes, for every kind of target: losses, gradients, greedy answers.

The host takes rows one by one, the device all of them at once, so that the comparison says something of a CPU too.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from ofasys import OFASys, Task, Trainer
from ofasys.flow import collate, preprocess
from ofasys.generalist import GeneralistModel
from ofasys.modality.audio import adaptor as audio_adaptor
from ofasys.model.low_rank import Rank, add_change
from ofasys.model.quantized import quantize
from ofasys.program.batch import to_device
from ofasys.testing.questions import questions
from ofasys.train import run as loop
from ofasys.train import steps as room
from ofasys.train.callbacks import EMA
from tests.hub import kinds
from tests.laws.test_accumulate import CONFIG, LINES, ROWS, task
from tests.laws.test_no_sync import OWN
from tests.train import tiny

HOST = torch.device("cpu")


def learned(model: GeneralistModel, program: Any, parts: list, scale: torch.Tensor, device: torch.device) -> list:
    """Losses by slot, and the gradient of each weight, summed over parts."""
    model.to(device).zero_grad()
    found = []
    for part in parts:
        batch, own = to_device((collate(program, part), scale), device)
        found.append(model(program, batch, own))
        found[-1].total.backward()
    sums = sum(loss.sums.cpu() for loss in found)
    gradients = {name: p.grad.cpu().clone() for name, p in model.named_parameters() if p.grad is not None}
    return [float(sum(loss.total.detach().cpu() for loss in found)), sums, gradients]


@pytest.mark.parametrize("name", sorted(OWN.keys() - {"smoothed", "two slots"}))
def test_losses_and_gradients(name: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_adaptor, "DROPOUT", 0.0)
    made = task(OWN[name], 4)
    model = GeneralistModel(config=CONFIG, text_pieces=300)
    model.grow([(p, made.labels) for p in made.plans], made.texts, made.examples)
    program = model.bind(made.plan, made.labels)
    model.eval()  # a ResNet has its running means
    samples = [preprocess(program, row, random=np.random.default_rng(i)) for i, row in enumerate(ROWS)]
    whole = collate(program, samples)
    scale = whole.weights / whole.units.clamp(min=1)
    one_by_one = [samples] if name == "contrast" else [[sample] for sample in samples]
    expected = learned(model, program, one_by_one, scale, HOST)
    found = learned(model, program, [samples], scale, device)
    assert found[0] == pytest.approx(expected[0], rel=1e-4)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5)
    assert found[2].keys() == expected[2].keys()
    largest = max(float(value.abs().max()) for value in expected[2].values())
    assert largest > 0
    for parameter, value in expected[2].items():
        torch.testing.assert_close(found[2][parameter], value, rtol=2e-3, atol=1e-5 * largest, msg=parameter)


def answers(model: OFASys, name: str, rows: list) -> list:
    found = model.inference(kinds.LINES[name], data=rows)
    return [dict(one) for one in found]


@pytest.mark.parametrize("name", kinds.LINES)
def test_greedy_answers(name: str, device: torch.device) -> None:
    ours = kinds.model()
    there = OFASys(copy.deepcopy(ours.model).to(device), ours.cards)
    rows = [{"t": text, "u": text} for text in ("one", "two", "three")]
    # alone, or after the rows before it: what an answer draws is a function of its place
    expected = [answers(ours, name, rows[: i + 1])[i] for i in range(len(rows))]
    for found, one in zip(answers(there, name, rows), expected, strict=True):
        assert found.keys() == one.keys()
        for column, value in one.items():
            alike(found[column], value)


def alike(found: Any, expected: Any) -> None:
    """Numbers within rounding, all else the same."""
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert found.shape == expected.shape
        close = np.isclose(found.astype(float), expected.astype(float), rtol=1e-3, atol=1e-3 * _size(expected))
        assert close.mean() > 0.999 or found.dtype == np.uint8  # of bytes one may be rounded the other way
        assert np.abs(found.astype(float) - expected.astype(float)).max(initial=0) <= 1e-2 * _size(expected) + 1
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            alike(found[name], value)
    elif isinstance(expected, list | tuple):
        for one, other in zip(found, expected, strict=True):
            alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-3)
    elif hasattr(expected, "tobitmap"):  # a picture
        alike(np.asarray(found), np.asarray(expected))
    elif hasattr(expected, "__dict__"):  # sounds, motions
        alike(vars(found), vars(expected))
    else:
        assert found == expected


def _size(value: np.ndarray) -> float:
    return float(np.abs(value.astype(float)).max(initial=1e-9))


@contextmanager
def asking_nothing(device: torch.device) -> Iterator[None]:
    """Errors within it where a GPU is asked for something; on a CPU that is counted."""
    if device.type == "cpu":
        with questions() as found:
            yield
        assert found == Counter()
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", sorted(OWN.keys() - {"smoothed", "two slots"}))
def test_a_step_waits_for_nothing(name: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second step on: in the first, memory and libraries are made ready."""
    if device.type == "cuda" and "criterion=ctc" in OWN[name]:
        pytest.skip("torch's ctc_loss hands its lengths to a GPU one by one, and waits")
    steps = {"cpu": (room.Steps, ("backward", "descend")), "cuda": (loop.Run, ("update",))}
    where, methods = steps[device.type]
    done: Counter[str] = Counter()
    for method in methods:
        step = getattr(where, method)

        def watched(*args: Any, _step: Any = step, _name: str = method) -> Any:
            done[_name] += 1
            if done[_name] == 1:
                return _step(*args)
            with asking_nothing(device):
                return _step(*args)

        monkeypatch.setattr(where, method, watched)
    settings = {"max_steps": 3, "accumulate": 2, "log_every": 100, "live": False, "precision": "float32"}
    trainer = Trainer(**settings, device=device.type, callbacks=[EMA()])
    model = GeneralistModel(config=CONFIG, text_pieces=300)
    trainer.fit(model=model, tasks=Task("t", OWN[name], train=ROWS, micro_batch_size=2))
    assert set(done) == set(methods)
    assert np.isfinite(trainer.history[0]["loss"])


def test_a_run_that_is_gone_on_with_ends_as_one_that_was_not_stopped(device: torch.device, tmp_path) -> None:
    """The optimizer's moments and steps are where its weights are."""

    def fit(out, max_steps: int) -> GeneralistModel:
        settings = {"warmup": 0, "decay": "constant", "live": False, "precision": "float32", "save_every": 2}
        trainer = Trainer(max_steps=max_steps, out=out, device=device.type, **settings)
        return trainer.fit(model=tiny.model(dropout=0.1), tasks=[tiny.label_task(valid=None), tiny.fill_task()])

    fit(tmp_path / "twice", 2)
    twice, once = fit(tmp_path / "twice", 4), fit(tmp_path / "once", 4)
    for name, value in tiny.weights(once).items():
        torch.testing.assert_close(tiny.weights(twice)[name].cpu(), value.cpu(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["cross_entropy", "repetition", "frames"])
def test_in_half_precision(name: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses within what three digits give, of any attention that is taken for it."""
    monkeypatch.setattr(audio_adaptor, "DROPOUT", 0.0)
    made = task(LINES[name], 4)
    model = GeneralistModel(config=CONFIG, text_pieces=300)
    model.grow([(p, made.labels) for p in made.plans], made.texts, made.examples)
    program = model.bind(made.plan, made.labels)
    samples = [preprocess(program, row, random=np.random.default_rng(i)) for i, row in enumerate(ROWS)]
    scale = torch.ones(len(program.plan.slots))
    expected = learned(model, program, [samples], scale, HOST)
    model.precision = "bfloat16"
    found = learned(model, program, [samples], scale, device)
    assert found[0] == pytest.approx(expected[0], rel=2e-2)
    for parameter, value in expected[2].items():
        if float(value.norm()) > 1e-2 * max(float(one.norm()) for one in expected[2].values()):
            assert float(torch.cosine_similarity(found[2][parameter].flatten(), value.flatten(), 0)) > 0.98, parameter


@pytest.mark.parametrize("kind", ["int8", pytest.param("int4", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
def test_weights_in_few_bits(kind: str, dora: bool, device: torch.device) -> None:
    """Held on the host and moved, a layer computes and learns what it does there."""
    if kind == "int4":
        pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.Linear(128, 96))
    quantize(layers, kind)
    add_change(layers, "0.weight", Rank(4, 8.0, dora))
    torch.nn.init.normal_(layers[0].change.b)
    found = []
    for place, rows in ((HOST, 1), (device, 12)):
        own, given = copy.deepcopy(layers).to(place), torch.linspace(-1, 1, 12 * 128).reshape(12, 128)
        made = [own(part.to(place)) for part in given.split(rows)]
        torch.cat(made).square().sum().backward()
        found.append([torch.cat(made).detach().cpu(), *(p.grad.cpu() for p in own.parameters() if p.grad is not None)])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-3)
