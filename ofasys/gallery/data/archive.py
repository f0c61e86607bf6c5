"""Archives of packages, read in place: wheels (zip), npm's .tgz and Debian's .deb (ar, and a tar in it).

Nothing is unpacked to disk, so that no member can lie where it should not.
"""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

from ofasys.errors import DataError

MOST_BYTES = 1 << 30  # of one member
AR_MAGIC, AR_HEAD = b"!<arch>\n", 60
_TARS = re.compile(rb"data\.tar(\.(gz|xz|bz2))?/?\s*")


class Archive:
    """The files of an archive by the names they have in it, without a leading `./`. A use reads the archive once.

    Links, devices and folders are no files. Errors: DataError for what is no archive of these kinds, a name that leads
    out of it, a member that is longer than MOST_BYTES, and one that is asked for and not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str) -> bytes:
        """One file."""
        return next(data for _, data in self.files(name))

    def files(self, *patterns: str) -> Iterator[tuple[str, bytes]]:
        """(name, content) of each file whose name is like one of the patterns (`*` stands for anything, `/` too)."""
        missing = set(patterns)
        try:
            for name, size, content in self._of_zip() if zipfile.is_zipfile(self.path) else self._of_tar():
                if like := {pattern for pattern in patterns if fnmatchcase(name, pattern)}:
                    missing -= like
                    if size > MOST_BYTES:
                        raise DataError(
                            f"{name} in {self.path.name} has {size:,} bytes", expected=f"at most {MOST_BYTES:,}"
                        )
                    yield name, content.read()
        except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
            raise DataError(
                f"{self.path} cannot be read as an archive: {error}", expected="a wheel, a .tgz or a .deb that is whole"
            ) from error
        if missing:
            raise DataError(f"{self.path.name} holds no {sorted(missing)[0]}", expected="the version that is pinned")

    def _of_zip(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        with zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as content:
                        yield self._inside(info.filename), info.file_size, content

    def _of_tar(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        with self.path.open("rb") as file:
            start = file.read(len(AR_MAGIC))
            tar: IO[bytes] = self._data_of_deb(file) if start == AR_MAGIC else file
            if start != AR_MAGIC:
                file.seek(0)
            with tarfile.open(fileobj=tar, mode="r:*" if tar.seekable() else "r|*") as archive:
                for info in archive:
                    content = archive.extractfile(info) if info.isreg() else None
                    if content is not None:
                        yield self._inside(info.name), info.size, content

    def _data_of_deb(self, file: IO[bytes]) -> IO[bytes]:
        """The tar of a .deb: `ar` has members one after the other, each with a head that says name and length."""
        while len(head := file.read(AR_HEAD)) == AR_HEAD:
            size = int(head[48:58])
            if _TARS.fullmatch(head[:16]):
                return io.BytesIO(file.read(size))
            file.seek(size + size % 2, io.SEEK_CUR)
        raise DataError(
            f"{self.path.name} has no data.tar of a compression that is known", expected="a .deb with .gz, .xz or .bz2"
        )

    def _inside(self, name: str) -> str:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name:
            raise DataError(f"{self.path.name} holds a file that lies outside of it: {name!r:.120}")
        return "/".join(part for part in parts if part != ".")
