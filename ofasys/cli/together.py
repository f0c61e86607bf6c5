"""`ofasys train --nproc N`: the same command in so many processes of this machine. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ofasys.errors import ConfigError
from ofasys.parallel.launch import launch
from ofasys.parallel.place import Place


def train_together(path: Path, overrides: Sequence[str], processes: int) -> int:
    """Train what a run file says, in so many processes of this machine; the exit status."""
    if processes < 1:
        raise ConfigError(f"--nproc is {processes}; it is 1 or more")
    if Place.told().size > 1:
        raise ConfigError(f"--nproc is {processes}, and another launcher has begun this process; leave --nproc out")
    command = [sys.executable, "-m", "ofasys.cli.main", "train", str(path), *overrides]
    return launch(command, processes)
