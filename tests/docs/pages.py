"""Runs the fences of a Markdown page, in order, as one reader would.

`python` fences run in one namespace per page. `console` fences hold commands (`$ ofasys ...`) and what they print.
An `output` fence holds what the `python` fence before it prints. `...` stands for anything, in both.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import commands

FENCE = re.compile(r"^```(\w*)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEAVY = ("make", "git", "pip", "ofasys demo", "ofasys serve", "ofasys push")  # said on a page, not run here


def fences(page: Path) -> Iterator[tuple[int, str, str]]:
    """(line, kind, body) of each fence. Errors: AssertionError for a fence that asks not to be run."""
    text = page.read_text(encoding="utf8")
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        assert not found[2].strip(), f"{page.name}, line {line - 1}: a fence is marked {found[2].strip()!r}"
        yield line, found[1], found[3]


def run(page: Path) -> None:
    """Run a page in the present folder."""
    names: dict[str, object] = {"__name__": "__page__"}
    printed = ""
    for line, kind, body in fences(page):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * (line - 1) + body, str(page), "exec"), names)
            printed = out.getvalue()
        elif kind == "output":
            same(printed, body, f"{page.name}, line {line}")
        elif kind == "console":
            console(body, f"{page.name}, line {line}")


def console(body: str, place: str) -> None:
    """Run each `$ ofasys ...` line; the lines after it are what it prints."""
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        if command.startswith(HEAVY) or find_spec("ofasys.cli.main") is None:
            continue
        assert command.startswith("ofasys "), f"{place}: what is {command!r}?"
        done = commands.run(shlex.split(command)[1:])
        if expected.strip():
            same(done.stdout + done.stderr, expected, f"{place}: {command}")
        else:
            assert done.returncode == 0, f"{place}: {command}\n{done.stdout}{done.stderr}"


def same(got: str, expected: str, place: str) -> None:
    """Blanks at line ends do not count, and `...` is anything."""
    pattern = ".*?".join(re.escape(part) for part in _plain(expected).split("..."))
    assert re.fullmatch(pattern, _plain(got), re.DOTALL), f"{place}\n--- expected\n{expected}\n--- got\n{got}"


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())
