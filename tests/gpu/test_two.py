"""Two GPUs of one machine, by NCCL: the run that two processes on a CPU make, and one alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.parallel import elastic

pytestmark = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two GPUs here")


def test_two_learn_what_one_learns_though_one_is_killed(tmp_path: Path) -> None:
    """torchrun starts both again, from the last checkpoint."""
    own = ["--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "-m", "tests.parallel.elastic"]
    command = [sys.executable, "-m", "torch.distributed.run", *own, str(tmp_path / "two")]
    subprocess.run(command, check=True, timeout=300)
    elastic.train(tmp_path / "one")
    drawn = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one-0", "two-0", "two-1")]
    assert len(drawn[0]) == 7
    for step, rows in drawn[0].items():
        assert sorted(drawn[1][step] + drawn[2][step]) == sorted(rows)
    with np.load(tmp_path / "one.npz") as one, np.load(tmp_path / "two.npz") as two:
        assert one.files == two.files
        for name in one.files:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-2, atol=1e-3)
