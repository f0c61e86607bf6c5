"""What stands before a value, of different length in each row: step by step and many at once as in one pass."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ofasys.engine.ofa.config import Kind, OFAConfig
from ofasys.engine.ofa.model import OFAModel
from ofasys.model import UniversalModel
from ofasys.program.batch import layout
from ofasys.program.steps import Opening, StepDecoder, ValueContinuation
from ofasys.types import Layout, Stream
from tests.engine.causal import CausalConfig, CausalEngine

SOURCES = (3, 5, 2)
LENGTHS = (4, 1, 6)
MORE = 5
D = 32
TABLE = torch.randn(40, D, generator=torch.Generator().manual_seed(9))


SPEC = importlib.util.spec_from_file_location("recurrent", Path(__file__).parents[2] / "docs/examples/recurrent.py")
recurrent = importlib.util.module_from_spec(SPEC)
sys.modules["recurrent"] = recurrent  # a dataclass looks there for its module
SPEC.loader.exec_module(recurrent)


def ofa(tiny):
    """Of OFA's architecture, each of whose biases matters."""
    shape = {"width": D, "heads": 4, "ffn": 48, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0}
    kinds = {"line": Kind(rows=66, near=8, far=32)}
    made = OFAModel(OFAConfig(**shape, residual_scale=True, max_positions=64, source=kinds, target=kinds))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return made


MADE = {
    "ofa": ofa,
    "transformer": lambda tiny: UniversalModel(tiny.CONFIG),
    "causal": lambda tiny: CausalEngine(CausalConfig()),
    "recurrent": lambda tiny: recurrent.Recurrent(recurrent.RecurrentConfig(width=D)),
}


@pytest.fixture(scope="module", params=MADE)
def model(tiny, request):
    torch.manual_seed(3)
    made = MADE[request.param](tiny)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "weight" in name and weight.dim() > 1 and request.param == "transformer":
                weight.mul_(3)
    return made.eval()


def stream(lengths, seed, blocks=None):
    positions = np.full((sum(lengths), 3), -1)
    positions[:, 0] = np.concatenate([np.arange(n) for n in lengths])
    made = layout(np.array(lengths), positions)
    embedding = torch.randn(sum(lengths), D, generator=torch.Generator().manual_seed(seed))
    return Stream(embedding, Layout(**{**vars(made), "blocks": blocks}))


@torch.no_grad()
def states(model, target, source=None):
    """The states of a target (N, D), in one pass."""
    return model(source, target).target.states


def opening(model, source, prefix=None):
    """A session's beginning, as the engine asks for it."""
    with torch.no_grad():
        known = model(source, None).source if model.reads_states else None
    return Opening(model, None if model.reads_states else source, known, 3, prefix)


def alone(source, row):
    """One sample of a stream."""
    lengths = source.layout.lengths.tolist()
    return Stream(source.embedding.split(lengths)[row], stream((lengths[row],), 0).layout)


def one_pass(model, source, row, prefix, tokens):
    """The state after what stands before in a row, and these tokens."""
    before = [] if prefix is None else [prefix.embedding.split(LENGTHS)[row]]
    joined = torch.cat([*before, TABLE[torch.as_tensor(tokens)]])
    return states(model, Stream(joined, stream((len(joined),), 0).layout), alone(source, row))[-1]


@pytest.fixture(scope="module")
def whole():
    """(source, the pasts, what comes after them (3, MORE, D), the stream of both, rows of what comes after)."""
    source = stream(SOURCES, 1)
    past, after = stream(LENGTHS, 2), torch.randn(3, MORE, D, generator=torch.Generator().manual_seed(4))
    parts = past.embedding.split(LENGTHS)
    both = stream([n + MORE for n in LENGTHS], 0)
    embedding = torch.cat([torch.cat([p, a]) for p, a in zip(parts, after, strict=True)])
    rows = torch.cat([torch.arange(MORE) + sum(LENGTHS[:i]) + i * MORE + n for i, n in enumerate(LENGTHS)])
    return source, past, after, Stream(embedding, both.layout), rows


