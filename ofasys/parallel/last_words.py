"""Why a process of a run has ended, told to the others, so that none of them waits for it and each can say why."""

from __future__ import annotations

import json
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

    def say(self, error: BaseException, close: Callable[[], None]) -> None:
        """This process ends by an error: say so, close what others wait at, and stay until they have heard it."""
        said = {"process": self.place.rank, "why": f"{type(error).__name__}: {error}".removesuffix(": ")}
        with suppress(RuntimeError):  # the store is gone with the process that held it
            if not (self.known or self.missed):
                self.store.compare_set(CAUSE, "", json.dumps(said))
            self.store.set(f"heard/{self.place.rank}", "")
        close()
        with suppress(RuntimeError):
            everyone = [f"heard/{rank}" for rank in range(self.place.size)]
            self.store.wait(everyone, 2 * BRIEFLY if self.missed else PATIENCE)
            self.were_heard = True

    @property
    def said(self) -> bool:
        """Whether a process has said why it ends; also where the store is gone."""
        try:
            found: bool = self.store.check([CAUSE])
        except RuntimeError:
            return True
        return found

    def heard(self, error: Exception) -> RankError:
        """The error for a wait that came to nothing: why another process ended."""
        try:
            self.store.wait([CAUSE], BRIEFLY)
            said = json.loads(self.store.get(CAUSE))
        except (RuntimeError, ValueError):
            self.missed = True
            return RankError(
                f"another of the {self.place.size} processes has ended or cannot be reached, and has not said why "
                f"({str(error).splitlines()[0]:.160}); it was killed, or its machine or network is gone: start all of "
                "them again, and the run goes on from its last checkpoint"
            )
        self.known = True
        return RankError(f"process {said['process']} of {self.place.size} ended by {said['why']}")
