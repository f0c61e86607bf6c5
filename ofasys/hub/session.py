"""A session: requests of any instruction come from any thread, one thread owns the model and answers them together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Condition, Thread
from types import TracebackType
from typing import Any

from ofasys import flow
from ofasys.errors import ClosedError, ConfigError, DataError, FullError, nearest
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.options import SearchOptions
from ofasys.hub.asked import asked_for
from ofasys.hub.lacking import told_lacking
from ofasys.hub.ofasys import OFASys, Way
from ofasys.hub.output import Output
from ofasys.hub.pending import Event, Pending, late
from ofasys.language import Filled, Instruction
from ofasys.program.program import Program
from ofasys.types import Sample


@dataclass(frozen=True, eq=False)
class Request:
    """All that is needed to answer one row."""

    pending: Pending
    program: Program
    sample: Sample
    options: SearchOptions
    row: Mapping[str, Any]
    way: Way
    end: float | None
    """When its time is over, by the monotonic clock."""
    seconds: float
    """The time it had."""


class AnswerSession:
    """One object that answers: `submit` takes a request and gives back a `Pending` at once.

    rows: the most hypotheses that are computed at once. waiting: the most requests that wait for their turn. It is a
    context manager, which at its end waits for the answers that were asked for.
    """

    def __init__(self, model: OFASys, *, rows: int = 64, waiting: int = 256) -> None:
        for name, value in (("rows", rows), ("waiting", waiting)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} is {value!r}; it is a whole number, at least 1")
        self.model, self.rows, self.most = model, rows, waiting
        self._queue: deque[Request] = deque()
        self._changed = Condition()
        self._running = self._done = self._tokens = 0
        self._closed = self._drop = False
        self._thread = Thread(target=self._work, name="ofasys answers", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return self._running

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
        closed_set: Mapping[str, Any] | list[str] | tuple[str, ...] | None = None,
        settings: Mapping[str, Any] | None = None,
        root: Any = None,
        negative_prompt: str | Mapping[str, Any] | None = None,
        first: int = 0,
        **options: Any,
    ) -> Pending:
        """Ask for the answer to one row, by an instruction or by the name of a task the model was trained on.

        deadline: seconds from now after which nobody wants the answer. All else as of `OFASys.inference`. The row is
        read here, in the thread that asks. Errors: FullError when as many wait as may, ClosedError after `close`,
        ConfigError, InstructionError, DataError and so on for what `inference` refuses.
        """
        if self._closed:
            raise ClosedError("the session is closed; open another: AnswerSession(model)")
        if deadline is not None and not deadline > 0:
            raise ConfigError(f"deadline is {deadline!r}; it is seconds from now, more than 0")
        began = time.monotonic()
        line = self._line(instruction, task)
        way = Way(1, closed_set, settings, root, negative_prompt, first, "stop", options)
        with told_lacking(self.model.model):
            asked = asked_for(line, data, self.model.model.modalities)
        if not asked.single:
            raise ConfigError("a request is one row; submit each row of a list by itself")
        (given,) = asked.rows
        program, search, negative = self.model.line(given[0], way)
        if isinstance(given[1], DataError):
            raise given[1]
        sample = flow.preprocess(program, given[1], target=False, root=root, negative=negative)
        pending = Pending(self._wake)
        end = None if deadline is None else began + deadline
        request = Request(pending, program, sample, search, given[1], way, end, deadline or 0.0)
        with self._changed:
            if self._closed:
                raise ClosedError("the session is closed; open another: AnswerSession(model)")
            if len(self._queue) >= self.most:
                raise FullError(f"{len(self._queue)} requests wait, as many as may; ask again when some are answered")
            self._queue.append(request)
            self._changed.notify_all()
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
        if instruction is not None:
            return instruction
        tasks = self.model.tasks
        if task not in tasks:
            raise ConfigError(f"no task {task!r}; {nearest(str(task), tasks)}known here: {', '.join(tasks) or 'none'}")
        return tasks[task].instructions[0]

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _work(self) -> None:
        """What the thread does that owns the model."""
        while (request := self._next()) is not None:
            self._answer(request)
            self._done, self._running = self._done + 1, 0

    def _next(self) -> Request | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            if not self._queue:
                return None
            self._running = 1
            return self._queue.popleft()

    def _answer(self, request: Request) -> None:
        pending = request.pending
        if self._drop:
            pending.fail(ClosedError("the session was closed before this request was answered"))
        elif request.end is not None and time.monotonic() > request.end:
            pending.fail(late(request.seconds))
        if pending.over:
            return
        try:
            number = request.way.first
            (found,) = flow.generate(self.model.model, request.program, [request.sample], request.options, [number])
            output = self.model.output(request.program, request.sample, found, request.row, request.way.root)
        except Exception as error:
            pending.fail(error)
            return
        self._tokens += sum(len(part.tokens) for part in found[0].parts if isinstance(part, Hypothesis))
        self._tell(pending, output)

    def _tell(self, pending: Pending, output: Output) -> None:
        for column, value in output.values.items():
            pending.tell(Event("slot", column, value))
        pending.answer(output)
