"""What all else relies on of an engine: no sample sees another, no position what follows it, and sessions say what one
pass says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ofasys.engine import EngineSpec, Session
from ofasys.engine.check import check_engine as check_module
from ofasys.engine.check import check_session, check_shape, check_states, check_tree
from ofasys.errors import ConfigError, OfasysError
from ofasys.program.batch import layout
from ofasys.testing.draws import seed
from ofasys.testing.promise import LEFT_OUT, Report, kept
from ofasys.types import Hidden, Stream

if TYPE_CHECKING:
    from typing import Annotated as Float

SOURCES = (3, 5, 2)  # positions of each sample's source
BEFORE = (4, 1, 6)  # of what stands in its target
AFTER = 5  # of what comes after that
CLOSE = 1e-4  # of the largest number: float32 sums in another order


def check_engine(spec: EngineSpec, *, config: Any = None) -> Report:
    """Check everything an engine promises, with weights as they begin, on three samples of a few positions.

    config: of a small one; its configuration class without arguments if None.

    Errors: AssertionError for the first promise that is not kept, in a sentence that names the engine and the check.
    ConfigError for what is no spec, and under `python -O`, which takes assertions out.
    """
    if not isinstance(spec, EngineSpec):
        raise ConfigError(f"{spec!r:.60} is no EngineSpec; give the spec of an engine")
    case = _Case(spec, config)
    return kept(f"engine {spec.name}", _checks(case))


def _checks(case: _Case) -> Iterator[tuple[str, Callable[[], str]]]:
    """The checks in order: what is cheap and tells most comes first."""
    yield "spec", lambda: _check_spec(case)
    yield "engine", case.make
    yield "forward", lambda: _check_forward(case)
    yield "gradient", lambda: _check_gradient(case)
    yield "alone", lambda: _check_alone(case)
    yield "order", lambda: _check_order(case)
    yield "source", lambda: _check_source(case)
    yield "session", lambda: _check_session(case)
    yield "reorder", lambda: _check_reorder(case)
    yield "peek", lambda: _check_peek(case)
    yield "tree", lambda: _check_tree(case)
    yield "made again", lambda: _check_made_again(case)


class _Case:
    """An engine under check, and streams for it. Arguments as of `check_engine`."""

    engine: Any

    def __init__(self, spec: EngineSpec, config: Any) -> None:
        self.spec, self.config = spec, config

    def make(self) -> str:
        """The engine, in evaluation mode, with the streams of three samples."""
        seed(3)
        made = self.spec.resolve()(self.config)
        check_module(self.spec.name, made)
        self.engine = made.eval()
        self.source, self.before = self.stream(SOURCES, 1), self.stream(BEFORE, 2)
        self.after = torch.randn(3, AFTER, made.width, generator=torch.Generator().manual_seed(4))
        parts = self.before.embedding.split(BEFORE)
        joined = torch.cat([torch.cat(pair) for pair in zip(parts, self.after, strict=True)])
        self.whole = replace(self.stream([n + AFTER for n in BEFORE], 0), embedding=joined)
        sees = "opens on states" if made.reads_states else "opens on streams"
        count = sum(weight.numel() for weight in made.parameters())
        return f"{count:,} parameters, width {made.width}, at most {made.max_positions:,} positions; {sees}"

    def stream(self, lengths: Sequence[int], number: int) -> Stream:
        """A flat stream of samples of these lengths, drawn by a number."""
        positions = np.full((sum(lengths), 3), -1, dtype=np.int64)
        positions[:, 0] = np.concatenate([np.arange(n) for n in lengths])
        drawn = torch.randn(sum(lengths), self.engine.width, generator=torch.Generator().manual_seed(number))
        return Stream(drawn, layout(np.array(lengths, dtype=np.int64), positions))

    @torch.no_grad()
    def states(self, target: Stream, source: Stream | None) -> Float[Tensor, "N D"]:
        """Those of a target, in one pass."""
        found = check_states(self.engine, source, target, self.engine(source, target))
        assert found.target is not None
        return found.target.states

    @torch.no_grad()
    def open(self, source: Stream, prefix: Stream | None, group: int = 1) -> Session:
        """A session as generators open it."""
        states: Hidden | None = self.engine(source, None).source if self.engine.reads_states else None
        count, given = source.layout.batch, None if self.engine.reads_states else source
        made = self.engine.open(given, states, count, group, prefix, AFTER)
        return check_session(self.engine, made, count * group, prefix is not None)

    def positions(self, first: int, count: int, group: int = 1) -> Tensor:
        """(3 * group, count, 3) of what comes after what stands there, from the first-th."""
        found = torch.full((3, count, 3), -1, dtype=torch.int64)
        found[..., 0] = torch.tensor(BEFORE)[:, None] + torch.arange(first, first + count)
        return found.repeat_interleave(group, 0)

    def rows(self) -> Tensor:
        """(3, AFTER) where in `whole` lies what comes after what stands there."""
        first = np.cumsum([0, *(n + AFTER for n in BEFORE)])[:3] + np.array(BEFORE)
        return torch.from_numpy(first[:, None] + np.arange(AFTER))

    def line(self, row: int, after: Float[Tensor, "n D"]) -> Float[Tensor, "D"]:
        """The state after all that stands in a sample's target and this, in one pass of that sample alone."""
        joined = torch.cat([self.before.embedding.split(BEFORE)[row], after])
        target = replace(self.stream([len(joined)], 0), embedding=joined)
        return self.states(target, self.sample(self.source, SOURCES, row))[-1]

    def sample(self, stream: Stream, lengths: Sequence[int], row: int) -> Stream:
        """One sample of a stream."""
        return replace(self.stream([lengths[row]], 0), embedding=stream.embedding.split(list(lengths))[row])


