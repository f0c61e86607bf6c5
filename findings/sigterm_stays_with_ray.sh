#!/usr/bin/env bash
# ray 2.60.0: SIGTERM after ray.shutdown().
#
# Guess: ray.init() may take SIGTERM for itself while Ray runs, and ray.shutdown() gives it back.
# Seen: its own handler stays. A program that saves its state at SIGTERM, and used Ray before, ends at the next one
# without having been told; SIGINT is left alone.
# So: keep signal.getsignal(SIGTERM) from before ray.init(), and set it again after ray.shutdown().
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
cat > "$folder/program.py" <<'PY'
import os
import signal
import sys

import ray


def save(number: int, frame: object) -> None:
    print("saved", flush=True)


def again(number: int, frame: object) -> None:
    print("interrupted", flush=True)


signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, again)
ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
ray.shutdown()
print("SIGINT is mine:", signal.getsignal(signal.SIGINT) is again)
print("SIGTERM is mine:", signal.getsignal(signal.SIGTERM) is save, flush=True)
if sys.argv[1] == "mended":
    signal.signal(signal.SIGTERM, save)
os.kill(os.getpid(), signal.SIGTERM)
print("went on")
PY
run() { "$folder/venv/bin/python" "$folder/program.py" "$1" 2> /dev/null || echo "ended"; }
left=$(run left) mended=$(run mended)
printf 'as it is:\n%s\nset again:\n%s\n' "$left" "$mended"
[[ $left == *"SIGINT is mine: True"* && $left == *"SIGTERM is mine: False"* ]]
[[ $left != *saved* && $left != *"went on"* && $left == *ended ]]
[[ $mended == *saved* && $mended == *"went on"* ]]
