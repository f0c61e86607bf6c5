#!/usr/bin/env bash
# datasets 5.2.0: a column of the feature Json().
#
# Guess: what goes in comes out: the str "5" as "5".
# Seen: a str that is itself JSON is read as such: "5" comes back as the int 5, "true" as True; "five" stays.
# So: wrap texts in a list or a dict before they are given to Json(), or keep them in a string column.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY'
from datasets import Dataset, Features, Json

given = ["five", "5", "true", ["5"], {"n": "5"}]
found = Dataset.from_dict({"v": given}, features=Features({"v": Json()}))["v"][:]
print(list(zip(given, found)))
assert list(found) == ["five", 5, True, ["5"], {"n": "5"}], found
PY
