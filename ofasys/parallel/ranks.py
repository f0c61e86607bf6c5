"""What the processes of a run tell each other. Of one process alone everything is as it would be without this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from ofasys.errors import RankError
from ofasys.parallel.last_words import LastWords
from ofasys.parallel.place import Place

FRAME, WORDS = 64, 8
"""Whole numbers of 8 bytes that a message has, and how many of these are the word for what it is about."""
LOOK = timedelta(seconds=1)
"""How often a process that waits looks whether another has ended."""
BUCKET = 32 * 2**20
"""Bytes of gradients that are summed in one go."""


class Ranks:
    """The processes of a run, seen from one of them.

    Every method that says "all" waits until each process has called it, in the same order. Errors of these: RankError
    where another process has ended, saying why.
    """

    def __init__(self, place: Place, words: LastWords | None = None) -> None:
        self.place, self.words = place, words
        self.rank, self.size, self.first = place.rank, place.size, place.first
        self.failed_together: Exception | None = None

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.size > 1

    @property
    def spoken_for(self) -> bool:
        """Whether this process has ended by an error that the first has heard of, and tells."""
        return self.words is not None and self.words.were_heard and not self.first

    def numbers(self, what: str, own: Sequence[int]) -> np.ndarray:
        """What all say, each as many whole numbers: (size, n) int64, by rank. what: a word for it, the same on all.

        Errors: RankError where another is at something else.
        """
        if not self.several:
            return np.array([own], dtype=np.int64)
        frame = np.zeros(FRAME, dtype=np.int64)
        word = what.encode()[: 8 * WORDS]
        frame[:WORDS] = np.frombuffer(word.ljust(8 * WORDS, b"\0"), dtype=np.int64)
        if len(own) <= FRAME - WORDS:
            frame[WORDS : WORDS + len(own)] = own
        told = self._gathered(frame)
        self._check_at(told[:, :WORDS])
        return (
            told[:, WORDS : WORDS + len(own)]
            if len(own) <= FRAME - WORDS
            else self._gathered(np.array(own, dtype=np.int64))
        )

    def _check_at(self, words: np.ndarray) -> None:
        """words (size, WORDS): what each is at. Errors: RankError where that is not the same."""
        told = [one.tobytes().rstrip(b"\0").decode(errors="replace") for one in words]
        for rank, other in enumerate(told):
            if other != told[self.rank]:
                raise RankError(
                    f"process {rank} of {self.size} is at {other!r}, and process {self.rank} at {told[self.rank]!r}; "
                    "a callback, metric or schedule does not do the same on all of them"
                )

    def _gathered(self, own: np.ndarray) -> np.ndarray:
        mine = torch.from_numpy(own)
        found = [torch.empty_like(mine) for _ in range(self.size)]
        with self.heard():
            self._wait(dist.all_gather(found, mine, async_op=True))
        return torch.stack(found).numpy()

    def _wait(self, work: Any) -> None:
        """Until it is done, or another has said why it ends: its connections may be open for a while yet."""
        while True:
            try:
                work.wait(LOOK)
                return
            except RuntimeError:
                if work.is_completed() or self.words is None or self.words.said:
                    raise

    def objects(self, what: str, own: Any) -> list[Any]:
        """What all say, by rank: values that can be pickled. what: a word for it, the same on all.

        Errors: RankError where another is at something else.
        """
        if not self.several:
            return [own]
        self.numbers(what, ())
        found: list[Any] = [None] * self.size
        with self.heard():
            dist.all_gather_object(found, own)
        return found

    def of_first(self, what: str, make: Callable[[], Any]) -> Any:
        """What the first process makes, on all."""
        return self.objects(what, make() if self.first else None)[0]

    def of_any(self, what: str, own: Any) -> Any:
        """What the first process that has anything but None has, on all; None where nobody has."""
        return next((one for one in self.objects(what, own) if one is not None), None)

    def together(self, what: str, do: Callable[[], Any]) -> list[Any]:
        """What all make, by rank. Errors: on all, what each raised, or a RankError with what the first did; it is then
        `failed_together`.
        """
        if not self.several:
            return [do()]
        error: Exception | None = None
        made: Any = None
        try:
            made = do()
        except Exception as failed:
            error = failed
        told = self.objects(what, (made, None if error is None else f"{type(error).__name__}: {error}"))
        for rank, (_, failed_there) in enumerate(told):
            if failed_there is not None:
                self.failed_together = error or RankError(f"process {rank} of {self.size} ended by {failed_there}")
                raise self.failed_together
        return [value for value, _ in told]

    @torch.no_grad()
    def sum_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """The gradient of each parameter becomes the sum of what all have for it; None where nobody has any.

        They are laid end to end in buckets of `BUCKET` bytes, each summed while the next is filled.
        """
        if not self.several:
            return
        has = self.numbers("gradients", [parameter.grad is not None for parameter in parameters]).sum(0).tolist()
        learned = [parameter for parameter, processes in zip(parameters, has, strict=True) if processes]
        with self.heard():
            under_way = [(bucket, *_summed(bucket)) for bucket in _buckets(learned)]
            for bucket, flat, work in under_way:
                work.wait()
                for parameter, part in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                    parameter.grad = part.view_as(parameter)

    def gather_rows(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """own (B, D) -> all, end to end by rank. counts: B of each, which may differ."""
        padded = own.new_zeros(max(counts), own.shape[1])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in counts]
        with self.heard():
            dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def sum_rows(self, own: Tensor) -> Tensor:
        """The sum of what all have."""
        total = own.contiguous().clone()
        with self.heard():
            dist.all_reduce(total)
        return total

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Within it processes wait for each other. Errors: RankError, saying why another has ended, where one has."""
        try:
            yield
        except RankError:
            raise
        except RuntimeError as error:  # of torch's backends, and of their sockets
            if self.words is None:
                raise
            raise self.words.heard(error) from error

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Within it something is computed for which processes wait for each other. Errors: RankError where another has
        ended; whatever else goes wrong, as it is.
        """
        try:
            yield
        except RuntimeError as error:
            torn = isinstance(error, dist.DistError) or "gloo" in str(error).lower()
            if self.words is None or isinstance(error, RankError) or not (torn or self.words.said):
                raise
            raise self.words.heard(error) from error


ALONE = Ranks(Place())


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Parameters in their order, as many as fit into `BUCKET` bytes at a time, of one kind of number."""
    bucket: list[torch.nn.Parameter] = []
    size = 0
    for parameter in parameters:
        own = parameter.numel() * parameter.element_size()
        if bucket and (size + own > BUCKET or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += own
    if bucket:
        yield bucket


def _summed(bucket: Sequence[torch.nn.Parameter]) -> tuple[Tensor, Any]:
    """The gradients of a bucket end to end, and the work that sums them."""
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in bucket])
    return flat, dist.all_reduce(flat, async_op=True)
