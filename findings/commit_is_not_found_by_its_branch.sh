#!/usr/bin/env bash
# huggingface_hub 2.4.0: a file that was got by its commit, asked for by its branch without a network.
#
# Guess: a file in the cache that is of the newest commit of `main` is found offline as revision="main", or without a
# revision; how it was asked for the first time makes no difference.
# Seen: only a request by a name of a revision writes which commit that name is. After one by the commit, offline, the
# file is found by that commit alone, and by `main`, which is the default, it is not there.
# So: who fetches by commit, to be exact, says the commit offline too. The script's hub is on this machine.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0
unset HF_HUB_OFFLINE HTTP_PROXY http_proxy ALL_PROXY all_proxy
HF_HOME="$folder/home" "$folder/venv/bin/python" - <<'PY'
import http.server
import os
import threading

COMMIT, DATA = "c" * 40, b"{}"


class Hub(http.server.BaseHTTPRequestHandler):
    def log_message(self, *said):
        pass

    def answer(self):
        known = self.path.startswith("/me/model/resolve/")
        self.send_response(200 if known else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"d41d8cd9"')
        self.send_header("Content-Length", str(len(DATA) if known else 0))
        self.end_headers()
        if known and self.command == "GET":
            self.wfile.write(DATA)

    do_GET = do_HEAD = answer


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
import huggingface_hub
from huggingface_hub.errors import LocalEntryNotFoundError


def found(cache, **asked):
    asked |= {"cache_dir": cache, "local_files_only": True}
    try:
        return huggingface_hub.hf_hub_download("me/model", "config.json", **asked)
    except LocalEntryNotFoundError:
        return None


home = os.environ["HF_HOME"]
seen = {}
for first in (COMMIT, "main"):
    cache = f"{home}/by-{first[:4]}"
    huggingface_hub.hf_hub_download("me/model", "config.json", revision=first, cache_dir=cache)
    ways = {"commit": {"revision": COMMIT}, "main": {"revision": "main"}, "none": {}}
    seen[first[:4]] = {name: found(cache, **asked) is not None for name, asked in ways.items()}
print(huggingface_hub.__version__, seen)
assert seen["cccc"] == {"commit": True, "main": False, "none": False}
assert seen["main"] == {"commit": True, "main": True, "none": True}
PY
