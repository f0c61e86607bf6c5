"""What rows of a cache go on from."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ofasys.model import ModelConfig, UniversalModel

MODEL = UniversalModel(
    ModelConfig(width=16, heads=2, ffn=16, encoder_layers=0, decoder_layers=1, dropout=0.0, max_positions=64)
).eval()


@given(st.data(), st.integers(1, 3), st.integers(1, 4))
@torch.no_grad()
def test_rows_go_on_from_their_parents_however_often_they_change(data, sources, group):
    rows = sources * group
    cache = MODEL.start(None, rows, 3, group)
    said = [[] for _ in range(rows)]
    for step in range(data.draw(st.integers(1, 7))):
        positions = torch.tensor([[step, -1, -1]])
        state = MODEL.step(torch.full((rows, 1, 16), 0.1) * torch.arange(rows)[:, None, None], positions, cache)
        assert state.shape == (rows, 16)
        for row in range(rows):
            said[row].append(cache.self_kv[:, :, row, step].clone())
        parents = [data.draw(st.integers(0, group - 1)) + row // group * group for row in range(rows)]
        cache.reorder(torch.tensor(parents))
        said = [list(said[parent]) for parent in parents]
    for row in range(rows):
        assert torch.equal(cache.self_kv[:, :, row, : cache.filled], torch.stack(said[row], 2))


@torch.no_grad()
@pytest.mark.parametrize("parents", [[0, 0, 3, 3], [1, 0, 2, 2]])
def test_sources_that_stay_go_on_as_they_were(parents):
    cache = MODEL.start(None, 4, 8, 2)
    for step in range(4):
        x = torch.randn(4, 1, 16, generator=torch.Generator().manual_seed(step))
        MODEL.step(x, torch.tensor([[step, -1, -1]]), cache)
        cache.reorder(torch.tensor(parents))
    cache.keep(torch.tensor([1]))
    before = cache.self_kv[:, :, :, :4].clone()
    cache.reorder(torch.tensor([1, 1]))
    assert torch.equal(cache.self_kv[:, :, 0, :4], before[:, :, 1])
    assert torch.equal(cache.self_kv[:, :, 1, :4], before[:, :, 1])
