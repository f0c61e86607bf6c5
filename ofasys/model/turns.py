"""Who uses a model's weights: any number of threads that answer, or one that trains; never both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, current_thread, get_ident
from typing import Any

from torch import nn

from ofasys.errors import ConfigError


class Turns:
    """The turns of one model. A copy of the model, pickled ones too, has turns of its own."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._answering: Counter[int] = Counter()  # thread -> answers it is in the midst of
        self._trainer: tuple[int, str] | None = None  # the thread that trains, and its name
        self._was_training = False

    def __reduce__(self) -> tuple[Any, ...]:
        return Turns, ()

    @contextmanager
    def answering(self, model: nn.Module) -> Iterator[None]:
        """Within it the model is in evaluation mode; after the last answer it is as it was before the first.

        Errors: ConfigError while another thread trains the model.
        """
        me = get_ident()
        with self._changed:
            if self._trainer is not None and self._trainer[0] != me:
                raise ConfigError(
                    f"the model is being trained by thread {self._trainer[1]!r}, so its answers would change from one "
                    "to "
                    "the next; ask when training is done, or ask a copy: OFASys.from_pretrained of a checkpoint"
                )
            if not self._answering:
                self._was_training = model.training
                if model.training:
                    model.eval()
            self._answering[me] += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering[me] -= 1
                if not self._answering[me]:
                    del self._answering[me]
                if not self._answering and self._was_training:
                    model.train()
                self._changed.notify_all()

    @contextmanager
    def training(self) -> Iterator[None]:
        """Within it this thread alone uses the model: answers that other threads are in the midst of are waited for,
        new ones are refused.

        Errors: ConfigError while the model is being trained already, or in the midst of an answer of this thread.
        """
        me = get_ident()
        with self._changed:
            if self._trainer is not None:
                raise ConfigError(
                    f"the model is being trained already, by thread {self._trainer[1]!r}; train it when that is done, "
                    "or a "
                    "copy of it (copy.deepcopy)"
                )
            if me in self._answering:
                raise ConfigError("the model is asked to train in the midst of an answer; train it before or after")
            self._trainer = me, current_thread().name
            try:
                self._changed.wait_for(lambda: not self._answering)
            except BaseException:
                self._trainer = None
                raise
        try:
            yield
        finally:
            with self._changed:
                self._trainer = None
