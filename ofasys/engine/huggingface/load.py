"""A model of the library: read from its folder, without code and without a second copy of its weights, or drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ofasys.engine.huggingface.config import BackboneConfig
from ofasys.errors import ConfigError


def library() -> Any:
    """The module `transformers`. Errors: ConfigError where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise ConfigError("a backbone needs the library transformers; pip install 'ofasys[hf]'") from error
    return transformers


def made(config: BackboneConfig) -> tuple[Any, bool]:
    """(the library's model in float32, whether its weights are those of its folder).

    Where the folder is gone or has other weights they are drawn, for what was saved with all of them needs none.
    Errors: ConfigError for weights that lack some, or are of another shape.
    """
    found = weight_files(Path(config.folder)) if config.folder else []
    if found and fingerprint(found) == config.fingerprint:
        return _read(config), True
    shape = _shape(config)
    return _automatic(config).from_config(shape, attn_implementation=config.options.attention), False


def _automatic(config: BackboneConfig) -> Any:
    kind = "AutoModelForCausalLM" if config.alone else "AutoModelForSeq2SeqLM"
    return getattr(library(), kind)


def _shape(config: BackboneConfig) -> Any:
    """The library's configuration. What it changes by itself of T5's is set again (transformers 5.23.0)."""
    given = {name: value for name, value in config.architecture.items() if name != "model_type"}
    shape = library().AutoConfig.for_model(config.family, **deepcopy(given))
    for name in ("tie_word_embeddings", "scale_decoder_outputs"):
        if name in given:
            setattr(shape, name, given[name])
    return shape


def _read(config: BackboneConfig) -> Any:
    """From its folder. Both sides of a T5 read one table whatever is said; output rows that are there stay."""
    shape = _shape(config)
    if config.family in ("t5", "mt5"):
        shape.tie_word_embeddings = True
    try:
        with _without_bars():
            model, told = _automatic(config).from_pretrained(
                config.folder,
                config=shape,
                dtype=torch.float32,
                attn_implementation=config.options.attention,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
    except SafetensorError as error:
        raise ConfigError(
            f"the weights of {config.folder} cannot be read ({error}); take a whole copy of the backbone"
        ) from error
    missing = sorted(set(told["missing_keys"]) - _shared(model, set(told["missing_keys"])))
    other = [str(one) for one in told["mismatched_keys"]]
    if missing or other:
        what = f"lack {missing[0]}" if missing else f"have another shape: {other[0]}"
        raise ConfigError(f"the weights of {config.folder} {what}; they are not of its config.json: take a whole copy")
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


def json_object(path: Path) -> dict[str, Any]:
    """Errors: ConfigError for what is no JSON object."""
    if not path.is_file():
        raise ConfigError(
            f"{path.parent} has no {path.name}; give a folder as save_pretrained of transformers writes it"
        )
    try:
        found = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); take a whole copy of the backbone") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no JSON object; take a whole copy of the backbone")
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder's weights: one, or the shards of an index; none where there are none.

    Errors: ConfigError for a shard that is missing, and for an index that is none.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        whole = folder / "model.safetensors"
        return [whole] if whole.is_file() else []
    listed = json_object(index).get("weight_map")
    if not isinstance(listed, dict):
        raise ConfigError(f"{index} has no weight_map; take a whole copy of the backbone")
    found = sorted({folder / str(name) for name in listed.values()})
    for shard in found:
        if not shard.is_file():
            raise ConfigError(f"{folder} lacks {shard.name}, a part of its weights that its index names; copy it there")
    return found


def fingerprint(files: Sequence[Path]) -> str:
    """SHA-256 of the content of files, in order."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def digest(weight: Tensor) -> bytes:
    """SHA-256 of a weight's numbers."""
    numbers: Any = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(numbers).digest()
