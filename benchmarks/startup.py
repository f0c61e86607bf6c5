"""How long `import ofasys` and `ofasys explain` take, each in fresh processes: `python -m benchmarks.startup`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import ofasys": [sys.executable, "-c", "import ofasys, sys; assert 'torch' not in sys.modules"],
    "import torch": [sys.executable, "-c", "import torch"],
    "ofasys explain": [
        str(Path(sys.executable).with_name("ofasys")),
        "explain",
        "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
    ],
}


def main(rounds: int = 7) -> None:
    """Print the medians, the commands taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(f"{name:16} {statistics.median(values):.3f} s")


if __name__ == "__main__":
    main()