def test_steps_after_pasts_of_different_length(model, whole):
    source, past, after, both, rows = whole
    want = states(model, both, source)[rows].view(3, MORE, D)
    first = states(model, past, source)[torch.tensor(LENGTHS).cumsum(0) - 1]
    onward = ValueContinuation(opening(model, source, past))
    torch.testing.assert_close(onward.hidden, first, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(onward.step(after[:, :1]), want[:, 0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(onward.step(after[:, 1:4]), want[:, 3], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(onward.step(after[:, 4:]), want[:, 4], atol=1e-5, rtol=1e-4)


def test_a_look_sees_both_ways_and_keeps_nothing(model, whole):
    if isinstance(model, recurrent.Recurrent):
        pytest.skip("a GRU sees what came before alone")
    source, past, after, both, rows = whole
    blocks = torch.zeros(len(both.embedding), dtype=torch.int64)
    blocks[rows] = torch.arange(1, 4).repeat_interleave(MORE)
    marked = Stream(both.embedding, Layout(**{**vars(both.layout), "blocks": blocks}))
    want, causal = states(model, marked, source), states(model, both, source)
    onward = ValueContinuation(opening(model, source, past))
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
    source, past, _, _, _ = whole
    decoder = StepDecoder(opening(model, source, past), TABLE)
    decoder.start(2, 8)
    tokens = torch.arange(12).view(6, 2)
    got = decoder.step(tokens, None)
    for row in range(6):
        want = one_pass(model, source, row // 2, past, tokens[row])
        torch.testing.assert_close(got[row], want, atol=1e-5, rtol=1e-4)
    after = decoder.step(torch.full((6, 1), 30), torch.tensor([1, 1, 3, 2, 4, 4]))
    for row, parent in enumerate((1, 1, 3, 2, 4, 4)):
        want = one_pass(model, source, row // 2, past, [*tokens[parent].tolist(), 30])
        torch.testing.assert_close(after[row], want, atol=1e-5, rtol=1e-4)


def test_what_saw_both_ways_in_training_does_so_before_tokens(model, whole):
    if isinstance(model, recurrent.Recurrent):
        pytest.skip("a GRU sees what came before alone")
    source, past, _, _, _ = whole
    blocks = torch.zeros(len(past.embedding), dtype=torch.int64)
    blocks[1:4], blocks[6:9] = 1, 2  # of the first row, and of the last
    marked = Stream(past.embedding, Layout(**{**vars(past.layout), "blocks": blocks}))
    last = torch.tensor(LENGTHS).cumsum(0) - 1
    want, causal = (states(model, stream, source)[last] for stream in (marked, past))
    torch.testing.assert_close(ValueContinuation(opening(model, source, marked)).hidden, want, atol=4e-6, rtol=0)
    assert (want - causal).abs().max() > 5e-5


@pytest.mark.parametrize("lengths", [(2, 2, 2), (1, 3, 2)])
@pytest.mark.parametrize("behind", [False, True])
def test_a_tree_says_what_one_pass_says(model, whole, lengths, behind):
    """Prefixes of one length or of several, after nothing or after a past, and nodes in any order of rows."""
    source, past = whole[0], whole[1] if behind else None
    random = np.random.default_rng(3)
    prefixes = [random.integers(0, 40, n) for n in lengths]
    decoder = StepDecoder(opening(model, source, past), TABLE)
    branches, first = decoder.plant(prefixes)
    branches.chunk = 3

    with torch.no_grad():
        for row, prefix in enumerate(prefixes):
            torch.testing.assert_close(first[row], one_pass(model, source, row, past, prefix), atol=1e-5, rtol=1e-4)
        texts = [list(prefix) for prefix in prefixes]
        rows, parents = np.array([0, 0, 1, 2, 2, 2, 2]), np.full(7, -1)
        lines = [texts[row] for row in rows]
        for _ in range(3):
            count, tokens = branches.count, random.integers(0, 40, len(rows))
            made = branches.grow(rows, parents, tokens)
            lines = [[*line, token] for line, token in zip(lines, tokens, strict=True)]
            for row, line, state in zip(rows, lines, made, strict=True):
                torch.testing.assert_close(state, one_pass(model, source, row, past, line), atol=1e-5, rtol=1e-4)
            keep = np.sort(random.integers(0, len(rows), len(rows)))
            rows, parents, lines = rows[keep], count + keep, [lines[i] for i in keep]


def test_a_tree_beside_rows_that_go_on(model, whole):
    """Two rows a source, in the midst of their way: the tree sees what each has, and the rows go on as if without
    it.
    """
    source = whole[0]
    tokens = torch.arange(18).view(6, 3)
    rows = np.array([0, 1, 1, 5])
    decoder = StepDecoder(opening(model, source), TABLE)
    decoder.start(2, 8)
    decoder.step(tokens, None)
    branches = decoder.branch()
    made = branches.grow(rows, np.full(4, -1), np.array([20, 21, 22, 23]))
    after = decoder.step(torch.full((6, 1), 30), None)
    for node, (row, token) in enumerate(zip(rows, (20, 21, 22, 23), strict=True)):
        other = StepDecoder(opening(model, source), TABLE)
        other.start(2, 8)
        want = other.step(torch.cat([tokens, torch.full((6, 1), token)], 1), None)[row]
        torch.testing.assert_close(made[node], want, atol=1e-5, rtol=1e-4)
    alone = StepDecoder(opening(model, source), TABLE)
    alone.start(2, 8)
    torch.testing.assert_close(
        after, alone.step(torch.cat([tokens, torch.full((6, 1), 30)], 1), None), atol=1e-5, rtol=1e-4
    )
