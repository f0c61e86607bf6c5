"""Changes of low rank compute, learn and merge as those of peft."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ofasys.model.low_rank import Rank, add_change, merge

peft = pytest.importorskip("peft", reason="peft is the implementation to compare with: pip install ofasys[dev]")


def pair(dora):
    """(a model with changes of ours, the same with peft's), the same numbers in both."""
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 7))
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules=["0", "2"], use_dora=dora, lora_dropout=0.0)
    theirs = peft.get_peft_model(copy.deepcopy(ours), config)
    for place in (0, 2):
        add_change(ours, f"{place}.weight", Rank(3, 6.0, dora))
        mine, layer = ours[place].parametrizations.weight, theirs.base_model.model[place]
        mine.original.requires_grad_(False)
        ours[place].bias.requires_grad_(False)
        with torch.no_grad():
            layer.lora_A["default"].weight.copy_(mine[0].a)
            layer.lora_B["default"].weight.normal_()
            mine[0].b.copy_(layer.lora_B["default"].weight)
            if dora:
                layer.lora_magnitude_vector["default"].weight.mul_(1 + torch.rand(mine[0].length.shape))
                mine[0].length.copy_(layer.lora_magnitude_vector["default"].weight)
    return ours, theirs


@pytest.mark.parametrize("dora", [False, True])
def test_a_change_learns_as_that_of_peft(dora):
    ours, theirs = pair(dora)
    made = [p for p in ours.parameters() if p.requires_grad]
    steps = [torch.optim.SGD(m, lr=0.05) for m in (made, [p for p in theirs.parameters() if p.requires_grad])]
    x, y = torch.randn(11, 6), torch.randn(11, 7)
    for _ in range(4):
        losses = []
        for model, step in zip((ours, theirs), steps, strict=True):
            step.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            step.step()
            losses.append(loss.detach())
        torch.testing.assert_close(*losses)
    assert len(made) == (6 if dora else 4)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dora", [False, True])
def test_what_is_merged_is_what_peft_merges_and_computes_what_it_did(dora):
    ours, theirs = pair(dora)
    x = torch.randn(9, 6)
    before = ours(x)
    merge(ours)
    assert torch.equal(ours(x), before)
    assert sorted(ours.state_dict()) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    merged = theirs.merge_and_unload()
    for name, weight in merged.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], weight, rtol=1e-5, atol=1e-6)
