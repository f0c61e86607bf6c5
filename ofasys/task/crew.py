"""The workers of a loader, and what becomes of them where one dies: none is waited for that will not come.

A worker that is killed while it hands over a batch leaves half a message in the queue that all workers share, and the
queue locked: the others would wait for it, and whoever reads would wait for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader

if TYPE_CHECKING:
    from ofasys.task.ticket import Ticket

SETTLED = 1.0  # seconds to wait for news of a worker that ends
_running: list[Crew] = []


class Crew:
    """The workers that prepare what `tickets` ask for."""

    def __init__(self, tickets: Iterable[Ticket]) -> None:
        self.tickets = tickets
        self.tasks: dict[int, str] = {}  # of the tickets given out whose batches have not come, by number
        self.dead: dict[int, int | None] = {}  # worker that has died -> its exit code, or minus the signal, if known
        self.lost = threading.Event()  # set when one has
        self.made: Any = None  # the loader's iterator, once the workers are there
        self.watching = threading.Thread(target=self._watch, name="workers of a loader", daemon=True)

    def given(self) -> Iterator[Ticket]:
        """The tickets, noted as they are given out."""
        for number, ticket in enumerate(self.tickets):
            self.tasks[number] = ticket.task
            yield ticket

    def begin(self, loader: DataLoader[bytes]) -> None:
        """Start the workers, and watch them."""
        self.made = iter(loader)
        # Workers alone can write to their queue, so that it has an end when all of them have.
        self.made._worker_result_queue._writer.close()
        self.watching.start()
        _running.append(self)

    def batches(self) -> Iterator[bytes]:
        """What the workers hand over, in the order of the tickets."""
        for number, packed in enumerate(self.made):
            del self.tasks[number]
            yield packed

    def _watch(self) -> None:
        """Where a worker dies end the others too."""
        workers = self.made._workers
        numbers = {worker.sentinel: number for number, worker in enumerate(workers)}
        (ended, *_) = connection.wait(list(numbers))
        assert isinstance(ended, int)
        number = numbers[ended]
        code = _exit_code(workers[number].pid)
        if self.made._shutdown:  # as it should
            return
        self.dead[number] = code
        self.lost.set()
        for worker in workers:
            worker.kill()

    def ends(self) -> str:
        """How a worker has died."""
        codes = [self.made._workers[n].exitcode if code is None else code for n, code in self.dead.items()]
        names = [signal.Signals(-code).name if code < 0 else f"exit code {code}" for code in codes if code is not None]
        return f" ({', '.join(names)})" if names else ""

    def lacking(self) -> Sequence[str]:
        """The tasks whose micro-batches a dead worker had still to hand over."""
        asked = self.made._task_info if self.made is not None else {}
        return sorted({task for number, task in self.tasks.items() if asked.get(number, (None,))[0] in self.dead})

    def end(self) -> None:
        """End all workers, and wait until they have."""
        if self.made is None:
            return
        if self.dead:
            self.made._workers_done_event = multiprocessing.Event()  # a dead worker may hold the lock of the old one
        self.made._shutdown_workers()
        if self in _running:
            _running.remove(self)
            self.watching.join()


def crew_that_lost() -> Crew | None:
    """The crew of which a worker has died, if there is one."""
    return next((crew for crew in list(_running) if crew.lost.wait(SETTLED)), None)


def _exit_code(process: int) -> int | None:
    """How a child ended, which is left for others to ask too; None where they have been told already."""
    try:
        found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        return None
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
