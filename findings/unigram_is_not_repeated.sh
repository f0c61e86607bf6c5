#!/usr/bin/env bash
# tokenizers 0.23.3: a Unigram model, trained twice on the same texts in the same order.
#
# Guess: training is a function of the texts and the trainer's settings, as it is of a BPE model, so that the same run
# writes the same tokenizer.json.
# Seen: the pieces are the same, and their scores differ in the fifth digit from one training to the next, in one
# process and with one thread too. So the file, and whatever is a checksum of it, is another each time.
# So: train a Unigram model once and keep its file; do not tell runs apart, or check them, by a checksum of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
RAYON_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false "$folder/venv/bin/python" - <<'PY'
import json
from itertools import product

import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

COLOURS, ANIMALS, AGES = ("red", "green", "blue", "yellow"), ("cat", "dog", "bird", "horse"), ("old", "new", "small")
TEXTS = [f"the {a} {b} sat on the {c} mat, and looked at {a}{c}" for a, b, c in product(COLOURS, ANIMALS, AGES)]


def trained(model, trainer):
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(TEXTS, trainer)
    return made.to_str()


USUAL = {"vocab_size": 300, "show_progress": False, "special_tokens": ["<unk>"]}
unigram = [trained(models.Unigram(), trainers.UnigramTrainer(unk_token="<unk>", **USUAL)) for _ in range(12)]
bpe = [trained(models.BPE(), trainers.BpeTrainer(**USUAL)) for _ in range(12)]
scores = [dict(json.loads(one)["model"]["vocab"]) for one in unigram]
apart = max(abs(one[piece] - scores[0][piece]) for one in scores for piece in one)
print(tokenizers.__version__, len(set(unigram)), "files of 12 trainings, BPE:", len(set(bpe)), "scores apart by", apart)
assert len(set(bpe)) == 1
assert len({frozenset(one) for one in scores}) == 1
assert len(set(unigram)) > 1
assert 0 < apart < 0.01
PY
