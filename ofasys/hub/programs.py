"""The programs of a model that answers: which task a line belongs to, its closed sets and settings, bound once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Generic, TypeVar

from ofasys import flow
from ofasys.errors import ConfigError, DataError
from ofasys.generalist import GeneralistModel
from ofasys.hub.lacking import told_lacking
from ofasys.language import Instruction
from ofasys.modality import lexicon
from ofasys.modality.shared.label import label_text
from ofasys.planner import Plan, plan
from ofasys.program.program import Program
from ofasys.types import TaskCard

KEPT_PROGRAMS = 64
KEPT_LABELS = 400_000  # of all kept programs together: a label takes about a kilobyte

Value = TypeVar("Value")
Asked = Mapping[str, Sequence[str]] | Sequence[str] | None  # a closed set, or column -> closed set, as it is asked for
Names = tuple[str, ...]


class Kept(Generic[Value]):
    """The values that were asked for last, as many as `count` and together no larger than `size`; the newest always.

    Threads may share it.
    """

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size, self.total = count, size, 0
        self.held: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self.lock = Lock()

    def __len__(self) -> int:
        return len(self.held)

    def __iter__(self) -> Iterator[Value]:
        with self.lock:
            return iter([value for value, _ in self.held.values()])

    def get(self, key: Hashable) -> Value | None:
        """The value, which is the newest now; None where it is not held."""
        with self.lock:
            if key not in self.held:
                return None
            self.held.move_to_end(key)
            return self.held[key][0]

    def put(self, key: Hashable, value: Value, size: int) -> Value:
        """Hold a value, or what another thread has put there meanwhile -> the value that is held."""
        with self.lock:
            if key not in self.held:
                self.held[key] = value, size
                self.total += size
            self.held.move_to_end(key)
            while len(self.held) > 1 and (len(self.held) > self.count or self.total > self.size):
                _, (_, gone) = self.held.popitem(last=False)
                self.total -= gone
            return self.held[key][0]


class Programs:
    """Lines to programs, for a model and the cards of its tasks. Those asked for last are kept, with their tries.

    What is asked of the cards is looked up by line and by column, so a model of many tasks answers as fast as of few.
    """

    def __init__(self, model: GeneralistModel, cards: Sequence[TaskCard]) -> None:
        self.model, self.cards = model, tuple(cards)
        self.kept: Kept[Program] = Kept(KEPT_PROGRAMS, KEPT_LABELS)
        self.sets: Kept[Names] = Kept(KEPT_PROGRAMS, KEPT_LABELS)
        self.by_line: dict[str, list[TaskCard]] = {}
        self.learned: dict[str, dict[Names, list[str]]] = {}  # column -> closed set -> the tasks that have it
        self.own: dict[int, dict[str, Names]] = {}  # id of a card -> column -> closed set
        one: dict[Names, Names] = {}  # one object an equal set
        for card in self.cards:
            for line in dict.fromkeys(card.instructions):
                self.by_line.setdefault(line, []).append(card)
            mine = {column: _spelled(column, labels) for column, labels in card.labels.items()}
            self.own[id(card)] = {column: one.setdefault(names, names) for column, names in mine.items()}
            for column, names in self.own[id(card)].items():
                self.learned.setdefault(column, {}).setdefault(names, []).append(card.name)
        self.common = self._common()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self.kept)

    def __reduce__(self) -> tuple[Any, ...]:
        return Programs, (self.model, self.cards)

    def of(
        self, instruction: Instruction, closed_set: Asked = None, settings: Mapping[str, Any] | None = None
    ) -> tuple[Program, TaskCard | None]:
        """The program of an instruction, and the card of the task it belongs to. Programs, with their tries, are
        kept.
        """
        card = self._card(instruction)
        given = self.settings_of(instruction)
        with told_lacking(self.model):
            planned = plan(
                instruction,
                modalities=self.model.modalities,
                settings={**given, **(settings or {})},
                known=self.model.places,
            )
        labels = self._labels(planned, card, closed_set)
        key = planned.fingerprint, tuple((column, _Same(names)) for column, names in sorted(labels.items()))
        program = self.kept.get(key)
        if program is None:
            program = flow.bind(self.model, planned, labels)
            program = self.kept.put(key, program, 1 + sum(map(len, labels.values())))
        return program, card

    def settings_of(self, instruction: Instruction) -> Mapping[str, Any]:
        """Those of the task it belongs to; of another line, those that all tasks with such slots agree on."""
        card = self._card(instruction)
        return card.settings if card else self.common_settings(instruction)

    def _labels(self, planned: Plan, card: TaskCard | None, closed_set: Asked) -> dict[str, Names]:
        columns = sorted({slot.column for slot in planned.slots if slot.closed_set})
        if closed_set is None:
            given: Mapping[str, Sequence[str]] = {}
        elif isinstance(closed_set, Mapping):
            given = closed_set
        elif not isinstance(closed_set, Iterable):
            raise ConfigError(f"closed_set is {closed_set!r:.60}; give a list of labels, or {{column: labels}}")
        elif len(columns) == 1:
            given = {columns[0]: closed_set}
        else:
            raise ConfigError(
                f"closed_set={{column: labels}} is needed; columns with a set: "
                f"{columns or 'none: write closed_set in the slot'}"
            )
        known = {}
        for column in columns:
            if column not in given and (own := self._known(column, card)) is not None:
                known[column] = own
        if unknown := sorted(set(given) - set(columns)):
            raise ConfigError(f"closed_set names {unknown[0]!r}; columns with a set: {columns or 'none'}")
        return known | {column: self._given(column, labels, card) for column, labels in given.items()}

    def _known(self, column: str, card: TaskCard | None) -> Names | None:
        """The closed set that training had for a column. Errors: ConfigError where tasks differ."""
        if card is not None:
            return self.own[id(card)].get(column)
        sets = self.learned.get(column, {})
        if len(sets) > 1:
            having = {task for tasks in sets.values() for task in tasks}
            tasks = ", ".join(other.name for other in self.cards if other.name in having)
            raise ConfigError(
                f"tasks {tasks} have different closed sets for {column!r}; say which: closed_set={{{column!r}: [...]}}"
            )
        return next(iter(sets), None)

    def _given(self, column: str, labels: Sequence[str], card: TaskCard | None) -> Names:
        """Labels in the order a task learned them in, where they are the same; else as they are given.

        The same content gives the same object, as long as it is kept.
        """
        if isinstance(labels, str):
            raise ConfigError(f"the closed set of {column!r} is {labels!r}; give a list of labels")
        names = tuple(labels)
        if not set(map(type, names)) <= {str}:
            names = _spelled(column, names)
        key = column, None if card is None else id(card), names
        found = self.sets.get(key)
        if found is not None:
            return found
        names = _spelled(column, names)
        first = () if card is None else (self.own[id(card)].get(column, ()),)
        among = set(names)
        same = (
            learned
            for learned in (*first, *self.learned.get(column, ()))
            if len(learned) == len(among) and among == set(learned)
        )
        return self.sets.put(key, next(same, names), len(names))

    def _card(self, instruction: Instruction) -> TaskCard | None:
        """The card of the task whose line this is. Errors: ConfigError when two tasks share it but not what goes with
        it.
        """
        cards = self.by_line.get(str(instruction), [])
        if any((card.labels, card.settings) != (cards[0].labels, cards[0].settings) for card in cards[1:]):
            names = ", ".join(card.name for card in cards)
            raise ConfigError(
                f"tasks {names} share this line but not their closed sets or settings; use lines that differ"
            )
        return cards[0] if cards else None

    def _common(self) -> dict[str, dict[str, Any]]:
        """Modality or column -> its settings that all tasks which have it agree on."""
        names = {name for card in self.cards for name in card.settings}
        if not names:
            return {}
        words = lexicon(self.model.modalities)
        having: dict[str, list[TaskCard]] = {}
        for card in self.cards:
            lines = [Instruction(text, words) for text in card.instructions]
            for scope in {s.modality for line in lines for s in line.slots} | {
                c for line in lines for c in line.columns
            }:
                having.setdefault(scope, []).append(card)
        common: dict[str, dict[str, Any]] = {}
        for name in sorted(names):
            scope = name.split(".")[0]
            values = [card.settings.get(name) for card in having.get(scope, [])]
            if values and values[0] is not None and all(value == values[0] for value in values):
                common.setdefault(scope, {})[name] = values[0]
        return common

    def common_settings(self, instruction: Instruction) -> dict[str, Any]:
        """The settings that reach this instruction and that all tasks with such slots agree on."""
        scopes = {slot.modality for slot in instruction.slots} | set(instruction.columns)
        return {name: value for scope in scopes for name, value in self.common.get(scope, {}).items()}


class _Same:
    """A closed set as part of a key: the same object, which is held so that no other takes its place."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.names is other.names

    def __hash__(self) -> int:
        return id(self.names)


def _spelled(column: str, labels: Sequence[Any]) -> Names:
    """Errors: ConfigError for a label that is none."""
    try:
        return tuple(map(label_text, labels))
    except DataError as error:
        raise ConfigError(f"the closed set of {column!r}: {error}") from None
