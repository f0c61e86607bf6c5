"""Two processes, one model: what summing gradients costs, beside DistributedDataParallel.

`python -m benchmarks.ranks memory` trains models of some sizes for a few steps with one process, with two, and with two
that hold the weights in pieces, and tells the most memory that one of them took in the last step for it.

`python -m benchmarks.ranks` trains a model of two text tasks and a picture task in two processes of this machine, in
turns: forward and backward alone; those and our sum in flat buckets; DistributedDataParallel, which has to look for
unused parameters, since no batch uses those of all tasks. Also what processes tell each other in an update besides.
"""

from __future__ import annotations

import copy
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from ofasys import Callback, GeneralistModel, Task, Trainer
from ofasys.flow import collate, preprocess
from ofasys.parallel.join import joined
from ofasys.program.program import Program
from ofasys.train.callback import RunView
from ofasys.types import Batch

ROUNDS = 12
WORDS = "a small big round flat old new bird fish tree stone house".split()  # noqa: SIM905


def tasks(rows: int) -> list[Task]:
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(3.0, 0.8, rows), 4, 60).astype(int)
    texts = [" ".join(random.choice(WORDS, n)) for n in lengths]
    pictures = random.integers(0, 256, (rows, 64, 64, 3), dtype=np.uint8)
    data = [{"q": t, "a": t[::-1], "img": p} for t, p in zip(texts, pictures, strict=True)]
    lines = ("[TEXT:q] -> [TEXT:a]", "[TEXT:a] -> [TEXT:q]", "[IMAGE:img,size=64] -> [TEXT:a]")
    return [Task(f"t{i}", line, train=data, micro_batch_size=rows) for i, line in enumerate(lines)]


def batches(model: GeneralistModel, made: list[Task]) -> list[tuple[Program, Batch]]:
    model.grow([(p, t.labels) for t in made for p in t.plans], lambda: (x for t in made for x in t.texts()))
    found = []
    for task in made:
        program = model.bind(task.plan)
        rows = [task.source("train")[i] for i in range(task.micro_batch_size)]
        found.append((program, collate(program, [preprocess(program, row) for row in rows])))
    return found


def work(rank: int, port: int, size: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    with joined() as ranks:
        model = GeneralistModel(size=size, text_pieces=400)
        mixed = batches(model, tasks(8))
        parameters = list(model.parameters())
        other = copy.deepcopy(model)  # its gradients are reduced whoever calls it
        wrapped = DistributedDataParallel(other, find_unused_parameters=True)

        def alone(program: Program, batch: Batch) -> None:
            model(program, batch).total.backward()

        def ours(program: Program, batch: Batch) -> None:
            model(program, batch).total.backward()
            ranks.sum_gradients(parameters)

        def theirs(program: Program, batch: Batch) -> None:
            wrapped(program, batch).total.backward()

        ways = {"forward and backward alone": alone, "and our sum": ours, "DistributedDataParallel": theirs}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(ROUNDS + 1):
            for name, way in ways.items():
                spent = timed(lambda way=way: [pass_((model, other), way, *one) for one in mixed], ranks)
                if number:
                    times[name].append(1000 * spent / len(mixed))
        told = [1000 * timed(lambda: ranks.numbers("ten", [1] * 10), ranks) for _ in range(50)]
        if rank == 0:
            millions = sum(p.numel() for p in parameters) / 1e6
            print(f"{size}, {millions:.1f} million weights, median of {ROUNDS} rounds over 3 tasks, ms an update:")
            for name, spent in times.items():
                print(f"  {name:28} {median(spent):8.1f}   (from {min(spent):.1f} to {max(spent):.1f})")
            print(f"  telling each other ten numbers {median(told):.2f} ms")


def pass_(
    models: Sequence[torch.nn.Module], way: Callable[[Program, Batch], None], program: Program, batch: Batch
) -> None:
    for model in models:
        model.zero_grad(set_to_none=True)
    way(program, batch)


def timed(do: Callable[[], Any], ranks: Any) -> float:
    ranks.numbers("a round", ())
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


class Most(Callback):
    """The most memory that this process has taken in the last step, in MiB, beside what it had before the model."""

    def __init__(self) -> None:
        self.before = resident("VmRSS")

    def before_step(self, run: RunView) -> None:
        if run.step == run.max_steps - 1:
            Path("/proc/self/clear_refs").write_text("5")  # begin anew to look for the most

    def after_step(self, run: RunView) -> None:
        self.found = resident("VmHWM") - self.before


def resident(what: str) -> float:
    """MiB of this process, as Linux calls them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def remember(rank: int, found: Any, port: int, size: str, processes: int, shard: bool) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OFASYS_PRECISION": "float32"}
    torch.set_num_threads(1)
    rows = [{"q": " ".join(WORDS[i % 6 :]), "a": " ".join(WORDS[: 3 + i % 6])} for i in range(16)]
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=rows, micro_batch_size=4)
    most = Most()
    trainer = Trainer(max_steps=3, live=False, shard=shard, callbacks=[most])
    trainer.fit(model=GeneralistModel(size=size, text_pieces=400), tasks=task)
    found[rank] = most.found


def memory(size: str) -> None:
    weights = GeneralistModel(size=size).parameters_count
    print(f"{size}, {weights / 1e6:.1f} million weights; the most memory a process took for it in a step, MiB:")
    for name, processes, shard in (("one", 1, False), ("two", 2, False), ("two, in pieces", 2, True)):
        with multiprocessing.Manager() as manager:
            found = manager.dict()
            multiprocessing.spawn(remember, (found, free_port(), size, processes, shard), nprocs=processes)
            print(f"  {name:16} {max(found.values()):8.0f}", flush=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        for size in sys.argv[2:] or ("small", "base"):
            memory(size)
        sys.exit()
    for size in sys.argv[1:] or ("tiny", "small"):
        multiprocessing.spawn(work, (free_port(), size), nprocs=2)
