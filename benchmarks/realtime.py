"""How long it takes to make what is no text, as real-time factors: 4 s of speech frames, a motion of 60 frames in 50
denoising steps, a picture of 16 x 16 codes: `python -m benchmarks.realtime`. `--profile` prints what each spends its
time on.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.rows import rows
from ofasys import GeneralistModel, OFASys, Task, Trainer

SPEECH = "[TEXT:x] -> [AUDIO:y,reduction=2,max_length=200,min_positions=200]"  # 200 positions of 2 frames of 10 ms
MOTION = "[TEXT:x] -> [MOTION:y,fps=20,frames=60]"
PICTURE = "[TEXT:x] -> [IMAGE:y,size=64,patch=4,fit_steps=20]"
WORK: dict[str, tuple[str, str, float | None, dict[str, Any]]] = {
    "4 s of speech": ("AUDIO target", SPEECH, 4.0, {}),
    "60 frames of motion, 50 steps": ("MOTION target", MOTION, 3.0, {"steps": 50}),
    "the same, guided": ("MOTION target", MOTION, 3.0, {"steps": 50, "guidance_weight": 2.0}),
    "16 x 16 codes": ("IMAGE codes", PICTURE, None, {}),
}


def main() -> None:
    """Print medians, untrained weights: the work is the same."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--sizes", nargs="+", default=["tiny", "small"])
    args = parser.parse_args()
    for size in args.sizes:
        model = GeneralistModel(size=size)
        own = [
            Task(name.replace(" ", "_"), line, rows(name, 32), micro_batch_size=4) for name, line, _, _ in set_of(WORK)
        ]
        Trainer(max_steps=len(own), live=False).fit(model=model, tasks=own)
        served = OFASys(model)
        for what, (name, line, seconds, options) in WORK.items():
            for batch in (1, 8):
                data = [{"x": row["x"]} for row in rows(name, batch)]
                call = partial(served.inference, line, data, batch_size=batch, **options)
                call()
                took = statistics.median(timed(call) for _ in range(args.rounds))
                factor = "" if seconds is None else f"   real-time factor {took / (seconds * batch):.3f}"
                print(f"{size:6} {what:32} batch {batch}: {took:6.2f} s, {took / batch:.3f} s each{factor}", flush=True)
                if args.profile and batch == 8:
                    profile(call)


def set_of(
    work: dict[str, tuple[str, str, float | None, dict[str, Any]]],
) -> list[tuple[str, str, float | None, dict[str, Any]]]:
    """Each line once."""
    return list({line: entry for entry in work.values() for line in [entry[1]]}.values())


def timed(call: Callable[[], Any]) -> float:
    """Seconds a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def profile(call: Callable[[], Any]) -> None:
    """The operations that take most."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        call()
    print(found.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=40))


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
