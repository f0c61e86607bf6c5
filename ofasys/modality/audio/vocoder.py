"""Frames -> sound: Griffin-Lim, or a vocoder of the library transformers out of a local folder."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ofasys.errors import ConfigError, one_of
from ofasys.modality.audio.griffin_lim import griffin_lim
from ofasys.modality.audio.mel import MelSpec, linear

# They read base-10 log-mel magnitudes (T, C), as the recipes of ESPnet and ParallelWaveGAN make them.
KNOWN = ("SpeechT5HifiGan", "FastSpeech2ConformerHifiGan")


def sound(frames: np.ndarray, spec: MelSpec, vocoder: str, steps: int) -> np.ndarray:
    """Log-mel frames (T, C) -> samples (T * hop,) float32. Errors: ConfigError for a vocoder that cannot be used."""
    length = len(frames) * spec.hop
    if vocoder == "griffin_lim":
        padded = np.concatenate([frames, frames[-1:]])  # a frame is centred on its first sample: one more ends the last
        return griffin_lim(linear(padded, spec), spec, length, steps).numpy()
    model = _loaded(str(Path(vocoder).resolve()), vocoder)
    _check(model.config, spec, vocoder)
    with torch.no_grad():
        made = model(torch.from_numpy(np.asarray(frames, dtype=np.float32)) / math.log(10))
    return made.numpy()[:length]


@lru_cache(maxsize=4)
def _loaded(folder: str, shown: str) -> Any:
    try:
        config = json.loads(Path(folder, "config.json").read_text(encoding="utf8"))
        kind = (config.get("architectures") or [""])[0]
    except (OSError, ValueError, AttributeError) as error:
        expected = "griffin_lim, or a folder with config.json and model.safetensors of a transformers vocoder"
        raise ConfigError(f"vocoder={shown!r} cannot be read ({error}); give {expected}") from None
    if kind not in KNOWN:
        raise ConfigError(f"vocoder={shown!r} holds {kind or 'no model'}; expected {one_of(kind, KNOWN)}")
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(f"vocoder={shown!r} needs the library transformers: pip install transformers") from error
    try:
        return getattr(transformers, kind).from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(f"vocoder={shown!r} cannot be loaded: {str(error).splitlines()[0]}") from None


def _check(config: Any, spec: MelSpec, shown: str) -> None:
    hop, mels = math.prod(config.upsample_rates), int(config.model_in_dim)
    if (hop, config.sampling_rate, mels) != (spec.hop, spec.rate, spec.mels):
        raise ConfigError(
            f"vocoder={shown!r} wants other frames than this slot has; "
            f"write rate={config.sampling_rate},hop={1000 * hop / config.sampling_rate:g},mels={mels}, "
            "and the window, fmin and fmax it was trained with"
        )
