"""A page of the demo: a few tasks of one kind that train one tiny model, and how the report shows what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofasys.hub import OFASys
    from ofasys.task.task import Task

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """What a page's tasks are made for."""

    folder: Path
    """Of the page in the demo's, for files that the data needs."""
    seed: int = 0
    """What its data is a function of."""
    brief: bool = False
    """As little data as will do, for a test."""

    def some(self, many: int, few: int = 12) -> int:
        """How many rows: `many`, or `few` in a brief run."""
        return few if self.brief else many


@dataclass(frozen=True)
class Judging:
    """How test rows are answered and judged."""

    looked_at: int = 500
    """Training rows that trivial answers are made of."""
    batch_size: int = 32
    """Test rows that are answered at a time."""


@dataclass(frozen=True)
class Judged:
    """A task's figures on its test rows, beside those of the best trivial answer; and all that was answered."""

    task: Task
    metric: str
    """Which of the figures is the headline."""
    higher_is_better: bool
    """Of that figure."""
    figures: Mapping[str, float]
    baseline: float
    """The headline of the best trivial answer."""
    baseline_kind: str
    """What these are, in words."""
    rows: Sequence[Row]
    """The test rows, as the task has them."""
    predictions: Sequence[Row]
    """Of each row what was answered, by column."""
    references: Sequence[Row]
    """Of each row what is true, as an answer would hold it."""

    @property
    def value(self) -> float:
        """The headline figure."""
        return self.figures[self.metric]

    def summary(self) -> dict[str, Any]:
        """As `report.json` holds it."""
        return {
            "metric": self.metric,
            "value": self.value,
            "baseline": self.baseline,
            "baseline_kind": self.baseline_kind,
            "test_samples": len(self.references),
            "higher_is_better": self.higher_is_better,
        }


@dataclass(frozen=True)
class Shown:
    """What a page is shown by."""

    tasks: Mapping[str, Judged]
    """By name, as they were judged."""
    model: OFASys
    """As it was loaded again."""


@dataclass(frozen=True)
class Line:
    """A built-in task without its data: what `ofasys tasks` lists."""

    name: str
    """Of the task; no other built-in task has it."""
    instruction: str
    """As the task has it."""
    metric: str
    """The name of the metric it is judged by."""

    def task(self, train: Sequence[Row], **settings: Any) -> Task:
        """The task with its data. settings: as `Task` takes them; `metrics` for a metric that has settings of its
        own.
        """
        from ofasys.task.task import Task

        return Task(self.name, self.instruction, train, **{"metrics": [self.metric], **settings})


@dataclass(frozen=True)
class Page:
    """Tasks that train one tiny model together, and how a report shows what it answers."""

    name: str
    """What `--page` takes."""
    title: str
    """Its heading."""
    about: str
    """What the tasks and their test rows are; said on the page."""
    lines: tuple[Line, ...]
    """Its tasks without their data."""
    tasks: Callable[[Asked], Sequence[Task]] = field(repr=False)
    """Makes them with their data, in the order of the lines, when the page is run."""
    show: Callable[[Shown], str] = field(repr=False)
    """The page's samples as HTML."""
    needs: Mapping[str, str] = field(default_factory=dict)
    """Libraries that are not always there -> the extra that brings them."""
    lr: float = 1e-3
    """The highest learning rate."""
    optimizer: str = "adamw"
    """What makes an update of gradients."""
    text_pieces: int = 2000
    """The most pieces of its tokenizer; 260 is next to letter by letter."""
    minutes: float = 1.2
    """With everything."""
    share: float = 0.85
    """Of the time, for training; the rest is for answering the test rows."""
    judging: Judging = Judging()
    """How its test rows are answered and judged."""
    at_root: bool = False
    """Whether its run stands in the demo's folder itself, which then is the folder of a saved model."""

    def lacks(self) -> str | None:
        """The sentence that says what to install, if something is missing."""
        missing = [(library, extra) for library, extra in self.needs.items() if find_spec(library) is None]
        if not missing:
            return None
        libraries, extras = (", ".join(dict.fromkeys(names)) for names in zip(*missing, strict=True))
        return f'page {self.name} needs {libraries}: pip install "ofasys[{extras.replace(", ", ",")}]"'
