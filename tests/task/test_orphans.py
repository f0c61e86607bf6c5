"""Data workers end with the process that trains, whatever they are at."""

import os
import signal
import sys

import numpy as np
import pytest

from ofasys import Callback, Trainer
from tests.parallel.processes import aside
from tests.train import tiny


class Kills(Callback):
    def before_step(self, run):
        if run.step == 1:
            os.kill(os.getpid(), signal.SIGKILL)


class Rows:
    """Pictures that no pipe holds four batches of: workers are in the midst of writing when nobody reads any more."""

    def __len__(self):
        return 64

    def __getitem__(self, i):
        return {"img": np.full((64, 64, 3), i, np.uint8), "label": "red", "box": [0, 0, 8, 8]}


def killed():
    task = tiny.box_task(train=Rows(), settings={"IMAGE.size": 64, "IMAGE.patch": 8, "BOX.bins": 8}, micro_batch_size=8)
    Trainer(max_steps=50, workers=2, live=False, callbacks=[Kills()]).fit(model=tiny.model(), tasks=task)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's end")
def test_workers_end_with_a_process_that_was_killed():
    """Where the process would give something is shut when the last of those that were forked from it has ended."""
    done = aside(killed)
    assert (done.code, done.error) == (-signal.SIGKILL, "it was killed")
