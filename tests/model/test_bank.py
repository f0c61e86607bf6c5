"""Rows of many sessions in one cache: the states of each are those it has in a cache of its own."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from ofasys.model import native
from ofasys.model.positions import SCHEMES
from ofasys.model.sizes import ModelConfig
from ofasys.model.universal import UniversalModel
from ofasys.program.batch import layout
from ofasys.types import Stream

CONFIG = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=2, max_positions=64, max_grid=16)


def stream(lengths):
    places = [np.stack([np.arange(n), -np.ones(n), -np.ones(n)], 1) for n in lengths]
    return Stream(
        torch.randn(sum(lengths), CONFIG.width), layout(np.array(lengths), np.concatenate(places).astype(np.int64))
    )


class Pair:
    """A session among others, and the same alone."""

    def __init__(self, model, joined, draw):
        self.sources, self.group, self.done = draw.choice([1, 1, 2]), draw.choice([1, 1, 3]), 0
        self.rows = self.sources * self.group
        source = stream([draw.randint(1, 7) for _ in range(self.sources)]) if draw.random() < 0.8 else None
        prefix = stream([draw.randint(1, 4) for _ in range(self.sources)]) if draw.random() < 0.4 else None
        states = None if source is None else model.encode(source, model.reduced)
        self.one, self.alone = (model.open(None, states, self.sources, self.group, prefix) for _ in range(2))
        joined.add(self.one)

    def places(self, n, first):
        found = torch.full((self.rows, n, 3), -1)
        found[..., 0] = torch.arange(first, first + n)
        return found

    def move(self, draw):
        """Rows become others of their source."""
        rows = [row // self.group * self.group + draw.randrange(self.group) for row in range(self.rows)]
        self.one.reorder(torch.tensor(rows))
        self.alone.reorder(torch.tensor(rows))

    def looks(self):
        """What is asked beside, of both: positions that see each other, and ways on."""
        x, places, rows = torch.randn(self.rows, 2, CONFIG.width), self.places(2, 40), np.arange(self.rows)
        for session in (self.one, self.alone):
            tree = session.branch()
            yield session.peek(x, places), tree.grow(x[:, 0], places[:, 0], rows, np.full(self.rows, -1))


@pytest.fixture(params=[False, True, "reduced"], ids=["by torch", "in C", "in C, in bfloat16"])
def fused(request, monkeypatch):
    """Whether a step of one position a row is one call of C, and of numbers in bfloat16."""
    if request.param and native.compiled("decoder") is None:
        pytest.skip("no C compiler here")
    monkeypatch.setattr("ofasys.model.fused.LEAST", 0 if request.param else 10**9)
    return request.param


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("seed", range(2))
def test_sessions_that_come_and_go_have_the_states_they_have_alone(scheme, seed, fused):
    if fused and scheme != "learned":
        pytest.skip("of learned positions alone")
    torch.manual_seed(seed)
    model, draw = UniversalModel(replace(CONFIG, positions=scheme)).eval(), random.Random(seed)
    model.reduced = fused == "reduced"
    near = {"rtol": 0.02, "atol": 0.02} if model.reduced else {"rtol": 1e-4, "atol": 1e-5}
    joined, live = model.joined(), []
    with torch.inference_mode():
        for _ in range(30):
            if len(live) < 6 and draw.random() < 0.6:
                live.append(Pair(model, joined, draw))
            assert joined.rows == sum(pair.rows for pair in live)
            wide = 1 if draw.random() < 0.6 else 3
            steps = [(pair, draw.choice([1, 1, wide])) for pair in live if draw.random() < 0.8]
            given, places, alone = [], [], []
            for pair, n in steps:
                if draw.random() < 0.4:
                    pair.move(draw)
                x, where = torch.randn(pair.rows, n, CONFIG.width), pair.places(n, pair.done + 4)
                pair.done += n
                given, places = [*given, x.flatten(0, 1)], [*places, where.flatten(0, 1)]
                alone.append(pair.alone.append(x, where))
            if steps:
                sessions, counts = [pair.one for pair, _ in steps], [n for _, n in steps]
                found = joined.append(sessions, torch.cat(given), torch.cat(places), counts)
                torch.testing.assert_close(found, torch.cat(alone), **near)
            for pair in live:
                if draw.random() < 0.2:
                    for one, other in zip(*pair.looks(), strict=True):
                        torch.testing.assert_close(one, other, **near)
            for pair in [pair for pair in live if pair.done > 10 and draw.random() < 0.4]:
                joined.remove(pair.one)
                live.remove(pair)
        for pair in live:
            joined.remove(pair.one)
    assert joined.rows == 0


@torch.inference_mode()
def test_one_that_joins_by_several_positions_changes_nothing_for_the_others(fused):
    torch.manual_seed(0)
    model = UniversalModel(CONFIG).eval()
    model.reduced = fused == "reduced"
    states = model.encode(stream([5, 2]), model.reduced)
    found = []
    for counts in ([[1, 3], [1, 1]], [[1, 0], [0, 3], [1, 1]]):
        draw = torch.Generator().manual_seed(1)
        sessions, joined = [model.open(None, states, 2, group) for group in (1, 2)], model.joined()
        for session in sessions:
            joined.add(session)
        made: list[list[torch.Tensor]] = [[], []]
        for both in counts:
            which = [place for place, n in enumerate(both) if n]
            rows = [(2, 4)[place] for place in which]
            n = sum(r * both[place] for r, place in zip(rows, which, strict=True))
            places = torch.full((n, 3), -1)
            places[:, 0] = 7
            x = torch.cat(
                [
                    torch.randn(r * both[place], CONFIG.width, generator=draw)
                    for r, place in zip(rows, which, strict=True)
                ]
            )
            out = joined.append([sessions[place] for place in which], x, places, [both[place] for place in which])
            for place, part in zip(which, out.split(rows), strict=True):
                made[place].append(part)
        found.append(made)
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True)) or not fused
        torch.testing.assert_close(torch.cat(one), torch.cat(other))


def test_one_that_goes_on_with_others_is_not_given_more_alone():
    torch.manual_seed(0)
    model = UniversalModel(CONFIG).eval()
    session, joined = model.open(None, None, 1), model.joined()
    joined.add(session)
    x, places = torch.zeros(1, 1, CONFIG.width), torch.zeros(1, 1, 3, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="append to all of them at once"):
        session.append(x, places)
    assert joined.append([session], x[0], places[0], [1]).shape == (1, CONFIG.width)
