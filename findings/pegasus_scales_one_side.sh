#!/usr/bin/env bash
# transformers 5.23.0: Pegasus with scale_embedding=True, given embeddings instead of ids.
#
# Guess: inputs_embeds are what the embedding table gives, and both sides treat them alike: the scale belongs to the
# look-up, as in T5 and BART, or to the model.
# Seen: the encoder scales ids and takes embeddings as they are; the decoder scales whatever it is given. Rows of the
# table, unscaled, give the decoder what ids give, and the encoder something else.
# So: scale the rows for the encoder, and not for the decoder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
"$folder/venv/bin/python" - <<'PY'
import torch
import transformers
from transformers import PegasusConfig, PegasusForConditionalGeneration

torch.manual_seed(0)
shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
config = PegasusConfig(vocab_size=50, scale_embedding=True, **shape, **heads)
model = PegasusForConditionalGeneration(config).eval().model
ids = torch.tensor([[5, 6, 7, 1]])
rows = model.shared(ids)
with torch.no_grad():
    states = model.encoder(input_ids=ids)[0]
    apart = {
        "encoder": float((states - model.encoder(inputs_embeds=rows)[0]).abs().max()),
        "decoder": float(
            (
                model.decoder(input_ids=ids, encoder_hidden_states=states)[0]
                - model.decoder(inputs_embeds=rows, encoder_hidden_states=states)[0]
            )
            .abs()
            .max()
        ),
    }
print(transformers.__version__, {side: round(value, 4) for side, value in apart.items()})
assert apart["encoder"] > 0.1
assert apart["decoder"] < 1e-5
PY
