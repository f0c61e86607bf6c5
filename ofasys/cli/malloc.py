"""Settings of glibc's allocator for commands that train or evaluate. They are read when a process starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

SETTINGS = {
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_MMAP_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
COMMANDS = ("train", "demo", "evaluate")
GUARD = "OFASYS_MALLOC_IS_SET"


def begin_anew(arguments: Sequence[str]) -> None:
    """Start this process again with SETTINGS where that is sound; otherwise do nothing. For the console script only."""
    # A training step frees and asks for the same large blocks again and again. By default glibc gives them back to the
    # system each time, and each return costs page faults, which are dear on virtual machines; kept, a step is 1.1-1.25
    # times as fast. glibc reads these settings once, before main, so they cannot be set from inside.
    if wanted(arguments, os.environ) and is_glibc() and sys.executable:
        os.environ.update(SETTINGS)
        os.environ[GUARD] = "1"
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def wanted(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether these arguments name such a command, and neither we nor the user have chosen settings before."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    return (
        command in COMMANDS and not {"--help", "-h"} & set(arguments) and state(environment) == "as the system has them"
    )


def state(environment: Mapping[str, str]) -> str:
    """Who chose the settings this process runs with, in words."""
    if GUARD in environment:
        return "set by ofasys"
    if environment.get("OFASYS_MALLOC") == "0":
        return "left alone (OFASYS_MALLOC=0)"
    if set(SETTINGS) & set(environment) or "glibc.malloc" in environment.get("GLIBC_TUNABLES", ""):
        return "set by the user"
    return "as the system has them"


def is_glibc() -> bool:
    """Whether this is Linux with glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):
        return False
