"""What a plan is made of: slots with every choice made, and the steps of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ofasys.criterion import NOTHING, Criterion, Kind
from ofasys.generator import Generator
from ofasys.language import Group


@dataclass(frozen=True)
class Choice:
    """Something chosen, and why: `default`, `attribute` (in the instruction) or `setting` (given to `plan`)."""

    name: str
    why: str


@dataclass(frozen=True)
class SlotPlan:
    """One slot with every choice made.

    index: its number in the plan. side: source, target, or label: a column that stands in no stream and that another
    slot learns from. column: where a row holds its value. group: the repetition it stands in, or None. kind: its kind
    of target. label_slot: index of the slot it learns from. options: every attribute that reaches it, (name, value,
    why). ranges: (vocabulary range, ids in it or None if data decides). expected: stream positions of one value, an
    estimate. refers_to: index of the slot it refers to. learned_by, made_by: the records of its criterion and
    generator.
    """

    index: int
    modality: str
    side: str
    column: str
    group: int | None
    preprocess: Choice
    adaptor: Choice
    key: str
    positions: str
    criterion: Choice | None
    generator: Choice | None
    postprocess: Choice
    kind: str | None
    label_slot: int | None
    weight: float
    no_loss: bool
    closed_set: bool
    is_label: bool
    value: str
    ranges: tuple[tuple[str, int | None], ...]
    expected: int
    refers_to: int | None
    options: tuple[tuple[str, Any, str], ...]
    learned_by: Criterion | None = field(default=None, repr=False, compare=False)
    made_by: Generator | None = field(default=None, repr=False, compare=False)

    @property
    def made_as(self) -> Kind:
        """Its kind of target; one of which nothing is true where it is not learned."""
        return self.learned_by.of if self.learned_by is not None else NOTHING

    @property
    def values(self) -> dict[str, Any]:
        """The options as name -> value, and under `column` the column."""
        return {name: value for name, value, _ in self.options} | {"column": self.column}

    @property
    def name(self) -> str:
        """As a person would point at it: `TEXT:cap`."""
        return f"{self.modality}:{self.column}"

    @property
    def answer(self) -> str:
        """What its answer is called, in outputs and to metrics: its modality's value, or `view` of a contrast."""
        return "view" if self.made_as.embedded else self.value


@dataclass(frozen=True)
class Prompt:
    """Plain text in the stream."""

    text: str


@dataclass(frozen=True)
class Fill:
    """A slot's value in the stream."""

    slot: int


@dataclass(frozen=True)
class Repeat:
    """Steps taken once per element of their lists. group: their columns, and how a row's lists are spread over them."""

    steps: tuple[Prompt | Fill, ...]
    group: Group

    @property
    def slots(self) -> tuple[int, ...]:
        """Indices of the slots inside."""
        return tuple(step.slot for step in self.steps if isinstance(step, Fill))


@dataclass(frozen=True)
class Views:
    """Two slots that say the same: each is encoded alone, and they learn to find each other."""

    left: int
    right: int


Step = Prompt | Fill | Repeat | Views
