#!/usr/bin/env bash
# huggingface_hub 2.4.0: HfApi(endpoint=...) of a hub of one's own.
#
# Guess: an HfApi that is made with an endpoint asks that endpoint and nobody else.
# Seen: the first request of a machine (no cache yet, or one of yesterday) is another, to the default hub: it fetches
# /api/agent-harnesses to fill its User-Agent. Where that cannot be reached, it is tried for a moment and then left.
# So: a private hub is named by HF_ENDPOINT, not by the argument, where nobody else may be asked. The script needs no
# hub: it counts the names that are looked up, and looks up none but this machine's.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check huggingface_hub==2.4.0
cat > "$folder/ask.py" <<'PY'
import http.server
import json
import os
import socket
import sys
import threading

looked_up, asked = [], []
real = socket.getaddrinfo


def only_here(host, *rest, **more):
    looked_up.append(str(host))
    if host != "127.0.0.1":
        raise socket.gaierror("not from here")
    return real(host, *rest, **more)


socket.getaddrinfo = only_here


class Hub(http.server.BaseHTTPRequestHandler):
    def log_message(self, *said):
        pass

    def do_GET(self):
        asked.append(self.path)
        data = json.dumps({"id": "me/model", "sha": "a" * 40, "siblings": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
threading.Thread(target=server.serve_forever, daemon=True).start()
own = f"http://127.0.0.1:{server.server_port}"
if sys.argv[1] == "variable":
    os.environ["HF_ENDPOINT"] = own
import huggingface_hub

api = huggingface_hub.HfApi(endpoint=own)
assert api.model_info("me/model").id == "me/model"
others = sorted(set(looked_up) - {"127.0.0.1"})
print(huggingface_hub.__version__, "by", sys.argv[1], "others looked up:", others, "own asked:", asked)
assert (others == ["huggingface.co"]) == (sys.argv[1] == "argument"), others
assert asked[-1] == "/api/models/me/model"
PY
unset HF_ENDPOINT HF_HUB_OFFLINE HF_HUB_DISABLE_TELEMETRY
unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy
for how in argument variable; do
  HF_HOME="$folder/home-$how" "$folder/venv/bin/python" "$folder/ask.py" "$how"
done
