"""`device` is each device that the suite is for: a GPU, where there is one, and the CPU, so that the suite itself is
tried everywhere.
"""

from __future__ import annotations

import pytest
import torch

MISSING = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here: torch.cuda.is_available()")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=MISSING)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)
