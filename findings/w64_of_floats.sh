#!/usr/bin/env bash
# soundfile 0.14.0 (libsndfile 1.2.2) and av 18.1.0 (FFmpeg 8.1.2): a W64 file (Sony Wave64) of 32-bit floats in six channels
# that FFmpeg writes, whose format chunk is then WAVE_FORMAT_EXTENSIBLE.
#
# Guess: libsndfile reads it as floats, as it does the same chunk in a WAV file; or it refuses it.
# Seen: it says PCM_32 and gives the bits of the floats as whole numbers: noise at full scale, and no error. FFmpeg reads
# back what it wrote.
# So: do not give W64 of another writer to libsndfile without a look at its format chunk.
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

sound = (0.25 * np.sin(np.arange(8000) / 6)).astype(np.float32)


def written(kind: str) -> str:
    path = os.path.join(os.environ["FOLDER"], f"a.{kind}")
    with av.open(path, "w", format=kind) as container:
        stream = container.add_stream("pcm_f32le", rate=16000, layout="5.1")
        frame = av.AudioFrame.from_ndarray(np.repeat(sound, 6)[None], format="flt", layout="5.1")
        frame.sample_rate, frame.pts = 16000, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


for kind, subtype in (("wav", "FLOAT"), ("w64", "PCM_32")):
    path = written(kind)
    with soundfile.SoundFile(path) as file:
        read, said = file.read(dtype="float32")[:, 0], file.subtype
    with av.open(path) as container:
        other = np.concatenate([frame.to_ndarray().reshape(-1, 6)[:, 0] for frame in container.decode(audio=0)])
    print(kind, said, "peak", float(np.abs(read).max()), "equal", np.array_equal(read, sound), "FFmpeg", np.array_equal(other, sound))
    assert said == subtype, said
    assert np.array_equal(other, sound)
    assert np.array_equal(read, sound) == (kind == "wav")
PY
