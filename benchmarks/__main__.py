"""All benchmarks, one after the other: `python -m benchmarks` (or `make bench`)."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "startup",
    "train_step",
    "mixed_stream",
    "generate",
    "closed_set",
    "pipeline",
    "columns",
    "realtime",
    "scaling",
)

if __name__ == "__main__":
    for name in NAMES:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
