"""docs/command-line.md and docs/run-files.md: every file and command on them, on made-up rows.

A fence whose first line is `# NAME` is a file; a `sh` fence holds commands (`$ ofasys ...`) and what they print, `...`
being anything.
"""

import json
import re
import shlex
from pathlib import Path

import pytest

from ofasys.cli.schema import fields

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(page):
    """Name -> text of the files that a page shows."""
    shown = (re.match(r"# (\S+\.(?:yaml|py))\n", body) for _, body in FENCE.findall((DOCS / page).read_text()))
    return {found[1]: found.string for found in shown if found}


def play(shell, page):
    for kind, body in FENCE.findall((DOCS / page).read_text()):
        if kind != "sh":
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            words = shlex.split(command)
            assert words[0] == "ofasys"
            done = shell(*words[1:])
            assert done.exit_code in (0, 2), (command, done.output)
            pattern = r".*?".join(re.escape(one) for one in plain(expected).split("..."))
            assert re.fullmatch(pattern, plain(done.stderr + done.stdout), re.DOTALL), (command, done.output)


def plain(text):
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


@pytest.fixture
def pages(shell):
    rows = shell.folder / "data" / "captions.jsonl"
    assert json.loads(rows.read_text().splitlines()[0])["img"] == "red.png"
    for page in ("run-files.md", "command-line.md"):
        for name, text in files(page).items():
            # The model of the page is shown as a reader would have it; here its vocabulary is small, so that it is
            # quick.
            shell.write(name, text.replace("size: tiny\n", "size: tiny\n  text_pieces: 300\n"))
    return shell


@pytest.mark.slow
@pytest.mark.parametrize("page", ["run-files.md", "command-line.md"])
def test_page(pages, page):
    play(pages, page)


def test_the_tables_hold_every_field():
    page = (DOCS / "run-files.md").read_text()
    for section, row in (("task", "a task"), ("model", "`model`"), ("trainer", "`trainer`")):
        told = re.search(rf"^\| {row} \| (.*) \|$", page, re.MULTILINE)[1]
        assert re.findall(r"`(\w+)`", told) == fields(section)


def test_the_page_lists_every_command(shell):
    page = (DOCS / "command-line.md").read_text()
    listed = re.findall(r"^  (\w+)  ", shell.ok("--help").partition("Commands:")[2], re.MULTILINE)
    assert re.findall(r"^\| `ofasys (\w+)", page, re.MULTILINE) == listed
