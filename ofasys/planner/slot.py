"""What a plan is made of: slots with every choice made, and the steps of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ofasys.criterion import NOTHING, Criterion, Kind
from ofasys.generator import Generator
from ofasys.language import Group, Parts
from ofasys.types import Branch, Continuous, Fixed, Forced, Free, Gate, Item, Loop, OneOf

ROUND = "ways.again"  # the range whose only token begins a round that begins with a value that is no tokens


@dataclass(frozen=True)
class Choice:
    """Something chosen, and why."""

    name: str
    why: str
    """`default`, `attribute` (in the instruction) or `setting` (given to `plan`)."""


@dataclass(frozen=True)
class SlotPlan:
    """One slot with every choice made."""

    index: int
    """Its number in the plan."""
    modality: str
    """Its tag."""
    side: str
    """source, target, or label: a column that stands in no stream and that another slot learns from."""
    column: str
    """Where a row holds its value."""
    group: int | None
    """The repetition it stands in."""
    optional: bool
    """It stands in a pattern: a row may lack it."""
    preprocess: Choice
    """What reads its values."""
    adaptor: Choice
    """What embeds them, and predicts them where they are no tokens."""
    key: str
    """Of the adaptor's weights in a model: slots of one key share them."""
    positions: str
    """ "1-D", "2-D" or "3-D"."""
    criterion: Choice | None
    """How it is learned; None: it is not."""
    generator: Choice | None
    """How a value of it is made; None: none is."""
    kind: str | None
    """Its kind of target, by name."""
    label_slot: int | None
    """The slot it learns from."""
    closed_set: bool
    """Its value is one of a known set."""
    value: str
    """What its value is called, in outputs and to metrics."""
    ranges: tuple[tuple[str, int | None], ...]
    """(vocabulary range, ids in it, or None if data decides)."""
    expected: int
    """Stream positions of one value, an estimate."""
    refers_to: int | None
    """The slot it refers to, as a box to its image."""
    options: tuple[tuple[str, Any, str], ...]
    """Every attribute that reaches it: (name, value, why)."""
    brought: tuple[tuple[str, str], ...] = ()
    """What lies at the place that its adaptor is named with: (name, text). Empty: it is named with none."""
    learned_by: Criterion | None = field(default=None, repr=False, compare=False)
    """The record of its criterion."""
    made_by: Generator | None = field(default=None, repr=False, compare=False)
    """The record of its generator."""

    @property
    def made_as(self) -> Kind:
        """Its kind of target; one of which nothing is true where it is not learned."""
        return self.learned_by.of if self.learned_by is not None else NOTHING

    @property
    def values(self) -> dict[str, Any]:
        """The options as name -> value, under `column` the column, and what its adaptor brought."""
        return {name: value for name, value, _ in self.options} | {"column": self.column} | dict(self.brought)

    @cached_property
    def weight(self) -> float:
        """Factor of its loss."""
        return float(self.values["weight"])

    @cached_property
    def no_loss(self) -> bool:
        """Of a target: given with the sample, neither learned nor generated."""
        return self.side == "target" and bool(self.values["no_loss"])

    @cached_property
    def is_label(self) -> bool:
        """Metrics look at it, and at others so marked, alone."""
        return bool(self.values["is_label"])

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

    @property
    def item(self) -> Item:
        """What it is to the target's automaton."""
        return Forced(self.text)


@dataclass(frozen=True)
class Fill:
    """A slot's value in the stream."""

    slot: int
    item: Item | None = None
    """What it is to the target's automaton; None in a source."""


@dataclass(frozen=True)
class Repeat:
    """Steps taken once per element of their lists."""

    steps: tuple[Prompt | Fill, ...]
    """Of one element."""
    group: Group
    """Their columns, and how a row's lists are spread over them."""

    @property
    def slots(self) -> tuple[int, ...]:
        """Indices of the slots inside."""
        return tuple(step.slot for step in self.steps if isinstance(step, Fill))

    @property
    def item(self) -> Item:
        """What it is to the target's automaton."""
        return Loop(items_of(self.steps))

    @property
    def staged(self) -> bool:
        """Of a target: whether a round holds a value that is no tokens, so that it is made stage by stage."""
        return any(isinstance(step.item, Continuous) for step in self.steps)

    @property
    def unled(self) -> bool:
        """Whether a round begins with such a value."""
        return isinstance(self.steps[0].item, Continuous)

    @property
    def judged(self) -> int:
        """The slot whose loss it is whether a round begins: the first that is tokens, else the first."""
        items = items_of(self.steps)
        tokens = (item.slot for item in items if isinstance(item, (Free, Fixed, OneOf)))
        return next(tokens, self.slots[0])


@dataclass(frozen=True)
class RoundHead:
    """The end of a stage in which a round of a repetition may begin."""

    repeat: Repeat
    steps: tuple[Prompt | Fill, ...]
    """Of a round, before its first value that is no tokens."""
    rest: tuple[AnyStep, ...]
    """What follows in the stage where the repetition ends; the last may be the head of the next."""

    @property
    def item(self) -> Item:
        """What it is to the target's automaton."""
        mark = None if self.steps else ROUND
        return Gate(self.repeat.judged, items_of(self.steps), mark, items_of(self.rest))


@dataclass(frozen=True)
class Views:
    """Two slots that say the same: each is encoded alone, and they learn to find each other."""

    left: int
    """A slot."""
    right: int
    """A slot."""

    @property
    def item(self) -> None:
        """None: they stand in a source."""
        return None


@dataclass(frozen=True)
class Choose:
    """A pattern from outside: of its parts those stand that a row has columns for."""

    parts: tuple[tuple[Prompt | Fill, ...], ...]
    columns: Parts
    """Of each part, and how a row says which stand."""

    @property
    def ways(self) -> tuple[tuple[int, ...], ...]:
        """Which parts may stand together, in their order."""
        return self.columns.alternatives.ways

    @property
    def pattern(self) -> str:
        """Its name."""
        return self.columns.alternatives.pattern

    @property
    def range(self) -> str:
        """Of a target: the range of tokens that say which way it goes on; patterns with as many ways share one."""
        return f"ways.{len(self.ways)}"

    @property
    def slots(self) -> tuple[int, ...]:
        """Indices of the slots inside."""
        return tuple(step.slot for part in self.parts for step in part if isinstance(step, Fill))

    @property
    def item(self) -> Item:
        """What it is to the target's automaton."""
        return Branch(self.slots[0], self.range, tuple(map(items_of, self.parts)), self.ways)


Step = Prompt | Fill | Repeat | Views | Choose
AnyStep = Step | RoundHead  # of a stage of the target


def items_of(steps: Iterable[AnyStep]) -> tuple[Item, ...]:
    """Steps of a target as its automaton has them."""
    return tuple(step.item for step in steps if step.item is not None)


def leaves_of(steps: Iterable[AnyStep]) -> Iterator[Prompt | Fill | Views]:
    """The steps, and of a repetition or a pattern those inside."""
    for step in steps:
        if isinstance(step, Repeat):
            yield from step.steps
        elif isinstance(step, RoundHead):
            yield from step.steps
            yield from leaves_of(step.rest)
        elif isinstance(step, Choose):
            for part in step.parts:
                yield from part
        else:
            yield step
