"""C of this package, compiled for the machine it runs on when it is first wanted, and kept.

Nothing needs it: where there is no compiler, or the processor lacks what the C asks for, its callers do without.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ofasys.caches import user_cache

if TYPE_CHECKING:
    from torch import Tensor

FLAGS = ("-O3", "-march=native", "-fno-strict-aliasing", "-fPIC", "-shared", "-fopenmp")
SECONDS = 60  # for a compiler that hangs


@functools.cache
def compiled(name: str) -> ctypes.CDLL | None:
    """The library of `NAME.c` beside this file; None where it cannot be had."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        return None
    source = Path(__file__).with_name(f"{name}.c")
    try:
        kept = user_cache("native") / f"{name}-{_digest(source, compiler)}.so"
        if not kept.exists():
            _compile(compiler, source, kept)
        return ctypes.CDLL(str(kept))
    except (OSError, RuntimeError, subprocess.SubprocessError):
        return None


def address(tensor: Tensor) -> ctypes.c_void_p:
    """Where its numbers begin, as C takes it. The tensor has to be held until the call is over."""
    return ctypes.c_void_p(tensor.data_ptr())


def _digest(source: Path, compiler: str) -> str:
    """Of all that the library depends on: a folder of the user may be that of several machines."""
    made = hashlib.blake2b(source.read_bytes(), digest_size=12)
    for shared in sorted(source.parent.glob("*.h")):
        made.update(shared.read_bytes())
    for part in (compiler, *FLAGS, platform.machine(), _processor()):
        made.update(f"\0{part}".encode())
    return made.hexdigest()


def _processor() -> str:
    """What its first processor says it can do."""
    about = Path("/proc/cpuinfo").read_text(encoding="utf8", errors="replace").split("\n\n", 1)[0]
    return "\n".join(line for line in about.splitlines() if line.startswith(("flags", "model name", "Features")))


def _compile(compiler: str, source: Path, kept: Path) -> None:
    """Written beside and renamed, so that nobody reads half of one. Errors: of the compiler, and of the folder."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        made = Path(folder) / kept.name
        command = [compiler, *FLAGS, str(source), "-o", str(made), "-lm"]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        made.replace(kept)
