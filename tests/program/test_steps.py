"""What stands before a value, of different length in each row: step by step and in inputs as in one pass."""

import numpy as np
import pytest
import torch

from ofasys.model import UniversalModel
from ofasys.program.batch import layout
from ofasys.program.steps import Past, StepDecoder, ValueContinuation
from ofasys.types import Hidden, Layout, Stream

LENGTHS = (4, 1, 6)
MORE = 5
D = 32


@pytest.fixture(scope="module")
def model(tiny):
    torch.manual_seed(3)
    made = UniversalModel(tiny.CONFIG).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "weight" in name and weight.dim() > 1:
                weight.mul_(3)
    return made


def stream(lengths, seed, blocks=None):
    positions = np.full((sum(lengths), 3), -1)
    positions[:, 0] = np.concatenate([np.arange(n) for n in lengths])
    made = layout(np.array(lengths), positions)
    embedding = torch.randn(sum(lengths), D, generator=torch.Generator().manual_seed(seed))
    return Stream(embedding, Layout(**{**vars(made), "blocks": blocks}))


@pytest.fixture(scope="module")
def whole(model):
    """(memory, the pasts, what comes after them (3, MORE, D), the stream of both, rows of what comes after)."""
    with torch.no_grad():
        memory: Hidden = model.encode(stream((3, 5, 2), 1))
        past, after = stream(LENGTHS, 2), torch.randn(3, MORE, D, generator=torch.Generator().manual_seed(4))
    parts = past.embedding.split(LENGTHS)
    both = stream([n + MORE for n in LENGTHS], 0)
    embedding = torch.cat([torch.cat([p, a]) for p, a in zip(parts, after, strict=True)])
    rows = torch.cat([torch.arange(MORE) + sum(LENGTHS[:i]) + i * MORE + n for i, n in enumerate(LENGTHS)])
    return memory, past, after, Stream(embedding, both.layout), rows


