"""The command line in a process of its own, forked from one that has loaded the libraries: it begins at once."""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import typer.main

from ofasys.cli import malloc

SECONDS = 120  # after which a command that still runs is a failure of the test
LOADED = ["torch", "torch._dynamo", "ofasys.cli.main", "ofasys.train.trainer", "ofasys.hub.ofasys"]


@dataclass
class Done:
    """What a command wrote, and how it ended."""

    stdout: str
    stderr: str
    returncode: int


@cache
def _server() -> subprocess.Popen[str]:
    """A process that forks a command for each line it reads, and says how it ended."""
    command = [sys.executable, str(Path(__file__))]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(server.communicate)
    return server


def run(words: Sequence[str]) -> Done:
    """`ofasys WORDS` in the present folder and environment."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        out, err = (str(Path(folder, name)) for name in ("out", "err"))
        asked = {"words": list(words), "folder": os.getcwd(), "environment": dict(os.environ), "files": [out, err]}
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        return Done(Path(out).read_text(encoding="utf8"), Path(err).read_text(encoding="utf8"), code)


def _serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    typer.main.get_command = cache(typer.main.get_command)  # all commands are built here, not in each child
    typer.main.get_command(sys.modules["ofasys.cli.main"].app)
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(asked["words"], asked["folder"], asked["environment"], asked["files"])
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(words: list[str], folder: str, environment: dict[str, str], files: list[str]) -> None:
    """Be the command, and end as it does."""
    signal.alarm(SECONDS)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment | {malloc.GUARD: "1"})  # or it would begin anew, as this program
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, file in zip((1, 2), files, strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf8", closefd=False) for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    sys.argv = ["ofasys", *words]
    from ofasys.cli.main import main

    code = 1
    try:
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
