"""Why a process of a run has ended, told to the others, so that none of them waits for it and each can say why."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from ofasys.errors import RankError
from ofasys.parallel.place import Place

PATIENCE = timedelta(seconds=10)  # that others have to hear why a process ends
BRIEFLY = timedelta(seconds=1)  # enough where the others know already: whoever ends says why before it closes anything
CAUSE = "cause"  # of the end of the run: what the first that failed said


class LastWords:
    """Kept in the store by which the processes found each other; it outlives all of them but the one that holds it."""

    def __init__(self, store: Any, place: Place) -> None:
        self.store, self.place = store, place
        self.missed = False  # that another ended was noticed, and not its reason
        self.known = False  # why the run ends
        self.were_heard = False
        self.asking: threading.Thread | None = None  # the store, which has not answered yet

    def say(self, error: BaseException, close: Callable[[], None]) -> None:
        """This process ends by an error: say so, close what others wait at, and stay until they have heard it."""
        said = {"process": self.place.rank, "why": f"{type(error).__name__}: {error}".removesuffix(": ")}
        with suppress(RuntimeError, TimeoutError):  # the store is gone with the process that held it
            if not (self.known or self.missed):
                self._asked(lambda: self.store.compare_set(CAUSE, "", json.dumps(said)))
            self._asked(lambda: self.store.set(f"heard/{self.place.rank}", ""))
        close()
        with suppress(RuntimeError, TimeoutError):
            everyone = [f"heard/{rank}" for rank in range(self.place.size)]
            patience = 2 * BRIEFLY if self.missed else PATIENCE
            self._asked(lambda: self.store.wait(everyone, patience), patience)
            self.were_heard = True

    @property
    def said(self) -> bool:
        """Whether a process has said why it ends; also where the store is gone. One that is silent says nothing."""
        try:
            return bool(self._asked(lambda: self.store.check([CAUSE])))
        except TimeoutError:
            return False
        except RuntimeError:
            return True

    def heard(self, error: Exception) -> RankError:
        """The error for a wait that came to nothing: why another process ended."""
        try:
            self._asked(lambda: self.store.wait([CAUSE], BRIEFLY), BRIEFLY)
            said = json.loads(self._asked(lambda: self.store.get(CAUSE)))
        except (RuntimeError, TimeoutError, ValueError):
            self.missed = True
            return RankError(
                f"another of the {self.place.size} processes has ended or cannot be reached, and has not said why "
                f"({str(error).splitlines()[0]:.160}); it was killed, or its machine or network is gone: start all of "
                "them again, and the run goes on from its last checkpoint"
            )
        self.known = True
        return RankError(f"process {said['process']} of {self.place.size} ended by {said['why']}")

    def _asked(self, ask: Callable[[], Any], limit: timedelta = BRIEFLY) -> Any:
        """What the store answers. A store on a machine that is gone, or behind a cable that is cut, does not, and torch
        would wait for it without end. limit: beside which it has `BRIEFLY`.

        Errors: RuntimeError of the store; TimeoutError where it is silent.
        """
        if self.asking is not None and self.asking.is_alive():
            raise TimeoutError("the store has not answered yet")
        found: list[Any] = []
        raised: list[RuntimeError] = []

        def asking() -> None:
            try:
                found.append(ask())
            except RuntimeError as error:
                raised.append(error)

        self.asking = threading.Thread(target=asking, daemon=True)
        self.asking.start()
        self.asking.join((limit + BRIEFLY).total_seconds())
        if raised:
            raise raised[0]
        if not found:
            raise TimeoutError("the store does not answer")
        return found[0]
