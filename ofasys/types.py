"""What passes between rooms. Values, frozen; what a field holds stands below it. Importing this does not import torch.

`B` samples, `T` stream length (padded), `N` valid stream positions of a side (no padding: B streams laid end to end),
`D` width, `S` slots of a plan, `U` tokens to choose from, `n` rows, tokens or positions of what the class is about.
A stage is a part of the target that is made in one go; `states` of tokens are those of the automaton, of streams
hidden.

`Float[Tensor, "N D"]` is a tensor of floats, N by D, as jaxtyping writes it; "" is one number. A size is the same
wherever its name stands in one object and in those it always holds, or in one call; a name that is a field, or an
argument, is its value; "..." are any dimensions. The tests check every object that is made, and every call
(tests/tensor_shapes.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Annotated as Bool
    from typing import Annotated as Float
    from typing import Annotated as Int

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
    """Its number in the plan."""
    range: str
    max_length: int | None = None
    """Tokens, without the end mark. None: what the search allows."""


@dataclass(frozen=True)
class Fixed:
    """Exactly `count` tokens out of the first `size` of a range (all of it if None); no end mark.

    width: they stand in rows of so many, in raster order, and their positions have y and x. height: so many rows are a
    frame, and y begins anew with each; None: all are one.
    """

    slot: int
    """Its number in the plan."""
    range: str
    count: int
    size: int | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True)
class OneOf:
    """One of a known set of token sequences (a trie), then the end mark."""

    slot: int
    """Its number in the plan."""


@dataclass(frozen=True)
class Continuous:
    """A value that is no tokens: its slot's own generator makes it whole, seeing all that came before."""

    slot: int


@dataclass(frozen=True)
class Loop:
    """The items in their order, again and again; an end mark where the first of them could begin stops it."""

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Gate:
    """The head of a repetition that is made stage by stage: a round begins here, or an end mark leaves it.

    Both ways end the stage: a round where its first value that is no tokens stands.
    """

    slot: int
    """Whose loss the choice is, where it is no token of a value."""
    items: tuple[Item, ...]
    """Of a round, before its first value that is no tokens."""
    range: str | None
    """Where these are none: the range whose only token says that a round begins."""
    rest: tuple[Item, ...]
    """What comes after the repetition, as far as it is of this stage."""


@dataclass(frozen=True)
class Branch:
    """A token of a range says which way the sentence goes on; then come the items of the parts that stand on it."""

    slot: int
    """Whose loss that token is."""
    range: str
    parts: tuple[tuple[Item, ...], ...]
    ways: tuple[tuple[int, ...], ...]
    """Of each token of the range, the parts that stand, in order."""

    @property
    def items(self) -> tuple[Item, ...]:
        """Of all parts."""
        return tuple(item for part in self.parts for item in part)


Item = Forced | Given | Free | Fixed | OneOf | Continuous | Loop | Gate | Branch


# --- data ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SlotFeatures:
    """One value of one slot, preprocessed: what its adaptor reads, for `length` consecutive stream positions."""

    tensors: Mapping[str, np.ndarray]
    """By name. The preprocessor's `collate` joins those of a batch: by default end to end along axis 0."""
    length: int
    """Stream positions."""
    grid: Int[np.ndarray, "length 2"] | None = None
    """(y, x) of each position, -1 where it has none. None: none has."""
    orders: int | None = None
    """Places of the sentence it takes: 1 for an image, whose patches all stand at one place. None: as many as
    `length`.
    """
    info: Mapping[str, Any] = field(default_factory=dict)
    """For postprocessing and for slots that refer to this one: raw image size, ..."""


@dataclass(frozen=True)
class AdaptorInput:
    """All that one adaptor embeds in one side of a batch: n positions."""

    adaptor: str
    """Its key in the model."""
    tensors: Mapping[str, Tensor]
    """What `collate` made of the features of all values."""
    rows: Int[Tensor, "n"]
    """Which of the side's N positions its embeddings are."""


@dataclass(frozen=True)
class Layout:
    """Where the N valid positions of a side lie. Nothing is padded; `padded_index` says where padding would be."""

    batch: int
    """B."""
    length: int
    """T: positions of the longest sample."""
    padded_index: Int[Tensor, "N"]
    """Flat index into a (B*T) rectangle, increasing, each sample's positions left-aligned."""
    positions: Int[Tensor, "N 3"]
    """(order, y, x). Order is the place in the sentence; y and x are -1 where there is no grid."""
    lengths: Int[Tensor, "batch"]
    """Valid positions of each sample."""
    full: bool
    """No sample is shorter than T, so `padded_index` is 0..B*T-1."""
    blocks: Int[Tensor, "N"] | None = None
    """Of a decoder: positions of one number above 0 see each other both ways. None: all is causal."""
    top: tuple[int, ...] | None = None
    """The largest order, y and x among `positions`, known when they were made. None: the device has to be asked."""
    counted: bool = False
    """Order is known to be 0, 1, ... in each sample."""


