"""Fetching packages: each once, checked, and put in its place whole; what was fetched before is not fetched again."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ofasys.errors import ConfigError, DataError
from ofasys.gallery.data.client import CLIENTS, Client, Take, run
from ofasys.gallery.data.package import Package
from ofasys.gallery.data.store import folder_of, is_fetched, sha256, store


class Progress:
    """What is told while packages are fetched. This one keeps silent."""

    def begin(self, package: Package, number: int, many: int) -> None:
        """A package begins: the `number`th of `many`, from 1."""

    def tick(self, package: Package, there: int) -> None:
        """It goes on; `there` bytes of it are here, as far as that can be seen."""

    def end(self, package: Package) -> None:
        """It is fetched and is what was pinned."""


def fetch(
    packages: Sequence[Package], progress: Progress | None = None, clients: Mapping[str, Client] = CLIENTS
) -> list[Package]:
    """Fetch those that are not there, or not whole; returns them. A fetch that was interrupted goes on with the
    package it was at.

    Errors: ConfigError for a client that is not installed, before anything is fetched, and while another fetch is
    running; DataError for a package that its registry does not give, or of which it gives other bytes than were pinned.
    """
    told = progress or Progress()
    wanted = [package for package in packages if not _whole(package)]
    by_client = {name: [package for package in wanted if package.client == name] for name in clients}
    programs = {name: clients[name].found(asked) for name, asked in by_client.items() if asked}
    if not wanted:
        return []
    with _alone() as aside:
        takes: dict[str, Take] = {}
        for number, package in enumerate(wanted, 1):
            told.begin(package, number, len(wanted))
            ran, name = partial(_run, package=package, aside=aside, told=told), package.client
            with _of(package):
                if name not in takes:
                    takes[name] = clients[name].begin(programs[name], by_client[name], _new(aside), ran)
                came = _new(aside)
                takes[name](package, came)
            _place(package, came)
            told.end(package)
    return wanted


def _new(aside: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=aside))


def _run(command: Sequence[str], folder: Path, *, package: Package, aside: Path, told: Progress) -> None:
    run(command, folder, lambda: told.tick(package, _bytes_in(aside)))


def _bytes_in(folder: Path) -> int:
    """Of files that may come and go meanwhile."""
    total = 0
    for path in list(folder.rglob("*")):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _whole(package: Package) -> bool:
    folder = folder_of(package)
    return is_fetched(package) and all(sha256(folder / file) == pinned for file, pinned in package.files.items())


@contextmanager
def _of(package: Package) -> Iterator[None]:
    """Errors of a client, with what was asked of it and the next step."""
    try:
        yield
    except DataError as error:
        raise DataError(
            f"{package.title} cannot be fetched: {error}",
            expected="a registry that is reached and has this version; what was fetched stays, and the same command "
            "goes on",
        ) from error


def _place(package: Package, came: Path) -> None:
    """Put what came in its place. Errors: DataError where it is not what was pinned."""
    for file, pinned in package.files.items():
        if (found := sha256(came / file)) != pinned:
            raise DataError(
                f"{package.title}: {file} has the SHA-256 {found}, and {pinned} was pinned: the registry gives another "
                "file than it did, and nothing of it is kept",
                expected="the file as it was; ask a mirror that has it, or leave out the tasks that need it: ofasys "
                "data list",
            )
    target = folder_of(package)
    shutil.rmtree(target, ignore_errors=True)
    came.rename(target)


@contextmanager
def _alone() -> Iterator[Path]:
    """The folder for what is being fetched, for one fetch at a time; what an earlier one left there is removed.

    Errors: ConfigError while another process fetches.
    """
    aside = store().parent / "aside"
    aside.mkdir(parents=True, exist_ok=True)
    store().mkdir(parents=True, exist_ok=True)
    with (store().parent / "fetching").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another process fetches into {store()}; wait until it has ended") from None
        shutil.rmtree(aside)
        aside.mkdir()
        try:
            yield aside
        finally:
            shutil.rmtree(aside, ignore_errors=True)
