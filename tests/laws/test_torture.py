"""A short torture: `make torture` is the long one, of all demo tasks."""

import pytest

from tests.laws.torture import torture


@pytest.mark.slow
def test_a_run_killed_anywhere_ends_as_one_that_was_not(tmp_path):
    told = []
    torture(tmp_path, "tiny", kills=3, workers=2, seed=0, say=told.append)
    assert told[-1].startswith("  3 kills")
