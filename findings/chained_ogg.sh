#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2) and av 18.1.0 (FFmpeg 8.1.2): two Ogg Vorbis files one after the other, which the
# format allows and radio streams are (RFC 3533, chaining).
#
# Guess: both libraries read both parts, or say that there is more than they read.
# Seen: libsndfile gives the first part alone, says that this is all the file has, and raises nothing; FFmpeg goes on.
# So: count the beginnings of streams in an Ogg file before its length is believed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 soundfile==0.14.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import io

import av
import numpy as np
import soundfile


def part(count: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.4 * np.sin(np.arange(count) / 6), 16000, format="OGG", subtype="VORBIS")
    return file.getvalue()


chain = part(16000) + part(9000)
file = soundfile.SoundFile(io.BytesIO(chain))
heard = len(file.read())
with av.open(io.BytesIO(chain)) as container:
    other = sum(frame.samples for frame in container.decode(audio=0))
print(soundfile.__libsndfile_version__, file.frames, heard, av.ffmpeg_version_info, other)
assert (file.frames, heard) == (16000, 16000), (file.frames, heard)
assert other >= 25000, other
PY