@dataclass(frozen=True)
class Stream:
    """The embedding stream of one side."""

    embedding: Float[Tensor, "N D"]
    """Before positions are added."""
    layout: Layout

    def chosen(self, rows: Sequence[int], layout: Layout, at: Int[Tensor, "n"]) -> Stream:
        """That of some samples. layout: theirs. at: which of the N positions they have."""
        return replace(self, embedding=self.embedding[at], layout=layout)


@dataclass(frozen=True)
class Hidden:
    """What the universal model made of a stream."""

    states: Float[Tensor, "N D"]
    """Of each position."""
    layout: Layout

    def chosen(self, rows: Sequence[int], layout: Layout, at: Int[Tensor, "n"]) -> Hidden:
        """Those of some samples. layout: theirs. at: which of the N positions they have. An engine whose states hold
        more takes those samples of it too.
        """
        return replace(self, states=self.states[at], layout=layout)


@dataclass(frozen=True)
class States:
    """The hidden states of both sides; None where a side is empty."""

    source: Hidden | None
    """None: that side is empty."""
    target: Hidden | None
    """None: that side is empty."""


@dataclass(frozen=True)
class TokenSpan:
    """The tokens of one stage of a sample's target."""

    stage: int
    prefix: Int[np.ndarray, "p"]
    """At least one: tokens that come before anything is generated."""
    tokens: Int[np.ndarray, "t"] | None
    """Ids of what follows, end marks included. None: not known, to be generated."""
    states: Int[np.ndarray, "t"] | None
    """The state of the target's automaton before each token."""


@dataclass(frozen=True)
class ValueSpan:
    """A value of a sample's target that is no tokens."""

    stage: int
    """Its number in the target."""
    slot: int
    """Its number in the plan."""
    key: str
    """Of its adaptor."""
    features: SlotFeatures | None
    """None: not known, to be generated."""
    learned: Mapping[str, np.ndarray] | None = None
    """What its criterion learns from (frames, noise ...). None: it is not learned."""


