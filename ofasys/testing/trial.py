"""A small model that has grown for one instruction, on made-up rows: what the kits try criteria and generators on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ofasys import flow
from ofasys.criterion import Criterion
from ofasys.errors import OfasysError
from ofasys.generalist import GeneralistModel
from ofasys.generator import Generator
from ofasys.modality import Registry
from ofasys.planner import plan
from ofasys.planner.slot import SlotPlan
from ofasys.task.task import Task
from ofasys.testing.case import CONFIG
from ofasys.types import Sample

LINES = (
    "[TEXT:question] -> [TEXT:answer{0}]",
    "[TEXT:question] -> [CATEGORY:kind{0}]",
    "[TEXT:question] -> [NUMBER:number{0}]",
    "[TEXT:question] -> [AUDIO:sound,rate=8000,mels=16,reduction=2{0}]",
    "[TEXT:question] -> [MOTION:motion,fps=10,frames=12{0}]",
    "[AUDIO:sound,rate=8000,mels=16{0}] ->",
    "[TEXT:question{0}] ->",
    "[IMAGE:picture,size=16,patch=8{0}|TEXT:question{0}] ->",
)
"""A slot of each kind of target; {0} stands where its attributes do."""
KIND = "kind"  # the column of ROWS that holds one of a few labels


def _rows() -> list[dict[str, Any]]:
    """Four rows with a value in each column of LINES, of different lengths where lengths differ."""
    rest = np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0.5]])
    turns = np.arange(3)[None, :, None]
    return [
        {
            "question": f"question {i}",
            "answer": ("x", "yes", "one two three " * 6, "four five " * 8)[i],
            "kind": ("big", "small", "odd", "big")[i],
            "number": 10.0**i,
            "sound": (np.sin(np.arange(1600 + 1600 * i) / (9 + i)).astype(np.float32), 8000),
            "motion": rest + 0.3 * np.sin(np.arange(8 + 2 * i)[:, None, None] / 4 + turns + i),
            "picture": np.full((16, 16, 3), 60 * i, dtype=np.uint8),
        }
        for i in range(4)
    ]


def line_of(registry: Registry, attributes: Sequence[str], fits: Callable[[SlotPlan], bool]) -> str | None:
    """The first of LINES that can be planned with one of these attributes and has a slot that fits; None without."""
    for line in LINES:
        for own in attributes:
            try:
                made = plan(line.format(own), modalities=registry)
            except OfasysError:
                continue
            if any(map(fits, made.slots)):
                return line.format(own)
    return None


def attributes_of(criterion: Criterion) -> str:
    """What is written behind a slot so that it is learned by a criterion."""
    label = f",{criterion.label_column}={KIND}" if criterion.label_column else ""
    return f",criterion={criterion.name}{label}"


class Trial:
    """A small model, not trained, in evaluation mode; and the samples of its rows.

    record: what is under check. instruction: with a slot that it learns or makes. rows: two or more; made-up ones of
    LINES if None. labels: closed sets by column.
    """

    def __init__(
        self,
        record: Criterion | Generator,
        instruction: str,
        rows: Sequence[Mapping[str, Any]] | None,
        labels: Mapping[str, Sequence[str]] | None,
        registry: Registry,
    ) -> None:
        self.record, self.instruction, self.registry = record, instruction, registry
        self.rows = list(_rows() if rows is None else rows)
        assert len(self.rows) >= 2, "give two rows or more"
        self.task = Task(
            "trial", instruction, train=self.rows, closed_set=dict(labels) if labels else None, modalities=registry
        )
        self.model = GeneralistModel(config=CONFIG, text_pieces=300, modalities=registry)
        self.model.grow([(made, self.task.labels) for made in self.task.plans], self.task.texts, self.task.examples)
        self.model.eval()
        self.program = flow.bind(self.model, self.task.plan, self.task.labels)

    @cached_property
    def slot(self) -> SlotPlan:
        """The first slot that it learns or makes. AssertionError where there is none."""
        return next(self._slots())

    def _slots(self) -> Iterator[SlotPlan]:
        found = [slot for slot in self.task.plan.slots if self.record in (slot.learned_by, slot.made_by)]
        assert found, f"{self.instruction} has no slot that it stands for; name it as an attribute of one"
        yield from found

    @cached_property
    def samples(self) -> list[Sample]:
        """The rows read as in training; noise, if there is any, is that of the row's number."""
        return [
            flow.preprocess(self.program, row, training=True, random=np.random.default_rng(i))
            for i, row in enumerate(self.rows)
        ]

    @cached_property
    def questions(self) -> list[Sample]:
        """The rows read without their answers."""
        return [flow.preprocess(self.program, row, target=False) for row in self.rows]
