"""A row that takes too long is named, and so is one that ends the process that reads it."""

import faulthandler
import logging
import os
import signal
import threading
from contextlib import closing

import pytest

from ofasys import LoadingError, Task
from ofasys.task import watchdog
from ofasys.task.loader import deliveries
from ofasys.task.watchdog import SLOW, Watchdog, in_hand
from tests.task.test_loader import assembler, tickets
from tests.train import tiny


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.WARNING, "ofasys")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def now():
    return [100.0]


def test_a_row_that_takes_too_long_is_named_once_while_it_is_read(told, now):
    dog = Watchdog(["a", "b"], lambda: now[0])
    with dog.at("b", 2, 17):
        now[0] += SLOW
        dog.look()
        assert told() == []
        now[0] += 1
        dog.look()
        dog.look()
        now[0] += 100
    dog.look()
    assert len(told()) == 1
    assert told()[0].startswith("task 'b', train row 17 (epoch 2) has taken 31 seconds to be read and prepared")


def test_one_that_nobody_saw_meanwhile_is_named_afterwards(told, now):
    dog = Watchdog(["a"], lambda: now[0])
    with dog.at("a", 0, 3):
        now[0] += SLOW + 5
    assert [text.partition(" seconds")[0] for text in told()] == ["task 'a', train row 3 (epoch 0) took 35"]


def test_quick_rows_are_not_named(told, now):
    dog = Watchdog(["a"], lambda: now[0])
    for row in range(20):
        with dog.at("a", 0, row):
            now[0] += SLOW - 1
            dog.look()
    now[0] += 1000
    dog.look()
    assert told() == []


def test_it_looks_by_itself_until_it_is_closed(monkeypatch):
    monkeypatch.setattr("ofasys.task.watchdog.PERIOD", 0.001)
    looked = threading.Event()
    dog = Watchdog(["a"])
    monkeypatch.setattr(dog, "look", looked.set)
    with closing(dog):
        dog.begin()
        assert looked.wait(60)
        assert in_hand("process 1") == ""
    assert "ofasys-watchdog" not in [thread.name for thread in threading.enumerate()]


class Slow:
    """Rows of which one takes as long as the clock says."""

    def __init__(self, now):
        self.rows, self.now = tiny.label_rows(8), now

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        self.now[0] += SLOW + 2 if i == 5 else 0
        return self.rows[i]


@pytest.mark.parametrize("at", ["__init__", "start"])
def test_one_that_was_cut_off_while_it_began_can_be_closed_and_begun_again(monkeypatch, at):
    """As where a worker dies at once: the signal that tells it comes anywhere."""

    def died(self, **given):
        raise LoadingError("a worker has ended")

    dog = Watchdog(["t"])
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, at, died)
        with pytest.raises(LoadingError, match="a worker has ended"):
            dog.begin()
    dog.close()
    assert dog not in watchdog._watching
    dog.begin()
    assert watchdog._watching.count(dog) == 1
    dog.close()
    assert dog not in watchdog._watching


def test_a_slow_row_of_a_task_is_named(told, now):
    task = tiny.label_task(train=Slow(now), micro_batch_size=4, closed_set=None)
    made = assembler(task)
    made.watchdog.clock = lambda: now[0]
    with closing(deliveries(made, tickets(task, 2), 0)) as found:
        assert len(list(found)) == 2
    (text,) = [text for text in told() if "seconds to be read" in text]
    assert text.startswith(f"task {task.name!r}, train row 5 (epoch 0) took 32 seconds")


class Deadly:
    """Rows of which one ends its process, if that is a worker."""

    def __init__(self, number):
        self.rows, self.number, self.parent = tiny.label_rows(12), number, os.getpid()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        if i == 7 and os.getpid() != self.parent:
            faulthandler.disable()
            if self.number is None:
                os._exit(5)
            os.kill(os.getpid(), self.number)
        return self.rows[i]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, None])
def test_a_row_that_ends_its_worker_is_named(number):
    task = Task("deadly", tiny.LABEL, Deadly(number), micro_batch_size=3)
    made = assembler(task)
    with pytest.raises(LoadingError, match=r"has ended: .*, while it was at task 'deadly', train row 7 \(epoch 0\)"):
        list(deliveries(made, tickets(task, 8), 2))
    assert in_hand(str(os.getpid())) == ""
