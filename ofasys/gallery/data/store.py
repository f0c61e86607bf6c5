"""Where fetched packages lie, and whether they are what was pinned."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

from ofasys.caches import user_cache
from ofasys.errors import DataError
from ofasys.gallery.data.package import Package

READ_BYTES = 1 << 20  # of a file, at a time


def store() -> Path:
    """The folder of all fetched packages: `ofasys/data/packages` of the user's folder for caches."""
    return user_cache("data") / "packages"


def folder_of(package: Package) -> Path:
    """Where the files of a package lie once they are fetched."""
    return store() / f"{package.name.strip('@').replace('/', '+')}-{package.version.replace(':', '+')}"


def is_fetched(package: Package) -> bool:
    """Whether its files are there. They are put there whole; `fetched` looks at what is in them."""
    return all((folder_of(package) / file).is_file() for file in package.files)


def fetched(package: Package) -> Path:
    """The folder of a fetched package, every file of which is what was pinned.

    Errors: DataError for one that is not fetched, or was changed or cut short since.
    """
    folder = folder_of(package)
    command = f"ofasys data fetch {shlex.quote(package.name)}"
    for file, pinned in package.files.items():
        path = folder / file
        if not path.is_file():
            raise DataError(f"{package.title} is not fetched", expected=f"its {file} in {folder}: {command}")
        if (found := sha256(path)) != pinned:
            raise DataError(
                f"{path} is not what was fetched: {path.stat().st_size:,} bytes of SHA-256 {found[:12]}..., not "
                f"{pinned[:12]}...; it was changed or cut short",
                expected=f"the file as it came: {command}",
            )
    return folder


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
