#!/usr/bin/env bash
# pyarrow 26.0.1: a Parquet file of many small row groups, by its codec.
#
# Guess: with a row a group hardly a byte is compressed, so that reading takes the same time whatever the codec; zstd,
# which decompresses about as fast as snappy, is no worse than gzip or brotli.
# Seen: zstd takes some six times as long as snappy or none, and four times gzip and brotli: about 17 microseconds for
# every page of a column, of which a file of 5,000 groups and four columns has 20,000.
# So: write larger row groups, or snappy, where a table is appended to a few rows at a time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
"$folder/venv/bin/python" - <<'PY'
import io
import time

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 5000
table = pa.table({name: [f"{i} {name}" for i in range(ROWS)] for name in "abcd"})


def seconds(codec: str) -> float:
    """The best of five readings of a file with a row a group."""
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=1, compression=codec)
    found = []
    for _ in range(5):
        opened = pq.ParquetFile(io.BytesIO(file.getvalue()))
        began = time.perf_counter()
        assert opened.read(use_threads=False).num_rows == ROWS
        found.append(time.perf_counter() - began)
    return min(found)


took = {codec: seconds(codec) for codec in ("none", "snappy", "gzip", "brotli", "zstd")}
print(pa.__version__, {codec: round(value, 3) for codec, value in took.items()})
assert took["zstd"] > 2.5 * max(took["none"], took["snappy"])
assert took["zstd"] > 2 * max(took["gzip"], took["brotli"])
PY
