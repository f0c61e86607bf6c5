#!/usr/bin/env bash
# numpy 2.4.6 (OpenBLAS), torch 2.13.0: a dot product of numpy right after an operation of torch.
#
# Guess: each takes, one after the other, about what it takes alone: a few microseconds and a few hundred.
# Seen: with as many threads as cores, numpy's dot of 32,080 numbers takes two to eleven milliseconds, hundreds of times
# as long as alone. torch's threads go on spinning for their next piece of work, and those of OpenBLAS wait for the cores.
# With one thread of torch, or sums that are no BLAS (`np.square(x).mean()`), nothing waits.
# So: what is made of a row beside a training step must not call numpy's BLAS above the size where it takes threads.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
env -u OMP_NUM_THREADS -u OPENBLAS_NUM_THREADS "$folder/venv/bin/python" - <<'PY'
import os
import statistics
import time

import numpy as np
import torch

CORES = len(os.sched_getaffinity(0))
if CORES < 2:
    raise SystemExit("one core: neither has threads to wait for; nothing to see here")
numbers = np.random.default_rng(0).standard_normal(32080)
left, right = torch.randn(300, 257), torch.randn(257, 80)


def microseconds(second, first=None):
    found = []
    for _ in range(103):
        if first:
            first()
        began = time.perf_counter()
        second()
        found.append((time.perf_counter() - began) * 1e6)
    return statistics.median(found[3:])


def product():
    return left @ right


def dot():
    return np.vdot(numbers, numbers)


def squares():
    return np.square(numbers).mean()


torch.set_num_threads(CORES)
alone, beside, mean = microseconds(dot), microseconds(dot, product), microseconds(squares, product)
torch.set_num_threads(1)
one = microseconds(dot, product)
print(
    f"numpy {np.__version__}, torch {torch.__version__}, {CORES} cores: dot alone {alone:.0f} us, after torch "
    f"{beside:.0f}, after one thread of torch {one:.0f}; squares after torch {mean:.0f}"
)
assert beside > 50 * alone and beside > 20 * mean and beside > 20 * one
PY