def _check_spec(case: _Case) -> str:
    """It can be imported; its configuration comes back from what JSON holds of it."""
    spec = case.spec
    spec.resolve()
    kind = spec.config_class()
    if case.config is None:
        try:
            case.config = kind()
        except TypeError as error:
            raise AssertionError(f"{kind.__name__}() cannot be made ({error}); give config=") from None
    back = spec.read(spec.written(case.config))
    assert back == case.config, f"of {case.config} comes back {back} when it is written and read"
    return f"{spec.load}, configured by {kind.__name__}"


def _check_forward(case: _Case) -> str:
    """States of both sides, of each alone, finite; without a source where it says so."""
    engine = case.engine
    both = check_states(engine, case.source, case.whole, engine(case.source, case.whole))
    alone = check_states(engine, case.source, None, engine(case.source, None))
    assert both.source is not None
    assert both.target is not None
    assert alone.source is not None
    for side in (both.source, both.target, alone.source):
        assert bool(torch.isfinite(side.states).all()), "a state is NaN or infinite"
    _close(alone.source.states, both.source.states, "states of a source without and with a target")
    if engine.empty_source:
        assert bool(torch.isfinite(case.states(case.whole, None)).all()), "without a source a state is NaN or infinite"
    return "both sides" + (", and a target alone" if engine.empty_source else "; no target without a source")


def _check_gradient(case: _Case) -> str:
    """A loss of all states reaches what it was given, and its weights; all of it finite."""
    engine: nn.Module = case.engine
    given = [case.source.embedding.clone().requires_grad_(), case.whole.embedding.clone().requires_grad_()]
    source, target = replace(case.source, embedding=given[0]), replace(case.whole, embedding=given[1])
    found = engine(source, target)
    weights = torch.randn(case.engine.width, generator=torch.Generator().manual_seed(5))
    (found.source.states @ weights).sum().add((found.target.states @ weights).sum()).backward()
    for side, leaf in zip(("source", "target"), given, strict=True):
        reached = leaf.grad is not None and bool(leaf.grad.abs().sum(1).gt(0).all())
        assert reached, f"a position of the {side} gets no gradient"
    named = [(name, weight) for name, weight in engine.named_parameters() if weight.requires_grad]
    bad = [name for name, weight in named if weight.grad is not None and not bool(torch.isfinite(weight.grad).all())]
    learned = sum(weight.grad is not None for _, weight in named)
    engine.zero_grad(set_to_none=True)
    assert not bad, f"the gradient of {bad[0]} is NaN or infinite"
    assert learned or not named, "no weight gets a gradient"
    return f"into every position, and {learned} of {len(named)} weights"


