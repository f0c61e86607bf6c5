"""Processes of their own, as users start them: both ends of a command, and two machines with an address each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.parallel import elastic, exits
from tests.parallel.processes import free_port
from tests.parallel.test_laws import same_weights

pytestmark = pytest.mark.slow


def test_every_kind_of_target_ends_well() -> None:
    assert exits.once() == (0, "")


def test_what_is_wrong_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("text,label\n" + "a,b\nc,d\n" * 4)
    line = "[TEXT:text] -> [TEXT:label,closed_set]"
    run = {"tasks": {"t": {"instruction": line, "train": "rows.csv", "micro_batch_size": 1}}}
    run |= {"trainer": {"max_steps": 2, "out": "out"}}
    (tmp_path / "run.yaml").write_text(json.dumps(run))
    command = [sys.executable, "-m", "ofasys.cli.main", "train", "run.yaml", "--nproc", "2"]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "task 't' has micro_batch_size 1, which 2 processes are to share; give it 2 or more, or start fewer processes\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(
    "OFASYS_TORTURE" not in os.environ,
    reason="make torture runs it: two agents of torchrun take a minute on a busy machine",
)
def test_two_machines_of_which_a_process_is_killed(tmp_path: Path) -> None:
    """torchrun starts both again, and the run ends as one that nobody killed: the same rows, the same weights."""
    where = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.2:{free_port()}", "--rdzv-id", "run"]
    begun = []
    for machine in (2, 3):
        own = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "2", "--local-addr", f"127.0.0.{machine}"]
        command = [sys.executable, "-m", "torch.distributed.run", *where, *own, "-m", "tests.parallel.elastic"]
        environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        begun.append(
            subprocess.Popen([*command, str(tmp_path / "two")], env=environment, stderr=subprocess.PIPE, text=True)
        )
    try:
        said = [process.communicate(timeout=180)[1] for process in begun]
    finally:
        for process in begun:
            process.terminate()  # it ends its own
    assert [process.returncode for process in begun] == [0, 0], "\n".join(said)
    elastic.train(tmp_path / "one")
    drawn = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one-0", "two-0", "two-1")]
    assert drawn[0].keys() == drawn[1].keys() == drawn[2].keys()
    assert len(drawn[0]) == 7
    for step, rows in drawn[0].items():
        assert sorted(drawn[1][step] + drawn[2][step]) == sorted(rows)
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        same_weights(dict(one), dict(two))
