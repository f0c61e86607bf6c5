"""The programs of a model that answers: which task a line belongs to, its closed sets and settings, bound once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ofasys import flow
from ofasys.errors import ConfigError, DataError
from ofasys.generalist import GeneralistModel
from ofasys.language import Instruction
from ofasys.modality import lexicon
from ofasys.modality.shared.label import label_text
from ofasys.planner import Plan, plan
from ofasys.program.program import Labels, Program
from ofasys.types import TaskCard

KEPT_PROGRAMS = 64


class Programs:
    """Lines to programs, for a model and the cards of its tasks. Those made are kept, with their tries."""

    def __init__(self, model: GeneralistModel, cards: Sequence[TaskCard]) -> None:
        self.model, self.cards = model, tuple(cards)
        self.kept: dict[tuple[str, str], Program] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self.kept)

    def of(
        self,
        instruction: Instruction,
        closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> tuple[Program, TaskCard | None]:
        """The program of an instruction, and the card of the task it belongs to. Programs, with their tries, are
        kept.
        """
        card = self._card(instruction)
        given = card.settings if card else self._common_settings(instruction)
        planned = plan(instruction, modalities=self.model.modalities, settings={**given, **(settings or {})})
        labels = self._labels(planned, card, closed_set)
        key = planned.fingerprint, json.dumps(sorted((k, list(v)) for k, v in labels.items()))
        if key not in self.kept:
            while len(self.kept) >= KEPT_PROGRAMS:
                del self.kept[next(iter(self.kept))]
            self.kept[key] = flow.bind(self.model, planned, labels)
        return self.kept[key], card

    def _labels(
        self, planned: Plan, card: TaskCard | None, closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None
    ) -> Labels:
        columns = sorted({slot.column for slot in planned.slots if slot.closed_set})
        known: dict[str, Sequence[str]] = {}
        asked = columns if not isinstance(closed_set, Mapping) else [c for c in columns if c not in closed_set]
        for name in () if closed_set is not None and not isinstance(closed_set, Mapping) else asked:
            having = [other for other in ((card,) if card else self.cards) if name in other.labels]
            if len({tuple(other.labels[name]) for other in having}) > 1:
                tasks = ", ".join(other.name for other in having)
                raise ConfigError(
                    f"tasks {tasks} have different closed sets for {name!r}; say which: closed_set={{{name!r}: [...]}}"
                )
            known |= {name: having[0].labels[name]} if having else {}
        if closed_set is not None:
            if not isinstance(closed_set, Mapping):
                if len(columns) != 1:
                    raise ConfigError(
                        f"closed_set={{column: labels}} is needed; columns with a set: {columns or 'none: write closed_set in the slot'}"
                    )
                closed_set = {columns[0]: closed_set}
            if unknown := sorted(set(closed_set) - set(columns)):
                raise ConfigError(f"closed_set names {unknown[0]!r}; columns with a set: {columns or 'none'}")
            known |= {name: self._in_order(name, labels, card) for name, labels in closed_set.items()}
        return {name: _spelled(name, labels) for name, labels in known.items()}

    def _in_order(self, column: str, labels: Sequence[str], card: TaskCard | None) -> Sequence[str]:
        """Labels in the order a task learned them in, where they are the same; else as they are given."""
        if isinstance(labels, str):
            raise ConfigError(f"the closed set of {column!r} is {labels!r}; give a list of labels")
        for other in ([card] if card else []) + list(self.cards):
            learned = other.labels.get(column, ())
            if sorted(learned) == sorted(set(_spelled(column, labels))):
                return learned
        return labels

    def _card(self, instruction: Instruction) -> TaskCard | None:
        """The card of the task whose line this is. Errors: ConfigError when two tasks share it but not what goes with
        it.
        """
        cards = [card for card in self.cards if str(instruction) in card.instructions]
        if any((card.labels, card.settings) != (cards[0].labels, cards[0].settings) for card in cards[1:]):
            names = ", ".join(card.name for card in cards)
            raise ConfigError(
                f"tasks {names} share this line but not their closed sets or settings; use lines that differ"
            )
        return cards[0] if cards else None

    def _common_settings(self, instruction: Instruction) -> dict[str, Any]:
        """The settings that reach this instruction and that all tasks with such slots agree on."""
        scopes = {slot.modality for slot in instruction.slots} | set(instruction.columns)
        words = lexicon(self.model.modalities)
        found: dict[str, Any] = {}
        clash: set[str] = set()
        for card in self.cards:
            lines = [Instruction(text, words) for text in card.instructions]
            there = {s.modality for line in lines for s in line.slots} | {c for line in lines for c in line.columns}
            for name in {name for other in self.cards for name in other.settings}:
                if name.split(".")[0] in scopes & there:
                    value = card.settings.get(name)
                    if name in found and found[name] != value:
                        clash.add(name)
                    found[name] = value
        return {name: value for name, value in found.items() if name not in clash and value is not None}


def _spelled(column: str, labels: Sequence[Any]) -> tuple[str, ...]:
    """Errors: ConfigError for a label that is none."""
    try:
        return tuple(map(label_text, labels))
    except DataError as error:
        raise ConfigError(f"the closed set of {column!r}: {error}") from None
