"""One run, one folder: who trains into a folder holds it, and everyone else is refused."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from ofasys.errors import CheckpointError, ConfigError

LOCK = ".running"  # in the folder of a run while the run goes on
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # what a file system without locks answers

_log = logging.getLogger("ofasys")


@dataclass
class _Held:
    """A folder that this process holds. thread: whose. training: whether a run goes on in it, or is to begin."""

    process: int
    thread: int
    file: IO[str]
    training: bool


_held: dict[Path, _Held] = {}
_turn = threading.Lock()


@contextmanager
def one_run(out: str | Path | None, *, training: bool = False) -> Iterator[None]:
    """Within it the folder `out` is this thread's; None: nothing is held.

    training: a run goes on. Whoever prepares one (the command line) holds the folder around it with False; of two runs
    the second is refused, nested or not. Any end lets go, that of a killed process too, and data workers that outlive
    it hold nothing. Errors: ConfigError for a folder that another holds, naming process and time, or that cannot be
    written.
    """
    if out is None:
        yield
        return
    folder = Path(out)
    made = _folder(folder)
    key = folder.resolve()
    with _turn:
        mine = _held.get(key)
        if mine is not None and mine.process == os.getpid():
            if mine.thread != threading.get_ident() or (training and mine.training):
                raise _refused(folder, _about(mine.file))
            inner, mine.training = True, mine.training or training
        else:
            inner, mine = False, _Held(os.getpid(), threading.get_ident(), _taken(folder), training)
            _held[key] = mine
    try:
        yield
    finally:
        with _turn:
            if inner:
                mine.training = mine.training and not training
            elif mine.process == os.getpid():
                del _held[key]
                _let_go(folder, mine.file)
        if made:
            with suppress(OSError):  # it holds something, as it should
                folder.rmdir()


def holding(out: Path | None) -> IO[str] | None:
    """The file by which this process holds a folder; None where it holds none there."""
    mine = _held.get(out.resolve()) if out is not None else None
    return mine.file if mine is not None and mine.process == os.getpid() else None


def check_held(folder: Path, file: IO[str] | None) -> None:
    """Errors: CheckpointError where `folder` is not the one held by this file any more: it was removed, moved or
    replaced.
    """
    if file is None:
        return
    with suppress(OSError):
        if os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat()):
            return
    raise CheckpointError(
        f"{folder} is not the folder this run was begun in any more ({LOCK} in it is gone or another's): it was "
        "removed, "
        "moved or replaced; what was written is where it was moved to; leave the folder as it is while a run goes on, "
        "and "
        "give the same fit again"
    )


def check_place(out: str | Path | None) -> None:
    """What can be told of a run's folder before it is made. Errors: ConfigError where it cannot be, or not written."""
    if out is None:
        return
    folder = Path(out)
    there = next((path for path in (folder, *folder.absolute().parents) if path.exists()), folder)
    if not there.is_dir():
        raise ConfigError(f"out is {str(folder)!r}, and {there} is a file; give the name of a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"out is {str(folder)!r}, and {there} may not be written; give another folder")


def _folder(folder: Path) -> bool:
    """Make the folder; whether it was not there."""
    try:
        if folder.is_dir():
            return False
        folder.mkdir(parents=True)
        return True
    except FileExistsError:
        if folder.is_dir():
            return False
        raise ConfigError(f"out is {str(folder)!r}, which is a file; give the name of a folder") from None
    except OSError as error:
        raise ConfigError(
            f"out is {str(folder)!r}, which cannot be made: {error.strerror}; give another folder"
        ) from None


def _taken(folder: Path) -> IO[str]:
    """The folder's file, locked and with this process's name in it."""
    path = folder / LOCK
    while True:
        try:
            file = path.open("a+", encoding="utf8")
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written: {error.strerror}; give another `out`") from None
        try:
            # A lock of the process, not of the open file: a worker forked from it has none.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            about = _about(file)
            if error.errno not in NO_LOCKS:
                file.close()
                raise _refused(folder, about) from None
            if _lives(about):
                file.close()
                raise _refused(folder, about, path) from None
            _log.warning(f"{folder} is on a file system without locks; {path.name} tells other processes of this run")
        with suppress(OSError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # its holder took it away in between
    file.truncate(0)
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    process = {"pid": os.getpid(), "host": socket.gethostname(), "since": now, "started": _started(os.getpid())}
    try:
        file.write(json.dumps(process) + "\n")
        file.flush()
    except OSError as error:
        _let_go(folder, file)
        raise ConfigError(f"{path} cannot be written: {error.strerror}; make room, or give another `out`") from None
    return file


def _let_go(folder: Path, file: IO[str]) -> None:
    path = folder / LOCK
    with suppress(OSError):
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            path.unlink()
    with suppress(OSError):
        file.close()


def _about(file: IO[str]) -> dict[str, Any]:
    try:
        file.seek(0)
        about = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _lives(about: dict[str, Any]) -> bool:
    """Whether the process that wrote this may still be there; one of another machine may."""
    if not about:
        return False
    if about.get("host") != socket.gethostname():
        return True
    pid = about.get("pid")
    return isinstance(pid, int) and pid != os.getpid() and _started(pid) == about.get("started") is not None


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the machine did, and which boot that was; None where it is not there."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf8").strip()
        return f"{boot} {Path(f'/proc/{pid}/stat').read_text(encoding='utf8').rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        return None


def _refused(folder: Path, about: dict[str, Any], path: Path | None = None) -> ConfigError:
    host = about.get("host")
    where = f" on {host}" if host not in (None, socket.gethostname()) else ""
    who = f"process {about['pid']}{where}, since {about.get('since')}" if about.get("pid") else "another process"
    sure = f"; if that process is no more, remove {path}" if path is not None else ""
    return ConfigError(f"a run is going on in {folder} ({who}); wait for its end, stop it, or give another `out`{sure}")
