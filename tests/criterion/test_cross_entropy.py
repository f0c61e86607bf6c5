"""The fused cross-entropy is the plain one: values, gradients, masks, weights, smoothing."""

import subprocess
import sys

import pytest
import torch
from tensor_shapes import unwatched
from torch import Tensor
from torch.nn import functional as F

from ofasys.criterion import CRITERIA
from ofasys.criterion.cross_entropy import cross_entropy


def plain(
    hidden: Tensor, table: Tensor, labels: Tensor, weights: Tensor | None, allowed: Tensor | None, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    logits = hidden @ table.t()
    if allowed is None:
        allowed = torch.ones_like(logits, dtype=torch.bool)
    logp = logits.masked_fill(~allowed, -torch.inf).log_softmax(1)
    mean = logp.masked_fill(~allowed, 0.0).sum(1) / allowed.sum(1)
    losses = -(1 - smoothing) * logp.gather(1, labels[:, None])[:, 0] - smoothing * mean
    return (losses * (1.0 if weights is None else weights)).sum(), losses, logp.argmax(1) == labels


def case(n: int, size: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(n + size)
    hidden = torch.randn(n, width, dtype=dtype, requires_grad=True)
    table = torch.randn(size, width, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, size, (n,))
    allowed = torch.rand(n, size) < 0.5
    allowed[torch.arange(n), labels] = True
    return hidden, table, labels, torch.rand(n, dtype=dtype), allowed


@pytest.mark.parametrize("n", [0, 1, 7, 32])
@pytest.mark.parametrize("chunk", [None, 1, 5])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_plain(n: int, chunk: int | None, smoothing: float, masked: bool, weighted: bool) -> None:
    hidden, table, labels, w, may = case(n, 23, 6, torch.float64)
    weights, allowed = w if weighted else None, may if masked else None
    got = cross_entropy(hidden, table, labels, weights=weights, allowed=allowed, smoothing=smoothing, chunk=chunk)
    want = plain(hidden, table, labels, weights, allowed, smoothing)
    torch.testing.assert_close(tuple(got), want)
    ours = torch.autograd.grad(3.0 * got.loss, (hidden, table))
    theirs = torch.autograd.grad(3.0 * want[0], (hidden, table))
    torch.testing.assert_close(ours, theirs)


def test_equals_torch_float32() -> None:
    hidden, table, labels, _, _ = case(50, 301, 16, torch.float32)
    got = cross_entropy(hidden, table, labels, smoothing=0.2, chunk=16)
    want = F.cross_entropy(hidden @ table.t(), labels, label_smoothing=0.2, reduction="sum")
    torch.testing.assert_close(got.loss, want)
    torch.testing.assert_close(
        torch.autograd.grad(got.loss, (hidden, table)), torch.autograd.grad(want, (hidden, table))
    )


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_by_differences(masked: bool) -> None:
    """As gradcheck, which needs a second backward of one forward."""
    hidden, table, labels, weights, may = case(5, 9, 4, torch.float64)
    weights.requires_grad_()

    def loss() -> Tensor:
        allowed = may if masked else None
        return cross_entropy(hidden, table, labels, weights=weights, allowed=allowed, smoothing=0.1, chunk=2).loss

    for values, gradient in zip(
        (hidden, table, weights), torch.autograd.grad(loss(), (hidden, table, weights)), strict=True
    ):
        with torch.no_grad():
            flat, want = values.view(-1), torch.empty_like(values).view(-1)
            for i in range(flat.numel()):
                at = flat[i].item()
                ends = []
                for shift in (1e-6, -1e-6):
                    flat[i] = at + shift
                    ends.append(loss().item())
                flat[i] = at
                want[i] = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close(gradient.reshape(-1), want, atol=1e-6, rtol=1e-5)


def test_scores_far_apart() -> None:
    hidden = torch.tensor([[300.0], [-300.0]], requires_grad=True)
    table = torch.tensor([[1.0], [-1.0], [0.0]], requires_grad=True)
    got = cross_entropy(hidden, table, torch.tensor([1, 1]))
    torch.testing.assert_close(got.losses, torch.tensor([600.0, 0.0]))
    assert got.correct.tolist() == [False, True]


def test_slice_of_a_table_is_a_view_and_takes_its_gradient() -> None:
    hidden, table, _, _, _ = case(6, 40, 8, torch.float64)
    labels = torch.randint(0, 10, (6,))
    got = cross_entropy(hidden, table[20:30], labels)
    assert got.loss.grad_fn is not None
    assert got.loss.grad_fn.next_functions[1][0].variable is table  # straight, not by way of a slice
    (ours,) = torch.autograd.grad(got.loss, table)
    (theirs,) = torch.autograd.grad(plain(hidden, table[20:30], labels, None, None, 0.0)[0], table)
    torch.testing.assert_close(ours, theirs)
    assert ours[:20].eq(0).all()
    assert ours[30:].eq(0).all()


def test_a_table_that_is_computed() -> None:
    hidden, table, _, _, _ = case(6, 40, 8, torch.float64)
    labels = torch.randint(0, 5, (6,))
    for rows in (
        (2 * table)[3:8],
        table[3:13:2],
        table[torch.tensor([5, 1, 30, 2, 9])],
        table.view(80, 4).view(40, 8)[:5],
    ):
        (ours,) = torch.autograd.grad(cross_entropy(hidden, rows, labels).loss, table, retain_graph=True)
        (theirs,) = torch.autograd.grad(plain(hidden, rows, labels, None, None, 0.0)[0], table)
        torch.testing.assert_close(ours, theirs)


def test_without_gradient() -> None:
    hidden, table, labels, _, _ = case(6, 40, 8, torch.float32)
    with torch.no_grad():
        got = cross_entropy(hidden, table, labels)
    assert not got.loss.requires_grad
    frozen = cross_entropy(hidden, table.detach(), labels)
    frozen.loss.backward()
    assert hidden.grad is not None
    assert table.grad is None


def test_twice_backward_says_so() -> None:
    hidden, table, labels, _, _ = case(6, 40, 8, torch.float32)
    loss = cross_entropy(hidden, table, labels).loss
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="used already"):
        loss.backward()


def test_autocast_is_close() -> None:
    hidden, table, labels, weights, allowed = case(20, 50, 32, torch.float32)
    want = torch.autograd.grad(
        cross_entropy(hidden, table, labels, weights=weights, allowed=allowed).loss, (hidden, table)
    )
    with torch.autocast("cpu", torch.bfloat16):
        got = cross_entropy(hidden, table, labels, weights=weights, allowed=allowed, chunk=8)
    assert got.losses.dtype == torch.float32
    torch.testing.assert_close(torch.autograd.grad(got.loss, (hidden, table)), want, atol=0.05, rtol=0.05)


def test_half_precision_chunks_and_blocks_are_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several products of the table's gradient, added up in float, with rows to spare at every border."""
    monkeypatch.setattr(sys.modules[cross_entropy.__module__], "BLOCK_BYTES", 3 * 4 * 1300)
    hidden, table, labels, weights, _ = case(20, 1300, 32, torch.float32)
    hidden = (0.2 * hidden).detach().requires_grad_()
    want = plain(hidden, table[5:1298], labels % 1293, weights, None, 0.1)
    gradients = torch.autograd.grad(want[0], (hidden, table))
    for chunk in (None, 8, 20):
        with torch.autocast("cpu", torch.bfloat16):
            got = cross_entropy(hidden, table[5:1298], labels % 1293, weights=weights, smoothing=0.1, chunk=chunk)
        torch.testing.assert_close(got.losses, want[1], atol=0.05, rtol=0.01)
        for ours, theirs in zip(torch.autograd.grad(got.loss, (hidden, table)), gradients, strict=True):
            assert (ours - theirs).norm() < 0.01 * theirs.norm()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, table, labels, weights, allowed = case(20, 23, 6, torch.float64)

    def found() -> tuple[Tensor, ...]:
        got = cross_entropy(hidden, table, labels, weights=weights, allowed=allowed, smoothing=0.1, chunk=7)
        return *got[1:], *torch.autograd.grad(got.loss, (hidden, table))

    whole = found()
    monkeypatch.setattr(sys.modules[cross_entropy.__module__], "BLOCK_BYTES", 2 * 8 * 23)
    torch.testing.assert_close(found(), whole)


def test_shapes_that_do_not_fit_are_named() -> None:
    with unwatched(), pytest.raises(ValueError, match=r"expected \(n, D\), \(U, D\) and \(n,\)"):
        cross_entropy(torch.ones(3, 4), torch.ones(5, 6), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"smoothing is 1\.0"):
        cross_entropy(torch.ones(3, 4), torch.ones(5, 4), torch.zeros(3, dtype=torch.long), smoothing=1.0)


def test_the_face_needs_no_torch() -> None:
    code = "import sys, ofasys.criterion as c; assert 'torch' not in sys.modules; print(sorted(c.CRITERIA))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "cross_entropy" in out
    assert CRITERIA["cross_entropy"].resolve() is cross_entropy
