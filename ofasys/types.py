"""What passes between rooms. Values, frozen, with shapes beside the fields. Importing this does not import torch.

`B` samples, `T` stream length (padded), `N` valid stream positions of a batch (no padding: B streams laid end to end),
`D` width, `V` vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


class NamedBytes(bytes):
    """The bytes of a file that had a name. path: that name; its suffix tells formats that say nothing of themselves."""

    path: str

    def __new__(cls, data: bytes, path: str) -> NamedBytes:
        """The bytes, and the name."""
        made = super().__new__(cls, data)
        made.path = path
        return made

    def __reduce__(self) -> tuple[type[NamedBytes], tuple[bytes, str]]:
        return NamedBytes, (bytes(self), self.path)


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
    """Exactly `count` tokens out of the first `size` of a range (all of it if None); no end mark.

    width: they stand in rows of so many, in raster order, and their positions have y and x.
    """

    slot: int
    range: str
    count: int
    size: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class OneOf:
    """One of a known set of token sequences (a trie), then the end mark."""

    slot: int


@dataclass(frozen=True)
class Continuous:
    """A value that is no tokens: its slot's own generator makes it whole, seeing all that came before."""

    slot: int


@dataclass(frozen=True)
class Loop:
    """The items again and again; the end mark where an item could begin stops it."""

    items: tuple[Item, ...]


Item = Forced | Given | Free | Fixed | OneOf | Continuous | Loop


# --- data ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SlotFeatures:
    """One value of one slot, preprocessed: what its adaptor reads, for `length` consecutive stream positions.

    `tensors` are numpy arrays; how a batch of them is joined is the preprocessor's `collate` (by default: laid end to
    end along axis 0). `grid` (length, 2) are the (y, x) coordinates of positions that have some; `orders` says how many
    1-D places they take (length for text, 1 for one image: all its patches stand at one place of the sentence).
    """

    tensors: Mapping[str, np.ndarray]
    length: int
    grid: np.ndarray | None = None
    orders: int | None = None
    info: Mapping[str, Any] = field(default_factory=dict)  # for postprocessing and other slots: raw image size ...


@dataclass(frozen=True)
class AdaptorInput:
    """All that one adaptor embeds in one side of a batch. `rows` (n,): which of the N positions its n embeddings
    are.
    """

    adaptor: str
    tensors: Mapping[str, Tensor]
    rows: Tensor


@dataclass(frozen=True)
class Layout:
    """Where the N valid positions of a batch lie. Nothing here is padded; `place` says where padding would be.

    place (N,): flat index into a (B*T) rectangle, increasing, each sample's positions left-aligned.
    positions (N, 3): (order, y, x): order is the 1-D place in the sentence; y and x are -1 where there is no grid.
    lengths (B,): valid positions a sample. full: no sample is shorter than T, so `place` is 0..B*T-1.
    blocks (N,), in a decoder: positions of one number above 0 see each other both ways; None where all is causal.
    """

    batch: int
    length: int
    padded_index: Tensor
    positions: Tensor
    lengths: Tensor
    full: bool
    blocks: Tensor | None = None


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
class States:
    """The hidden states of both sides; None where a side is empty."""

    source: Hidden | None
    target: Hidden | None


@dataclass(frozen=True)
class TokenSpan:
    """The tokens of one stage of the target.

    prefix: tokens that come before anything is generated, at least one. tokens: what follows, end marks included, and
    states: the automaton's state before each; both None where the target is not known.
    """

    stage: int
    prefix: np.ndarray
    tokens: np.ndarray | None
    states: np.ndarray | None


@dataclass(frozen=True)
class ValueSpan:
    """A value of the target that is no tokens; features None where it is still to be drawn."""

    stage: int
    slot: int
    key: str
    features: SlotFeatures | None


