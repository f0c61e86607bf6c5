"""Files that stay as they were when their source was opened: what has changed since is refused, never read."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ofasys.errors import LoadingError

STAYS = "a file that stays as it is during a run; start anew to read it as it is now"
_SETTLED = 11_000_000  # nanoseconds after which a file system gives another time to another change

Stamp = tuple[int, int, int]  # size in bytes, time of change in nanoseconds, inode


class Watch:
    """A file, known again by its size, its time of change and its inode. Reads of it stand in `with watch:`.

    stamp: as it was seen before; None: as it is now. It is compared before a read and after it, so that what is read
    is of one state of the file. A touched file counts as changed. Errors: LoadingError when it has changed or is gone,
    or when the system cannot read it; any other error of the read goes on, unless the file has changed.
    """

    __slots__ = ("_path", "path", "stamp")

    def __init__(self, path: Path, stamp: Stamp | None = None) -> None:
        self.path = path.absolute()  # the program's folder may be another later
        self._path = str(self.path)
        self.stamp = settled(self.path) if stamp is None else stamp

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stamp[0]

    def check(self) -> None:
        """Errors: LoadingError when the file is no longer what was opened."""
        try:
            found = os.stat(self._path)
        except OSError as error:
            raise _gone(self.path, error) from None
        if (found.st_size, found.st_mtime_ns, found.st_ino) != self.stamp:
            raise changed(self.path, self.stamp, stamp_of(found))

    def __enter__(self) -> None:
        self.check()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, LoadingError):
            return
        if error is None or isinstance(error, Exception):
            self.check()
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(self.path.name, error) from error

    def __getstate__(self) -> tuple[Path, Stamp]:
        return self.path, self.stamp

    def __setstate__(self, state: tuple[Path, Stamp]) -> None:
        self.path, self.stamp = state
        self._path = str(self.path)

    def part(self, start: int, size: int) -> bytes:
        """Bytes of the file, fewer where it ends before. Inside `with watch:`."""
        file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return read_at(file, start, size)
        finally:
            os.close(file)


def read_at(file: int, start: int, size: int) -> bytes:
    """Bytes of an open file, fewer where it ends before."""
    found = os.pread(file, size, start)
    if len(found) == size or not found:
        return found
    parts = [found]  # one call gives 2 GiB at most, and fewer where a signal came
    while (read := sum(map(len, parts))) < size and (found := os.pread(file, size - read, start + read)):
        parts.append(found)
    return b"".join(parts)


def stamp_of(found: os.stat_result) -> Stamp:
    """By which a file is known again."""
    return found.st_size, found.st_mtime_ns, found.st_ino


def settled(path: Path) -> Stamp:
    """The stamp of a file. Errors: OSError where it is not there."""
    found = stamp_of(os.stat(path))
    return stamp_of(os.stat(path)) if _settle(found[1]) else found


def settled_all(paths: Sequence[Path]) -> np.ndarray:
    """The stamps (n, 3) of many files; -1 for each that is not there."""
    stamps = np.array([_stamp_or_none(path) for path in paths], dtype=np.int64).reshape(-1, 3)
    newest = int(stamps[:, 1].max(initial=-1))
    if _settle(newest):
        for i in np.flatnonzero(stamps[:, 1] > newest - _SETTLED).tolist():
            stamps[i] = _stamp_or_none(paths[i])
    return stamps


def _stamp_or_none(path: Path) -> Stamp:
    try:
        return stamp_of(os.stat(path))
    except FileNotFoundError:
        return -1, -1, -1


def _settle(written: int) -> bool:
    """Of a file that was written a moment ago wait for the moment to be over: a second change within it could have the
    same time. Whether that was so."""
    age = time.time_ns() - written
    if not 0 <= age < _SETTLED:
        return False
    time.sleep((_SETTLED - age) / 1e9)
    return True


def changed(path: Path, before: Stamp, now: Stamp) -> LoadingError:
    """The error for a file that is another than when it was opened; it says in what."""
    if now[0] != before[0]:
        what = f"it held {before[0]:,} bytes and holds {now[0]:,}"
    elif now[1] != before[1]:
        what = f"of {before[0]:,} bytes, written at {_moment(before[1])} and again at {_moment(now[1])}"
    else:
        what = "another file of its name, size and time was put in its place"
    return LoadingError(f"{path.name} has changed since it was opened: {what} ({path})", expected=STAYS)


def _gone(path: Path, error: OSError) -> LoadingError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return LoadingError(
            f"{path.name} is gone since it was opened ({path})", expected="a file that stays where it is during a run"
        )
    return unreadable(path.name, error)


def unreadable(name: str, error: OSError) -> LoadingError:
    """The error for what the system refuses to read."""
    return LoadingError(f"{name} cannot be read: {error.strerror or error}", expected=advice(error))


def advice(error: OSError) -> str:
    """What to do about an error of the system; nothing where that is not known."""
    return _ADVICE.get(error.errno or 0, "")


_ADVICE = {
    errno.EMFILE: "fewer open files in this process, or a higher limit of them (ulimit -n)",
    errno.ENFILE: "fewer open files on this machine, or a higher limit of them (fs.file-max)",
    errno.ENOMEM: "more memory; fewer workers, or a smaller micro_batch_size",
    errno.EIO: "a disk that can be read; copy the file to another one",
    errno.ESTALE: "a network folder that stays mounted; mount it again and go on with the run",
    errno.EACCES: "the right to read it",
    errno.EPERM: "the right to read it",
    errno.ENOSPC: "room on the disk",
}
EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE))  # errors of no file in particular


def exhausted(error: BaseException) -> OSError | None:
    """The system's refusal behind an error, where it is no fault of the file that was to be read."""
    seen: BaseException | None = error
    for _ in range(16):  # an error may be its own cause
        if seen is None:
            return None
        if isinstance(seen, OSError) and seen.errno in EXHAUSTED:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _moment(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(seconds))}.{rest // 10**6:03}"
