#!/usr/bin/env bash
# transformers 5.23.0: a T5 whose decoder has more layers than its encoder (`num_decoder_layers`), asked by `generate`.
#
# Guess: it answers; a forward does, and one with fewer layers in the decoder answers too.
# Seen: IndexError: list index out of range. The cache is made with as many layers as the encoder has
# (`num_hidden_layers` is `num_layers`). Without a cache it answers.
# So: make the cache layer by layer as the decoder fills it, or ask with `use_cache=False`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
"$folder/venv/bin/python" - <<'PY'
import torch
from transformers import T5Config, T5ForConditionalGeneration

shape = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2, "vocab_size": 40, "decoder_start_token_id": 0}
ids = torch.arange(3, 9)[None]
said = {}
for encoder, decoder in ((3, 2), (2, 3)):
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(T5Config(num_layers=encoder, num_decoder_layers=decoder, **shape)).eval()
    for cached in (True, False):
        try:
            said[decoder, cached] = model.generate(ids, max_new_tokens=3, do_sample=False, use_cache=cached).tolist()
        except IndexError as error:
            said[decoder, cached] = f"IndexError: {error}"
        print(f"{encoder} layers and {decoder}, with a cache: {cached}: {said[decoder, cached]}")
assert said[2, True] == said[2, False]
assert said[3, True] == "IndexError: list index out of range", "it answers now"
assert isinstance(said[3, False], list)
PY
