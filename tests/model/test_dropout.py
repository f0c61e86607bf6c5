"""Dropout drops the share it should and keeps the mean."""

import pytest
import torch

from ofasys.model.dropout import dropout


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("shape", [(400, 501), (1,), (3, 0)])
def test_share_and_scale(share: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.ones(shape, requires_grad=True)
    y = dropout(x, share)
    assert y.shape == x.shape
    kept = y.detach()[y != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)), atol=1e-4, rtol=0)
    if x.numel() > 1000:
        assert (y == 0).float().mean().item() == pytest.approx(share, abs=0.005)
        assert y.mean().item() == pytest.approx(1.0, abs=0.01)
        (gradient,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(gradient, y.detach())


def test_same_seed_same_values() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(dropout(torch.ones(50), 0.3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], dropout(torch.ones(50), 0.3))
