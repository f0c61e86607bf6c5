"""The order of the data as arithmetic: batch number k of a task -> (epoch, row) of each of its samples, with no state.

The rows of a task are drawn as one endless row of epochs laid end to end, each epoch a permutation of its own; batch k
is positions k*B .. k*B + B-1 of it. Any number of workers or ranks therefore draws the same samples, and a place in the
data is one integer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ofasys.errors import ConfigError
from ofasys.seeds import key_of

Integers = NDArray[np.int64]

UNITS = 1024  # of a token: costs are whole numbers of them, so that all processes cut alike
_ROUNDS = 8


def sample_seed(seed: int, task: str, epoch: int, index: int) -> int:
    """64 bits for the randomness of one sample (masks, crops, noise): new each epoch, the same for any worker."""
    return key_of("sample", int(seed), task, int(epoch), int(index))


def permute(index: Integers | Sequence[int], n: int, key: int) -> Integers:
    """Where a keyed bijection of range(n) takes each index: O(1) an index, no table.

    A Feistel network of eight rounds on an a x b grid, a*b >= n; the few results beyond n go round again.
    """
    if n < 1:
        raise ConfigError(f"a permutation of {n} things; n is at least 1")
    out = np.array(index, dtype=np.int64)
    if out.size and (out.min() < 0 or out.max() >= n):
        raise ConfigError(f"an index to permute lies outside 0..{n - 1}")
    high = int(np.ceil(np.sqrt(n)))
    low = -(-n // high)
    with np.errstate(over="ignore"):
        keys = _mix(np.arange(1, _ROUNDS + 1, dtype=np.uint64) * _GOLDEN + np.uint64(key % 2**64))
        walking = np.ones(out.shape, dtype=bool)
        while walking.any():
            out[walking] = _feistel(out[walking], high, low, keys)
            walking = out >= n
    return out


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _feistel(index: Integers, high: int, low: int, keys: NDArray[np.uint64]) -> Integers:
    left, right = (index // low).astype(np.uint64), (index % low).astype(np.uint64)
    for i in range(0, len(keys), 2):
        left = (left + _mix(right ^ keys[i]) % np.uint64(high)) % np.uint64(high)
        right = (right + _mix(left ^ keys[i + 1]) % np.uint64(low)) % np.uint64(low)
    return (left * np.uint64(low) + right).astype(np.int64)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's finaliser: 64 bits in, 64 well mixed bits out."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Order:
    """The order in which one task draws its n rows.

    lengths (n,): how long each row's sample is, if known. Then the batches that lie wholly inside one epoch are taken
    in windows of `window` batches; the samples of a window are sorted by length, cut into batches, and the batches
    shuffled. A batch across the border of two epochs keeps the plain order. So each epoch still draws each row exactly
    once, and every batch is full. Data shorter than one batch: a batch spans several epochs.

    costs (n,): what each row's sample costs, in whole numbers. Then the samples of a window are cut into batches of as
    much each and not of as many: each begins where it is nearest to its even share, and has one sample at least.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        task: str,
        shuffle: bool = True,
        lengths: Sequence[int] | NDArray[np.int64] | None = None,
        window: int = 64,
        costs: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> None:
        for name, value in (("n", n), ("batch_size", batch_size), ("window", window)):
            if value < 1:
                raise ConfigError(f"the order of task {task!r} has {name}={value}; it is at least 1")
        self.n, self.batch_size, self.window = int(n), int(batch_size), int(window)
        self.seed, self.task, self.shuffle = int(seed), task, shuffle
        self.lengths = None if lengths is None else np.asarray(lengths)
        self.costs = None if costs is None else np.asarray(costs)
        for what, given in (("lengths", self.lengths), ("costs", self.costs)):
            if given is not None and given.shape != (self.n,):
                raise ConfigError(f"task {task!r} has {n} rows and {what} of shape {given.shape}; give one a row")
        self._last: tuple[tuple[int, int], list[Integers]] | None = None

    def batch(self, k: int) -> tuple[Integers, Integers]:
        """Batch number k: epochs (b,) and rows (b,); b is B but where costs say how many rows make one."""
        if k < 0:
            raise ConfigError(f"batch number {k} of task {self.task!r}; numbers begin at 0")
        start = k * self.batch_size
        epoch = start // self.n
        windows = self.lengths is not None or self.costs is not None
        if windows and start + self.batch_size <= (epoch + 1) * self.n:
            rows = self._bucketed(k, epoch)
            return np.full(len(rows), epoch, dtype=np.int64), rows
        position = np.arange(start, start + self.batch_size, dtype=np.int64)
        epochs, rows = position // self.n, position % self.n
        if self.shuffle:
            for one in np.unique(epochs):
                rows[epochs == one] = self._rows(int(one), rows[epochs == one])
        return epochs, rows

    def _rows(self, epoch: int, places: Integers) -> Integers:
        """The rows at these places of an epoch, before any sorting by length."""
        return permute(places, self.n, key_of("order", self.seed, self.task, epoch)) if self.shuffle else places

    def _bucketed(self, k: int, epoch: int) -> Integers:
        """Batch k, which lies wholly inside the epoch, of its window."""
        first = -(-epoch * self.n // self.batch_size)  # the batches first .. end-1 lie wholly inside the epoch
        end = (epoch + 1) * self.n // self.batch_size
        number, within = divmod(k - first, self.window)
        if self._last is None or self._last[0] != (epoch, number):
            start = first + number * self.window
            self._last = (epoch, number), self._sorted(epoch, number, start, min(self.window, end - start))
        return self._last[1][within].copy()

    def _sorted(self, epoch: int, number: int, start: int, count: int) -> list[Integers]:
        """The rows of each of a window's batches: of like length, where lengths are known, and in shuffled order."""
        place = start * self.batch_size - epoch * self.n
        rows = self._rows(epoch, np.arange(place, place + count * self.batch_size, dtype=np.int64))
        if self.lengths is not None:
            rows = rows[np.argsort(self.lengths[rows], kind="stable")]
        batches = self._cut(rows, count)
        if not self.shuffle:
            return batches
        shuffled = permute(np.arange(count), count, key_of("window", self.seed, self.task, epoch, number))
        return [batches[i] for i in shuffled.tolist()]

    def _cut(self, rows: Integers, count: int) -> list[Integers]:
        """Rows in so many batches, of as many or of as much each."""
        if self.costs is None:
            return list(rows.reshape(count, self.batch_size))
        ends, places = self.costs[rows].cumsum(), np.arange(1, count)
        middles = 2 * ends - self.costs[rows]  # twice the place of each row's middle: it lies in the batch it is of
        borders = np.searchsorted(middles, 2 * (ends[-1] * places // count)) - places
        borders = np.maximum.accumulate(np.maximum(borders, 0)) + places  # a row each, at least
        return np.split(rows, np.minimum(borders, len(rows) - count + places))


def sequential(n: int, batch_size: int) -> list[Integers]:
    """Every row once, in order, for evaluation: batches of `batch_size` rows, the last as short as it comes."""
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; it is at least 1")
    return [np.arange(start, min(start + batch_size, n), dtype=np.int64) for start in range(0, n, batch_size)]
