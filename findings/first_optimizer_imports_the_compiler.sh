#!/usr/bin/env bash
# torch 2.13.0: the first optimizer of a process.
#
# Guess: torch.optim.SGD([p]) makes a small object in well under a millisecond; nothing of torch.compile is loaded in a
# program that compiles nothing.
# Seen: add_param_group is wrapped so that it imports torch._dynamo when it is first called, and with it sympy, the
# symbolic shapes and torch.distributed.fsdp: some 800 modules, 1 to 3 seconds of CPU. A wrapped
# step imports it too, so an optimizer that avoids the one meets the other.
# So: what is timed from the first optimizer on, starts of runs, short tests, workers that train, has this in it; import
# torch._dynamo before the clock starts, on every side of a comparison.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0
"$folder/venv/bin/python" - <<'PY'
import sys
import time

import torch

weight = torch.nn.Parameter(torch.zeros(2))
before, begin = set(sys.modules), time.process_time()
torch.optim.SGD([weight], lr=0.1)
seconds, came = time.process_time() - begin, set(sys.modules) - before
print(torch.__version__, f"{len(came)} modules, {seconds:.1f} s of CPU")
assert {"torch._dynamo", "sympy", "torch.distributed.fsdp"} <= came
assert len(came) > 500
before, begin = set(sys.modules), time.process_time()
torch.optim.SGD([weight], lr=0.1)
assert set(sys.modules) == before
PY
