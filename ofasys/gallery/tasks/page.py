"""The page of a task in the documentation, as Markdown: what its record says, and nothing that needs its data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ofasys.gallery.tasks.split import SPLITS
from ofasys.gallery.tasks.task import Figure, GalleryTask
from ofasys.language import Instruction
from ofasys.metric import METRICS
from ofasys.modality import BUILT_IN
from ofasys.planner import Plan, SlotPlan, plan

EXAMPLES, ANSWERS = "<!-- examples -->", "<!-- answers -->"
"""Where the site puts rows of the data, and answers of a trained model: `shown` makes them."""
LETTERS = 60  # of a setting that is written out


def page(task: GalleryTask) -> str:
    """The Markdown of docs/gallery/NAME.md."""
    made, metric = plan_of(task), METRICS[task.metric]
    better = "higher" if metric.higher_is_better else "lower"
    parts = [
        f"# `{task.name}`: {task.title}",
        "".join(f"    {line}\n" for line in task.instructions).rstrip("\n"),
        task.about,
        _table(("", ""), _facts(task, made, f"[`{metric.main}`](../metrics.md), {better} is better")),
        "## Run it",
        _commands(task, made),
        "## Scores",
        f"`{metric.main}` on the test rows, {better} is better.",
        _table(("", f"`{metric.main}`", "by", "measured", "command"), _scores(task)),
        "## Data",
        _packages(task),
        "## Rows",
        EXAMPLES,
        "The rows are not part of this repository. The site that `make docs` builds shows some of them here, each "
        "value as its modality shows it, once what they are made of has been fetched.",
        "## Answers",
        ANSWERS,
        "The site shows answers of a model here, right and wrong, where the folder `runs` holds what "
        f"`ofasys train gallery:{task.name}` made, of this task alone or with others.",
    ]
    return "\n\n".join(parts) + "\n"


def index(tasks: Sequence[GalleryTask]) -> str:
    """The Markdown of docs/gallery/README.md: all tasks, by what they are about."""
    parts = [
        "# The gallery",
        "Tasks on real data, each trained, evaluated and answered by one command: `ofasys data fetch NAME`, `ofasys "
        "train gallery:NAME`. A page each, made of the record that the commands read; [real data](../data.md) tells "
        "how packages are fetched, pinned and parted.",
    ]
    heads = ("task", "line", "metric", "without looking", "classical", "the recipe here")
    for tag, some in by_modality(tasks).items():
        rows = [
            [f"[`{task.name}`]({task.name}.md): {task.title}", _code(task.instructions[0]), f"`{task.metric}`"]
            + [_number(figure) for figure in (task.trivial, task.classical, task.expected)]
            for task in some
        ]
        parts += [f"## [{tag}](../modalities/{tag.lower()}.md)", _table(heads, rows)]
    return "\n\n".join(parts) + "\n"


def by_modality(tasks: Sequence[GalleryTask]) -> dict[str, list[GalleryTask]]:
    """Tag -> tasks. Of the modalities of a task the one that comes last in the registry, where text comes first."""
    order = {modality.tag: i for i, modality in enumerate(BUILT_IN.modalities)}
    found: dict[str, list[GalleryTask]] = {tag: [] for tag in order}
    for task in tasks:
        found[max((slot.modality for slot in plan_of(task).slots), key=order.__getitem__)].append(task)
    return {tag: some for tag, some in found.items() if some}


def plan_of(task: GalleryTask) -> Plan:
    """The plan of its first wording."""
    return plan(Instruction(task.instructions[0]), settings=task.settings.get("settings", {}))


def _facts(task: GalleryTask, made: Plan, metric: str) -> list[list[str]]:
    counts = ", ".join(f"{count:,} {split}" for count, split in zip(task.rows, SPLITS, strict=True))
    sides = {side: _slots(slot for slot in made.slots if slot.side == side) for side in ("source", "target", "label")}
    facts = {
        **{side: slots for side, slots in sides.items() if slots},
        "rows": f"{counts}; digest `{task.digest}`",
        "metric": metric,
        "recipe": f"a tiny model, {task.steps:,} steps of {task.optimizer}, learning rate {task.lr:g}, at most "
        f"{task.text_pieces:,} pieces of text",
        "settings": "; ".join(f"`{name}`: {_setting(value)}" for name, value in task.settings.items()),
    }
    if task.needs:
        extras = ",".join(dict.fromkeys(task.needs.values()))
        facts["needs"] = f'{", ".join(f"`{name}`" for name in task.needs)}: `pip install "ofasys[{extras}]"`'
    return [[name, fact] for name, fact in facts.items() if fact]


def _slots(slots: Iterable[SlotPlan]) -> str:
    once = {slot.column: slot.modality for slot in slots}
    return ", ".join(f"[{tag}](../modalities/{tag.lower()}.md) `{column}`" for column, tag in once.items())


def _setting(value: Any) -> str:
    """A setting as it stands in the record, or how many values it has."""
    if isinstance(value, Mapping):
        parts = [f"{name}={one}" for name, one in value.items()]
    else:
        parts = [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
    written = ", ".join(parts)
    return _code(written) if len(written) <= LETTERS else f"{len(parts)} values"


def _commands(task: GalleryTask, made: Plan) -> str:
    run = f"runs/gallery-{task.name}"
    lines = [
        *([f"ofasys data fetch {task.name}"] if task.packages else []),
        f"ofasys train gallery:{task.name}",
        f"ofasys evaluate {run}",
        f"ofasys report {run}",
    ]
    if made.answered and not any(slot.made_as.embedded for slot in made.answered):
        asked = dict.fromkeys(slot.column for slot in made.slots if slot.side == "source")
        lines.append(" ".join(["ofasys infer", run, task.name, *(f"{column}=..." for column in asked)]))
    return "".join(f"    {line}\n" for line in lines).rstrip("\n")


def _scores(task: GalleryTask) -> list[list[str]]:
    run = f"runs/gallery-{task.name}"
    baseline = f"`python -m benchmarks.gallery_baselines {task.name}`"
    train = " ".join(["ofasys train", f"gallery:{task.name}", *(task.expected.given if task.expected else ())])
    recipe = f"`{train}`, `ofasys evaluate {run} --which last`"
    told = "see [the benchmark](../../benchmarks/gallery.md)"
    rows = [
        ("without looking", task.trivial, told, baseline),
        ("classical", task.classical, told, baseline),
        ("the recipe here", task.expected, "", recipe),
    ]
    return [
        [name, _number(one), *((one.how, one.date or elsewhere) if one else ("", "")), command]
        for name, one, elsewhere, command in rows
    ]


def _number(figure: Figure | None) -> str:
    return "not measured" if figure is None else f"{figure.value:.3g}"


def _packages(task: GalleryTask) -> str:
    if not task.packages:
        return "The rows are made by rule; nothing is fetched for them."
    rows = [
        [f"`{one.name}` {one.version}", one.licence, f"{one.bytes / 1e6:.1f}", f"`{one.client}`", one.attribution]
        for one in task.records
    ]
    said = "Whoever keeps, shows or passes on rows, or what was made of them, keeps to the licence of each package."
    return f"{_table(('package', 'licence', 'MB', 'client', 'whose work it is'), rows)}\n\n{said}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([cell.strip().replace("|", r"\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(value: Any) -> str:
    return f"`{value}`"


__all__ = ["ANSWERS", "EXAMPLES", "by_modality", "index", "page", "plan_of"]
