#!/usr/bin/env bash
# phonemizer 3.4.0 with espeak-ng 1.52.0 (espeakng-loader 0.2.4): the four tones of Mandarin.
#
# Guess: four syllables that differ in tone alone come back with four marks.
# Seen: the first and the fourth tone are both written 5, and the second is written with the vowel U+025C, so that nothing
# that reads IPA can tell a tone from a vowel, or the first tone from the fourth:
#   55 mɑ5   35 mɑɜ   214 mɑ2   51 mɑ5
# So: take tones from the names of espeak-ng's phonemes, not from its IPA.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check phonemizer==3.4.0 espeakng-loader==0.2.4
"$folder/venv/bin/python" - <<'PY'
import espeakng_loader
from phonemizer import phonemize
from phonemizer.backend.espeak.wrapper import EspeakWrapper

EspeakWrapper.set_library(espeakng_loader.get_library_path())
EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
found = phonemize("妈 麻 马 骂", language="cmn", strip=True).split()
print(EspeakWrapper().version, found)
assert found == ["mɑ5", "mɑɜ", "mɑ2", "mɑ5"], found
PY
