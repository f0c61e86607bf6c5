#!/usr/bin/env bash
# datasets 5.2.0: the place of a stream, and with_format.
#
# Guess: with_format says how rows look; a stream that was given the place where it stopped (load_state_dict) goes on
# there, whatever its rows look like.
# Seen: with_format(None), and with_format("numpy"), give a stream that begins anew, without a word.
# So: ask a stream for its place after the format is set, never before.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 numpy==2.4.6
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY'
import datasets
from datasets import IterableDataset


def rows():
    yield from ({"n": n} for n in range(6))


def stopped() -> IterableDataset:
    """A stream that goes on after three of its six rows."""
    first = IterableDataset.from_generator(rows)
    for _, _ in zip(range(3), first, strict=False):
        pass
    again = IterableDataset.from_generator(rows)
    again.load_state_dict(first.state_dict())
    return again


def rest(stream: IterableDataset) -> list[int]:
    return [int(row["n"]) for row in stream]


plain, none, arrays = rest(stopped()), rest(stopped().with_format(None)), rest(stopped().with_format("numpy"))
print(datasets.__version__, "as it is", plain, "with_format(None)", none, 'with_format("numpy")', arrays)
assert plain == [3, 4, 5], plain
assert none == [0, 1, 2, 3, 4, 5], none
assert arrays == [0, 1, 2, 3, 4, 5], arrays
PY
