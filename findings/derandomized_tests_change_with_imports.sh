#!/usr/bin/env bash
# hypothesis 6.170.15: what derandomize=True tries depends on what else was imported.
#
# Guess: with derandomize=True a property tries the same examples at each run as long as the property itself and the
# library stay what they are, whatever other tests are collected beside it.
# Seen: numbers that stand in the source of any module of one's own that is imported are tried too, so the examples of
# an unchanged test differ with another module imported before it, as when it is run alone or with all others.
# So: a failure that was seen in the whole suite may not come back with the test alone; keep it by @example.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check hypothesis==6.170.15
mkdir "$folder/own"
cd "$folder/own"
echo 'LIMITS = [73_939_133, 50_943_779, 39_916_801, 87_178_291]' > limits.py
cat > property.py <<'PY'
import sys

if sys.argv[1] == "with":
    import limits  # noqa: F401
import hypothesis
from hypothesis import given, settings, strategies

tried: list[int] = []


@settings(derandomize=True, max_examples=300, database=None)
@given(strategies.integers(0, 10**9))
def test(number: int) -> None:
    tried.append(number)


test()
print(tried)
PY
run() { "$folder/venv/bin/python" property.py "$1"; }
alone=$(run alone) again=$(run alone) beside=$(run with)
echo "twice alone the same: $([[ $alone == "$again" ]] && echo yes || echo no)"
echo "with another module imported the same: $([[ $alone == "$beside" ]] && echo yes || echo no)"
echo "73939133 was tried: alone $(grep -c 73939133 <<< "$alone" || true), with it $(grep -c 73939133 <<< "$beside" || true)"
[[ $alone == "$again" && $alone != "$beside" ]]
[[ $alone != *73939133* && $beside == *73939133* ]]
