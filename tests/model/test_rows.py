"""One gradient of what is looked up in a table and of what else reads it."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import Tensor

from ofasys import flow
from ofasys.criterion.cross_entropy import cross_entropy
from ofasys.generalist import GeneralistModel
from ofasys.model.rows import looked_up, looked_up_beside

IDS = torch.tensor([3, 0, 7, 3, 3, 19])


def table() -> Tensor:
    return torch.randn(20, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()


def losses(rows: Tensor, output: Tensor, which: str) -> Tensor:
    total = rows.new_zeros(())
    if "rows" in which:
        total = total + (rows.tanh() * torch.arange(48.0).view(6, 8)).sum()
    if "head" in which:
        total = total + cross_entropy(rows, output[2:17], IDS % 15).loss
    if "two heads" in which:
        total = total + cross_entropy(rows.detach() + 1, output[1:9], IDS % 8).loss * 3
    if "plain" in which:
        total = total + (output * output).sum() + (output + table().detach()).sin().sum()
    if "view" in which:
        total = total + output.sum()
    return total


@pytest.mark.parametrize(
    "which", ["rows", "rows head", "rows two heads", "two heads", "head plain", "plain", "view rows"]
)
def test_gradients_are_those_of_two_readings(which: str) -> None:
    mine, theirs = table(), table()
    losses(*looked_up_beside(mine, IDS), which).backward()
    losses(looked_up(theirs, IDS), theirs, which).backward()
    assert mine.grad is not None
    torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-5)


def test_a_gradient_that_others_hold_is_left_alone() -> None:
    own = table()
    rows, output = looked_up_beside(own, IDS)
    other = torch.zeros(20, 8, requires_grad=True)
    added = output + other  # both have the same tensor as their gradient
    (added * 2 + rows.sum()).sum().backward()
    assert other.grad is not None
    assert torch.equal(other.grad, torch.full((20, 8), 2.0))


def test_no_table_is_made_for_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    own = table()
    rows, output = looked_up_beside(own, IDS)
    loss = losses(rows, output, "rows head")
    monkeypatch.setattr(torch, "zeros", None)
    monkeypatch.setattr(Tensor, "clone", None)
    loss.backward()
    assert own.grad is not None


def test_a_second_backward_adds_up() -> None:
    own = table()
    for _ in range(2):
        losses(*looked_up_beside(own, IDS), "rows head").backward()
    twice = own.grad
    assert twice is not None
    own.grad = None
    losses(*looked_up_beside(own, IDS), "rows head").backward()
    assert own.grad is not None
    torch.testing.assert_close(twice, 2 * own.grad)


@pytest.mark.parametrize("name", ["caption", "two", "detect", "head"])
def test_a_pass_of_a_model_has_the_gradients_of_its_stages(name: str) -> None:
    model: GeneralistModel = tiny.grown((name,))
    program = flow.bind(model, tiny.plans((name,))[name], tiny.LABELS)
    batch = flow.collate(program, [flow.preprocess(program, row) for row in tiny.ROWS[name]])
    found = []
    for whole in (True, False):
        model.zero_grad(set_to_none=True)
        if whole:
            total = model(program, batch).total
        else:
            states = flow.compute(model, flow.adapt(model, batch))
            total = flow.criterion(model, program, flow.emit(model, program, states, batch), batch).total
        total.backward()
        found.append({key: one.grad for key, one in model.named_parameters() if one.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert model.head is model.table is model.tokens.weight
    for key, mine in found[0].items():
        torch.testing.assert_close(mine, found[1][key], atol=1e-5, rtol=1e-5, msg=key)
