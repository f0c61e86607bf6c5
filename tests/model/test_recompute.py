"""Blocks that are computed again for their gradients give the same ones, and keep less."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch.autograd.graph import saved_tensors_hooks

from ofasys import flow


def gradients(recompute, name, precision="float32", layers=2):
    """(gradients by name, bytes kept for them) of a training pass with dropout."""
    made = tiny.of(
        config=tiny.ModelConfig(
            **(tiny.CONFIG.to_dict() | {"dropout": 0.2, "encoder_layers": layers, "decoder_layers": layers})
        )
    )
    model = made.grown((name,))
    program = flow.bind(model, made.plans((name,))[name], made.LABELS)
    batch = flow.collate(program, [flow.preprocess(program, row) for row in made.ROWS[name]])
    model.precision, model.engine.recompute = precision, recompute
    model.train()
    kept: dict[int, int] = {}

    def seen(tensor):
        kept[tensor.data_ptr()] = max(kept.get(tensor.data_ptr(), 0), tensor.numel() * tensor.element_size())
        return tensor

    torch.manual_seed(5)
    with saved_tensors_hooks(seen, lambda tensor: tensor):
        loss = model(program, batch).total
    loss.backward()
    found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    weights = {p.data_ptr() for p in model.parameters()}
    return loss.detach(), found, sum(size for at, size in kept.items() if at not in weights)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["caption", "language", "detect"])
def test_the_gradients_are_the_same_to_the_bit(name, precision):
    plain, again = gradients(False, name, precision), gradients(True, name, precision)
    assert torch.equal(plain[0], again[0])
    assert plain[1].keys() == again[1].keys()
    assert all(torch.equal(plain[1][name], again[1][name]) for name in plain[1])


def test_less_is_kept_for_them():
    """What six more layers keep is what they read alone: less than a fifth."""
    kept = {(again, layers): gradients(again, "caption", layers=layers)[2] for again in (0, 1) for layers in (2, 8)}
    assert 5 * (kept[1, 8] - kept[1, 2]) < kept[0, 8] - kept[0, 2]


def test_answers_are_made_as_ever():
    made = tiny.of(config=tiny.CONFIG)
    model = made.grown(("language",))
    program = flow.bind(model, made.plans(("language",))["language"], made.LABELS)
    batch = flow.collate(program, [flow.preprocess(program, row) for row in made.ROWS["language"]])
    model.engine.recompute = True
    with torch.no_grad():
        evaluated = model(program, batch).total
        model.engine.recompute = False
        assert torch.equal(evaluated, model(program, batch).total)
