"""The page and its picture, of whatever units are there; what has not been run is said."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.generalist.figures import Compared, Line, compared, learned, meant, ratio, shown
from benchmarks.generalist.state import WAYS, Plan
from benchmarks.generalist.suite import entries, suite
from benchmarks.generalist.units import GENERALIST, HALF, PARTS, SCALED, every, units

PAGE, PICTURE = "generalist.md", "generalist.svg"
Lines = Mapping[str, Line]
TITLES = {
    "joint": "One model against a specialist for each task",
    "ways": "Other ways to train the generalist",
    "scaling": "More tasks, the same compute",
    "published": "Against published figures",
}


def write(plan: Plan, lines: Lines, folder: Path) -> list[Path]:
    """Write the page, and the picture where there is something to draw; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = picture(plan, lines)
    paths = [folder / PAGE]
    paths[0].write_text(page(plan, lines, drawn is not None), encoding="utf8")
    if drawn is not None:
        paths.append(folder / PICTURE)
        paths[1].write_text(drawn, encoding="utf8")
    return paths


def page(plan: Plan, lines: Lines, pictured: bool = False) -> str:
    parts = ["# One model for all tasks, against a model for each", about(plan, lines), missing(plan, lines)]
    if pictured:
        parts.append(
            f"![The generalist's score beside each specialist's; grey where no specialist has learned]({PICTURE})"
        )
    for number, part in enumerate(PARTS, 1):
        text = {"joint": joint, "ways": ways, "scaling": scaling, "published": published}[part](plan, lines)
        parts += [f"## {number}. {TITLES[part]}", text or "Not run yet."]
    parts += [f"## {len(PARTS) + 1}. Cost", cost(plan, lines) or "Not run yet."]
    return "\n\n".join(part for part in parts if part) + "\n"


def about(plan: Plan, lines: Lines) -> str:
    dates = sorted({line["date"] for line in lines.values()})
    where = sorted({f"{line['machine']}, torch {line['torch']}, threads: {line['threads']}" for line in lines.values()})
    when = " to ".join(dict.fromkeys([dates[0], dates[-1]])) + "; " if dates else ""
    chosen = "" if len(plan.tasks) == len(suite()["task"]) else f" --tasks {' '.join(plan.tasks)}"
    made = f"--budget {plan.budget:g}" if plan.budget else f"--steps {plan.steps}"
    return "\n\n".join(
        [
            f"{when}{'; '.join(where) or 'nothing was run'}. Size `{plan.size}`, {plan.precision}, optimizer "
            f"`{plan.optimizer}`, schedule `{plan.schedule}`, micro-batches an update `{plan.accumulate}` "
            f"(of models of several tasks), longest gradient `{plan.clip:g}` (of the generalist; of others "
            f"`{Plan.clip:g}`), balance `{plan.balance}`, {plan.text_pieces} pieces of text at most, seeds "
            f"{', '.join(map(str, plan.seeds))}. Each of {len(plan.tasks)} tasks has {plan.steps} micro-batches, "
            "or what stands beside it below, the same rows in the same order in every model of a seed, and at most "
            f"{plan.test} test rows, chosen by a hash. The tasks are in [suite.toml](generalist/suite.toml).",
            f"    python -m benchmarks.generalist {made} {plan.options} --seeds "
            f"{' '.join(map(str, plan.seeds))} --parts {' '.join(plan.parts)}{chosen}\n"
            "    python -m benchmarks.generalist --report",
        ]
    )


def missing(plan: Plan, lines: Lines) -> str:
    """What has not been run, in words."""
    wanted, left_out = list(units(plan)), len(suite()["task"]) - len(plan.tasks)
    left = [unit for unit in wanted if unit.key not in lines]
    told = [f"{left_out} of the list's {len(suite()['task'])} tasks are not planned"] if left_out else []
    told += [f"the part '{TITLES[part].lower()}' is not planned" for part in PARTS if part not in plan.parts]
    for part in plan.parts:
        own = [unit for unit in left if unit.part == part]
        many = sum(unit.part == part for unit in wanted)
        if own:
            what = "all" if len(own) == many else ", ".join(f"{unit.system} (seed {unit.seed})" for unit in own)
            told.append(f"of '{TITLES[part].lower()}' {len(own)} of {many} models: {what}")
    if not told:
        return f"All {len(wanted)} models have been run."
    return f"{len(wanted) - len(left)} of {len(wanted)} models have been run. **Not run**: {'; '.join(told)}."


