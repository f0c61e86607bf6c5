"""Processes of their own, as users start them: both ends of a command, and two machines with an address each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from tests.parallel import elastic, exits, hosts
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
@pytest.mark.parametrize("networks", ["of their own", "loopback"])
def test_two_machines_of_which_a_process_is_killed(networks: str, tmp_path: Path) -> None:
    """torchrun starts both again, and the run ends as one that nobody killed: the same rows, the same weights."""
    if networks == "of their own" and (why := hosts.why_not()) is not None:
        pytest.skip(why)
    with hosts.namespaces() if networks == "of their own" else nullcontext(hosts.LOOPBACK) as two:
        killed_and_started_again(two, tmp_path)


def killed_and_started_again(two: hosts.Hosts, tmp_path: Path) -> None:
    where = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"{two.addresses[0]}:{free_port()}", "--rdzv-id", "run"]
    begun = []
    for name, address in zip(two.names, two.addresses, strict=True):
        own = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "2", "--local-addr", address]
        if two.apart:  # their names do not say whose address it is
            own += ["--rdzv-conf", f"is_host={int(address == two.addresses[0])}"]
        command = [sys.executable, "-m", "torch.distributed.run", *where, *own, "-m", "tests.parallel.elastic"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        if two.apart:
            command = ["ip", "netns", "exec", name, *command]
        else:
            environment["GLOO_SOCKET_IFNAME"] = "lo"
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
