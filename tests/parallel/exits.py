"""Two processes train every kind of target, with a data worker each, evaluate and save, and end.

`python -m tests.parallel.exits 100` does so as many times, and says how often both ended with status 0 and in silence.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from ofasys import GeneralistModel, Task, Trainer
from tests.laws.test_accumulate import CONFIG, LINES, ROWS

MORE = {"contrast": "[TEXT:q|TEXT:a] ->", "reward": "[TEXT:q] -> [TEXT:b,criterion=reward,reward=cer]"}
OURS = "from ofasys.parallel.launch import launch; import sys; sys.exit(launch([sys.executable, *sys.argv[1:]], 2))"


def train(out: str) -> None:
    """One of two processes."""
    tasks = [
        Task(name.replace(" ", "_"), line, train=ROWS, valid=ROWS[:2], micro_batch_size=4, generate=short(name))
        for name, line in (LINES | MORE).items()
    ]
    trainer = Trainer(max_steps=len(tasks), workers=1, eval_every=len(tasks), save_every=5, out=out, live=False)
    trainer.fit(model=GeneralistModel(config=CONFIG, text_pieces=300), tasks=tasks)


def short(name: str) -> dict[str, int]:
    """Answers of a model that has learned nothing need not be long."""
    return {} if name in ("ctc", "classify", "contrast", "mse") else {"max_length": 4}


def once() -> tuple[int, str]:
    """The status of two processes, and what they said on standard error."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-c", OURS, "-m", "tests.parallel.exits", "train", str(Path(out) / "run")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        return done.returncode, done.stderr


def main() -> None:
    if sys.argv[1] == "train":
        train(sys.argv[2])
        return
    found: Counter[str] = Counter()
    for _ in range(int(sys.argv[1])):
        status, said = once()
        found[f"status {status}" + (", with words on standard error" if said else "")] += 1
        if status or said:
            print(said, flush=True)
        print(f"{found.total()} runs: {dict(found)}", flush=True)


if __name__ == "__main__":
    main()
