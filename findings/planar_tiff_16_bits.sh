#!/usr/bin/env bash
# pillow 13.0.0, tifffile 2026.3.3, numpy 2.4.6: a colour TIFF of 16 bits whose planes lie one after the other.
#
# Guess: Pillow gives the upper byte of each number, as it does for the same picture with its colours interleaved; or it
# says that it cannot read it.
# Seen: uncompressed, it takes the two bytes of a number for two pixels, and gives another picture without a word; packed
# by deflate, or with interleaved colours, it is right.
# So: look at PlanarConfiguration and BitsPerSample before such a file is given to Pillow.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import io

import numpy as np
import tifffile
from PIL import Image

picture = np.random.default_rng(0).integers(0, 2**16, (32, 48, 3), dtype=np.uint16)


def read(planar: bool, compression: str | None) -> int:
    """The largest error of what Pillow reads, in levels of 255."""
    file = io.BytesIO()
    if planar:
        tifffile.imwrite(file, picture.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", compression=compression)
    else:
        tifffile.imwrite(file, picture, photometric="rgb", compression=compression)
    file.seek(0)
    found = np.asarray(Image.open(file).convert("RGB")).astype(int)
    return int(np.abs(found - picture / 257).max())


errors = {(planar, packed): read(planar, packed) for planar in (False, True) for packed in (None, "zlib")}
for (planar, packed), error in errors.items():
    print("planes one after the other" if planar else "colours interleaved", packed or "uncompressed", error)
assert errors.pop((True, None)) > 100
assert all(error <= 1 for error in errors.values())
PY
