"""Two machines: what they learn, what each of them writes and reads, and how both end where one is lost or differs."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ofasys import Callback, Trainer
from ofasys.parallel import network
from ofasys.train import alike
from ofasys.train.callback import RunView
from tests.parallel import hosts
from tests.parallel.test_laws import same_weights
from tests.train import tiny

pytestmark = pytest.mark.slow
WHY_NOT = hosts.why_not()


@pytest.fixture(scope="module")
def two() -> Iterator[hosts.Hosts]:
    """With networks of their own where that is allowed, else on two addresses of the loopback."""
    if WHY_NOT is not None:
        yield hosts.LOOPBACK
        return
    with hosts.namespaces() as made:
        yield made


def fit(rank: int, out: Path | None, max_steps: int = 3, callbacks=(), texts=()) -> dict[str, np.ndarray]:
    model = tiny.model(dropout=0.0)
    settings = {"warmup": 0, "decay": "constant", "live": False, "precision": "float32"}
    settings |= {} if out is None else {"save_every": 2}
    trainer = Trainer(max_steps=max_steps, out=out, callbacks=list(callbacks), **settings)
    rows = [row | {"text": text} for row, text in zip(tiny.label_rows(len(texts) or 12), texts, strict=False)]
    trainer.fit(model=model, tasks=[tiny.label_task(valid=None, **({"train": rows} if rows else {})), tiny.fill_task()])
    return {name: value.numpy() for name, value in tiny.weights(model).items()}


def twice(rank: int, out: Path) -> dict[str, np.ndarray]:
    """A run that ends, and goes on."""
    fit(rank, out)
    return fit(rank, out, 5)


def test_with_a_folder_that_both_read_they_are_one_process(two: hosts.Hosts, tmp_path: Path) -> None:
    there = two.run(twice, tmp_path / "both")
    alone = fit(0, None, 5)
    for ended in there:
        assert ended.error == ""
        same_weights(alone, ended.value)
    assert (tmp_path / "both" / "checkpoints" / "step-00000005").is_dir()


def own(rank: int, folder: Path, max_steps: int) -> dict[str, np.ndarray]:
    return fit(rank, folder / str(rank), max_steps)


def test_with_a_folder_each_the_second_has_to_be_given_what_the_first_wrote(two: hosts.Hosts, tmp_path: Path) -> None:
    assert [ended.error for ended in two.run(own, tmp_path, 3)] == ["", ""]
    assert not (tmp_path / "1").exists()
    for ended in two.run(own, tmp_path, 5):
        assert ended.error.startswith(
            "ConfigError: the step of the run in `out` is 3 on process 0 and 0 on process 1 of 2; start"
        )
        assert ended.error.endswith("a folder `out` that all can read")
    shutil.copytree(tmp_path / "0", tmp_path / "1")
    there = two.run(own, tmp_path, 5)
    alone = fit(0, None, 5)
    for ended in there:
        assert ended.error == ""
        same_weights(alone, ended.value)
    assert not (tmp_path / "1" / "checkpoints" / "step-00000005").exists()


def other_rows(rank: int) -> None:
    fit(
        rank,
        None,
        texts=["red one", "green one", "blue one", "white one"] if rank else ["red", "green", "blue", "white"],
    )


def other_version(rank: int) -> None:
    if rank:
        alike.version = lambda name: "0.0.1"
    fit(rank, None)


@pytest.mark.parametrize(
    ("start", "named"),
    [
        (other_rows, "task 'label': the content of its train rows is "),
        (other_version, "the version of ofasys is "),
    ],
)
def test_what_differs_is_named_on_both(start, named: str, two: hosts.Hosts) -> None:
    there = two.run(start)
    assert there[0].error == there[1].error
    assert there[0].error.startswith(f"ConfigError: {named}")
    assert " on process 0 and " in there[0].error


class Lost(Callback):
    """The second machine goes down after a step."""

    def __init__(self, rank: int, how: str) -> None:
        self.rank, self.how = rank, how

    def after_step(self, run: RunView) -> None:
        if self.rank == 1 and run.step == 2:
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            hosts.ip("link", "set", "eth0", "down")


def lost(rank: int, out: Path, how: str) -> None:
    fit(rank, out, 5, [Lost(rank, how)])


def test_a_machine_that_is_killed_is_missed_at_once(two: hosts.Hosts, tmp_path: Path) -> None:
    first, second = two.run(lost, tmp_path / "run", "killed", seconds=50.0)
    assert second.error == "it was killed"
    assert first.error.startswith("RankError: another of the 2 processes has ended or cannot be reached, and has not")
    assert [ended.error for ended in two.run(twice, tmp_path / "run")] == ["", ""]


@pytest.mark.skipif("OFASYS_TORTURE" not in os.environ, reason="make torture runs it: it waits for half a minute")
@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
def test_a_cable_that_is_cut_is_no_reason_to_wait_for_ever(tmp_path: Path) -> None:
    with hosts.namespaces() as two:
        for ended in two.run(lost, tmp_path, "cut", seconds=3.0):
            assert ended.error.startswith("RankError: another of the 2 processes has ended or cannot be reached")


@pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
def test_the_card_is_the_one_to_the_other_machine(two: hosts.Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [ended.value for ended in two.run(cards)] == [("eth0", None, None)] * 2
    monkeypatch.setenv(network.CARD, "lo")
    with network.on_card_to("10.0.0.1", 1):
        assert os.environ[network.CARD] == "lo"


def cards(rank: int) -> tuple[str | None, ...]:
    return tuple(network.card_to(host, 1) for host in ("10.77.0.1", "127.0.0.1", "10.78.0.1"))
