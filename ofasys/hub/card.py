"""The card of a saved model: a page of Markdown that says what it was trained on, how well it does, how to ask it, and
what it cannot do. Its head is YAML, as the Hugging Face hub reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ofasys.errors import OfasysError
from ofasys.generalist import GeneralistModel
from ofasys.hub.examples import FILES
from ofasys.hub.facts import Facts, TaskFacts
from ofasys.language import Instruction
from ofasys.metric import larger_is_better
from ofasys.modality import lexicon
from ofasys.planner import Plan, plan
from ofasys.types import TaskCard

CARD = "README.md"
LABELS = 20  # of a closed set that are listed
SPLITS = {"train": "train", "valid": "validation", "test": "test"}  # as the hub calls them
_HERE = "path/to/this/folder"


def model_card(
    model: GeneralistModel, cards: Sequence[TaskCard], facts: Facts, *, name: str = "", licence: str = ""
) -> str:
    """The card as text. name: OWNER/NAME on the hub; empty: it lies in a folder. licence: of the weights."""
    known = [_Known(card, facts.tasks.get(card.name, TaskFacts()), model) for card in cards]
    title = name.rpartition("/")[2] or "A model of ofasys"
    parts = [
        f"# {title}",
        f"One model of {model.parameters_count:,} parameters for {_count(len(cards), 'task')}. A task is a line; any "
        "line of these kinds can be asked, also one it was not trained on.",
        "## Tasks",
        *(part for task in known for part in task.described()),
        "## Scores",
        _scores(known, facts),
        "## How to ask it",
        _asked(known, name),
        "## What it cannot do",
        "\n".join(f"- {line}" for line in _limits(known, model)),
        "## How it was made",
        _made(model, facts),
    ]
    return f"{_head(known, model, facts, title, licence)}\n" + "\n\n".join(parts) + "\n"


class _Known:
    """A task, with what is known of it."""

    def __init__(self, card: TaskCard, facts: TaskFacts, model: GeneralistModel) -> None:
        self.card, self.facts, self.modalities = card, facts, model.modalities
        self.plans: list[Plan] = []
        for line in card.instructions:
            try:
                instruction = Instruction(line, lexicon(model.modalities))
                self.plans.append(plan(instruction, modalities=model.modalities, settings=card.settings))
            except OfasysError:  # of a plug-in that is not here: the line itself is told
                continue

    def described(self) -> Iterator[str]:
        """Its section, part by part."""
        yield f"### {_plain(self.card.name)}"
        yield _fenced("\n".join(self.card.instructions))
        yield "\n".join(f"- {line}" for line in (*self._labels(), *self._data()))
        for one in self.plans[:1]:
            kept = [line for line in str(one).splitlines()[2:] if not line.startswith("      ")]
            yield f"<details><summary>Its plan, in short</summary>\n\n{_fenced(chr(10).join(kept))}\n\n</details>"

    def _labels(self) -> Iterator[str]:
        for column, labels in self.card.labels.items():
            more = f" and {len(labels) - LABELS:,} more" if len(labels) > LABELS else ""
            yield f"labels of `{column}`: {', '.join(map(_plain, labels[:LABELS]))}{more}"

    def _data(self) -> Iterator[str]:
        rows = "".join(f", {count:,} {split} rows" for split, count in self.facts.rows.items())
        files = ", ".join(f"{split}: {told}" for split, told in self.facts.data.items())
        yield f"data: {_plain(self.card.origin or files or 'not told')}{rows}"
        yield f"licence of the data: {_plain(self.card.licence or 'not told')}"

    def example(self, column: str) -> str:
        """What a value of a column may look like: the name of a file, where its modality has files."""
        slot = next((slot for slot in self.plans[0].slots if slot.column == column), None)
        spec = None if slot is None else self.modalities.spec(slot.modality)
        if slot is None or spec is None or spec.save is None or spec.widget_of(slot.values) not in (*FILES, "table"):
            return "..."
        return f"{column}{spec.save.suffixes[0]}"

    def scores(self) -> Iterator[tuple[str, float | None]]:
        """(figure, value), the headlines of its metrics first."""
        yield from sorted(self.facts.scores.items(), key=lambda one: one[0] not in self.card.metrics)

    def behind(self) -> list[str]:
        """The figures that are not better than those of answers given without looking."""
        found = []
        for figure, value in self.facts.scores.items():
            other, up = self.facts.trivial.get(figure), larger_is_better(figure)
            if other is None or value is None or up is None:
                continue
            if (value <= other.value) if up else (value >= other.value):
                found.append(f"{figure} {value:.4g}, where {other.kind} answers have {other.value:.4g}")
        return found


def _scores(known: Sequence[_Known], facts: Facts) -> str:
    rows = []
    for task in known:
        for figure, value in task.scores():
            other = task.facts.trivial.get(figure)
            cells = [task.card.name, figure, "not a number" if value is None else f"{value:.4g}"]
            cells += ["" if other is None else f"{other.value:.4g} ({other.measured})"]
            cells += ["" if task.facts.samples is None else f"{task.facts.samples:,}"]
            cells += ["" if task.facts.step is None else f"{task.facts.step:,}"]
            rows.append(cells)
    if not rows:
        return "None is known: it was not evaluated, or its run is not known."
    splits = " and ".join(sorted({task.facts.split for task in known if task.facts.scores}))
    heads = ["task", "figure", "score", "without looking", f"{splits} rows", "step"]
    when = f" Saved on {facts.date}, after step {facts.step:,}." if facts.date and facts.step is not None else ""
    lines = [heads, ["---"] * len(heads), *rows]
    table = "\n".join(f"| {' | '.join(_plain(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in lines)
    return f"On {splits} rows.{when}\n\n{table}"


def _asked(known: Sequence[_Known], name: str) -> str:
    lines = ["from ofasys import OFASys", "", f"model = OFASys.from_pretrained({name or _HERE!r})"]
    for task in known:
        if task.plans:
            asked = Instruction(task.plans[0].instruction, lexicon(task.modalities))
            data = ", ".join(f"{column!r}: {task.example(column)!r}" for column in asked.needed)
            lines.append(f"print(model.inference({str(asked)!r}, data={{{data}}}))")
    return _fenced("\n".join(lines), "python")


def _limits(known: Sequence[_Known], model: GeneralistModel) -> Iterator[str]:
    unseen = sorted({modality.tag for modality in model.modalities.modalities} - model.used)
    if unseen:
        yield f"It has never seen {', '.join(unseen)}: a line with a slot of these asks for what it has not learned."
    for task in known:
        for one in task.behind():
            yield f"{_plain(task.card.name)} is no better than answers given without looking at the question: {one}."
    unscored = [task.card.name for task in known if not task.facts.scores]
    if unscored:
        yield f"How well it does is not known of {', '.join(map(_plain, unscored))}: no score is there."
    compared = any(task.facts.trivial for task in known)
    if not compared and len(unscored) < len(known):
        yield "Its scores were not compared with answers given without looking at the question."
    if any(task.card.labels for task in known):
        yield "Of a closed set it answers with a label it was given, also where none is right."
    yield "Its answers are guesses of a model; what they are used for needs an evaluation of its own."


def _made(model: GeneralistModel, facts: Facts) -> str:
    rows: dict[str, Any] = {
        "engine": f"{model.engine_spec.name}: {model.engine_spec.about}",
        "size": model.size,
        "precision": model.precision,
        "step": facts.step,
        **facts.trained,
    }
    lines = [f"- {name.replace('_', ' ')}: {_plain(value)}" for name, value in rows.items() if value is not None]
    lines += [f"- versions: {', '.join(f'{k} {v}' for k, v in facts.versions.items())}"] if facts.versions else []
    lines += [f"- {_plain(line)}" for line in model.origins().splitlines()]
    return "\n".join(lines)


def _head(known: Sequence[_Known], model: GeneralistModel, facts: Facts, title: str, licence: str) -> str:
    import yaml

    tags = ["ofasys", "multi-task", *sorted(tag.lower() for tag in model.used)]
    head: dict[str, Any] = {"library_name": "ofasys", "tags": tags}
    head |= {"license": licence.lower()} if licence else {}
    base = str(getattr(model.config, "source", "")).partition("@")[0]
    head |= {"base_model": base} if base else {}
    results = [result for task in known if (result := _result(task)) is not None]
    if results:
        head["model-index"] = [{"name": title, "results": results}]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n"


def _result(task: _Known) -> Mapping[str, Any] | None:
    """A task's scores as the hub's index has them."""
    scores = [(figure, value) for figure, value in task.scores() if value is not None]
    if not scores or not task.plans:
        return None
    sides = ("source", "target")
    tags = ["-".join(dict.fromkeys(s.modality.lower() for s in task.plans[0].on(side))) for side in sides]
    return {
        "task": {"type": "-to-".join(tag for tag in tags if tag), "name": task.card.name},
        "dataset": {
            "type": task.card.name,
            "name": task.card.origin or task.card.name,
            "split": SPLITS[task.facts.split],
        },
        "metrics": [{"type": figure, "name": figure, "value": value} for figure, value in scores],
    }


def _fenced(text: str, kind: str = "") -> str:
    """A code block that its text cannot end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{kind}\n{text}\n{fence}"


def _plain(value: object) -> str:
    """A text in one line, without HTML."""
    return " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
