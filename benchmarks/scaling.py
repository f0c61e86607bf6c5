"""How a run scales with its tasks: start, time beside the passes, memory; `python -m benchmarks.scaling`.

Each number of tasks runs in a process of its own, on one model and rows of one kind, so that only the tasks are more.
What is subtracted as passes is the model's forward and backward and the optimizer's step, timed within the same run.
Times are of the processor and not of the clock, so that other work on the machine does not count.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

COUNTS = (1, 10, 100, 1000)
STEPS, WARM = 400, 50
WORDS = [
    "red",
    "green",
    "blue",
    "white",
    "small",
    "big",
    "round",
    "flat",
    "old",
    "new",
    "bird",
    "fish",
    "tree",
    "stone",
]


def resident() -> float:
    """MB of this process that are its own: not what it shares with the files of libraries."""
    with open("/proc/self/smaps_rollup") as file:
        lines = dict(line.split(":", 1) for line in file if ":" in line)
    return sum(int(lines[name].split()[0]) for name in ("Private_Dirty", "Private_Clean")) / 1024


def tasks(count: int) -> list[Any]:
    from ofasys import Task

    rows = [
        {"text": " ".join(WORDS[(i * 5 + j) % len(WORDS)] for j in range(4)), "label": WORDS[i % 4]} for i in range(64)
    ]
    line = "what colour is [TEXT:text] -> [TEXT:label,closed_set]"
    return [Task(f"task{i}", line, train=rows, micro_batch_size=4) for i in range(count)]


def measured(count: int, schedule: str, workers: int) -> dict[str, float]:
    """One run: seconds to the first step, milliseconds a step beside its passes, MB."""
    import torch

    from ofasys import Callback, GeneralistModel, Trainer
    from ofasys.train import steps as room

    torch.set_num_threads(1)
    passes, steps = [0.0], list[tuple[float, float]]()

    def timed(name: str) -> None:
        own = getattr(room.Steps, name)

        def called(*given: Any) -> Any:
            began = time.process_time()
            try:
                return own(*given)
            finally:
                passes[0] += time.process_time() - began

        setattr(room.Steps, name, called)

    class Watch(Callback):
        def before_step(self, run: Any) -> None:
            self.began, passes[0] = time.process_time(), 0.0
            if not steps:
                self.first = self.began

        def after_step(self, run: Any) -> None:
            steps.append((time.process_time() - self.began, passes[0]))

    timed("backward")
    timed("descend")
    watch = Watch()
    trainer = Trainer(
        max_steps=STEPS,
        schedule=schedule,
        workers=workers,
        log_every=10**6,
        live=False,
        callbacks=[watch],
        precision="float32",
    )
    model, given = GeneralistModel("tiny"), tasks(1)
    Trainer(max_steps=2, live=False, precision="float32").fit(model=model, tasks=given)  # everything is loaded
    gc.collect()
    before, began = resident(), time.process_time()
    trainer.fit(model=model, tasks=tasks(count))
    beside = [1e3 * (whole - part) for whole, part in steps[WARM:]]
    gc.collect()
    return {
        "start": watch.first - began,
        "beside": median(beside),
        "whole": 1e3 * median(whole for whole, _ in steps[WARM:]),
        "memory": resident() - before,
    }


def main() -> None:
    """Print a table."""
    print(f"{'tasks':>6} {'schedule':14} {'workers':>7} {'start s':>8} {'beside ms':>9} {'step ms':>8} {'MB':>6}")
    for schedule in ("round_robin", "temperature"):
        for workers in (0, 2):
            for count in COUNTS:
                command = [sys.executable, "-m", "benchmarks.scaling", str(count), schedule, str(workers)]
                environment = {**os.environ, "OMP_NUM_THREADS": "1"}
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
                found = json.loads(done.stdout.splitlines()[-1])
                times = f"{found['start']:8.2f} {found['beside']:9.2f} {found['whole']:8.2f}"
                print(f"{count:6} {schedule:14} {workers:7} {times} {found['memory']:6.0f}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measured(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
    else:
        main()
