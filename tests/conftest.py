"""What all tests share: one thread a worker, the tiny model, shapes that are checked, and `--update-golden`."""

import gc
import os
import signal
import sys
from functools import cache
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OFASYS_PRECISION", "float32")  # what a machine is good at must not decide what a test sees
sys.path.insert(0, str(Path(__file__).parent))

import hypothesis
import pytest

# The same examples each time, however busy the machine is; `--hypothesis-profile=default` looks for new ones.
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew instead of comparing")


def pytest_configure(config):
    """The process that hands out the tests to workers runs none, and loads nothing for them: they begin sooner."""
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    gc.disable()  # nothing that is loaded goes
    import tensor_shapes
    import torch
    import typer.testing

    typer.testing._get_command = cache(typer.testing._get_command)  # it builds all commands anew for each that is run
    torch.set_num_threads(1)
    tensor_shapes.watch()


def pytest_collection_finish():
    """What was loaded stays, and is not looked through for what is not needed."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _signals_as_before():
    """What a library within a test takes signals for (Ray, SIGTERM) is not what the next test finds."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture
def update_golden(request):
    return request.config.getoption("--update-golden")


@pytest.fixture(scope="session")
def tiny():
    """The tiny module: a model of width 32, its plans, programs and rows."""
    import tiny

    return tiny
