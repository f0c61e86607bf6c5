"""The demo: one tiny model, six tasks on real pictures, each judged beside a trivial answer.

ofasys demo            # at most five minutes on two cores; then open runs/demo/report.html
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from ofasys.errors import ConfigError
from ofasys.gallery import emoji

if TYPE_CHECKING:
    from ofasys.generalist import GeneralistModel
    from ofasys.task.task import Task

INSTRUCTIONS = {
    "caption": "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
    "group": "[IMAGE:img] which group does it belong to? -> [TEXT:group,closed_set]",
    "grounding": '[IMAGE:img] which region does the text " [TEXT:phrase] " describe? -> [BOX:box]',
    "grounded_caption": "[IMAGE:img] what does the region describe? region: [BOX:box] -> [TEXT:cap]",
    "detection": "[IMAGE:img] detect the objects in the image. -> ([BOX:box] [TEXT:label])*",
    "vqa": "[IMAGE:img] [TEXT:question] -> [TEXT:answer]",
}
METRICS = {
    "caption": "cider",
    "group": "accuracy",
    "grounding": "iou_accuracy",
    "grounded_caption": "accuracy",
    "detection": "detection",
    "vqa": "accuracy",
}
ROWS: dict[str, Callable[..., Any]] = {
    "caption": emoji.caption,
    "group": emoji.group,
    "grounding": emoji.grounding,
    "grounded_caption": emoji.grounded_caption,
    "detection": emoji.detection,
    "vqa": emoji.vqa,
}
SETTINGS = {"IMAGE.size": 64, "IMAGE.patch": 8, "BOX.bins": 16}
MINUTES = 4.0  # of training, by default; evaluation and the report take the rest of five
PROBE_STEPS = 24


def demo_tasks(names: Sequence[str] = tuple(INSTRUCTIONS), micro_batch_size: int = 16, seed: int = 0) -> list[Task]:
    """The demo's tasks, with their data."""
    from ofasys.planner import plan
    from ofasys.task.task import Task

    found = []
    for name in names:
        scopes = {slot.modality for slot in plan(INSTRUCTIONS[name]).slots}
        rows = ROWS[name]
        found.append(
            Task(
                name,
                INSTRUCTIONS[name],
                rows("train", seed=seed),
                rows("valid", seed=seed),
                rows("test", seed=seed),
                metrics=[METRICS[name]],
                closed_set=emoji.GROUPS if name == "group" else None,
                micro_batch_size=micro_batch_size,
                settings={key: value for key, value in SETTINGS.items() if key.split(".")[0] in scopes},
                generate={"max_length": 32},
            )
        )
    return found