def joint(plan: Plan, lines: Lines) -> str:
    whole, half = compared(lines, GENERALIST), compared(lines, HALF)
    alone = {name: scores_of(lines, name, name) for name in plan.tasks}
    if not whole and not half and not any(alone.values()):
        return ""
    head = [
        "task",
        "micro-batches",
        "metric",
        "without looking",
        "specialist",
        "generalist",
        "ratio",
        "with half the samples",
        "ratio",
    ]
    table = [head]
    for name, steps in every(plan):
        scores = [alone[name], scores_of(lines, GENERALIST, name), scores_of(lines, HALF, name)]
        known = next((score for several in scores for score in several), None)
        if known is None:
            continue
        metric = f"{known['metric']}{'' if known['higher_is_better'] else ' (less is better)'}"
        trivial = "-" if known["trivial"] is None else f"{known['trivial']:.3f}"
        own, others, halves = (shown([score["value"] for score in several]) for several in scores)
        table.append(
            [name, f"{steps:,}", metric, trivial, own, others, ratios(whole, name), halves, ratios(half, name)]
        )
    parts = [HOW, "\n".join(rows(table)), tested(plan)]
    parts += [verdict(plan, lines, system, found) for system, found in ((GENERALIST, whole), (HALF, half)) if found]
    return "\n\n".join(parts)


def tested(plan: Plan) -> str:
    """Of which tasks the test rows are near what was learned from, in words."""
    notes = {source["from"]: source["note"] for source in suite()["source"] if "note" in source}
    named: dict[str, list[str]] = {}
    for entry in entries(plan.tasks):
        if note := notes.get(entry["from"]):
            named.setdefault(note, []).append(entry["name"])
    if not named:
        return ""
    told = "; ".join(f"of {' and '.join(names)} {note}" for note, names in named.items())
    return f"Test rows are, {told}; of the others rows apart from training, as the gallery or their page parts them."


HOW = (
    "Means over seeds (least - most). A ratio is the generalist's score over the specialist's where higher is better, "
    "and the specialist's over the generalist's where lower is; it is taken seed by seed. The mean ratio is that of "
    "all tasks, each counting the same."
)


def scores_of(lines: Lines, system: str, task: str, part: str = "joint") -> list[Mapping[str, Any]]:
    """Of each seed that is there."""
    own = _lines(lines, system, part)
    return [line["tasks"][task] for line in sorted(own, key=lambda line: line["seed"]) if task in line["tasks"]]


def ratios(found: Sequence[Compared], task: str) -> str:
    own = [one.ratio for one in found if one.task == task]
    known = [value for value in own if value is not None]
    return "no number" if own and not known else shown(known, 2)


def verdict(plan: Plan, lines: Lines, system: str, found: Sequence[Compared]) -> str:
    """The mean ratio in words, and what it is of."""
    whole = meant(found)
    if whole is None:
        return f"**{system}**: no task has a ratio yet."
    spread = "one seed" if whole.spread is None else f"± {whole.spread:.1%} over {len(whole.by_seed)} seeds"
    parts = [
        f"**{system}**: mean ratio {whole.value:.1%} ({spread}) over {whole.tasks} tasks of {len(plan.tasks)}; "
        f"geometric mean {whole.geometric:.1%}; even or ahead in {whole.even}."
    ]
    if whole.without:
        parts.append(f"No ratio, since a score is 0 or less: {', '.join(whole.without)}.")
    able = meant(learned(found))
    names = sorted({one.task for one in found} - {one.task for one in learned(found)})
    if names:
        named = ", ".join(names)
        rest = "" if able is None else f" Without them the mean ratio is {able.value:.1%} over {able.tasks} tasks."
        little = f"Ratios that say little, since no specialist there is better than an answer without looking: {named}."
        parts.append(f"{little}{rest}")
    own = [line["parameters"] for line in lines.values() if (line["part"], line["system"]) == ("joint", system)]
    each = [mean(line["parameters"] for line in several) for name in plan.tasks if (several := _lines(lines, name))]
    if len(each) == len(plan.tasks):
        parts.append(
            f"Parameters: {mean(own) / 1e6:.2f} million, the specialists together {sum(each) / 1e6:.2f} million: "
            f"{mean(own) / sum(each):.1%}."
        )
    return " ".join(parts)


