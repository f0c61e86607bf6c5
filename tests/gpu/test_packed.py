"""Attention by torch's kernels for samples of varying length, on a GPU: what the rectangle gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ofasys.model import UniversalModel, attention
from ofasys.model.packed import packs
from ofasys.types import Hidden, Layout, Stream
from tests.gpu.conftest import MISSING
from tests.model.test_packed import CONFIG, EVEN, RAGGED, layout

pytestmark = MISSING

GPU = torch.device("cuda")


def there(one: Layout) -> Layout:
    tensors = {name: getattr(one, name).to(GPU) for name in ("padded_index", "positions", "lengths")}
    return replace(one, **tensors)


def made(config, source: Layout, target: Layout, group: int = 1) -> list[torch.Tensor]:
    torch.manual_seed(0)
    model = UniversalModel(config).to(GPU)
    streams = [Stream(torch.randn(len(one.positions), config.width).to(GPU), there(one)) for one in (source, target)]
    with torch.autocast("cuda", torch.bfloat16):
        memory = model.encode(streams[0])
        states = model.decode(streams[1], Hidden(memory.states, memory.layout), group).states
    states.float().square().sum().backward()
    return [states.detach().float(), *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("positions", ["learned", "rotary", "alibi"])
@pytest.mark.parametrize(("target", "group"), [(RAGGED, 1), (EVEN, 1), (layout([3, 7, 1, 5, 2, 2, 2, 2]), 2)])
def test_it_gives_what_the_rectangle_gives(positions, target, group, monkeypatch) -> None:
    config = replace(CONFIG, positions=positions)
    with torch.autocast("cuda", torch.bfloat16):
        if not packs(GPU, config.head):
            pytest.skip(f"{torch.cuda.get_device_name()} has no such kernels in torch {torch.__version__}")
    found = made(config, RAGGED, target, group)
    monkeypatch.setattr(attention, "packs", lambda device, width: False)
    expected = made(config, RAGGED, target, group)
    for one, other in zip(found, expected, strict=True):
        difference = (one - other).norm() / other.norm().clamp(min=1e-6)
        assert float(difference) < 3e-2
