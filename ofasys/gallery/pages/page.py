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
    """What a page's tasks are made for.

    folder: of the page in the run, for files that the data needs. brief: as little data as will do, for a test.
    """

    folder: Path
    seed: int = 0
    """What its data is a function of."""
    brief: bool = False

    def some(self, many: int, few: int = 12) -> int:
        """How many rows: `many`, or `few` in a brief run."""
        return few if self.brief else many


@dataclass(frozen=True)
class Judged:
    """A task's figures on its test rows, beside those of the better of the trivial answers; and all that was
    answered.
    """

    task: Task
    metric: str
    """Which of the figures counts."""
    higher_is_better: bool
    """Of that figure."""
    figures: Mapping[str, float]
    baseline: float
    """The same figure, of the better trivial answers."""
    baseline_kind: str
    """What these are, in words."""
    rows: Sequence[Row]
    predictions: Sequence[Row]
    """What was answered for each row."""
    references: Sequence[Row]
    """What was right for each row."""

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
    """What a page shows: its tasks by name as they were judged, and the model as it was loaded again."""

    tasks: Mapping[str, Judged]
    model: OFASys
    folder: Path
    """Of the page in the run."""


@dataclass(frozen=True)
class Page:
    """name: what `--page` takes. about: what the tasks and their test rows are; said on the page. tasks: made when the
    page is run.

    show: the page's samples as HTML. needs: libraries that are not always there -> the extra that brings them. lr: the
    highest learning rate. text_pieces: the most pieces of its tokenizer; 260 is next to letter by letter. minutes: with
    everything. share: of the time that goes to training, the rest being for answering the test rows.
    """

    name: str
    title: str
    """Its heading."""
    about: str
    tasks: Callable[[Asked], Sequence[Task]] = field(repr=False)
    show: Callable[[Shown], str] = field(repr=False)
    needs: Mapping[str, str] = field(default_factory=dict)
    lr: float = 1e-3
    text_pieces: int = 2000
    minutes: float = 1.2
    share: float = 0.85

    def lacks(self) -> str | None:
        """The sentence that says what to install, if something is missing."""
        missing = [(library, extra) for library, extra in self.needs.items() if find_spec(library) is None]
        if not missing:
            return None
        libraries, extras = (", ".join(dict.fromkeys(names)) for names in zip(*missing, strict=True))
        return f'page {self.name} needs {libraries}: pip install "ofasys[{extras.replace(", ", ",")}]"'
