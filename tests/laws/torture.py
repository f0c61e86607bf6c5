"""Runs that are killed again and again, at random moments and inside saves too, must end as if nothing had happened.

python -m tests.laws.torture             # the demo's six tasks on pictures, 20 kills each: 1 and 2 processes, each
                                         # without and with data workers

A moment is the n-th of what a process does: a micro-batch, a part of a file of a checkpoint, a pointer, a line of a
log. Which n, and of which process, is drawn from the seed. The process ends itself there by SIGKILL, as a machine that
goes down does; others that train with it must end by themselves, and say that they miss it. The same run is then
started again. In the end weights, moments, log and quarantine are those of a run that was never killed, to the bit.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from ofasys import GeneralistModel, Task, Trainer
from ofasys.gallery.pages import pictures
from ofasys.gallery.pages.page import Asked
from ofasys.hub import store
from ofasys.hub.store import read_folder
from ofasys.train import checkpoint, lines
from ofasys.train import steps as room
from tests.parallel.processes import free_port
from tests.train import tiny

ROOT = Path(__file__).parents[2]
KEPT = ("model.safetensors", "optimizer.safetensors")
MISSED = 120  # seconds in which a process must have missed one that was killed, and ended


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
        lambda: list(pictures.PAGE.tasks(Asked(Path(), brief=True))),
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


def child(out: Path, kind: str, workers: int, last: int) -> int:
    """One process of a run, which ends at a moment of its own (0: it does not); how many it had."""
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
    return moments.count


Launch = Callable[[Path, str, int, Sequence[int]], list[int] | None]


def launch(out: Path, kind: str, workers: int, lasts: Sequence[int]) -> list[int] | None:
    """Run `child` in a process for each of `lasts`, the moments at which they end: how many moments each had, None
    where one was killed.
    """
    words = ["-m", "tests.laws.torture", "--child", str(out), "--kind", kind, "--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if len(lasts) > 1:
        environment |= {"WORLD_SIZE": str(len(lasts)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    begun = [
        subprocess.Popen(
            [sys.executable, *words, "--last", str(last)],
            cwd=ROOT,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, last in enumerate(lasts)
    ]
    killed = [process.wait() == -signal.SIGKILL for process, last in zip(begun, lasts, strict=True) if last]
    try:
        said = [process.communicate(timeout=MISSED if any(killed) else None) for process in begun]
    finally:
        for process in begun:
            process.kill()
    codes = [process.returncode for process in begun]
    if any(killed):
        left = [(code, told) for code, (_, told) in zip(codes, said, strict=True) if code != -signal.SIGKILL]
        assert all(code == 1 and "RankError: another of the" in told for code, told in left), left
        return None
    assert not any(codes), said
    return [int(told.split()[-1]) for told, _ in said]


def ended(out: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], list[dict[str, Any]]]:
    """What a run has come to: the files of its last checkpoint, its log, its quarantine."""
    (place,) = [out / "checkpoints" / name for name in [checkpoint.pointed_to(out / "checkpoints/last.json")] if name]
    return read_folder(place, KEPT), tiny.lines(out / "metrics.jsonl"), tiny.lines(out / "quarantine.jsonl")


def torture(
    place: Path,
    kind: str,
    kills: int,
    workers: int,
    seed: int,
    say: Callable[[str], None],
    ranks: int = 1,
    launch: Launch = launch,
) -> None:
    """Errors: AssertionError where a run that was killed ends otherwise than one that was not, or a process does not
    end when it misses another.
    """
    draw = Random(f"torture {kind} {workers} {seed}" + (f" {ranks}" if ranks > 1 else ""))
    whole = launch(place / "whole", kind, workers, [0] * ranks)
    assert whole is not None
    say(f"{kind}, {ranks} processes, {workers} workers: {whole} moments; killed at")
    killed, runs = 0, 0
    while killed < kills:
        runs, left = runs + 1, True
        while left and killed < kills:
            rank = draw.randrange(ranks) if ranks > 1 else 0
            last = draw.randint(1, whole[rank] // 2)
            lasts = [last if one == rank else 0 for one in range(ranks)]
            left = launch(place / f"cut-{runs}", kind, workers, lasts) is None
            killed += left
            say(f"  run {runs}: moment {last} of process {rank}{'' if left else ', which had ended before'}")
        if left:
            assert launch(place / f"cut-{runs}", kind, workers, [0] * ranks) is not None
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
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--last", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        print("moments", child(given.child, given.kind, given.workers[0], given.last))
        return
    for ranks, workers in product(given.ranks, given.workers):
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            say = partial(print, flush=True)
            torture(Path(folder), given.kind, given.kills, workers, given.seed, say, ranks)


if __name__ == "__main__":
    main()
