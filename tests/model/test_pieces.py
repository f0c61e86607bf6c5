"""The block that is compiled, in pieces, is the block."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch

from ofasys.model import UniversalModel
from ofasys.model.block import Pieces, feed, mix, project
from ofasys.types import Layout, Stream

PIECES = Pieces(project, mix, feed)


def stream(lengths: list[int]) -> Stream:
    longest = max(lengths)
    order = torch.cat([torch.arange(n) for n in lengths])
    place = torch.cat([torch.arange(n) + longest * row for row, n in enumerate(lengths)])
    positions = torch.stack([order, *[torch.full_like(order, -1)] * 2], 1)
    layout = Layout(len(lengths), longest, place, positions, torch.tensor(lengths), len(set(lengths)) == 1)
    return Stream(torch.randn(len(order), tiny.CONFIG.width), layout)


def blocks(model: UniversalModel):
    return [block for side in (model.encoder, model.decoder) for block in side.blocks]


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("extras", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_in_pieces_it_is_the_same_to_the_bit(norm, extras, dropout):
    torch.manual_seed(0)
    norms = dict.fromkeys(("ffn_norm", "attention_norm", "head_scale"), extras)
    model, found = UniversalModel(replace(tiny.CONFIG, norm=norm, dropout=dropout, **norms)), []
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    source, target = stream([4, 7, 1]), stream([2, 1, 5])
    for pieces in (None, PIECES):
        for block in blocks(model):
            block.compiled = pieces
        torch.manual_seed(1)
        states = model(source, target).target.states
        learned = list(model.parameters())
        found.append((states.detach(), *torch.autograd.grad(states.square().sum(), learned, materialize_grads=True)))
    assert all(map(torch.equal, *found))


def test_outside_training_it_is_not_called():
    model, source = UniversalModel(tiny.CONFIG).eval(), stream([3, 2])
    before = model.encode(source).states
    for block in blocks(model):
        block.compiled = Pieces(*[lambda *given: pytest.fail("it is called")] * 3)
    assert torch.equal(model.encode(source).states, before)
    with torch.no_grad():
        model.train().encode(source)
