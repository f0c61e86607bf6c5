"""Vocabulary head and cross-entropy in one, without a float table of all positions x vocabulary.

Rows are taken a chunk at a time: logits, softmax, loss, and at once the gradients of hidden states and of the table, so
that a chunk's logits are made once and forgotten. Backward only scales what forward found. `n` positions with a loss,
`U` tokens that may come, `D` width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ofasys.model.head import judged, judges
from ofasys.model.rows import filled
from ofasys.model.scores import turned, turns_scores

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int

CHUNK_BYTES = 48 * 2**20  # of one chunk's scores: below it products grow thin, above it memory grows for little
BLOCK_BYTES = 8 * 2**20  # of the float scores a CPU goes over at once: they stay in cache from one pass to the next


class CrossEntropy(NamedTuple):
    """What there is to say of n positions."""

    loss: Float[Tensor, ""]
    """With its gradient: the weighted sum."""
    losses: Float[Tensor, "n"]
    """Of each position, unweighted, detached."""
    correct: Bool[Tensor, "n"]
    """No token that may come has a higher score than the label."""


def cross_entropy(
    hidden: Float[Tensor, "n D"],
    table: Float[Tensor, "U D"],
    labels: Int[Tensor, "n"],
    *,
    weights: Float[Tensor, "n"] | None = None,
    allowed: Bool[Tensor, "n U"] | None = None,
    smoothing: float = 0.0,
    chunk: int | None = None,
) -> CrossEntropy:
    """Cross-entropy of hidden states against `table`, the embeddings of the U tokens that may come.

    labels index into those U. weights: factor of each position in the sum, 1 if None; give them divided by
    what the sum is to be divided by, and backward has nothing left to scale. allowed: False where a token
    cannot come at that place; probabilities and smoothing spread over the others alone. `table` may be a view of a
    larger table: it is not copied. chunk: rows at a time.
    """
    if hidden.shape[0] != labels.shape[0] or hidden.shape[1] != table.shape[1]:
        raise ValueError(
            f"hidden {tuple(hidden.shape)}, table {tuple(table.shape)} and labels {tuple(labels.shape)} do not fit; "
            "expected (n, D), (U, D) and (n,)"
        )
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"smoothing is {smoothing}; expected 0 or more and less than 1")
    if chunk is None:
        half = torch.is_autocast_enabled(hidden.device.type)
        chunk = _rows(hidden.shape[0], table.shape[0], 2 if half else table.dtype.itemsize)
    wanted = torch.is_grad_enabled()
    whole, first = _whole(table)
    rows = (first, first + table.shape[0])
    loss, losses, correct = _CrossEntropy.apply(hidden, whole, rows, labels, weights, allowed, smoothing, chunk, wanted)
    return CrossEntropy(loss, losses, correct)


def _whole(table: Tensor) -> tuple[Tensor, int]:
    """The table of which `table` is some consecutive rows, and the first of them; `table` itself when it is of none.

    Autograd would give such a slice's gradient by filling a second whole table and copying; here it is filled in place.
    """
    base = table._base
    if base is None or not base.requires_grad or not table.requires_grad or base.dim() != 2 or table.dim() != 2:
        return table, 0
    if base.shape[1] != table.shape[1] or not base.is_contiguous() or not table.is_contiguous():
        return table, 0
    first, rest = divmod(int(table.storage_offset()) - int(base.storage_offset()), max(1, base.shape[1]))
    return (base, first) if rest == 0 else (table, 0)


def _rows(n: int, size: int, itemsize: int) -> int:
    """Rows a chunk: within the budget, and chunks of equal size."""
    most = max(16, CHUNK_BYTES // (itemsize * max(1, size)))
    chunks = max(1, -(-n // most))
    return max(1, -(-n // chunks))


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        whole: Tensor,
        rows: tuple[int, int],
        labels: Tensor,
        weights: Tensor | None,
        allowed: Tensor | None,
        smoothing: float,
        chunk: int,
        wanted: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        table = whole[rows[0] : rows[1]]
        n, device = hidden.shape[0], hidden.device.type
        half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        native = allowed is None and judges(hidden, table)
        with torch.autocast(device, enabled=False):
            x, w = (hidden, table) if half is None else (hidden.to(half), table if native else table.to(half))
            if x.dtype != w.dtype and not native:
                x = x.to(w.dtype)
            exact = torch.promote_types(x.dtype, torch.float32)
            losses = torch.empty(n, dtype=exact, device=x.device)
            correct = torch.empty(n, dtype=torch.bool, device=x.device)
            need_x, need_w = wanted and ctx.needs_input_grad[0], wanted and ctx.needs_input_grad[1]
            dx = torch.empty(x.shape, dtype=exact if native else hidden.dtype, device=x.device) if need_x else None
            dwhole = dw = None
            if need_w:
                dwhole = torch.empty(whole.shape, dtype=whole.dtype, device=x.device)
                dw = dwhole[rows[0] : rows[1]]
                dwhole[: rows[0]].zero_()
                dwhole[rows[1] :].zero_()
                if n == 0:  # else the first product fills it
                    dw.zero_()
            if native:
                for start in range(0, n, chunk):
                    part = slice(start, start + chunk)
                    f = None if weights is None else weights[part]
                    into = None if dx is None else dx[part], dw, start > 0
                    losses[part], correct[part] = judged(x[part], table, labels[part], f, smoothing, *into)
            else:
                _chunks(x, w, labels, weights, allowed, smoothing, chunk, losses, correct, dx, dw)
            total = losses.sum() if weights is None else (losses * weights).sum()
        ctx.grads = (dx, dwhole)
        ctx.mark_non_differentiable(losses, correct)
        ctx.save_for_backward(losses if weights is not None and ctx.needs_input_grad[4] else None)
        return total, losses, correct

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.grads is None:
            raise RuntimeError("the gradients of this cross-entropy were used already; run forward again")
        scale, (dx, dw) = grads[0], ctx.grads
        ctx.grads = None  # scaled in place and handed over: a second table of their size would be the largest of all
        if scale.device.type != "cpu" or float(scale.numpy()) != 1.0:  # a device would have to finish to be asked
            dx = None if dx is None else dx.mul_(scale)
            dw = None if dw is None else dw.mul_(scale)
        dw = None if dw is None else filled(dw)
        (losses,) = ctx.saved_tensors
        return dx, dw, None, None, None if losses is None else losses * scale, None, None, None, None


def _chunks(
    x: Tensor,
    w: Tensor,
    labels: Tensor,
    weights: Tensor | None,
    allowed: Tensor | None,
    smoothing: float,
    chunk: int,
    losses: Tensor,
    correct: Tensor,
    dx: Tensor | None,
    dw: Tensor | None,
) -> None:
    """Losses and correct, each (n,), and the gradients dx (n, D) and dw (U, D) of x and w, where they are wanted."""
    n, U = x.shape[0], w.shape[0]
    factors = None if weights is None else weights.to(losses.dtype)[:, None]
    buffer = torch.empty(min(chunk, n), U, dtype=x.dtype, device=x.device)
    for start in range(0, n, chunk):
        xs = x[start : start + chunk]
        part = slice(start, start + xs.shape[0])
        g = torch.mm(xs, w.t(), out=buffer[: xs.shape[0]])  # the scores, and then their gradient
        may = None if allowed is None else allowed[part]
        losses[part], correct[part] = _turned(g, labels[part], may, smoothing, dx is not None or dw is not None)
        # a weight scales a row of the small factor of each product, never the (chunk, U) table
        f = None if factors is None else factors[part]
        if dx is not None:
            d = torch.mm(g, w)
            dx[part] = d if f is None else d * f
        if dw is not None:
            _add_product(dw, g, xs if f is None else (xs * f).to(xs.dtype), first=start == 0)


def _turned(scores: Tensor, labels: Tensor, may: Tensor | None, smoothing: float, write: bool) -> tuple[Tensor, Tensor]:
    """Losses and correct, each (n,), of scores (n, U), which become, if wanted, the gradients of unweighted losses."""
    if may is None and turns_scores(scores):
        return turned(scores, labels, smoothing, write)
    exact = torch.promote_types(scores.dtype, torch.float32)
    n, U = scores.shape
    size = max(1, BLOCK_BYTES // (exact.itemsize * max(1, U))) if scores.device.type == "cpu" else max(1, n)
    losses = torch.empty(n, dtype=exact, device=scores.device)
    correct = torch.empty(n, dtype=torch.bool, device=scores.device)
    for start in range(0, n, size):
        part = slice(start, start + size)
        block = scores[part]
        logits = block if block.dtype == exact else block.to(exact)
        losses[part], correct[part] = _turn(logits, labels[part, None], None if may is None else may[part], smoothing)
        if write and logits is not block:
            block.copy_(logits)
    return losses, correct


def _turn(logits: Tensor, labels: Tensor, may: Tensor | None, smoothing: float) -> tuple[Tensor, Tensor]:
    """Scores (n, U) become, in place, the gradient of their unweighted losses. Returns losses and correct, each
    (n,).
    """
    if may is not None:
        logits.masked_fill_(~may, -torch.inf)
    top = logits.amax(1, keepdim=True)
    score = logits.gather(1, labels)
    spread, mean = _spread(logits, may, smoothing)
    p = torch.softmax(logits, 1, out=logits)
    loss = _log_sum_exp(p, top, score, labels) - (1.0 - smoothing) * score
    if spread is not None:
        p.sub_(spread)
    p.scatter_add_(1, labels, torch.full_like(score, smoothing - 1.0))
    return (loss if mean is None else loss - smoothing * mean)[:, 0], (score >= top)[:, 0]


def _add_product(total: Tensor, g: Tensor, x: Tensor, first: bool) -> None:
    """total (U, D) += g (n, U)' x (n, D), or = for the first, which finds nothing in it.

    On a CPU torch adds half numbers to floats slowly, so they are turned into floats a few rows, a cache's worth, at a
    time.
    """
    if total.dtype == x.dtype:
        if first:
            torch.mm(g.t(), x, out=total)
        else:
            total.addmm_(g.t(), x)
        return
    product = torch.mm(g.t(), x)
    if first:
        total.copy_(product)
    elif total.device.type != "cpu":
        total.add_(product)
    else:
        for rows, more in zip(total.split(1024), product.split(1024), strict=True):
            rows.add_(more.to(rows.dtype))


def _log_sum_exp(p: Tensor, top: Tensor, score: Tensor, labels: Tensor) -> Tensor:
    """(n, 1), out of probabilities p (n, U) and scores already at hand: a pass of its own costs as much as a product.

    The label's probability gives it, unless that is too small to tell; then the largest, never below 1/U, does.
    """
    own = p.gather(1, labels)
    if p.device.type == "cpu" and bool((own > 1e-30).all().numpy()):
        return score - own.log()
    return top - p.amax(1, keepdim=True).log()


def _spread(logits: Tensor, may: Tensor | None, smoothing: float) -> tuple[Tensor | float | None, Tensor | None]:
    """What smoothing gives each token, and the mean score (n, 1) of the tokens it is spread over."""
    if smoothing == 0.0:
        return None, None
    if may is None:
        return smoothing / logits.shape[1], logits.mean(1, keepdim=True)
    count = may.sum(1, keepdim=True)
    mean = logits.masked_fill(~may, 0.0).sum(1, keepdim=True) / count
    return may * (smoothing / count), mean
