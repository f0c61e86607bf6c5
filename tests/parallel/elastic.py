"""One of two processes of a run that torchrun starts; in the first round process 1 is killed after a step."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np

from ofasys import Callback, Trainer
from ofasys.train import steps as room
from ofasys.train.callback import RunView
from tests.train import tiny

KILLED = 4


class Killed(Callback):
    """Process 1 is killed, once."""

    def after_step(self, run: RunView) -> None:
        if run.step == KILLED and os.environ.get("RANK") == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)


def train(out: Path) -> None:
    """A run, the weights it ended with, and what it drew in each step, if it did so more than once, the last time."""
    drawn: dict[str, list[tuple[int, int]]] = {}
    backward, rank = room.Steps.backward, os.environ.get("RANK", "0")
    path = out.with_name(f"{out.name}-{rank}.json")
    if path.exists():
        drawn = json.loads(path.read_text())

    def watched(run, part, whole, of):
        drawn[f"{part.delivery.ticket.step} {part.key[0]}"] = part.delivery.rows
        path.write_text(json.dumps(drawn))
        return backward(run, part, whole, of)

    room.Steps.backward = watched
    trainer = Trainer(max_steps=7, warmup=2, lr=2e-3, save_every=3, out=out, live=False, callbacks=[Killed()])
    model = tiny.model(dropout=0.0)
    try:
        trainer.fit(model=model, tasks=[tiny.label_task(valid=None), tiny.fill_task()])
    finally:
        room.Steps.backward = backward
    if rank == "0":
        np.savez(out.with_suffix(".npz"), **{name: value.cpu().numpy() for name, value in tiny.weights(model).items()})


if __name__ == "__main__":
    train(Path(sys.argv[1]))