@dataclass(frozen=True)
class Sample:
    """One row, preprocessed."""

    source: tuple[tuple[str, SlotFeatures], ...]
    """(adaptor key, features) in stream order."""
    target: tuple[TokenSpan | ValueSpan, ...]
    """Tokens, and between them values that are no tokens, in the order they are made: a span a stage, and where the
    answer is known one for each time that the stages of a repetition are gone through.
    """
    supervision: Mapping[int, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """Slot of the source -> arrays that its criterion learns from (CTC ...)."""
    spans: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Source slot with a criterion -> (first position, positions) in its stream."""
    referred: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Slot -> `info` of the slot it refers to."""
    right: tuple[tuple[str, SlotFeatures], ...] | None = None
    """Of a contrast: the source of the other view."""
    negative: tuple[tuple[str, SlotFeatures], ...] | None = None
    """The source without its slots, or of a negative prompt: what guidance leads away from."""
    truth: Mapping[str, Any] | None = None
    """Column -> raw value, where a reward is to be given."""
    origin: str = ""
    """Which row it was."""

    @property
    def run(self) -> TokenSpan:
        """The only span of a target that is tokens throughout."""
        (run,) = self.target
        assert isinstance(run, TokenSpan)
        return run


@dataclass(frozen=True)
class SideBatch:
    """One side of a batch: what to embed, and where it lies."""

    inputs: tuple[AdaptorInput, ...]
    """One an adaptor."""
    layout: Layout


@dataclass(frozen=True)
class TokenTargets:
    """n tokens to predict that choose from one list of U candidates: an emission class of the target's automaton."""

    stage: int
    """Its number in the target."""
    group: int
    """The class, in the stage's automaton."""
    at: Int[Tensor, "n"]
    """Rows of the target's states that predict them."""
    labels: Int[Tensor, "n"]
    """Places in the candidates."""
    slots: Int[Tensor, "n"]
    """Slot of each."""
    slot: int
    """One of these slots: all of them have the same criterion, with the same options."""
    allowed: Bool[Tensor, "n U"] | None
    """Which candidates may stand there. None: all may."""
    weights: Float[Tensor, "n"] | None = None
    """Factor of each token's loss, where a reward gave one. None: 1."""


@dataclass(frozen=True)
class SlotTargets:
    """The values of one slot in a batch, to be learned otherwise than as tokens, or to be answered from the source."""

    slot: int
    side: str
    """ "source" or "target": where its values stand."""
    criterion: str
    """Its name."""
    at: Int[Tensor, "n"]
    """Rows of that side's states: those of the values, or, of a criterion with `before`, each one earlier."""
    lengths: Int[Tensor, "values"]
    """How many of the rows each value has."""
    tensors: Mapping[str, Tensor]
    """What the criterion learns from, joined over the batch; of a label column `tokens`, numbered within its range."""
    sizes: Mapping[str, tuple[int, ...]]
    """`lengths`, and each of `tensors` whose name ends in "lengths", as Python numbers: no device has to be asked."""
    count: int = 0
    """Units of its loss: positions, values or labels, as its criterion counts."""
    label_slot: int | None = None
    """The label column it learns from, if any."""


@dataclass(frozen=True)
class Batch:
    """Samples of one plan, ready for the model. `S` slots."""

    size: int
    """Samples."""
    source: SideBatch | None
    """None: that side of the instruction is empty. Of a contrast: the left views of all samples, then the right
    ones.
    """
    target: SideBatch | None
    """None: that side of the instruction is empty."""
    targets: tuple[TokenTargets | SlotTargets, ...]
    """What is predicted: the tokens of each set of candidates, and values that are no tokens."""
    counts: tuple[int, ...]
    """(S,): what each slot's loss is a sum over: tokens, or units of its criterion."""
    units: Float[Tensor, "S"]
    """Counts as a tensor of float32, for the device."""
    weights: Float[Tensor, "S"]
    """In float32: the plan's factor of each slot's loss."""
    positions: int
    """Valid stream positions, both sides."""
    padded: int
    """What they would be with each side padded to its longest sample."""
    origins: tuple[str, ...] = ()
    """Which row each sample was."""
    samples: tuple[Sample, ...] = ()
    """Kept where a reward will need them."""


@dataclass(frozen=True)
class Prediction:
    """What the model says about the tokens of one set of targets."""

    targets: TokenTargets
    hidden: Float[Tensor, "n D"]
    """The states that predict them."""
    candidates: Float[Tensor, "U D"]
    """Rows of the output table; scores are hidden @ candidates.T."""


@dataclass(frozen=True)
class SlotPrediction:
    """What the model says about the values of one slot."""

    targets: SlotTargets
    """What there is to predict."""
    hidden: Float[Tensor, "n D"]
    """The states at `targets.at`."""
    made: Mapping[str, Tensor]
    """What the slot's adaptor predicts from them: `frames` (n, ...), ...; empty where it predicts nothing."""
    candidates: Float[Tensor, "U D"] | None
    """Rows of the output table for the tokens of its label column, if it has one."""


@dataclass(frozen=True)
class LossOutput:
    """What a criterion says of the values of one slot."""

    sum: Float[Tensor, ""]
    """With its gradient: the loss summed over the units that `SlotTargets.count` counts; 0 of none."""
    figures: Mapping[str, Float[Tensor, ""]] = field(default_factory=dict)
    """By name, detached, for the log: means over this batch."""
    left_out: Mapping[str, Int[Tensor, ""]] = field(default_factory=dict)
    """Why -> how many values could not be judged, and are no part of the sum."""


@dataclass(frozen=True)
class Loss:
    """Losses of a batch by slot, as sums and what they count: parts of a batch add up. Tensors on the model's
    device.
    """

    total: Float[Tensor, ""]
    """With its gradient: what is minimised, the sum over slots of scale x sum."""
    sums: Float[Tensor, "S"]
    """Of each slot, unweighted, detached."""
    counts: Float[Tensor, "S"]
    """Units of each slot; its mean is sums / counts."""
    figures: Mapping[int, Mapping[str, Float[Tensor, ""]]] = field(default_factory=dict)
    """Slot -> what its criterion has to say besides."""
    left_out: Mapping[int, Mapping[str, Int[Tensor, ""]]] = field(default_factory=dict)
    """Slot -> why -> how many of its values could not be judged."""


@dataclass(frozen=True)
class TaskCard:
    """What a saved model remembers of a task: enough to plan its instructions again and to answer them."""

    name: str
    instructions: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the plan, by slot or kind."""
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Column -> its closed set."""
    generate: Mapping[str, Any] = field(default_factory=dict)
    """Search options of its evaluation."""
    metrics: tuple[str, ...] = ()
    """Their names."""
    origin: str = ""
    """Where its data is from, in words."""
    licence: str = ""
    """Under what terms its data may be used, in words."""
