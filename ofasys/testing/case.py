"""One modality under check: its instructions, rows, and a small model that has grown for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ofasys import flow
from ofasys.errors import OfasysError
from ofasys.generalist import GeneralistModel
from ofasys.modality import Modality, Registry, default_registry
from ofasys.model.sizes import ModelConfig
from ofasys.planner import Plan, plan
from ofasys.planner.slot import SlotPlan
from ofasys.program.program import Program
from ofasys.task.task import Task
from ofasys.types import Sample

SLOT = "x"  # the column of the slot under check
CONFIG = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, dropout=0.0, max_positions=1024)
ANSWERS = ("yes", "no", "it is not known", "a red one")
QUESTIONS = ("it", "this one here", "that", "the thing on the left")


class Case:
    """What the checks share. Arguments as of `check_modality`."""

    def __init__(
        self,
        spec: Modality,
        values: Sequence[Any],
        *,
        bad: Sequence[Any] = (),
        extreme: Sequence[Any] = (),
        source: str | None = None,
        target: str | None = None,
        beside: Mapping[str, Any] | None = None,
        labels: Mapping[str, Sequence[str]] | None = None,
        settings: Mapping[str, Any] | None = None,
        registry: Registry | None = None,
    ) -> None:
        self.spec, self.values, self.bad, self.extreme = spec, list(values), list(bad), list(extreme)
        self.beside, self.labels, self.settings = dict(beside or {}), dict(labels or {}), dict(settings or {})
        known = registry or default_registry()
        others = tuple(other for other in known.modalities if other.tag != spec.tag)
        self.registry = known if spec in known.modalities else Registry(others).with_(spec)
        self.instructions: dict[str, str] = {}
        if source or spec.source:
            self.instructions["source"] = source or f"[{spec.tag}:{SLOT}] what is it? -> [TEXT:answer]"
        if target or spec.target:
            self.instructions["target"] = target or f"what is [TEXT:question]? -> [{spec.tag}:{SLOT}]"

    @property
    def sides(self) -> tuple[str, ...]:
        """The sides it stands on."""
        return tuple(self.instructions)

    def settings_of(self, side: str) -> dict[str, Any]:
        """The settings whose modality or column stands in the instruction of a side."""
        parsed = flow.parse(self.instructions[side], self.registry)
        scopes = {slot.modality for slot in parsed.slots} | set(parsed.columns)
        return {name: value for name, value in self.settings.items() if name.split(".")[0] in scopes}

    def plan(self, side: str, **more: Any) -> Plan:
        """The plan of the instruction of a side. more: attributes of the slot under check."""
        settings = self.settings_of(side) | {f"{SLOT}.{name}": value for name, value in more.items()}
        return plan(self.instructions[side], modalities=self.registry, settings=settings)

    @cached_property
    def plans(self) -> dict[str, Plan]:
        """Side -> plan. AssertionError where one cannot be made."""
        try:
            return {side: self.plan(side) for side in self.sides}
        except OfasysError as error:
            raise AssertionError(f"an instruction cannot be planned: {error}") from error

    def slot(self, side: str) -> SlotPlan:
        """The slot under check."""
        found = [slot for slot in self.plans[side].on(side) if slot.column == SLOT]
        assert found, (
            f"{self.instructions[side]!r} has no slot named {SLOT!r} as a {side}; write [{self.spec.tag}:{SLOT}]"
        )
        return found[0]

    def row(self, value: Any, i: int = 0) -> dict[str, Any]:
        """A row with this value, and a value in every other column."""
        texts = {"answer": ANSWERS[i % len(ANSWERS)], "question": QUESTIONS[i % len(QUESTIONS)]}
        return {**texts, **self.beside, SLOT: value}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a good value."""
        return [self.row(value, i) for i, value in enumerate(self.values)]

    def task(self, side: str) -> Task:
        """A task of the good values."""
        planned = self.plans[side]
        columns = {slot.column for slot in planned.slots if slot.closed_set}
        return Task(
            side,
            self.instructions[side],
            train=self.rows,
            closed_set={name: labels for name, labels in self.labels.items() if name in columns} or None,
            settings=self.settings_of(side),
            modalities=self.registry,
        )

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Side -> task."""
        return {side: self.task(side) for side in self.sides}

    @cached_property
    def model(self) -> GeneralistModel:
        """A small model that has grown for both sides, fitted on the good values. Not trained."""
        model = GeneralistModel(config=CONFIG, modalities=self.registry)
        tasks = list(self.tasks.values())
        model.grow(
            [(task.plan, task.labels) for task in tasks],
            lambda: (text for task in tasks for text in task.texts()),
            lambda p, slot: (value for task in tasks if p in task.plans for value in task.examples(p, slot)),
        )
        return model.eval()

    @cached_property
    def programs(self) -> dict[str, Program]:
        """Side -> program of the small model."""
        return {side: flow.bind(self.model, task.plan, task.labels) for side, task in self.tasks.items()}

    def sample(
        self, side: str, value: Any, i: int = 0, *, training: bool = False, program: Program | None = None
    ) -> Sample:
        """A value as a sample; noise, if there is any, is that of row `i`."""
        random = np.random.default_rng(i)
        return flow.preprocess(program or self.programs[side], self.row(value, i), training=training, random=random)

    def samples(self, side: str, *, training: bool = False, program: Program | None = None) -> list[Sample]:
        """All good values as samples."""
        return [self.sample(side, v, i, training=training, program=program) for i, v in enumerate(self.values)]

    def limited(self, side: str, length: int) -> Program:
        """The program of a side with `max_length` on the slot under check."""
        return flow.bind(self.model, self.plan(side, max_length=length), self.tasks[side].labels)


def shown(value: Any) -> str:
    """A value in a sentence: on one line, and short."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."