def test_steps_after_pasts_of_different_length(model, whole):
    memory, past, after, both, rows = whole
    with torch.no_grad():
        want = model.decode(both, memory).states[rows].view(3, MORE, D)
        first = model.decode(past, memory).states[torch.tensor(LENGTHS).cumsum(0) - 1]
    onward = ValueContinuation(model, memory, Past.of(past))
    torch.testing.assert_close(onward.hidden, first, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(onward.step(after[:, :1]), want[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(onward.step(after[:, 1:4]), want[:, 3], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(onward.step(after[:, 4:]), want[:, 4], atol=1e-5, rtol=1e-4)


def test_a_look_sees_both_ways_and_keeps_nothing(model, whole):
    memory, past, after, both, rows = whole
    blocks = torch.zeros(len(both.embedding), dtype=torch.int64)
    blocks[rows] = torch.arange(1, 4).repeat_interleave(MORE)
    with torch.no_grad():
        marked = Stream(both.embedding, Layout(**{**vars(both.layout), "blocks": blocks}))
        want = model.decode(marked, memory).states
        causal = model.decode(both, memory).states
    onward = ValueContinuation(model, memory, Past.of(past))
    for _ in range(2):
        torch.testing.assert_close(onward.peek(after), want[rows].view(3, MORE, D), atol=1e-5, rtol=1e-4)
    last = rows.view(3, MORE)[:, -1]
    assert (
        want[rows.view(3, MORE)[:, 0]] - causal[rows.view(3, MORE)[:, 0]]
    ).abs().max() > 0.1  # the first sees the last
    torch.testing.assert_close(
        want[last - MORE], causal[last - MORE], atol=1e-5, rtol=1e-4
    )  # what came before does not


def test_tokens_after_pasts_of_different_length(model, whole):
    memory, past, _, _, _ = whole
    table = torch.randn(40, D, generator=torch.Generator().manual_seed(9))
    decoder = StepDecoder(model, table, memory, 3, past=Past.of(past))
    decoder.start(2, 8)
    tokens = torch.arange(12).view(6, 2)
    got = decoder.step(tokens, None)
    parts = past.embedding.split(LENGTHS)
    for row in range(6):
        source = row // 2
        alone = stream((LENGTHS[source] + 2,), 0)
        with torch.no_grad():
            lone = model.encode(stream((3, 5, 2), 1))
            own = [slice(0, 3), slice(3, 8), slice(8, 10)][source]
            size = own.stop - own.start
            lone = Hidden(lone.states[own], stream((size,), 0).layout)
            embedding = torch.cat([parts[source], table[tokens[row]]])
            want = model.decode(Stream(embedding, alone.layout), lone).states[-1]
        torch.testing.assert_close(got[row], want, atol=1e-5, rtol=1e-4)


def test_what_saw_both_ways_in_training_does_so_before_tokens(model, whole):
    memory, past, _, _, _ = whole
    blocks = torch.zeros(len(past.embedding), dtype=torch.int64)
    blocks[1:4], blocks[6:9] = 1, 2  # of the first row, and of the last
    marked = Stream(past.embedding, Layout(**{**vars(past.layout), "blocks": blocks}))
    last = torch.tensor(LENGTHS).cumsum(0) - 1
    with torch.no_grad():
        want, causal = (model.decode(stream, memory).states[last] for stream in (marked, past))
    torch.testing.assert_close(ValueContinuation(model, memory, Past.of(marked)).hidden, want, atol=4e-6, rtol=0)
    assert (want - causal).abs().max() > 5e-5


@pytest.mark.parametrize("lengths", [(2, 2, 2), (1, 3, 2)])
@pytest.mark.parametrize("behind", [False, True])
def test_a_tree_says_what_one_pass_says(model, whole, lengths, behind):
    """Prefixes of one length or of several, after nothing or after a past, and nodes in any order of rows."""
    memory, past = whole[0], whole[1] if behind else None
    table = torch.randn(40, D, generator=torch.Generator().manual_seed(9))
    random = np.random.default_rng(3)
    prefixes = [random.integers(0, 40, n) for n in lengths]
    decoder = StepDecoder(model, table, memory, 3, past=None if past is None else Past.of(past))
    branches, first = decoder.plant(prefixes)
    branches.chunk = 3

    def one_pass(row, tokens):
        before = [] if past is None else [past.embedding.split(LENGTHS)[row]]
        joined = torch.cat([*before, table[torch.from_numpy(np.array(tokens))]])
        at = stream((len(joined),), 0)
        start = int(memory.layout.lengths[:row].sum())
        own = memory.states[start : start + int(memory.layout.lengths[row])]
        alone = Hidden(own, stream((len(own),), 0).layout)
        return model.decode(Stream(joined, at.layout), alone).states[-1]

    with torch.no_grad():
        for row, prefix in enumerate(prefixes):
            torch.testing.assert_close(first[row], one_pass(row, prefix), atol=1e-5, rtol=1e-4)
        texts = [list(prefix) for prefix in prefixes]
        rows, parents = np.array([0, 0, 1, 2, 2, 2, 2]), np.full(7, -1)
        lines = [texts[row] for row in rows]
        for _ in range(3):
            count, tokens = branches.count, random.integers(0, 40, len(rows))
            made = branches.grow(rows, parents, tokens)
            lines = [[*line, token] for line, token in zip(lines, tokens, strict=True)]
            for row, line, state in zip(rows, lines, made, strict=True):
                torch.testing.assert_close(state, one_pass(row, line), atol=1e-5, rtol=1e-4)
            keep = np.sort(random.integers(0, len(rows), len(rows)))
            rows, parents, lines = rows[keep], count + keep, [lines[i] for i in keep]


def test_a_tree_beside_rows_that_go_on(model, whole):
    """Two rows a source, in the midst of their way: the tree sees what each has, and the rows go on as if without it."""
    memory = whole[0]
    table = torch.randn(40, D, generator=torch.Generator().manual_seed(9))
    tokens = torch.arange(18).view(6, 3)
    rows = np.array([0, 1, 1, 5])
    decoder = StepDecoder(model, table, memory, 3)
    decoder.start(2, 8)
    decoder.step(tokens, None)
    branches = decoder.branch()
    made = branches.grow(rows, np.full(4, -1), np.array([20, 21, 22, 23]))
    after = decoder.step(torch.full((6, 1), 30), None)
    for node, (row, token) in enumerate(zip(rows, (20, 21, 22, 23), strict=True)):
        other = StepDecoder(model, table, memory, 3)
        other.start(2, 8)
        want = other.step(torch.cat([tokens, torch.full((6, 1), token)], 1), None)[row]
        torch.testing.assert_close(made[node], want, atol=1e-5, rtol=1e-4)
    alone = StepDecoder(model, table, memory, 3)
    alone.start(2, 8)
    torch.testing.assert_close(
        after, alone.step(torch.cat([tokens, torch.full((6, 1), 30)], 1), None), atol=1e-5, rtol=1e-4
    )
