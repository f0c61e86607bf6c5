"""What passes between rooms. Values, frozen, with shapes beside the fields. Importing this does not import torch.

`B` samples, `T` stream length (padded), `N` valid stream positions of a batch (no padding: B streams laid end to end),
`D` width, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# --- the target sentence as an automaton: the plan compiles it, training and generation read it -----------------------


@dataclass(frozen=True)
class Forced:
    """Prompt text inside the target: these tokens come, no others; no loss."""

    text: str


@dataclass(frozen=True)
class Given:
    """A `no_loss` slot of the target: its value comes with the sample; no loss, nothing generated."""

    slot: int


@dataclass(frozen=True)
class Free:
    """Any tokens of a range until the end mark."""

    slot: int
    range: str
    max_length: int | None = None


@dataclass(frozen=True)
class Fixed:
    """Exactly `count` tokens out of the first `size` of a range (all of it if None); no end mark."""

    slot: int
    range: str
    count: int
    size: int | None = None


@dataclass(frozen=True)
class OneOf:
    """One of a known set of token sequences (a trie), then the end mark."""

    slot: int


@dataclass(frozen=True)
class Loop:
    """The items again and again; the end mark where an item could begin stops it."""

    items: tuple[Item, ...]


Item = Forced | Given | Free | Fixed | OneOf | Loop


# --- data ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Piece:
    """One value of one slot, preprocessed: what its adaptor reads, for `length` consecutive stream positions.

    `tensors` are numpy arrays; how a batch of them is joined is the preprocessor's `collate` (by default: laid end to
    end along axis 0). `grid` (length, 2) are the (y, x) coordinates of positions that have some; `orders` says how many
    1-D places the piece takes (length for text, 1 for one image: all its patches stand at one place of the sentence).
    """

    tensors: Mapping[str, np.ndarray]
    length: int
    grid: np.ndarray | None = None
    orders: int | None = None
    info: Mapping[str, Any] = field(default_factory=dict)  # for postprocessing and other slots: raw image size ...


@dataclass(frozen=True)
class Stretch:
    """All that one adaptor embeds in one side of a batch. `rows` (n,): which of the N positions its n embeddings are."""

    adaptor: str
    tensors: Mapping[str, Tensor]
    rows: Tensor


@dataclass(frozen=True)
class Layout:
    """Where the N valid positions of a batch lie. Nothing here is padded; `place` says where padding would be.

    place (N,): flat index into a (B*T) rectangle, increasing, each sample's positions left-aligned.
    positions (N, 3): (order, y, x): order is the 1-D place in the sentence; y and x are -1 where there is no grid.
    lengths (B,): valid positions a sample. full: no sample is shorter than T, so `place` is 0..B*T-1.
    """

    batch: int
    length: int
    place: Tensor
    positions: Tensor
    lengths: Tensor
    full: bool


@dataclass(frozen=True)
class Stream:
    """The embedding stream of one side: embedding (N, D), before positions are added."""

    embedding: Tensor
    layout: Layout


@dataclass(frozen=True)
class Hidden:
    """What the universal model made of a stream: states (N, D)."""

    states: Tensor
    layout: Layout


@dataclass(frozen=True)
class Sample:
    """One row, preprocessed.

    source: (adaptor key, piece) in stream order. prefix: target tokens that come before anything is generated, the
    start mark first. tokens: what follows, end marks included, and states: the automaton's state before each; both
    None where the target is not known. frames: slot -> `info` of the slot it refers to. origin: which row it was.
    """

    source: tuple[tuple[str, Piece], ...]
    prefix: np.ndarray
    tokens: np.ndarray | None
    states: np.ndarray | None
    frames: Mapping[int, Mapping[str, Any]]
    origin: str = ""


@dataclass(frozen=True)
class Half:
    """One side of a batch: what to embed, and where it lies."""

    stretches: tuple[Stretch, ...]
    layout: Layout


@dataclass(frozen=True)
class Goal:
    """Tokens to predict that choose from one list of candidates.

    group: the emission class, which lists the U candidates. at (n,): rows of the target's hidden states. labels (n,):
    places in the candidates. slots (n,): slot of each. weights (n,): slot weight over its tokens in the batch.
    allowed (n, U): which candidates may stand there, None where all may.
    """

    group: int
    at: Tensor
    labels: Tensor
    slots: Tensor
    weights: Tensor
    allowed: Tensor | None


@dataclass(frozen=True)
class Batch:
    """Samples of one plan, ready for the model. source or target None: that side of the instruction is empty.

    positions: valid stream positions, both sides; padded: what they would be in rectangles.
    """

    size: int
    source: Half | None
    target: Half | None
    goals: tuple[Goal, ...]
    positions: int
    padded: int
    origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What the model says about the tokens of one goal: hidden (n, D) against rows (U, D) of the shared embedding."""

    hidden: Tensor
    candidates: Tensor
    goal: Goal


@dataclass(frozen=True)
class Loss:
    """total: what is minimised, the sum over slots of weight x mean. slots: slot -> (sum of token losses, tokens)."""

    total: Tensor
    slots: Mapping[int, tuple[float, int]]
