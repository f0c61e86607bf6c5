"""What a run changed of a saved model, kept apart: changes of low rank as they are, and weights that are others.

A small file to hand on, for those who have the model it began with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ofasys.errors import CheckpointError
from ofasys.hub.folder import as_path, checkpoint_in, origin_of
from ofasys.hub.model import ANSWERING, MODEL_FILES, load_model, model_of, parsed_json, renamed
from ofasys.hub.ofasys import OFASys
from ofasys.hub.store import encoded, read_folder, tensors, write_model
from ofasys.modality import Registry
from ofasys.model.low_rank import is_change, layer_name

CHANGED, BASE, WEIGHTS = "change.safetensors", "base.json", "model.safetensors"


def save_change(run: str | Path, base: str | Path, out: str | Path, which: str | None = None) -> Path:
    """Write to `out` what the run, or saved model, has that `base`, the saved model it began with, has not -> `out`.

    which: as of `OFASys.from_pretrained`, of the run. Errors: CheckpointError for a folder that holds no sound model,
    ConfigError for a place that holds something else.
    """
    files = read_folder(checkpoint_in(run, which), (*MODEL_FILES, ANSWERING))
    weights = renamed(tensors(files[WEIGHTS], WEIGHTS)) | renamed(tensors(files.get(ANSWERING, _NONE), ANSWERING))
    begun = _weights_of(base, None)
    same = sorted(name for name, tensor in weights.items() if not is_change(name) and _equal(begun, name, tensor))
    told = {"sha256": _digest(begun), "from": origin_of(base, checkpoint_in(base)), "same": same}
    place = as_path(out)
    written: dict[str, Any] = {CHANGED: {name: weights[name] for name in weights.keys() - set(same)}, BASE: told}
    for name in set(MODEL_FILES) - {WEIGHTS}:
        data = files[name]
        written[name] = tensors(data, name) if name.endswith(".safetensors") else data.decode()
    write_model(place, written)
    return place


def load_change(folder: str | Path, base: str | Path, modalities: Registry | None = None) -> OFASys:
    """The model that `save_change` was given, made of its change and the saved model it began with.

    Errors: CheckpointError for another `base` than it began with, or a folder that holds no change.
    """
    place = as_path(folder)
    files = read_folder(place)
    if not {CHANGED, BASE} <= files.keys():
        raise CheckpointError(f"{place} holds no change of a model; give a folder that save_change wrote")
    told, begun = parsed_json(BASE, files[BASE], dict), _weights_of(base, modalities)
    if told.get("sha256") != _digest(begun):
        raise CheckpointError(
            f"{place} is a change of {told.get('from')}, and {base} holds other weights; give that one"
        )
    try:
        weights = {name: begun[layer_name(name)] for name in told["same"]}
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{place}: {BASE} was changed by hand ({error}); use another copy") from None
    weights |= renamed(tensors(files[CHANGED], CHANGED))
    model, cards = model_of({**files, WEIGHTS: encoded(WEIGHTS, weights)}, place, modalities)
    made = OFASys(model.eval(), cards)
    made.origin = f"{place}, a change of {told['from']}"
    return made


_NONE = encoded(WEIGHTS, {})


def _weights_of(base: str | Path, modalities: Registry | None) -> Mapping[str, torch.Tensor]:
    return load_model(checkpoint_in(base), modalities)[0].state_dict()


def _equal(begun: Mapping[str, torch.Tensor], name: str, tensor: torch.Tensor) -> bool:
    before = begun.get(layer_name(name))
    return before is not None and before.dtype == tensor.dtype and torch.equal(before, tensor)


def _digest(weights: Mapping[str, torch.Tensor]) -> str:
    found = hashlib.sha256(json.dumps(sorted(weights)).encode())
    for name in sorted(weights):
        found.update(encoded(WEIGHTS, {name: weights[name]}))
    return found.hexdigest()