def _check_alone(case: _Case) -> str:
    """A sample has the states it has in a batch."""
    lengths = [n + AFTER for n in BEFORE]
    together = case.states(case.whole, case.source).split(lengths)
    for row in range(3):
        alone = case.states(case.sample(case.whole, lengths, row), case.sample(case.source, SOURCES, row))
        _close(alone, together[row], f"states of sample {row} alone and in a batch")
    return "3 samples alone and in a batch"


def _check_order(case: _Case) -> str:
    """No position of a target sees what follows it."""
    one, other = case.whole.embedding, case.whole.embedding.clone()
    rows = case.rows()
    other[rows[:, 2:]] = torch.randn(3, AFTER - 2, case.engine.width, generator=torch.Generator().manual_seed(6))
    before, after = (case.states(replace(case.whole, embedding=each), case.source) for each in (one, other))
    unseen = torch.ones(len(one), dtype=torch.bool)
    unseen[rows[:, 2:]] = False
    _close(after[unseen], before[unseen], "states before a position that is another")
    assert not torch.allclose(after[~unseen], before[~unseen]), "what stands in a target changes no state of it"
    return "no position sees what follows it"


def _check_source(case: _Case) -> str:
    """A target sees all of its source."""
    want = case.states(case.whole, case.source)
    lengths = [n + AFTER for n in BEFORE]
    for position in range(sum(SOURCES)):
        other = case.source.embedding.clone()
        other[position] = -other[position]
        got = case.states(case.whole, replace(case.source, embedding=other))
        moved = [float((a - b).abs().max()) for a, b in zip(got.split(lengths), want.split(lengths), strict=True)]
        own = int(np.searchsorted(np.cumsum(SOURCES), position, side="right"))
        assert moved[own] > 0, f"position {position} of a source changes no state of its target"
    return f"{sum(SOURCES)} positions of sources"


def _check_session(case: _Case) -> str:
    """Steps of one and of several positions, after a prefix and after nothing, are one pass."""
    want = case.states(case.whole, case.source)
    rows = case.rows()
    session = case.open(case.source, case.before)
    assert session.hidden is not None
    _close(session.hidden, want[rows[:, 0] - 1], "hidden after a prefix and in one pass")
    for first, last in pairwise((0, 1, 4, AFTER)):
        got = session.append(case.after[:, first:last], case.positions(first, last - first))
        check_shape(case.engine, "append", got, (3, case.engine.width))
        _close(got, want[rows[:, last - 1]], f"append of positions {first} to {last - 1} and one pass")
    filled = case.open(case.source, case.before).fill(case.after, case.positions(0, AFTER))
    check_shape(case.engine, "fill", filled, (3, AFTER, case.engine.width))
    _close(filled, want[rows], "fill and one pass")
    bare = case.open(case.source, None)
    assert bare.hidden is None, "a session without a prefix has hidden; it is None there"
    equal = torch.full((AFTER, 3), -1, dtype=torch.int64)
    equal[:, 0] = torch.arange(AFTER)
    target = replace(case.stream([AFTER] * 3, 0), embedding=case.after.flatten(0, 1))
    _close(bare.fill(case.after, equal).flatten(0, 1), case.states(target, case.source), "fill after nothing")
    return f"{AFTER} positions by steps of 1, 3 and 1, at once, and after nothing"


