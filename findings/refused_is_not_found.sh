#!/usr/bin/env bash
# fsspec 2026.9.0 with aiohttp 3.14.5: a server that is not there.
#
# Guess: where nobody listens, opening http://... raises a connection error, as it does in urllib, requests and aiohttp.
# Seen: it raises FileNotFoundError, and `exists` says False: a server that is down for a moment is a file that was never
# there. A server that answers 404 gives just the same.
# So: what is not found by URL is not told from what cannot be reached, unless one looks at the error's cause.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fsspec==2026.9.0 aiohttp==3.14.5
"$folder/venv/bin/python" - <<'PY'
import socket

import aiohttp
import fsspec

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{free.getsockname()[1]}/rows.csv"  # bound, and nobody listens
    there = fsspec.filesystem("http").exists(url)
    try:
        with fsspec.open(url) as file:
            file.read()
        raise SystemExit("it was read")
    except Exception as error:
        found = error
cause = found.__cause__ or found.__context__
print(fsspec.__version__, aiohttp.__version__, type(found).__name__, "because of", type(cause).__name__, "exists:", there)
assert type(found) is FileNotFoundError, repr(found)
assert isinstance(cause, aiohttp.ClientConnectorError), repr(cause)
assert there is False
PY
