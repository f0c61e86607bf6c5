"""Two processes that share a batch learn what one learns from it: `DistributedDataParallel` wraps the model's
forward.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch._dynamo  # which DistributedDataParallel imports: once here, and not in each process
from torch.nn.parallel import DistributedDataParallel

from ofasys import GeneralistModel
from ofasys.flow import collate, preprocess
from ofasys.parallel.join import joined
from ofasys.program.program import Program
from tests.laws.test_accumulate import CONFIG, LINES, ROWS, task
from tests.parallel.processes import on_ranks

NAMES = ("two slots", "repetition", "both sides", "gaussian")


def grown(name: str) -> tuple[GeneralistModel, Program]:
    model, made = GeneralistModel(config=CONFIG, text_pieces=300), task(LINES[name], 4)
    model.grow([(p, made.labels) for p in made.plans], made.texts, made.examples)
    return model, model.bind(made.plan, made.labels)


def gradients(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}


def share(rank: int, name: str) -> dict[str, np.ndarray]:
    torch.set_num_threads(1)
    model, program = grown(name)
    samples = [preprocess(program, row) for row in ROWS]
    whole = collate(program, samples)
    scale = whole.weights / whole.units.clamp(min=1)
    mine = samples[:1] if rank == 0 else samples[1:]
    with joined():
        shared = DistributedDataParallel(model, find_unused_parameters=True)
        (shared(program, collate(program, mine), 2 * scale).total).backward()  # it takes the mean of both
        del shared  # before its group is: torch 2.13 may wait for ever in taking it away afterwards
    return gradients(model)


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_are_one(name: str) -> None:
    model, program = grown(name)
    model(program, collate(program, [preprocess(program, row) for row in ROWS])).total.backward()
    expected = gradients(model)
    for ended in on_ranks(2, share, name):
        assert ended.error == ""
        assert set(expected) <= set(ended.value)
        for key, value in expected.items():
            np.testing.assert_allclose(ended.value[key], value, rtol=1e-3, atol=1e-5 * np.abs(value).max() + 1e-8)
