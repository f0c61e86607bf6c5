#!/usr/bin/env bash
# av 18.1.0 (FFmpeg 8.1.2) and soundfile 0.14.0 (libsndfile 1.2.2): Apple Lossless in a CAF file.
#
# Guess: a lossless file of 16,000 samples is decoded to 16,000 samples by both libraries, whichever wrote it.
# Seen: FFmpeg takes the remainder that CAF's packet table tells off a last packet that is short already, and gives
# 15,616; libsndfile gives 16,000. The samples that FFmpeg does give are right. ALAC in an m4a file is whole in FFmpeg.
# So: read CAF with libsndfile first, where it can.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 soundfile==0.14.0 numpy==2.4.6
FOLDER=$folder "$folder/venv/bin/python" - <<'PY'
import os

import av
import numpy as np
import soundfile

sound = (12000 * np.sin(np.arange(16000) / 6)).astype(np.int16)
path = os.path.join(os.environ["FOLDER"], "a.caf")
soundfile.write(path, sound, 16000, format="CAF", subtype="ALAC_16")
other = os.path.join(os.environ["FOLDER"], "a.m4a")
with av.open(other, "w") as container:
    stream = container.add_stream("alac", rate=16000, layout="mono")
    frame = av.AudioFrame.from_ndarray(sound[None], format="s16p", layout="mono")
    frame.sample_rate, frame.pts = 16000, 0
    for packet in (*stream.encode(frame), *stream.encode(None)):
        container.mux(packet)


def decoded(path: str) -> np.ndarray:
    with av.open(path) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


whole, _ = soundfile.read(path, dtype="int16")
short, m4a = decoded(path), decoded(other)
print(soundfile.__libsndfile_version__, len(whole), av.ffmpeg_version_info, len(short), "m4a", len(m4a))
assert np.array_equal(whole, sound)
assert np.array_equal(m4a >> 16, sound)  # it comes as 32 bits
assert len(short) == 15616, len(short)
assert np.array_equal(short, sound[: len(short)])
PY
