"""The allocator's settings are chosen once, by the console script, and never against the user."""

import os
import subprocess
import sys

import pytest

from ofasys.cli import malloc

SCRIPT = (
    "from ofasys.cli import malloc; import os, sys; malloc.begin_anew(sys.argv[1:]); "
    "print({k: v for k, v in os.environ.items() if k.startswith('MALLOC_')}, sys.argv[1:])"
)


@pytest.mark.parametrize(
    ("words", "environment", "wanted"),
    [
        (["train", "run.yaml"], {}, True),
        (["--debug", "evaluate", "x"], {}, True),
        (["demo"], {}, True),
        (["explain", "train"], {}, False),
        (["infer", "x"], {}, False),
        (["train", "--help"], {}, False),
        ([], {}, False),
        (["train"], {"OFASYS_MALLOC": "0"}, False),
        (["train"], {"OFASYS_MALLOC": "1"}, True),
        (["train"], {"MALLOC_TOP_PAD_": "1"}, False),
        (["train"], {"GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}, False),
        (["train"], {malloc.GUARD: "1", **malloc.SETTINGS}, False),
    ],
)
def test_when(words, environment, wanted):
    assert malloc.wanted(words, environment) is wanted


def run(words, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "OFASYS_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True, env=clean | environment
    )
    return done.stdout.strip()


@pytest.mark.skipif(not malloc.is_glibc(), reason="only where glibc is")
def test_the_process_begins_anew_once_with_its_arguments():
    words = ["train", "a b", "[TEXT:a] -> *"]
    assert run(words) == f"{malloc.SETTINGS} {words}"
    assert run(words, OFASYS_MALLOC="0") == f"{{}} {words}"
    assert run(words, MALLOC_TOP_PAD_="5") == f"{{'MALLOC_TOP_PAD_': '5'}} {words}"
    assert run(["explain"]) == "{} ['explain']"


def test_importing_sets_nothing():
    code = (
        "import os; before = dict(os.environ); import ofasys.cli.main, ofasys.cli.malloc; "
        "print(dict(os.environ) == before)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
