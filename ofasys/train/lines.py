"""Files of lines that a run adds to, whatever the disk has room for just then."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ofasys.errors import CheckpointError

_log = logging.getLogger("ofasys")


class Lines:
    """A file that lines are added to, whole ones. What the disk has no room for is held, told, and written with the
    next line that there is room for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO | None = None
        self.held: list[bytes] = []

    def open(self) -> None:
        """Make the file, if it is not there. Errors: OSError."""
        if self.file is None:
            self.file = self.path.open("ab", buffering=0)

    def add(self, line: str) -> None:
        """One line more."""
        told = bool(self.held)
        self.held.append(f"{line}\n".encode())
        try:
            self._write()
        except OSError as error:
            if not told:
                _log.warning(
                    f"{self.path} could not be written ({error.strerror or error}); the run goes on, and its lines are "
                    "held until there is room"
                )

    def close(self) -> CheckpointError | None:
        """Nothing is added any more. What is wrong, if there are lines that there is no room for."""
        lost = None
        try:
            self._write()
        except OSError as error:
            refused = f"could not be written ({error.strerror or error}) and are lost"
            lost = CheckpointError(f"{self.path}: {len(self.held)} of its lines {refused}; make room")
        if self.file is not None:
            self.file.close()
        return lost

    def _write(self) -> None:
        while self.held:
            self.open()
            assert self.file is not None
            size, left = os.fstat(self.file.fileno()).st_size, self.held[0]
            try:
                while left:  # a disk that is nearly full takes a part, and refuses the next
                    left = left[self.file.write(left) or 0 :]
            except OSError:
                with suppress(OSError):
                    self.file.truncate(size)
                raise
            del self.held[0]