@dataclass(frozen=True)
class Sample:
    """One row, preprocessed.

    source: (adaptor key, features) in stream order; right: of a contrast, the other view's. target: its stages in order.
    targets: slot -> arrays that a criterion other than over tokens learns from. places: source slot with a criterion ->
    (first position, positions) in its stream. frames: slot -> `info` of the slot it refers to. negative: the source
    without what it asks for, where guidance wants one. truth: column -> raw value, where a reward is to be given.
    origin: which row it was.
    """

    source: tuple[tuple[str, SlotFeatures], ...]
    target: tuple[TokenSpan | ValueSpan, ...]
    supervision: Mapping[int, Mapping[str, np.ndarray]] = field(default_factory=dict)
    spans: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    referred: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    right: tuple[tuple[str, SlotFeatures], ...] | None = None
    negative: tuple[tuple[str, SlotFeatures], ...] | None = None
    truth: Mapping[str, Any] | None = None
    origin: str = ""

    @property
    def run(self) -> TokenSpan:
        """The only run of a target that is tokens throughout."""
        (run,) = self.target
        assert isinstance(run, TokenSpan)
        return run

    @property
    def prefix(self) -> np.ndarray:
        """Of the only run."""
        return self.run.prefix

    @property
    def tokens(self) -> np.ndarray | None:
        """Of the only run."""
        return self.run.tokens

    @property
    def states(self) -> np.ndarray | None:
        """Of the only run."""
        return self.run.states


@dataclass(frozen=True)
class SideBatch:
    """One side of a batch: what to embed, and where it lies."""

    inputs: tuple[AdaptorInput, ...]
    layout: Layout


@dataclass(frozen=True)
class TokenTargets:
    """Tokens to predict that choose from one list of candidates.

    stage, group: the emission class, of the stage's automaton, which lists the U candidates. at (n,): rows of the
    target's hidden states. labels (n,): places in the candidates. slots (n,): slot of each. weights (n,): factor of
    each token's loss, before it is divided by units. allowed (n, U): which candidates may stand there, None where all
    may.
    """

    stage: int
    group: int
    at: Tensor
    labels: Tensor
    slots: Tensor
    weights: Tensor
    allowed: Tensor | None


@dataclass(frozen=True)
class SlotTargets:
    """The values of one slot in a batch, to be learned as no tokens.

    at (n,): rows of that side's hidden states: those of the values, or, of a criterion with `before`, each one earlier.
    lengths (values,): how many rows each value has. tensors: what the criterion prepared, joined over the batch.
    targets: the label column it learns from, if any; its tokens are `tensors["tokens"]`, numbered within their range, and
    `tensors["token_lengths"]` (values,).
    """

    slot: int
    side: str
    criterion: str
    at: Tensor
    lengths: Tensor
    tensors: Mapping[str, Tensor]
    weight: float
    label_slot: int | None = None


@dataclass(frozen=True)
class Batch:
    """Samples of one plan, ready for the model. source or target None: that side of the instruction is empty.

    Of a contrast the source holds the left views of all samples, then the right ones. positions: valid stream
    positions, both sides; padded: what they would be in rectangles. samples: kept where a reward will need them.
    """

    size: int
    source: SideBatch | None
    target: SideBatch | None
    targets: tuple[TokenTargets | SlotTargets, ...]
    positions: int
    padded: int
    origins: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What the model says about the tokens of one set of targets: hidden (n, D) against rows (U, D) of the shared embedding."""

    hidden: Tensor
    candidates: Tensor
    targets: TokenTargets


@dataclass(frozen=True)
class SlotPrediction:
    """What the model says about the values of one slot.

    hidden (n, D): the states at `targets.at`. made: what the slot's adaptor predicts from them (`frames` (n, ...), ...);
    empty where it predicts nothing. candidates (U, D): rows of the shared embedding for the tokens of its label column, or
    None. module: the criterion's module, which judges.
    """

    targets: SlotTargets
    hidden: Tensor
    made: Mapping[str, Tensor]
    candidates: Tensor | None
    module: Any


@dataclass(frozen=True)
class LossOutput:
    """What a criterion found: loss (), the mean over `count` units, with its gradient. figures: by name, for the log.

    left_out: why -> how many values could not be judged, and are no part of the loss.
    """

    loss: Tensor
    count: int
    figures: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """total: what is minimised, the sum over slots of weight x mean; NaN where nothing could be judged.

    slots: slot -> (sum of unit losses, units). figures: slot -> what its criterion has to say besides. left_out: slot
    -> why -> how many of its values could not be judged.
    """

    total: Tensor
    slots: Mapping[int, tuple[float, int]]
    figures: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    left_out: Mapping[int, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskCard:
    """What a saved model remembers of a task: enough to plan its instructions again and to answer them.

    labels: column -> closed set. generate: search options of its evaluation.
    """

    name: str
    instructions: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    generate: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