def ways(plan: Plan, lines: Lines) -> str:
    """A table of ways, and one of the scores of each."""
    named = dict.fromkeys(line["system"] for line in lines.values() if line["part"] == "ways")
    if not named:
        return ""
    own = ", ".join(f"{name} {getattr(plan, name)}" for name in WAYS if name not in ("precision", "lr"))
    systems = [(f"{own} (above)", "joint", GENERALIST), *((name, "ways", name) for name in named)]
    table = [["trained with", "mean ratio", "geometric mean", "even or ahead", "updates", "processor minutes"]]
    scores = [["task", "metric", "specialist", *(name for name, _, _ in systems)]]
    for name, part, system in systems:
        found, own_lines = meant(compared(lines, system, part)), _lines(lines, system, part)
        told = ["-", "-", "-"] if found is None else [f"{found.value:.1%}", f"{found.geometric:.1%}", str(found.even)]
        spent = mean(line["processor_seconds"] for line in own_lines) / 60
        table.append([name, *told, f"{own_lines[0]['steps']:,}", f"{spent:.1f}"])
    for task in plan.tasks:
        alone = scores_of(lines, task, task)
        if alone:
            metric = f"{alone[0]['metric']}{'' if alone[0]['higher_is_better'] else ' (less is better)'}"
            cells = [scores_of(lines, system, task, part) for _, part, system in systems]
            scores.append([task, metric, *(shown([one["value"] for one in several]) for several in (alone, *cells))])
    return "\n\n".join(
        [
            "The same samples of each task in the same order, each way as far as it was run; ratios as above.",
            "\n".join(rows(table)),
            "\n".join(rows(scores)),
        ]
    )


def _lines(lines: Lines, system: str, part: str = "joint") -> list[Line]:
    return [line for line in lines.values() if (line["part"], line["system"]) == (part, system)]


def scaling(plan: Plan, lines: Lines) -> str:
    own = [line for line in lines.values() if line["part"] == "scaling"]
    if not own:
        return ""
    counts = sorted({int(line["system"].removeprefix("of-")) for line in own})
    way = suite()["scaling"]
    parts = [
        "Models that were trained on the first so many tasks of the list, each with an even share of the same number "
        f"of tokens in all, {SCALED} tasks' worth; 0: a new model. Then asked for what was never trained: at once "
        f"(zero), and after {way['steps']} steps on {way['examples']} examples. Means over seeds (least - most)."
    ]
    table = [["what was never trained", "metric", "examples", *map(str, counts), "best with"]]
    for probe in suite()["probe"]:
        for kind, many in (("zero", "0"), ("examples", str(way["examples"]))):
            found = {count: scores for count in counts if (scores := _probed(own, count, probe["name"], kind))}
            if not found:
                continue
            first = next(iter(found.values()))[0]
            cells = [shown([score["value"] for score in found.get(count, [])]) for count in counts]
            table.append([probe["name"], first["metric"], many, *cells, best_of(found)])
    names = [way["instead"].get(name, name) for name in plan.tasks]
    parts.append("\n".join(rows(table)))
    joined = (f"{i} {name}" for i, name in enumerate(names[: max(counts)], 1))
    parts.append(f"In order of joining: {', '.join(joined)}.")
    return "\n\n".join(parts)


def best_of(found: Mapping[int, Sequence[Mapping[str, Any]]]) -> str:
    """With how many tasks a figure is the best; all that share it."""
    means = {count: mean(score["value"] for score in scores) for count, scores in found.items()}
    higher = next(iter(found.values()))[0]["higher_is_better"]
    best = (max if higher else min)(means.values())
    same = [str(count) for count, value in means.items() if value == best]
    return "no difference" if len(same) == len(means) > 1 else ", ".join(same)


def _probed(own: Sequence[Line], count: int, name: str, kind: str) -> list[Mapping[str, Any]]:
    return [
        probe[kind]
        for line in own
        if line["system"] == f"of-{count}"
        for probe in line["probes"]
        if probe["name"] == name
    ]


def published(plan: Plan, lines: Lines) -> str:
    table = [["task", "figure", "reached", "in part 1", "goal", "known", "samples", "epochs", "test rows"]]
    for one in suite()["published"]:
        own, values = _figures(one, lines, "published")
        if values:
            _, before = _figures(one, lines, "joint")
            good = mean(values) >= one["goal"] if one["better"] == "higher" else mean(values) <= one["goal"]
            known = "; ".join(f"{value:.4g} {by}" for by, value in one["known"])
            bound = "at least" if one["better"] == "higher" else "at most"
            goal = f"{bound} {one['goal']:g}: {'' if good else 'not '}reached"
            seen = own[0]["tasks"][one["task"]]
            epochs = f"{seen['samples'] / seen['train_rows']:.1f}"
            spent = [f"{seen['samples']:,}", epochs, f"{seen['test_rows']:,}"]
            reached = [shown(values, 4), shown(before, 4) if before else ""]
            table.append([one["task"], one.get("called", one["figure"]), *reached, goal, known, *spent])
    if not {one["task"] for one in suite()["published"]} & set(plan.tasks):
        return "No task of the plan has published figures."
    if len(table) == 1:
        return ""
    return (
        "One model each, trained for longer than in part 1 and asked for all test rows; beside it what specialists of "
        "part 1 reached of its test rows. Means over seeds (least - most).\n\n" + "\n".join(rows(table))
    )