def run_demo(
    out: str | Path = "runs/demo", minutes: float | None = None, seed: int = 0, say: Callable[[str], None] = print
) -> Path:
    """Train, evaluate, save, load, answer, report; the path of report.html.

    minutes: of training and all around it; steps are chosen to fit, by timing a few. say: told what happens.
    """
    import shutil

    from ofasys.generalist import GeneralistModel
    from ofasys.hub import OFASys
    from ofasys.train import Trainer

    out = Path(out)
    began = time.monotonic()
    budget = 60 * (MINUTES if minutes is None else minutes)
    if out.exists() and any(out.iterdir()) and not (out / "run.json").is_file():
        raise ConfigError(f"{out} holds something that is not of an earlier demo; give a new folder: --out FOLDER")
    shutil.rmtree(out, ignore_errors=True)
    tasks = demo_tasks(seed=seed)
    say(f"six tasks, one model; {budget / 60:.1f} minutes of training")
    steps = _steps_for(budget, tasks, seed)
    model = GeneralistModel(size="tiny", seed=seed)
    trainer = Trainer(
        max_steps=steps,
        out=out,
        lr=7e-4,
        eval_every=max(1, math.ceil(steps / 4)),
        eval_samples=64,
        log_every=max(1, steps // 40),
        seed=seed,
    )
    trainer.fit(model=model, tasks=tasks)
    say(f"trained {steps} steps in {(time.monotonic() - began) / 60:.1f} minutes; evaluating on the test sets")
    loaded = OFASys.from_pretrained(out, which="last")
    found = {task.name: judge(loaded.model, task, seed) for task in tasks}
    spent = (time.monotonic() - began) / 60
    summary = {
        "tasks": {name: {k: v for k, v in result.items() if k != "answers"} for name, result in found.items()},
        "parameters": model.parameters_count,
        "minutes": round(spent, 2),
        "seed": seed,
        "steps": steps,
    }
    (out / "report.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf8")
    from ofasys.gallery.report import write_report

    path = write_report(out, tasks, found, summary)
    for name, result in found.items():
        say(
            f"  {name:17} {result['metric']:17} {result['value']:.3f}   baseline {result['baseline']:.3f} "
            f"({result['baseline_kind']})"
        )
    example = tasks[0].source("test")[0]
    answer = loaded.inference(INSTRUCTIONS["caption"], data=example)
    say(
        f"asked of a drawing it has not seen: {INSTRUCTIONS['caption']!r} -> {str(answer)!r} (truth: "
        f"{example['cap']!r})"
    )
    return path


def _steps_for(seconds: float, tasks: Sequence[Task], seed: int) -> int:
    """Steps that fit in the time, measured on a model that is thrown away."""
    from ofasys.generalist import GeneralistModel
    from ofasys.train import Trainer

    model = GeneralistModel(size="tiny", seed=seed)
    Trainer(max_steps=len(tasks), warmup=1, eval_samples=1, live=False).fit(model=model, tasks=_without_valid(tasks))
    began = time.monotonic()
    Trainer(max_steps=PROBE_STEPS, warmup=1, live=False).fit(model=model, tasks=_without_valid(tasks))
    return max(len(tasks), int(seconds / ((time.monotonic() - began) / PROBE_STEPS)))


def _without_valid(tasks: Sequence[Task]) -> list[Task]:
    import copy

    found = [copy.copy(task) for task in tasks]
    for task in found:
        task.sources = {"train": task.sources["train"]}
    return found


def judge(model: GeneralistModel, task: Task, seed: int, split: str = "test") -> dict[str, Any]:
    """The task's figure on a split beside the better of two trivial answers: the commonest, and a random one."""
    from ofasys import flow
    from ofasys.train.evaluate import metric_columns, predict_task

    program = flow.bind(model, task.plan, task.labels)
    metric = task.metrics[0]
    columns = metric_columns(metric, task.plan)
    predictions, references, _ = predict_task(model, task, split, program, batch_size=64)
    truth = [_pick(row, columns) for row in references]
    trivial = {
        kind: metric([_pick(row, columns) for row in rows], truth)[metric.main]
        for kind, rows in trivial_answers(task, columns, len(references), seed).items()
    }
    best = max if metric.higher_is_better else min
    kind = best(trivial, key=lambda k: trivial[k])
    figures = metric([_pick(row, columns) for row in predictions], truth)
    return {
        "metric": metric.main,
        "value": figures[metric.main],
        "baseline": trivial[kind],
        "baseline_kind": kind,
        "test_samples": len(references),
        "answers": list(zip(predictions, references, strict=True)),
    }


def trivial_answers(task: Task, columns: Sequence[str], n: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Answers without looking: always the commonest of training ("most frequent"), or one drawn from it ("random")."""
    source, random = task.source("train"), Random(seed)
    seen = [source[i] for i in random.sample(range(len(source)), min(2000, len(source)))]
    drawn = [{c: row[c] for c in columns} for row in (random.choice(seen) for _ in range(n))]
    return {"most frequent": [_commonest(seen, columns)] * n, "random": drawn}


def _commonest(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> dict[str, Any]:
    """Column by column: the commonest label, the mean box; of lists, those of the commonest length."""
    length = Counter(len(row[columns[0]]) for row in rows if _listed(row[columns[0]])).most_common(1)
    found: dict[str, Any] = {}
    for column in columns:
        values = [row[column] for row in rows]
        if length and _listed(values[0]) and not _is_box(values[0]):
            n = length[0][0]
            turns = [[v[i] for v in values if len(v) == n] for i in range(n)]
            found[column] = [_typical(turn) for turn in turns]
        else:
            found[column] = _typical(values)
    return found


def _typical(values: Sequence[Any]) -> Any:
    if _is_box(values[0]):
        return [sum(v[i] for v in values) / len(values) for i in range(4)]
    return Counter(values).most_common(1)[0][0]


def _listed(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_box(value: Any) -> bool:
    return _listed(value) and len(value) == 4 and all(isinstance(c, (int, float)) for c in value)


def _pick(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    return row[columns[0]] if len(columns) == 1 else tuple(row[column] for column in columns)
