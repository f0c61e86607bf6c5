"""Runs that are killed again and again, at random moments and inside saves too, must end as if nothing had happened.

python -m tests.laws.torture             # all demo tasks, 20 kills, without and with data workers; some minutes

A moment is the n-th of what a run does: a micro-batch, a part of a file of a checkpoint, a pointer, a line of a log.
Which n, is drawn from the seed. The process ends itself there by SIGKILL, as a machine that goes down does; the same
run is then started again. In the end weights, moments, log and quarantine are those of a run that was never
killed, to the bit.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from ofasys import GeneralistModel, Task, Trainer
from ofasys.gallery.demo import demo_tasks
from ofasys.hub import store
from ofasys.hub.store import read_folder
from ofasys.train import checkpoint, lines
from ofasys.train import steps as room
from tests.train import tiny

ROOT = Path(__file__).parents[2]
KEPT = ("model.safetensors", "optimizer.safetensors")


def tiny_tasks() -> list[Task]:
    """Bad rows, noise and two instructions, a task that joins late and leaves."""
    return [
        tiny.label_task(train=tiny.label_rows(12, bad=(3, 7)), bad_limit=5),
        tiny.fill_task(instruction=[tiny.FILL, "[TEXT:text,noise_ratio=0.2] -> [TEXT:text]"], weight=2.0),
        tiny.box_task(join=3, leave=9),
    ]


RUNS: dict[str, tuple[Callable[[], list[Task]], Callable[[], GeneralistModel], dict[str, Any]]] = {
    "tiny": (tiny_tasks, tiny.model, {"max_steps": 12, "save_every": 3, "eval_every": 5, "log_every": 2}),
    "demo": (
        lambda: demo_tasks(micro_batch_size=4),
        lambda: GeneralistModel("tiny"),
        {"max_steps": 24, "save_every": 3, "eval_every": 9, "eval_samples": 4, "log_every": 4, "accumulate": 2},
    ),
}


class Moments:
    """Counts what a run does, in whatever thread; at the moment numbered `last` the process is no more."""

    def __init__(self, last: int) -> None:
        self.last, self.count, self.lock = last, 0, threading.Lock()

    def pass_one(self) -> None:
        """One moment more."""
        with self.lock:
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, owner: Any, name: str) -> None:
        """A moment before each call of a function, and one after it."""
        called = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Any:
            self.pass_one()
            made = called(*given, **named)
            self.pass_one()
            return made

        setattr(owner, name, watched)

    def watch_chunks(self) -> None:
        """A moment before each part of a file is written."""
        write = store._write

        def parted(chunks: Any) -> Any:
            for chunk in chunks:
                self.pass_one()
                yield chunk

        store._write = lambda path, chunks: write(path, parted(chunks))  # type: ignore[assignment]


def child(out: Path, kind: str, workers: int, last: int) -> None:
    """One process of a run, which ends at a moment (0: it does not)."""
    moments = Moments(last)
    moments.watch(room.Steps, "backward")
    moments.watch(checkpoint, "write_json")
    moments.watch(lines.Lines, "_write")
    moments.watch(store, "_sync")
    moments.watch_chunks()
    tasks, model, settings = RUNS[kind]
    Trainer(out=out, workers=workers, warmup=2, live=False, precision="float32", device="cpu", **settings).fit(
        model=model(), tasks=tasks()
    )
    print("moments", moments.count)


def launch(out: Path, kind: str, workers: int, last: int) -> int | None:
    """Run `child` in a process of its own: how many moments it had, None where it was killed."""
    words = ["-m", "tests.laws.torture", "--child", str(out), "--kind", kind, "--workers", str(workers)]
    done = subprocess.run(
        [sys.executable, *words, "--last", str(last)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def ended(out: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], list[dict[str, Any]]]:
    """What a run has come to: the files of its last checkpoint, its log, its quarantine."""
    (place,) = [out / "checkpoints" / name for name in [checkpoint.pointed_to(out / "checkpoints/last.json")] if name]
    return read_folder(place, KEPT), tiny.lines(out / "metrics.jsonl"), tiny.lines(out / "quarantine.jsonl")


def torture(place: Path, kind: str, kills: int, workers: int, seed: int, say: Callable[[str], None]) -> None:
    """Errors: AssertionError where a run that was killed ends otherwise than one that was not."""
    draw = Random(f"torture {kind} {workers} {seed}")
    whole = launch(place / "whole", kind, workers, 0)
    assert whole is not None
    say(f"{kind}, {workers} workers: {whole} moments; killed at")
    killed, runs = 0, 0
    while killed < kills:
        runs, left = runs + 1, True
        while left and killed < kills:
            last = draw.randint(1, whole // 2)
            left = launch(place / f"cut-{runs}", kind, workers, last) is None
            killed += left
            say(f"  run {runs}: moment {last} of this process{'' if left else ', which had ended before'}")
        if left:
            assert launch(place / f"cut-{runs}", kind, workers, 0) is not None
        for name, one, other in zip(
            ("weights and moments", "log", "quarantine"),
            ended(place / "whole"),
            ended(place / f"cut-{runs}"),
            strict=True,
        ):
            assert one == other, f"the {name} of run {runs} are not those of a run that was never killed"
    say(f"  {killed} kills, {runs} runs: all end in the same weights, moments, logs, to the bit")


def main() -> None:
    """The command of `make torture`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", choices=list(RUNS), default="demo")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--last", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        child(given.child, given.kind, given.workers[0], given.last)
        return
    for workers in given.workers:
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            torture(Path(folder), given.kind, given.kills, workers, given.seed, lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()