def _figures(one: Mapping[str, Any], lines: Lines, part: str) -> tuple[list[Line], list[float]]:
    """The lines of a part about a task with published figures, and the figure of each."""
    own = [line for line in lines.values() if (line["part"], line["system"]) == (part, one["task"])]
    values = [line["tasks"][one["task"]]["figures"][one["figure"]] for line in own]
    return own, [1 - value for value in values] if one.get("wrong") else values


def cost(plan: Plan, lines: Lines) -> str:
    """What was measured of each kind of model, and of the generalists beside all specialists of the same seed."""
    table = [["seed", "what", "models", "minutes", "processor minutes", "tokens (million)", "peak memory (MiB)"]]
    told = []
    for seed in plan.seeds:
        alone = [lines[key] for name in plan.tasks if (key := f"joint/{name}/{seed}") in lines]
        if alone:
            table.append(
                _spent(seed, f"specialists{'' if len(alone) == len(plan.tasks) else ', as far as they are'}", alone)
            )
        for system in (GENERALIST, HALF):
            one = lines.get(f"joint/{system}/{seed}")
            if one is None:
                continue
            table.append(_spent(seed, system, [one]))
            if len(alone) == len(plan.tasks):
                share = one["processor_seconds"] / sum(line["processor_seconds"] for line in alone)
                found = meant([c for c in compared(lines, system) if c.seed == seed])
                told.append(
                    f"Seed {seed}, {system}: {share:.0%} of the specialists' processor time together"
                    f"{'' if found is None else f', for a mean ratio of {found.value:.1%}'}."
                )
    if len(table) == 1:
        return ""
    head = (
        "Training, without answering the test rows. Minutes are of the wall, on a machine that other work may share; "
        "those of the processor are not touched by that so much. Tokens are stream positions of both sides, from a few "
        "rows of each task. Memory is that of the whole process, the largest of several."
    )
    return "\n\n".join([head, "\n".join(rows(table)), *([" ".join(told)] if told else [])])


def _spent(seed: int, what: str, own: Sequence[Line]) -> list[str]:
    return [
        str(seed),
        what,
        str(len(own)),
        f"{sum(line['seconds'] for line in own) / 60:.1f}",
        f"{sum(line['processor_seconds'] for line in own) / 60:.1f}",
        f"{sum(line['tokens'] for line in own) / 1e6:.2f}",
        f"{max(line['peak_bytes'] for line in own) / 2**20:.0f}",
    ]


def rows(table: Sequence[Sequence[str]]) -> list[str]:
    """A table as Markdown."""
    head, *rest = [f"| {' | '.join(cells)} |" for cells in table]
    return [head, "|---" * len(table[0]) + "|", *rest]


GREY = "#adb5bd"  # of a task whose specialist has learned nothing either
BAR, GAP, LEFT, WIDE, MOST = 16, 8, 150, 460, 2.0


def picture(plan: Plan, lines: Lines) -> str | None:
    """A bar a task: the generalist's score over the specialist's, the mean of the seeds. None for no ratio."""
    found = compared(lines, GENERALIST)
    bars = []
    for name in plan.tasks:
        known = [value for one in found if one.task == name and (value := one.ratio) is not None]
        if known:
            bars.append((name, mean(known), any(one.task == name for one in learned(found))))
    if not bars:
        return None
    high, scale = 30 + len(bars) * (BAR + GAP), WIDE / MOST
    even = LEFT + scale
    drawn = [
        f"<text x='{even}' y='14' text-anchor='middle'>as good as the specialist</text>",
        f"<path d='M{even} 20V{high}' stroke='#495057' stroke-dasharray='4 3'/>",
    ]
    for i, (name, value, says) in enumerate(bars):
        y, wide = 24 + i * (BAR + GAP), min(value, MOST) * scale
        ink = GREY if not says else "#0b7285" if value >= 1 else "#e67700"
        drawn.append(f"<text x='{LEFT - 8}' y='{y + 12}' text-anchor='end'>{html.escape(name)}</text>")
        drawn.append(f"<rect x='{LEFT}' y='{y}' width='{wide:.1f}' height='{BAR}' fill='{ink}'/>")
        halo = "paint-order='stroke' stroke='white' stroke-width='4'"  # over the dashes
        drawn.append(f"<text x='{LEFT + wide + 5:.1f}' y='{y + 12}' {halo}>{value:.0%}</text>")
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {LEFT + WIDE + 60} {high + 6}' font-family='sans-serif' "
        f"font-size='12' fill='#212529'>\n<rect width='100%' height='100%' fill='white'/>\n"
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


__all__ = ["page", "picture", "ratio", "write"]
