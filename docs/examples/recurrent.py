"""An engine of one's own: a GRU (Cho et al., 2014) that reads the source and goes on with the target."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ofasys.engine import EngineSpec
from ofasys.types import Hidden, States


@dataclass(frozen=True)
class RecurrentConfig:
    """Its shape."""

    width: int = 96
    max_positions: int = 512


class Recurrent(nn.Module):
    """States (N, D) are those of the GRU; what a target needs of its source is the last of them."""

    empty_source = True
    reads_states = True

    def __init__(self, config):
        super().__init__()
        self.width, self.max_positions = config.width, config.max_positions
        self.gru = nn.GRU(config.width, config.width, batch_first=True)

    def forward(self, source, target):
        """Both sides, the target after its source."""
        memory = None if source is None else self.read(source, None)
        return States(memory, None if target is None else self.read(target, last(memory)))

    def read(self, stream, before):
        """A flat stream, each row after the state `before` (B, D) -> its states (N, D)."""
        layout = stream.layout
        padded = stream.embedding.new_zeros(layout.batch * layout.length, self.width)
        padded = padded.index_copy(0, layout.padded_index, stream.embedding)
        states = self.run(padded.view(layout.batch, layout.length, -1), before)
        return Hidden(states.flatten(0, 1)[layout.padded_index], layout)

    def run(self, x, before):
        """x (R, n, D) after states (R, D) -> states (R, n, D)."""
        return self.gru(x, None if before is None else before[None].contiguous())[0]

    @torch.no_grad()
    def open(self, source, states, sources, group=1, prefix=None, room=64):
        """A session: of a GRU its whole cache is a state a row."""
        state = self.gru.weight_hh_l0.new_zeros(sources, self.width) if states is None else last(states)
        hidden = None
        if prefix is not None:
            state = hidden = last(self.read(prefix, state)).repeat_interleave(group, 0)
        else:
            state = state.repeat_interleave(group, 0)
        return RecurrentSession(self, state, hidden)


def last(hidden):
    """The last state of each row (B, D)."""
    return None if hidden is None else hidden.states[torch.cumsum(hidden.layout.lengths, 0) - 1]


class RecurrentSession:
    """state (R, D): where each row stands. after (R, n, D): the states since the prefix."""

    def __init__(self, engine, state, hidden):
        self.engine, self.state, self.hidden = engine, state, hidden
        self.after = state[:, None, :][:, :0]

    @torch.no_grad()
    def fill(self, embedding, positions):
        """The next n positions -> their states (R, n, D)."""
        states = self.engine.run(embedding, self.state)
        self.state, self.after = states[:, -1], torch.cat([self.after, states], 1)
        return states

    def append(self, embedding, positions):
        """The next n positions -> the state after them (R, D)."""
        return self.fill(embedding, positions)[:, -1]

    def reorder(self, parents):
        """Row r goes on from what row parents[r] was."""
        self.state, self.after = self.state[parents], self.after[parents]

    @torch.no_grad()
    def peek(self, embedding, positions):
        """n positions -> their states (R, n, D). A GRU sees what came before alone, in training too."""
        return self.engine.run(embedding, self.state)

    def branch(self, lengths=None):
        """Ways on from the rows."""
        rows = torch.arange(len(self.state))
        return RecurrentTree(self.engine, self.state if lengths is None else self.after[rows, lengths - 1])


class RecurrentTree:
    """rows (R, D), nodes (count, D): states to go on from."""

    def __init__(self, engine, rows):
        self.engine, self.rows, self.nodes = engine, rows, rows[:0]

    @property
    def count(self):
        """Nodes so far."""
        return len(self.nodes)

    @count.setter
    def count(self, count):
        self.nodes = self.nodes[:count]

    @torch.no_grad()
    def grow(self, embedding, positions, rows, parents):
        """New nodes -> their states (n, D)."""
        every = torch.cat([self.rows, self.nodes])
        before = every[torch.from_numpy(np.where(parents < 0, rows, len(self.rows) + parents))]
        states = self.engine.run(embedding[:, None], before)[:, 0]
        self.nodes = torch.cat([self.nodes, states])
        return states


RECURRENT = EngineSpec(
    name="recurrent",
    about="a GRU over the source and then the target",
    load="recurrent:Recurrent",
    config="recurrent:RecurrentConfig",
)
