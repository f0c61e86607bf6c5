"""The programs that fetch packages: pip, npm and apt, each asked for one pinned version."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ofasys.errors import ConfigError, DataError
from ofasys.gallery.data.package import Package

SUITE = "bookworm"  # of Debian: the release whose packages are pinned
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SAID = 400  # characters of what a client said that an error repeats
TICK = 0.5  # seconds
LISTS = "lists"
TRANSLATION = "Translation-"  # begins the files of apt's lists that hold descriptions in a language

Ran = Callable[[Sequence[str], Path], None]
"""Runs a command in a folder. Errors: DataError with what it said, where it fails."""


Take = Callable[[Package, Path], None]
"""Fetches a package into a folder, where its files have the names they are kept by. Errors: DataError."""


@dataclass(frozen=True)
class Client:
    """A program that fetches packages."""

    name: str
    """As records say it."""
    brings: str
    """How to come by the program."""
    program: Callable[[], list[str] | None]
    """The start of its command line; None where it is not installed."""
    begin: Callable[[list[str], Sequence[Package], Path, Ran], Take]
    """Makes ready what is needed before any of these packages, in a folder of its own; how each is fetched then."""

    def found(self, packages: Sequence[Package]) -> list[str]:
        """Its program. Errors: ConfigError that says what it is needed for."""
        program = self.program()
        if program is None:
            names = ", ".join(package.name for package in packages)
            raise ConfigError(f"{self.name} is not installed, which fetches {names}: {self.brings}")
        return program


def run(command: Sequence[str], folder: Path, tick: Callable[[], None] = lambda: None) -> None:
    """Run a client's command in a folder. tick: called every half a second while it runs.

    Errors: DataError with the end of what it said, where it fails. It is ended where this is interrupted.
    """
    own = {"DEBIAN_FRONTEND": "noninteractive", "NPM_CONFIG_UPDATE_NOTIFIER": "false", "TMPDIR": str(folder)}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | own, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            while not _ended(process):
                tick()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if process.returncode:
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())
            raise DataError(f"{shlex.join(command[:3])} ... ended with {process.returncode}: {words[-SAID:]}")


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(TICK)
    except subprocess.TimeoutExpired:
        return False
    return True


def _pip() -> list[str] | None:
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip")
    return None if found is None else [found]


def _npm() -> list[str] | None:
    found = shutil.which("npm")
    return None if found is None else [found]


def _apt() -> list[str] | None:
    found = shutil.which("apt-get")
    return None if found is None else [found]


def _begin_pip(program: list[str], packages: Sequence[Package], own: Path, ran: Ran) -> Take:
    kinds = ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--no-input", "--dest", "."]

    def take(package: Package, folder: Path) -> None:
        ran([*program, "download", *kinds, f"{package.name}=={package.version}"], folder)
        _named(package, folder)

    return take


def _begin_npm(program: list[str], packages: Sequence[Package], own: Path, ran: Ran) -> Take:
    def take(package: Package, folder: Path) -> None:
        ran([*program, "pack", "--ignore-scripts", f"{package.name}@{package.version}"], folder)
        _named(package, folder)

    return take


def _begin_apt(program: list[str], packages: Sequence[Package], own: Path, ran: Ran) -> Take:
    command = _updated(program, "none", own, ran)

    def take(package: Package, folder: Path) -> None:
        ran([*command, "download", f"{package.name}={package.version}"], folder)
        _named(package, folder)

    return take


def _begin_apt_update(program: list[str], packages: Sequence[Package], own: Path, ran: Ran) -> Take:
    """The lists themselves are the packages."""
    files = {file for package in packages for file in package.files if file.startswith(TRANSLATION)}
    _updated(program, ",".join(sorted(file.removeprefix(TRANSLATION) for file in files)) or "none", own, ran)

    def take(package: Package, folder: Path) -> None:
        for file in package.files:
            listed = [path for path in sorted((own / LISTS).iterdir()) if path.name.endswith(f"_{file}")]
            if len(listed) != 1:
                raise DataError(f"apt has {len(listed)} lists called {file}", expected="one, from one archive")
            shutil.copyfile(listed[0], folder / file)

    return take


def _named(package: Package, folder: Path) -> None:
    """Clients name files in their own ways: the one that came gets the name it is kept by. Errors: DataError."""
    (kept,) = package.files
    came = [path for path in sorted(folder.iterdir()) if path.suffix == Path(kept).suffix]
    if len(came) != 1:
        names = ", ".join(path.name for path in came) or "nothing"
        raise DataError(f"{package.client} left {names}", expected=f"one file of {package.title}")
    came[0].rename(folder / kept)


def _updated(program: list[str], languages: str, own: Path, ran: Ran) -> list[str]:
    """The start of apt's command line: a place of its own, so that no rights are needed and nothing of the system's
    apt is touched, with the lists of the one release from the archive that the system knows.
    """
    for folder in (own / LISTS / "partial", own / "cache" / "archives" / "partial", own / "state"):
        folder.mkdir(parents=True)
    (own / "status").touch()
    signed = f"[signed-by={KEYS}] " if KEYS.is_file() else ""
    (own / "sources.list").write_text(f"deb {signed}{_archive(program)} {SUITE} main\n")
    options = {
        "Dir::State": own / "state",
        "Dir::State::lists": own / LISTS,
        "Dir::State::status": own / "status",
        "Dir::Cache": own / "cache",
        "Dir::Etc::sourcelist": own / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": languages,
        "Acquire::GzipIndexes": "false",
    }
    command = [*program, "-q", *(f"-o{name}={value}" for name, value in options.items())]
    ran([*command, "update", "--error-on=any"], own)
    return command


def _archive(program: list[str]) -> str:
    """Where the system's apt has Debian from. Errors: ConfigError for a system that has no Debian."""
    told = subprocess.run([*program, "update", "--print-uris"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"'([^']+/debian)/dists/", told)
    if found is None:
        raise ConfigError(
            "apt of this system has no archive of Debian among its sources; fetch on Debian, or in a container of it, "
            "and copy the folder ofasys/data of the folder for caches"
        )
    return found[1]


_DEBIAN = "it is Debian's; fetch there, or in a container of it, and copy ofasys/data of the folder for caches"
_NODE = "it comes with Node.js (apt-get install npm, brew install node)"
CLIENTS = {
    client.name: client
    for client in (
        Client("pip", "python -m ensurepip brings it", _pip, _begin_pip),
        Client("npm", _NODE, _npm, _begin_npm),
        Client("apt", _DEBIAN, _apt, _begin_apt),
        Client("apt-update", _DEBIAN, _apt, _begin_apt_update),
    )
}
