"""A short torture: `make torture` is the long one, of all demo tasks."""

import signal
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import pytest

from tests.laws.torture import child, launch, torture
from tests.parallel.processes import on_ranks


@pytest.mark.slow
def test_a_run_killed_anywhere_ends_as_one_that_was_not(tmp_path):
    """Every other process is a program of its own: what it has in memory, and the order of its sets, is new."""
    told, ways = [], cycle((forked, launch))
    by_turns = lambda *asked: next(ways)(*asked)  # noqa: E731
    torture(tmp_path, "tiny", kills=3, workers=2, seed=0, say=told.append, launch=by_turns)
    assert told[-1].startswith("  3 kills")


def forked(out: Path, kind: str, workers: int, lasts: Sequence[int]) -> list[int] | None:
    """As `launch`, in processes that begin at once."""
    ended = on_ranks(len(lasts), lambda rank: child(out, kind, workers, lasts[rank]))
    left = [one for one in ended if one.code != -signal.SIGKILL]
    if len(left) < len(ended):
        assert all(one.error.startswith("RankError: another of the 2 processes has ended") for one in left), left
        return None
    assert all(one.error == "" for one in ended), ended
    return [one.value for one in ended]


def test_two_processes_of_which_one_is_killed_anywhere_end_as_two_that_were_not(tmp_path):
    told = []
    torture(tmp_path, "tiny", kills=2, workers=0, seed=1, say=told.append, ranks=2, launch=forked)
    assert told[-1].startswith("  2 kills")
    assert {line.split("process ")[1][0] for line in told if "process " in line} == {"0", "1"}
