"""A model of the library: read from its folder, without code and without a second copy of its weights, or drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ofasys.engine.huggingface.config import BackboneConfig
from ofasys.engine.huggingface.folder import fingerprint, library, weight_files
from ofasys.errors import ConfigError


def made(config: BackboneConfig) -> tuple[Any, bool]:
    """(the library's model in float32, whether its weights are those of its folder).

    Where the folder is gone or has other weights they are drawn, for what was saved with all of them needs none.
    Errors: ConfigError for weights that lack some, or are of another shape.
    """
    found = weight_files(Path(config.folder)) if config.folder else []
    if found and fingerprint(found) == config.fingerprint:
        return _read(config), True
    shape = _shape(config)
    kind, given = _automatic(config)
    return kind.from_config(shape, attn_implementation=config.options.attention, **given), False


def _automatic(config: BackboneConfig) -> tuple[Any, dict[str, Any]]:
    """(the library's class, what it is made with). Of an encoder its layers alone are taken."""
    if config.encodes:
        return library().AutoModel, {"add_pooling_layer": False}
    return getattr(library(), "AutoModelForCausalLM" if config.alone else "AutoModelForSeq2SeqLM"), {}


def _shape(config: BackboneConfig) -> Any:
    """The library's configuration. What it changes by itself of T5's is set again (transformers 5.23.0)."""
    given = {name: value for name, value in config.architecture.items() if name != "model_type"}
    shape = library().AutoConfig.for_model(config.family, **deepcopy(given))
    for name in ("tie_word_embeddings", "scale_decoder_outputs"):
        if name in given:
            setattr(shape, name, given[name])
    if config.encodes:
        shape.is_decoder = True  # an encoder keeps nothing of what it computed; what it sees, masks say
    return shape


def _read(config: BackboneConfig) -> Any:
    """From its folder. Both sides of a T5 read one table whatever is said; output rows that are there stay."""
    shape = _shape(config)
    if config.family in ("t5", "mt5"):
        shape.tie_word_embeddings = True
    kind, given = _automatic(config)
    return weights_read(kind, config.folder, shape, "backbone", config.options.attention, **given)


def weights_read(kind: Any, folder: str, shape: Any, what: str, attention: str = "sdpa", **how: Any) -> Any:
    """A model of one of the library's classes, in float32, with the weights of a folder. what: what it is to be. how:
    more for the library.

    Errors: ConfigError for weights that cannot be read, lack some, or are of another shape.
    """
    try:
        with _without_bars():
            model, told = kind.from_pretrained(
                folder,
                config=shape,
                dtype=torch.float32,
                attn_implementation=attention,
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are told below
                output_loading_info=True,
                **how,
            )
    except SafetensorError as error:
        raise ConfigError(
            f"the weights of {folder} cannot be read ({error}); take a whole copy of the {what}"
        ) from error
    missing = sorted(set(told["missing_keys"]) - _shared(model, set(told["missing_keys"])))
    other = [str(one) for one in told["mismatched_keys"]]
    if missing or other:
        what = f"lack {missing[0]}" if missing else f"have another shape: {other[0]}"
        raise ConfigError(f"the weights of {folder} {what}; they are not of its config.json: take a whole copy")
    return model


@contextmanager
def _without_bars() -> Iterator[None]:
    """Within it the library draws no bar of what it reads."""
    library()
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()


def _shared(model: nn.Module, names: set[str]) -> set[str]:
    """Those of the missing that are the weights of another name, which was read."""
    pointers: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        pointers.setdefault(id(weight), []).append(name)
    return {name for group in pointers.values() if not set(group) <= names for name in group}


def digest(weight: Tensor) -> bytes:
    """SHA-256 of a weight's numbers."""
    numbers: Any = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(numbers).digest()
