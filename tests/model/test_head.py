"""The head of a vocabulary in C, against torch's in float64 of the same numbers in bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ofasys.criterion import cross_entropy as module
from ofasys.criterion.cross_entropy import CrossEntropy, cross_entropy
from ofasys.model import head
from ofasys.model.head import LEAST, judged, judges

HALF = torch.bfloat16


@pytest.fixture(autouse=True)
def native() -> None:
    if head._library() is None:
        pytest.skip("no compiler, or no products of pairs")


def case(n: int, width: int, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, a table, labels, factors."""
    g = torch.Generator().manual_seed(n + width + size)
    hidden, table = torch.randn(n, width, generator=g), torch.randn(size, width, generator=g) / width**0.5
    labels = torch.randint(0, size, (n,), generator=g)
    labels[0], labels[1] = 0, size - 1
    return hidden.to(HALF).float(), table.to(HALF).float(), labels, torch.rand(n, generator=g)


def wanted(
    hidden: Tensor, table: Tensor, labels: Tensor, factors: Tensor, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, and the gradients of hidden states and of the table, in float64."""
    x, w = (part.double().requires_grad_() for part in (hidden, table))
    losses = F.cross_entropy(x @ w.t(), labels, reduction="none", label_smoothing=smoothing)
    return losses.detach(), *torch.autograd.grad((losses * factors).sum(), (x, w))


def far(mine: Tensor, exact: Tensor) -> float:
    return float((mine.double() - exact).abs().max() / exact.abs().max())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    ("n", "width", "size"), [(16, 16, 1024), (17, 48, 1025), (40, 64, 1055), (33, 80, 1151), (9, 32, 4001)]
)
def test_losses_and_gradients(n: int, width: int, size: int, smoothing: float) -> None:
    hidden, table, labels, factors = case(n, width, size)
    exact = wanted(hidden, table, labels, factors, smoothing)
    dx, dtable = torch.full((n, width), torch.nan), torch.full((size, width), torch.nan)
    losses, _ = judged(hidden.to(HALF), table, labels, factors, smoothing, dx, dtable, False)
    for mine, right, near in zip((losses, dx, dtable), exact, (2e-3, 6e-3, 6e-3), strict=True):
        assert far(mine, right) < near
    once = dtable.clone()
    judged(hidden.to(HALF), table, labels, factors, smoothing, None, dtable, True)
    torch.testing.assert_close(dtable, 2 * once)
    alone = judged(hidden.to(HALF), table, labels, factors, smoothing, None, None, False)[0]
    assert torch.equal(alone, losses)


def both(chunk: int, smoothing: float, monkeypatch: pytest.MonkeyPatch) -> list[tuple[CrossEntropy, list[Tensor]]]:
    """The criterion in C and by torch, each with its gradients; the table is a part of a larger one."""
    hidden, whole, labels, weights = case(70, 64, LEAST + 100)
    found = []
    for native in (True, False):
        monkeypatch.setattr(module, "judges", judges if native else lambda *given: False)
        x, table = hidden.clone().requires_grad_(), whole.clone().requires_grad_()
        with torch.autocast("cpu", HALF):
            made = cross_entropy(
                x, table[40:-20], labels % (LEAST + 40), weights=weights, smoothing=smoothing, chunk=chunk
            )
        made.loss.backward()
        assert x.grad is not None
        assert table.grad is not None
        found.append((made, [x.grad, table.grad]))
    return found


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("chunk", [70, 33, 1])
def test_the_criterion_is_as_by_torch(chunk: int, smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    (mine, own), (theirs, torchs) = both(chunk, smoothing, monkeypatch)
    torch.testing.assert_close(mine.loss, theirs.loss, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(mine.losses, theirs.losses, atol=2e-2, rtol=1e-3)
    assert float((mine.correct == theirs.correct).float().mean()) > 0.97  # a score may be rounded to that of another
    for a, b in zip(own, torchs, strict=True):
        assert a.dtype is b.dtype
        assert far(a, b.double()) < 1e-2
    assert not own[1][:40].any()
    assert not own[1][-20:].any()


def test_up_to_eight_threads_give_the_same_bits() -> None:
    hidden, table, labels, factors = case(37, 48, 3001)
    before, results = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3, 8):
            torch.set_num_threads(number)
            dx, dtable = torch.empty_like(hidden), torch.empty_like(table)
            results.append((*judged(hidden.to(HALF), table, labels, factors, 0.1, dx, dtable, False), dx, dtable))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("far_off", [100.0, 1e4, 1e30])
def test_scores_that_are_far_apart(far_off: float) -> None:
    hidden, table, labels, _ = case(16, 16, 1030)
    hidden[:], table[:] = 0.0, 0.0
    hidden[:, 0], table[1029, 0], labels[:] = 1.0, far_off, 1029
    labels[3] = 7
    dx, dtable = torch.empty_like(hidden), torch.empty_like(table)
    losses, correct = judged(hidden.to(HALF), table, labels, None, 0.0, dx, dtable, False)
    assert losses[3] == pytest.approx(far_off, rel=4e-3)
    assert float(losses[:3].max()) == 0.0
    assert correct.tolist() == [number != 3 for number in range(16)]
    assert dtable[7, 0] == -1.0
    assert dtable[1029, 0] == 1.0


def test_what_is_no_number_is_not_lost() -> None:
    hidden, table, labels, _ = case(16, 16, 1030)
    hidden[2, 3] = torch.nan
    dx, dtable = torch.empty_like(hidden), torch.empty_like(table)
    losses, _ = judged(hidden.to(HALF), table, labels, None, 0.0, dx, dtable, False)
    assert losses.isnan().tolist() == [number == 2 for number in range(16)]
    assert dx[2].isnan().all()
    assert dx[:2].isfinite().all()
    assert dtable.isnan().any()


@pytest.mark.parametrize("label", [-1, 1030])
def test_a_label_that_is_no_token_is_refused(label: int) -> None:
    hidden, table, labels, _ = case(16, 16, 1030)
    labels[4] = label
    with pytest.raises(IndexError, match="a label is the place of its token"):
        judged(hidden.to(HALF), table, labels, None, 0.0, None, None, False)


def test_what_it_is_for() -> None:
    hidden, table, _, _ = case(16, 16, 1030)
    assert not judges(hidden, table)
    with torch.autocast("cpu", HALF):
        assert judges(hidden, table)
        assert judges(hidden.to(HALF), table)
        assert not judges(hidden, table.to(HALF))
        assert not judges(hidden, table[: LEAST - 1])
        assert not judges(hidden, table[:, :15])
        assert not judges(hidden[:5], table)
        assert not judges(hidden.double(), table)
