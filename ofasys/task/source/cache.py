"""Blocks of tables that are kept in memory: those used last, of all sources of a process together, bounded by bytes."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

LEAST_BYTES = 256 * 2**20
SHARE = 8  # of the memory, all workers together


def share_of_memory() -> int:
    """Bytes for decoded blocks: an eighth of the memory that this process may use, and LEAST_BYTES at least."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            text = Path(limit).read_text().strip()
        except OSError:
            continue
        whole = min(whole, int(text)) if text.isdecimal() else whole
    return max(LEAST_BYTES, whole // SHARE)


def workers() -> int:
    """How many processes share the memory: the workers of a loader, or this one."""
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    return 1 if info is None else info.num_workers


class Held:
    """What a process holds, the longest unused first, and its bytes. A source keeps its own blocks in a `Shelf`."""

    def __init__(self) -> None:
        self.entries: OrderedDict[tuple[int, int], tuple[weakref.ref[Shelf], int]] = OrderedDict()
        self.bytes = 0
        self.lock = threading.RLock()

    def add(self, shelf: Shelf, block: int, size: int, most: int) -> None:
        """Count a block in; others go until all are `most` bytes or fewer, but for this one."""
        with self.lock:
            self.entries[id(shelf), block] = weakref.ref(shelf), size
            self.bytes += size
            while self.bytes > most and len(self.entries) > 1:
                (_, oldest), (owner, freed) = self.entries.popitem(last=False)
                self.bytes -= freed
                if (other := owner()) is not None:
                    other.pop(oldest, None)

    def forget(self, shelf: int) -> None:
        """Count out whatever a source kept that is no more."""
        with self.lock:
            for key in [key for key in self.entries if key[0] == shelf]:
                self.bytes -= self.entries.pop(key)[1]


_HELD = Held()


def _after_fork() -> None:
    _HELD.lock = threading.RLock()  # another thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


class Shelf(dict[int, Any]):
    """The blocks of one source that are in memory: number -> table."""

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        super().__init__()
        weakref.finalize(self, _HELD.forget, id(self)).atexit = False

    def block(self, number: int, load: Callable[[int], tuple[Any, int]], most: Callable[[], int]) -> Any:
        """A block; where it is not here it is loaded. load: number -> (block, bytes). most: bytes of all blocks that
        this process keeps."""
        found = self.get(number)
        if found is not None:
            with contextlib.suppress(KeyError):  # another thread made room meanwhile
                _HELD.entries.move_to_end((id(self), number))
            return found
        found, size = load(number)
        with _HELD.lock:
            if number not in self:  # another thread may have loaded it too
                self[number] = found
                _HELD.add(self, number, size, most())
        return found
