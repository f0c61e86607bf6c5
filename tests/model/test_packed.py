"""Attention without a rectangle is attention with one; by torch's kernels on a GPU (tests/gpu), by a loop here."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from ofasys.model import ModelConfig, UniversalModel, attention, grouped
from ofasys.model.packed import Runs, packs
from ofasys.types import Hidden, Layout, Stream

CONFIG = ModelConfig(width=32, heads=4, ffn=64, encoder_layers=2, decoder_layers=2, max_positions=64, dropout=0.0)


def layout(lengths: list[int], blocks: bool = False) -> Layout:
    longest, sizes = max(lengths), torch.tensor(lengths)
    order = torch.cat([torch.arange(n) for n in lengths])
    place = torch.cat([torch.arange(n) + longest * row for row, n in enumerate(lengths)])
    positions = torch.stack([order, order // 3 - 1, order % 3 - 1], 1)
    full = all(n == longest for n in lengths)
    return Layout(
        len(lengths),
        longest,
        place,
        positions,
        sizes,
        full,
        torch.zeros(len(order), dtype=torch.int64) if blocks else None,
    )


def looped(q, k, v, starts_q, starts_k, longest_q, longest_k, *, window_size):
    """What `torch.nn.attention.varlen.varlen_attn` is documented to give, sample by sample."""
    ends = [starts.tolist() for starts in (starts_q, starts_k)]
    assert starts_q.dtype == starts_k.dtype == torch.int32
    assert [max(b - a for a, b in pairwise(e)) for e in ends] == [longest_q, longest_k]
    found = []
    for row in range(len(ends[0]) - 1):
        own = (slice(*ends[0][row : row + 2]), slice(*ends[1][row : row + 2]))
        one, keys, values = q[own[0]], k[own[1]], v[own[1]]
        y = F.scaled_dot_product_attention(
            *(part.transpose(0, 1)[None] for part in (one, keys, values)), is_causal=window_size == (-1, 0)
        )
        found.append(y[0].transpose(0, 1))
    return torch.cat(found)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The loop in place of the kernel, wherever the kernel would be taken; how many samples each product had."""
    calls: list[int] = []

    def counted(*args, **given):
        calls.append(len(args[3]) - 1)
        return looped(*args, **given)

    varlen = pytest.importorskip("torch.nn.attention.varlen")
    monkeypatch.setattr(varlen, "varlen_attn", counted)
    monkeypatch.setattr(attention, "packs", lambda device, width: True)
    return calls


def made(config: ModelConfig, source: Layout | None, target: Layout, train: bool = True) -> list[torch.Tensor]:
    """States and gradients of one batch."""
    torch.manual_seed(0)
    model = UniversalModel(config).train(train)
    streams = [
        None if one is None else Stream(torch.randn(len(one.positions), 32, requires_grad=True), one)
        for one in (source, target)
    ]
    states = model(*streams).target.states
    (states * torch.randn_like(states)).sum().backward()
    learned = [p.grad for p in model.parameters() if p.grad is not None]
    return [states.detach(), *learned, *(stream.embedding.grad for stream in streams if stream is not None)]


RAGGED, EVEN = layout([3, 7, 1, 5]), layout([4, 4, 4, 4])


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("sides", [(RAGGED, RAGGED), (RAGGED, EVEN), (EVEN, layout([2, 6, 6, 1])), (None, RAGGED)])
def test_states_and_gradients_are_the_same(positions, sides, monkeypatch, request) -> None:
    config = replace(CONFIG, positions=positions)
    expected = made(config, *sides)
    kernel = request.getfixturevalue("kernel")
    found = made(config, *sides)
    source, target = sides
    products = [source is not None and not source.full, not target.full]
    across = source is not None and not (source.full and target.full)
    assert kernel == [4] * 2 * (sum(products) + across)  # two layers a side
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("sides", [(RAGGED, RAGGED), (RAGGED, EVEN), (EVEN, layout([2, 6, 6, 1])), (None, RAGGED)])
def test_in_groups_too(positions, sides, monkeypatch) -> None:
    config, calls, product = replace(CONFIG, positions=positions), [], grouped.attend
    expected = made(config, *sides)
    monkeypatch.setattr(grouped, "OVERHEAD", 0)
    monkeypatch.setattr(grouped, "attend", lambda *args, **given: calls.append(1) or product(*args, **given))
    found = made(config, *sides)
    assert len(calls) > 3 * 2
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("positions", ["relative", "alibi"])
def test_what_the_kernel_cannot_do_has_its_rectangle(positions, kernel) -> None:
    made(replace(CONFIG, positions=positions), None, RAGGED)
    assert not kernel
    made(CONFIG, None, layout([3, 7, 1, 5], blocks=True))
    assert not kernel
    made(CONFIG, EVEN, EVEN)
    assert not kernel


def test_rows_that_share_a_source_do_not_repeat_it(kernel) -> None:
    model = UniversalModel(CONFIG).eval()
    memory = model.encode(Stream(torch.randn(16, 32), EVEN))
    model.decode(Stream(torch.randn(19, 32), layout([3, 7, 1, 5, 1, 1, 1, 0])), memory, group=2)
    assert kernel == [8] * 2  # its own side alone


def test_a_neighbour_is_not_seen(kernel) -> None:
    torch.manual_seed(1)
    model, x = UniversalModel(CONFIG).eval(), torch.randn(16, 32)
    together = model.encode(Stream(x, RAGGED)).states
    alone = model.encode(Stream(x[3:10], layout([7]))).states
    torch.testing.assert_close(together[3:10], alone, rtol=1e-4, atol=1e-5)
    memory = Hidden(together, RAGGED)
    target = model.decode(Stream(x[:6], layout([1, 2, 1, 2])), memory).states
    own = model.decode(Stream(x[1:3], layout([2])), Hidden(together[3:10], layout([7]))).states
    torch.testing.assert_close(target[1:3], own, rtol=1e-4, atol=1e-5)


def test_where_samples_begin() -> None:
    runs = Runs.of(RAGGED)
    assert (runs.starts.tolist(), runs.starts.dtype, runs.longest) == ([0, 3, 10, 11, 16], torch.int32, 7)


def test_a_cpu_has_its_rectangle() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert not packs(torch.device("cpu"), 64)


@pytest.mark.parametrize(
    ("half", "width", "capable", "taken"),
    [
        (torch.bfloat16, 64, (9, 0), True),
        (torch.float16, 256, (8, 0), True),
        (None, 64, (9, 0), False),
        (torch.bfloat16, 20, (9, 0), False),
        (torch.bfloat16, 264, (9, 0), False),
        (torch.bfloat16, 64, (7, 5), False),
    ],
)
def test_the_kernel_is_for_half_precision_on_gpus_that_have_it(half, width, capable, taken, monkeypatch) -> None:
    monkeypatch.setattr("ofasys.model.packed._kernels", lambda: True)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: half is not None)
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: half)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capable)
    assert packs(torch.device("cuda"), width) is taken
