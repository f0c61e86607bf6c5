#!/usr/bin/env bash
# torch 2.13.0 (CPU), oneDNN inside it, on a processor with AVX-512-BF16: products of (n, 256) and (256, 256).
#
# Guess: the kernel of a product is made once for a weight, or for a few classes of n, and goes for every n after that.
# Seen: in bfloat16 oneDNN makes a kernel anew for every n it has not seen, 0.2 to 0.4 ms each (40 numbers of rows, 40
# kernels; a second round makes none); in float32, which goes another way, there is none to make. A training step over
# sequences of mixed lengths meets a new n in nearly every batch, in each of its linear layers.
# So: round the number of rows up to a few sizes, or multiply by a kernel that takes n as it comes.
set -euo pipefail
if ! grep -q avx512_bf16 /proc/cpuinfo; then
    echo "this processor has no AVX-512-BF16: nothing was run"
    exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/products.py" <<'PY'
import sys

import torch

torch.set_num_threads(1)
kind = getattr(torch, sys.argv[1])
weight = torch.zeros(256, 256, dtype=kind)
for _ in range(2):
    for n in range(400, 440):
        torch.mm(torch.zeros(n, 256, dtype=kind), weight)
PY
made() {
    ONEDNN_VERBOSE=profile_create "$folder/venv/bin/python" "$folder/products.py" "$1" > "$folder/said"
    grep -c "create:cache_miss,cpu,matmul" "$folder/said" || true
}
halves=$(made bfloat16) floats=$(made float32)
echo "kernels made for 40 numbers of rows, twice each: $halves in bfloat16, $floats in float32"
[[ $halves == 40 && $floats == 0 ]]
