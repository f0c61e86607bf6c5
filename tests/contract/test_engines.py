"""Engines keep their contract: the built-in one under each position scheme, a toy of one stack, and the docs' own. One
that breaks a promise is found out, in a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from ofasys.engine import ENGINES
from ofasys.errors import ConfigError
from ofasys.model.sizes import ModelConfig
from ofasys.testing import check_engine
from ofasys.types import Hidden, States
from tests.engine.causal import CAUSAL, CausalConfig, CausalEngine, CausalSession, CausalTree

SMALL = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, max_positions=256, max_grid=16)
CHECKS = ["spec", "engine", "forward", "gradient", "alone", "order", "source", "session", "reorder", "peek", "tree"]


@pytest.mark.parametrize("positions", ["learned", "relative", "alibi", "rotary"])
def test_the_built_in_one_keeps_it(positions):
    report = check_engine(ENGINES["transformer"], config=replace(SMALL, positions=positions))
    assert [name for name, _ in report.checked] == [*CHECKS, "made again"]


def test_the_twin_of_all_that_break_it_keeps_it():
    report = check_engine(CAUSAL)
    assert not report.left_out
    assert dict(report.checked)["gradient"] == "into every position, and 29 of 29 weights"


class Leaking(CausalEngine):
    """The states of a target are moved by the last of the batch."""

    def forward(self, source, target):
        found = super().forward(source, target)
        if target is None:
            return found
        states = found.target.states
        return States(found.source, Hidden(states + 0.1 * states[-1], found.target.layout))


class Looking(CausalEngine):
    """The whole target sees itself both ways."""

    def forward(self, source, target):
        if target is not None:
            rows = torch.repeat_interleave(torch.arange(target.layout.batch), target.layout.lengths) + 1
            target = replace(target, layout=replace(target.layout, blocks=rows))
        return super().forward(source, target)


class Blind(CausalEngine):
    """The last position of a source says nothing to the target."""

    def forward(self, source, target):
        if source is None or target is None:
            return super().forward(source, target)
        keep = torch.ones(len(source.embedding), 1)
        keep[source.layout.lengths.cumsum(0) - 1] = 0
        made = super().forward(replace(source, embedding=source.embedding * keep), target)
        return States(super().forward(source, None).source, made.target)


class Cut(CausalEngine):
    """The first layer's input is cut off from what it is learned by."""

    def begin(self, embedding, positions, side):
        return super().begin(embedding.detach(), positions, side)


class Broken(CausalEngine):
    """Opens sessions of another class."""

    session: type

    def open(self, source, states, sources, group=1, prefix=None, room=64):
        made = super().open(source, states, sources, group, prefix, room)
        made.__class__ = self.session
        return made


class Numbered(CausalSession):
    """Counts positions from 0, whatever stands before."""

    def fill(self, embedding, positions, block=0, keep=True):
        return super().fill(embedding, torch.arange(embedding.shape[1])[:, None].repeat(1, 3), block, keep)


class Staying(CausalSession):
    def reorder(self, parents):
        """Rows stay where they are."""


class Keeping(CausalSession):
    def peek(self, embedding, positions):
        """What is looked at stays."""
        return self.fill(embedding, positions, block=1)


class First(CausalSession):
    def append(self, embedding, positions):
        """The state after the first of what is new."""
        return self.fill(embedding, positions)[:, 0]


class Rooted(CausalTree):
    def grow(self, embedding, positions, rows, parents):
        """All nodes go on from their row."""
        return super().grow(embedding, positions, rows, parents * 0 - 1)


class Rooting(CausalSession):
    def branch(self, lengths=None):
        made = super().branch(lengths)
        made.__class__ = Rooted
        return made


class Numbering(Broken):
    session = Numbered


class Standing(Broken):
    session = Staying


class Storing(Broken):
    session = Keeping


class Hasty(Broken):
    session = First


class Flat(Broken):
    session = Rooting


class Restless(CausalEngine):
    """Its states have a part that is drawn once it is made."""

    def __init__(self, config):
        super().__init__(config)
        self.drawn = torch.randn(config.width)

    def begin(self, embedding, positions, side):
        return super().begin(embedding, positions, side) + self.drawn


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ("Leaking", r"engine causal, alone: states of sample 0 alone and in a batch differ by "),
        ("Looking", r"engine causal, order: states before a position that is another differ by "),
        ("Blind", r"engine causal, source: position 2 of a source changes no state of its target"),
        ("Cut", r"engine causal, gradient: a position of the source gets no gradient"),
        ("Numbering", r"engine causal, session: append of positions 0 to 0 and one pass differ by "),
        ("Hasty", r"engine causal, session: append of positions 1 to 3 and one pass differ by "),
        ("Standing", r"engine causal, reorder: row 0 after row 1 and one pass differ by "),
        ("Storing", r"engine causal, peek: (peek|append) .* differ by "),
        ("Flat", r"engine causal, tree: a node 2 deep of row 0 and one pass differ by "),
        ("Restless", r"engine causal, made again: made again and with the same weights, its states are others"),
    ],
)
def test_what_breaks_it_is_found_out(engine, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_engine(replace(CAUSAL, load=f"{__name__}:{engine}"))


@dataclass(frozen=True)
class Forgetful(CausalConfig):
    """Reads back another than was written."""

    @classmethod
    def from_dict(cls, values):
        return cls(**values | {"layers": 1})


def test_a_configuration_that_does_not_come_back_is_found_out():
    broken = replace(CAUSAL, config=f"{__name__}:Forgetful")
    with pytest.raises(AssertionError, match=r"engine causal, spec: of Forgetful\(.*layers=2.* comes back Forgetful\("):
        check_engine(broken)


def test_what_is_no_spec_is_refused():
    with pytest.raises(ConfigError, match="is no EngineSpec; give the spec of an engine"):
        check_engine(CausalEngine(CausalConfig()))
