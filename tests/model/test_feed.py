"""The branch that is compiled is the branch of the block."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch

from ofasys.model.block import Block, feed


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_as_a_function_of_tensors_it_is_the_same_to_the_bit(norm, inner, dropout):
    torch.manual_seed(0)
    block = Block(replace(tiny.CONFIG, norm=norm, ffn_norm=inner, dropout=dropout), decoder=False)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    x, found = torch.randn(7, tiny.CONFIG.width), []
    for compiled in (None, feed):
        block.compiled = compiled
        torch.manual_seed(1)
        y = block.feed(x)
        found.append((y.detach(), *torch.autograd.grad(y.sum(), list(block.ffn.parameters()))))
    assert all(map(torch.equal, *found))


def test_outside_training_it_is_not_called():
    block = Block(tiny.CONFIG, decoder=True).eval()
    x = torch.randn(3, tiny.CONFIG.width)
    before = block.feed(x)
    block.compiled = lambda *given: pytest.fail("it is called")
    assert torch.equal(block.feed(x), before)
    with torch.no_grad():
        block.train().feed(x)
