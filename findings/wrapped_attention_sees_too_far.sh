#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0: an attention of one's own that hands everything on to the library's sdpa.
#
# Guess: registered with AttentionInterface, a function that calls sdpa_attention_forward with all it was given computes
# what attn_implementation="sdpa" does.
# Seen: a name without a mask function beside it gets no mask, without a word, and sdpa by itself is causal and no more:
# the sliding windows of Mistral and Gemma 3 are gone. Short texts agree; positions beyond the window see too far.
# So: register the mask of sdpa under the same name too, with AttentionMaskInterface; then all is equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
"$folder/venv/bin/python" - <<'PY'
import torch
import transformers
from transformers import AttentionInterface, AttentionMaskInterface, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask


def handed_on(module, query, key, value, attention_mask, **more):
    return sdpa_attention_forward(module, query, key, value, attention_mask, **more)


AttentionInterface.register("bare", handed_on)
AttentionInterface.register("masked", handed_on)
AttentionMaskInterface.register("masked", sdpa_mask)
WINDOW, IDS = 4, torch.arange(1, 17)[None]
SHAPE = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
SHAPE |= {"num_key_value_heads": 1, "head_dim": 8, "sliding_window": WINDOW}
GEMMA = {"layer_types": ["sliding_attention", "full_attention"]}
for config in (transformers.MistralConfig(**SHAPE), transformers.Gemma3TextConfig(**SHAPE, **GEMMA)):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    found = {}
    for name in ("sdpa", "eager", "bare", "masked"):
        model.set_attn_implementation(name)
        with torch.no_grad():
            found[name] = model(input_ids=IDS).logits[0]
    apart = {name: (one - found["sdpa"]).abs().amax(-1) for name, one in found.items()}
    print(transformers.__version__, config.model_type, {name: float(one.max()) for name, one in apart.items()})
    assert apart["eager"].max() < 1e-5
    assert apart["masked"].max() < 1e-5
    assert apart["bare"][:WINDOW].max() < 1e-5
    assert apart["bare"][WINDOW:].max() > 1e-3
PY
