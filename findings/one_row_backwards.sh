#!/usr/bin/env bash
# numpy 2.4.6 and torch 2.13.0: an array of one row, turned around.
#
# Guess: np.ascontiguousarray makes any array one that torch.from_numpy takes.
# Seen: an axis of length one may have any stride and still count as contiguous, so an array of one row that was turned
# around is given back as it is, with its negative stride, and torch refuses it; one of two rows is copied and taken.
# So: what comes from rows of any number is copied where a stride is negative.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import torch

two, one = (np.zeros((rows, 3), dtype=np.float32)[::-1] for rows in (2, 1))
assert torch.from_numpy(np.ascontiguousarray(two)).shape == (2, 3)
same = np.ascontiguousarray(one)
print(np.__version__, torch.__version__, same is one, same.flags["C_CONTIGUOUS"], same.strides)
assert same is one
assert same.strides == (-12, 4)
try:
    torch.from_numpy(same)
except ValueError as error:
    assert "negative" in str(error)
else:
    raise AssertionError("torch takes it now")
PY
