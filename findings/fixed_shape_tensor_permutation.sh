#!/usr/bin/env bash
# pyarrow 26.0.1, numpy 2.4.6: a tensor column whose axes are permuted, read a value at a time or all at once.
#
# Guess: `column[0].to_numpy()` and `column.to_numpy_ndarray()[0]` are the same array.
# Seen: they differ. The scalar gives the numbers 0..5 in an order that no view of the stored array has:
#   to_numpy_ndarray  [[0, 3], [1, 4], [2, 5]]
#   scalar.to_numpy   [[0, 2], [1, 3], [2, 4]]
# So: read such columns whole, or take the storage and put its axes in order oneself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import numpy as np
import pyarrow as pa

kind = pa.fixed_shape_tensor(pa.int32(), (2, 3), permutation=[1, 0])
column = pa.ExtensionArray.from_storage(kind, pa.array([list(range(6))], pa.list_(pa.int32(), 6)))
whole, one = column.to_numpy_ndarray()[0].tolist(), column[0].to_numpy().tolist()
print("to_numpy_ndarray", whole)
print("scalar.to_numpy ", one)
assert whole == [[0, 3], [1, 4], [2, 5]], whole
assert one == [[0, 2], [1, 3], [2, 4]], one
PY
