#!/usr/bin/env bash
# Pillow 13.0.0: a moving picture whose frames are all equal.
#
# Guess: three equal frames of 250 ms are read back as three, or as one of 750 ms, in each format that moves.
# Seen: GIF keeps one frame of 750 ms. WebP keeps one whose duration is 0, PNG one without a duration, and nothing is said.
# If the last frame differs, all three formats keep 750 ms. PNG keeps all frames if each is laid over the one before in
# another way than that was.
# So: a clip is written as PNG with `blend` given frame by frame; in WebP one that never changes has no time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps pillow==13.0.0
"$folder/venv/bin/python" - <<'PY'
import io

from PIL import Image, __version__


def read_back(kind, colours, **more):
    frames = [Image.new("RGB", (8, 8), (colour, 9, 9)) for colour in colours]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=250, loop=0, **more)
    with Image.open(file) as found:
        count = getattr(found, "n_frames", 1)
        found.load()
        return count, found.info.get("duration")


kinds = ("GIF", "WEBP", "PNG")
still = {kind: read_back(kind, (9, 9, 9)) for kind in kinds}
changing = {kind: read_back(kind, (9, 9, 9, 90)) for kind in kinds}
apart = read_back("PNG", (9, 9, 9), blend=[0, 1, 0])
print(__version__, still, changing, apart)
assert still == {"GIF": (1, 750), "WEBP": (1, 0), "PNG": (1, None)}
assert all(count == 2 for count, _ in changing.values())
assert apart[0] == 3
PY
