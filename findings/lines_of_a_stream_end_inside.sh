#!/usr/bin/env bash
# httpx2 2.16.2: Response.iter_lines over server-sent events, or JSON lines.
#
# Guess: a line ends at \n, \r\n or \r, as the events' standard and JSON lines have it, and as a file of Python is read.
# Seen: it ends wherever str.splitlines ends one: at U+2028, U+2029 and U+0085 too, and at five control characters. JSON
# that is not written in ASCII alone may hold U+2028 within a string, so a whole event comes in two parts.
# So: split the bytes at \n, or have the server write JSON in ASCII alone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check httpx2==2.16.2
"$folder/venv/bin/python" - <<'PY'
import io
import json

import httpx2


def lines(text):
    answer = httpx2.MockTransport(lambda request: httpx2.Response(200, content=text.encode()))
    with httpx2.Client(transport=answer) as client, client.stream("GET", "http://here/") as response:
        return list(response.iter_lines())


said = {"text": "before\u2028behind"}
event = "data: " + json.dumps(said, ensure_ascii=False) + "\n\n"
print(httpx2.__version__, lines(event))
assert len([line for line in lines(event) if line]) == 2
within = [one for one in map(chr, range(0x3000)) if one not in "\r\n" and len(lines(f"a{one}b\n")) == 2]
print([f"U+{ord(one):04X}" for one in within])
assert within == list("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
assert all(len(list(io.StringIO(f"a{one}b\n", newline=None))) == 1 for one in within)
PY
