"""A session: requests of any instruction come from any thread, one thread owns the model and answers them together."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition, Thread
from types import TracebackType
from typing import Any

from ofasys import flow
from ofasys.errors import ClosedError, ConfigError, DataError, FullError
from ofasys.generator.flock import alike
from ofasys.generator.hypothesis import by_label
from ofasys.generator.options import SearchOptions
from ofasys.hub.asked import asked_for
from ofasys.hub.lacking import told_lacking
from ofasys.hub.ofasys import OFASys, Way
from ofasys.hub.pending import Pending, late
from ofasys.hub.turns import Turns
from ofasys.language import Filled, Instruction
from ofasys.program.answer import Answer
from ofasys.program.program import Program, TokenStage
from ofasys.types import Sample

_log = logging.getLogger("ofasys")


@dataclass(frozen=True, eq=False)
class Request:
    """All that is needed to answer one row."""

    pending: Pending
    """Who waits for it."""
    program: Program
    """What its line is bound to."""
    sample: Sample
    """The row, read."""
    options: SearchOptions
    """How to search."""
    row: Mapping[str, Any]
    """As it was given."""
    way: Way
    """What else was asked."""
    end: float | None
    """When its time is over, by the monotonic clock; None: never."""
    seconds: float
    """The time it had."""
    alone: bool = False
    """It is answered with no other in one batch, for such a batch has failed."""

    @property
    def rows(self) -> int:
        """Hypotheses that are computed at once."""
        return self.options.n_best if self.options.sampling else self.options.beam_size

    @property
    def free(self) -> bool:
        """Whether no row of a batch of such is held up by another: the answer is labels that are found at once, or it
        is written row by row.
        """
        stages = self.program.stages
        if self.alone or len(stages) != 1 or not isinstance(stages[0], TokenStage):
            return False
        constraint = stages[0].constraint
        return (constraint.labels and by_label(self.options)) or alike(constraint, self.options) is not None

    def like(self, other: Request) -> bool:
        """Whether both are asked in the same way, so that one batch may answer both."""
        return self.program is other.program and self.options == other.options

    @property
    def gone(self) -> bool:
        """Whether nobody wants the answer any more; those who wait are told when its time is over."""
        if self.end is not None and time.monotonic() > self.end:
            self.pending.fail(late(self.seconds))
        return self.pending.over


class AnswerSession:
    """One object that answers: `submit` takes a request and gives back a `Pending` at once.

    Requests of different instructions, lengths and options are answered together: each joins between two steps of the
    model, and leaves its place as soon as it is done. What a request is answered does not depend on the others. rows:
    the most hypotheses that are computed at once. waiting: the most requests that wait for their turn. As a context
    manager it waits at its end for the answers that were asked for. The model may be trained while nothing is answered.
    """

    def __init__(self, model: OFASys, *, rows: int = 64, waiting: int = 256) -> None:
        for name, value in (("rows", rows), ("waiting", waiting)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} is {value!r}; it is a whole number, at least 1")
        self.model, self.rows, self.most = model, rows, waiting
        self._queue: deque[Request] = deque()
        self._changed = Condition()
        self._closed = self._drop = False
        self._done = self._tokens = 0
        self._turns: Turns[Request] | None = None
        self._kept = flow.KeptStates()
        self._thread = Thread(target=self._work, name="ofasys answers", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return 0 if self._turns is None else len(self._turns.rows)

    @property
    def done(self) -> int:
        """Requests that are over: answered, failed or given up."""
        return self._done

    @property
    def tokens(self) -> int:
        """Tokens in all answers so far."""
        return self._tokens

    def submit(
        self,
        instruction: str | Instruction | Filled | None = None,
        data: Any = None,
        *,
        task: str | None = None,
        deadline: float | None = None,
        closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        root: str | Path | None = None,
        negative_prompt: str | Mapping[str, Any] | None = None,
        first: int = 0,
        **options: Any,
    ) -> Pending:
        """Ask for the answer to one row, by an instruction or by the name of a task the model was trained on: as
        `task=`, or in the place of the instruction.

        deadline: seconds from now after which nobody wants the answer. All else as of `OFASys.inference`. The row is
        read here, in the thread that asks. Errors: FullError when as many wait as may, ClosedError after `close`, and
        what `inference` raises: ConfigError, InstructionError, DataError and so on.
        """
        self._open()
        if deadline is not None and not deadline > 0:
            raise ConfigError(f"deadline is {deadline!r}; it is seconds from now, more than 0")
        end = None if deadline is None else time.monotonic() + deadline
        way = Way(1, closed_set, settings, root, negative_prompt, first, "stop", options)
        with told_lacking(self.model.model):
            asked = asked_for(self._line(instruction, task), data, self.model.model.modalities)
        if not asked.single:
            raise ConfigError("a request is one row; submit each row of a list by itself")
        ((line, row),) = asked.rows
        program, search, negative = self.model.line(line, way)
        if isinstance(row, DataError):
            raise row
        sample = flow.preprocess(program, row, target=False, root=root, negative=negative)
        pending = Pending(self._wake)
        self._put(Request(pending, program, sample, search, row, way, end, deadline or 0.0))
        return pending

    def close(self, drain: bool = True, timeout: float | None = None) -> None:
        """Take no more requests. drain: answer those that were taken, else they fail with ClosedError. timeout: seconds
        to wait for that, after which those that are left fail; None: as long as it takes.
        """
        with self._changed:
            self._closed, self._drop = True, self._drop or not drain
            self._changed.notify_all()
        self._thread.join(timeout)
        if self._thread.is_alive():
            with self._changed:
                self._drop = True
                self._changed.notify_all()
            self._thread.join()

    def __enter__(self) -> AnswerSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close(drain=error is None)

    def _line(self, instruction: str | Instruction | Filled | None, task: str | None) -> str | Instruction | Filled:
        """The instruction, or that of a task. Errors: ConfigError for both, neither, or no such task."""
        if (instruction is None) == (task is None):
            raise ConfigError("give an instruction, or task= with the name of a task, and not both")
        if task is not None:
            return self.model.line_of_task(task)
        line: str | Instruction | Filled = self.model.line_of(instruction)
        return line

    def _open(self) -> None:
        if self._closed:
            raise ClosedError("the session is closed; open another: AnswerSession(model)")

    def _put(self, request: Request) -> None:
        with self._changed:
            self._open()
            if len(self._queue) >= self.most:
                raise FullError(f"{len(self._queue)} requests wait, as many as may; ask again when some are answered")
            self._queue.append(request)
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # What the thread does that owns the model.

    def _work(self) -> None:
        while self._asked():
            try:
                with flow.Generations(self.model.model, self._kept) as together:
                    turns: Turns[Request] = Turns(together)
                    self._turns = turns
                    while turns.live or self._queue:
                        self._take(turns)
                        turns.turn()
                        self._give(turns)
            except Exception as error:  # the model is being trained, say: those that ask are told
                self._fail(error)

    def _asked(self) -> bool:
        """Wait for a request -> whether there is one; there is none once the session is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            return bool(self._queue)

    def _take(self, turns: Turns[Request]) -> None:
        """Requests join, in the order they came, as long as there are rows for them."""
        self._forget()
        while self._queue:
            free = self.rows - sum(one.rows for one in turns.rows)
            first = self._queue[0]
            if turns.live and first.rows > free:
                return
            with self._changed:
                batch = [self._queue.popleft()]
                if first.free:
                    others = [one for one in self._queue if one.free and one.like(first)]
                    batch += others[: max(free // first.rows - 1, 0)]
                    self._queue = deque(one for one in self._queue if one not in batch)
            samples, numbers = [one.sample for one in batch], [one.way.first for one in batch]
            turns.begin(first.program, samples, first.options, numbers, batch)

    def _forget(self) -> None:
        """Those who wait and whom nobody waits for leave."""
        with self._changed:
            waiting, self._queue = self._queue, deque()
            for request in waiting:
                if self._drop:
                    request.pending.fail(_closed())
                if not request.gone:
                    self._queue.append(request)
            self._done += len(waiting) - len(self._queue)

    def _give(self, turns: Turns[Request]) -> None:
        """What has come of the requests is handed on; those that are over leave. What failed in a batch is asked once
        more alone: it may be the fault of another.
        """
        for batch, error in turns.failed():
            if len(batch) > 1:
                with self._changed:
                    self._queue.extendleft(replace(one, alone=True) for one in reversed(batch))
            else:
                self._done += len(batch)
                for request in batch:
                    request.pending.fail(error)
        for request, answers in turns.answered():
            self._done += 1
            self._tell(request, answers)
        if self._drop:
            for request in turns.rows:
                request.pending.fail(_closed())
        before = len(turns.rows)
        turns.leave([request for request in turns.rows if request.gone])
        self._done += before - len(turns.rows)
        for running, waiting in turns.live.items():
            for place, request in waiting.items():
                self._show(request, running, place)

    def _tell(self, request: Request, answers: Sequence[Answer]) -> None:
        try:
            output = self.model.output(request.program, request.sample, answers, request.row, request.way.root)
        except Exception as error:
            request.pending.fail(error)
            return
        self._tokens += answers[0].length
        for column, value in output.values.items():
            request.pending.slot(column, value)
        request.pending.answer(output)

    def _show(self, request: Request, running: flow.Running, place: int) -> None:
        """What of an answer is there already, to those who look."""
        if not request.pending.watched or (made := running.so_far(place)) is None:
            return
        try:
            there, writing = flow.values_so_far(request.program, request.sample, made)
        except Exception as error:  # of a part from outside, which may make more of the whole answer
            request.pending.watched = False
            _log.warning(
                f"{request.program.plan.instruction} is answered without what is there before its end: {error}"
            )
            return
        for column, value in there.items():
            request.pending.slot(column, value)
        if writing is not None and isinstance(writing[1], str):
            request.pending.text(*writing)

    def _fail(self, error: Exception) -> None:
        with self._changed:
            failed = [*([] if self._turns is None else self._turns.rows), *self._queue]
            self._turns = None
            self._queue.clear()
        for request in failed:
            request.pending.fail(error)
        self._done += len(failed)


def _closed() -> ClosedError:
    return ClosedError("the session was closed before this request was answered")
