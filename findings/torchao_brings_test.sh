#!/usr/bin/env bash
# torchao 0.18.0: what its wheel installs.
#
# Guess: a wheel of a library installs the package of its name, and its metadata.
# Seen: it installs a second package, `test`, with its own tests beside site-packages' others. Python's standard library
# has a package of that name, which comes first; where that is left out, as on some systems, `import test` is torchao's.
# So: what is called test/ in a project is found by its path, not as an installed package.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps torchao==0.18.0
"$folder/venv/bin/python" - <<'PY'
from collections import Counter
from importlib.metadata import files, version

tops = Counter(file.parts[0] for file in files("torchao") if not file.parts[0].endswith(".dist-info"))
print(version("torchao"), dict(tops))
assert set(tops) == {"test", "torchao"}
assert tops["test"] > 50
PY