def _check_reorder(case: _Case) -> str:
    """A row goes on from what its parent was."""
    session = case.open(case.source, case.before, group=2)
    first = torch.randn(6, 2, case.engine.width, generator=torch.Generator().manual_seed(7))
    session.append(first, case.positions(0, 2, 2))
    parents = torch.tensor([1, 1, 3, 2, 4, 4])
    session.reorder(parents)
    nexts = torch.randn(6, 1, case.engine.width, generator=torch.Generator().manual_seed(8))
    got = session.append(nexts, case.positions(2, 1, 2))
    for row, parent in enumerate(parents.tolist()):
        want = case.line(row // 2, torch.cat([first[parent], nexts[row]]))
        _close(got[row], want, f"row {row} after row {parent} and one pass")
    return "6 rows that change places"


def _check_peek(case: _Case) -> str:
    """What is only looked at is what one pass with a block says; nothing of it stays."""
    rows = case.rows()
    blocks = torch.zeros(len(case.whole.embedding), dtype=torch.int64)
    blocks[rows] = torch.arange(1, 4)[:, None]
    marked = replace(case.whole, layout=replace(case.whole.layout, blocks=blocks))
    want, causal = case.states(marked, case.source), case.states(case.whole, case.source)
    session = case.open(case.source, case.before)
    for _ in range(2):
        got = session.peek(case.after, case.positions(0, AFTER))
        check_shape(case.engine, "peek", got, (3, AFTER, case.engine.width))
        _close(got, want[rows], "peek and one pass with a block")
    _close(session.append(case.after[:, :1], case.positions(0, 1)), causal[rows[:, 0]], "append after peek")
    if torch.equal(want, causal):
        return f"{LEFT_OUT}positions of a block do not see each other; noise learns less well by such an engine"
    return f"{AFTER} positions that see each other"


def _check_tree(case: _Case) -> str:
    """Nodes are what one pass of their line says; those forgotten are gone, and the rows go on as if without it."""
    session = case.open(case.source, case.before)
    session.fill(case.after[:, :2], case.positions(0, 2))
    lengths = torch.tensor([2, 1, 2])
    tree = check_tree(case.engine, session.branch(lengths))
    drawn = torch.randn(4, 3, case.engine.width, generator=torch.Generator().manual_seed(9))
    rows, parents = np.array([0, 1, 2]), np.array([-1, -1, -1])
    lines = [case.after[row, : int(lengths[row])] for row in range(3)]
    for depth in range(3):
        _grow_and_compare(case, tree, depth, drawn[depth], rows, parents, lines, lengths)
        lines = [torch.cat([line, drawn[depth, i][None]]) for i, line in enumerate(lines)]
        parents = np.arange(tree.count - 3, tree.count)
    tree.count -= 3
    assert tree.count == 6, f"of 9 nodes 3 were forgotten, and count is {tree.count}"
    lines = [line[:-1] for line in lines]
    _grow_and_compare(case, tree, 2, drawn[3], rows, parents - 3, lines, lengths)
    onward = session.append(case.after[:, 2:3], case.positions(2, 1))
    _close(onward, case.states(case.whole, case.source)[case.rows()[:, 2]], "append after a tree")
    return "12 nodes of 3 rows"


def _grow_and_compare(
    case: _Case,
    tree: Any,
    depth: int,
    embedding: Tensor,
    rows: np.ndarray,
    parents: np.ndarray,
    lines: Sequence[Tensor],
    lengths: Tensor,
) -> None:
    positions = torch.full((3, 3), -1, dtype=torch.int64)
    positions[:, 0] = torch.tensor(BEFORE) + lengths + depth
    made = tree.grow(embedding, positions, rows, parents)
    check_shape(case.engine, "grow", made, (3, case.engine.width))
    for row, line in enumerate(lines):
        want = case.line(row, torch.cat([line, embedding[row][None]]))
        _close(made[row], want, f"a node {depth + 1} deep of row {row} and one pass")


def _check_made_again(case: _Case) -> str:
    """Made again of its configuration, with its weights loaded, it says the same."""
    again = case.spec.resolve()(case.spec.read(case.spec.written(case.config)))
    state: Mapping[str, Tensor] = case.engine.state_dict()
    try:
        again.load_state_dict(state)
    except (RuntimeError, OfasysError) as error:
        raise AssertionError(f"its weights do not fit one made of the same configuration: {error}") from None
    want = case.states(case.whole, case.source)
    first, case.engine = case.engine, again.eval()
    got = case.states(case.whole, case.source)
    case.engine = first
    assert torch.equal(got, want), "made again and with the same weights, its states are others"
    return f"{len(state)} tensors"


def _close(got: Tensor, want: Tensor, what: str) -> None:
    apart, size = float((got - want).detach().abs().max()), max(float(want.detach().abs().max()), 1e-6)
    assert apart <= CLOSE * size, f"{what} differ by {apart:.2g}, of {size:.2g}"
