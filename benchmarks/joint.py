"""What schedules, balancers and precisions make of the demo's six tasks: scores on test rows after as many samples;
`python -m benchmarks.joint`.

All ways see 1,200 micro-batches of 16 rows and begin from the same weights; those that put all six tasks in an update
make 200 updates of them, the others 1,200. Each way runs with several seeds, each run in a process of its own. What was
run is kept in `--out` as a line each, and not run again, so that the benchmark may be stopped and gone on with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

MICRO_BATCHES = 1200
SEEDS = (0, 1, 2)
ONE = {"precision": "bfloat16"}  # task an update
ALL = {"schedule": "accumulate", "precision": "bfloat16"}  # tasks in each update
WAYS: Mapping[str, Mapping[str, Any]] = {
    "round_robin": ONE,
    "round_robin, float32": {"precision": "float32"},
    "proportional": ONE | {"schedule": "proportional"},
    "temperature 2": ONE | {"schedule": {"name": "temperature", "temperature": 2}},
    "adaptive": ONE | {"schedule": "adaptive"},
    "accumulate": ALL,
    "accumulate, uncertainty": ALL | {"balance": "uncertainty"},
    "accumulate, dwa": ALL | {"balance": {"name": "dwa", "every": 20}},
    "accumulate, gradnorm": ALL | {"balance": "gradnorm"},
    "accumulate, famo": ALL | {"balance": "famo"},
    "accumulate, pcgrad": ALL | {"balance": "pcgrad"},
}


def measured(way: str, seed: int, micro_batches: int) -> dict[str, Any]:
    """Score of each task on its test rows, that of the best trivial answer, and the losses on valid rows on the way."""
    from ofasys import GeneralistModel, Trainer
    from ofasys.gallery.pages import MAIN
    from ofasys.gallery.pages.judge import judge
    from ofasys.gallery.pages.page import Asked

    with tempfile.TemporaryDirectory() as folder:
        tasks = list(MAIN.tasks(Asked(Path(folder), seed=0)))
        settings = dict(WAYS[way])
        updates = micro_batches // (len(tasks) if settings.get("schedule") == "accumulate" else 1)
        trainer = Trainer(
            max_steps=updates,
            lr=MAIN.lr,
            eval_every=-(-updates // 4),
            eval_samples=64,
            live=False,
            seed=seed,
            **settings,
        )
        model = GeneralistModel(size="tiny", seed=seed, text_pieces=MAIN.text_pieces)
        model = trainer.fit(model=model, tasks=tasks)
        found = {task.name: judge(model, task, seed, MAIN.judging) for task in tasks}
    curves = {
        name: [line["loss"] for line in trainer.history if line["kind"] == "valid" and line["task"] == name]
        for name in found
    }
    return {
        "way": way,
        "seed": seed,
        "scores": {name: one.value for name, one in found.items()},
        "trivial": {name: one.baseline for name, one in found.items()},
        "curves": curves,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Mean of the seeds, and from the least to the most where they are several; the last column is the tasks' mean."""
    names = list(rows[0]["scores"])
    lines = [f"| way | {' | '.join(names)} | all |", "|---" * (len(names) + 2) + "|"]
    for way in WAYS:
        own = [row["scores"] for row in rows if row["way"] == way]
        if own:
            cells = [_cell([scores[name] for scores in own]) for name in names]
            whole = _cell([mean(scores.values()) for scores in own], deviation=True)
            lines.append(f"| {way} | {' | '.join(cells)} | {whole} |")
    trivial = {name: mean(row["trivial"][name] for row in rows) for name in names}
    cells = [f"{value:.2f}" for value in trivial.values()]
    return "\n".join([*lines, f"| best trivial answer | {' | '.join(cells)} | {mean(trivial.values()):.2f} |"])


def curves(rows: list[dict[str, Any]]) -> str:
    """The sum of the tasks' losses on valid rows, after each quarter of the run; mean of the seeds."""
    lines = ["| way | 1/4 | 1/2 | 3/4 | 1 |", "|---|---|---|---|---|"]
    for way in WAYS:
        own = [[sum(at) for at in zip(*row["curves"].values(), strict=True)] for row in rows if row["way"] == way]
        if own:
            lines.append(f"| {way} | {' | '.join(f'{mean(at):.2f}' for at in zip(*own, strict=True))} |")
    return "\n".join(lines)


def _cell(values: list[float], deviation: bool = False) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    spread = f"± {stdev(values):.3f}" if deviation else f"({min(values):.2f} - {max(values):.2f})"
    return f"{mean(values):.{3 if deviation else 2}f} {spread}"


def _kept(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/joint.jsonl"))
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--micro-batches", type=int, default=MICRO_BATCHES)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(args.one[0], int(args.one[1]), args.micro_batches)))
        return
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in args.seeds:
        for way in args.ways:
            if any((row["way"], row["seed"]) == (way, seed) for row in _kept(args.out)):
                continue
            command = [sys.executable, "-m", "benchmarks.joint", "--one", way, str(seed)]
            command += ["--micro-batches", str(args.micro_batches)]
            told = subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ))
            with args.out.open("a") as file:
                file.write(told.stdout.splitlines()[-1] + "\n")
            print(f"{way}, seed {seed}", file=sys.stderr, flush=True)
    rows = _kept(args.out)
    print(table(rows), curves(rows), sep="\n\n")


if __name__ == "__main__":
    main()
