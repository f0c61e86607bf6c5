"""A model and what its tasks taught it, as the files of a folder, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from ofasys.errors import CheckpointError, ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.hub.store import read_folder, tensors
from ofasys.modality import Registry
from ofasys.modality.vocabulary import Vocabulary
from ofasys.model.sizes import ModelConfig
from ofasys.types import TaskCard

MODEL_FILES = (
    "model.safetensors",
    "fitted.safetensors",
    "model.json",
    "tokenizer.json",
    "tasks.json",
)  # a checkpoint of a run holds more


def model_files(model: GeneralistModel, cards: Sequence[TaskCard]) -> dict[str, Any]:
    """name -> content, for `write_folder`. Errors: ConfigError for a model that has learned nothing yet."""
    if model.symbols is None:
        raise ConfigError("the model has no vocabulary yet, so there is nothing to save; train it first")
    return {
        "model.safetensors": model.state_dict(),
        "fitted.safetensors": {
            f"{key}/{name}": torch.from_numpy(np.ascontiguousarray(array))
            for key, arrays in model.fitted.items()
            for name, array in arrays.items()
        },
        "model.json": {
            "size": model.size,
            "seed": model.seed,
            "config": model.config.to_dict(),
            "vocabulary": model.symbols.vocabulary.ranges,
            "fingerprint": model.symbols.vocabulary.fingerprint,
            "adaptors": model.made,
            "criteria": model.judged,
            "modalities": sorted(model.used),
        },
        "tokenizer.json": model.symbols.to_json(),
        "tasks.json": [asdict(card) for card in cards],
    }


def load_model(
    folder: str | Path, modalities: Registry | None = None
) -> tuple[GeneralistModel, tuple[TaskCard, ...], dict[str, bytes]]:
    """(model, its tasks' cards, the files it was made of). Of a run's checkpoint the optimizer's file is not read.

    Errors: CheckpointError when the folder holds no sound model.
    """
    files = read_folder(folder, MODEL_FILES)
    try:
        about = json.loads(files["model.json"])
        cards = read_cards(files)
        model = GeneralistModel(
            seed=about["seed"], config=ModelConfig.from_dict(about["config"]), modalities=modalities
        )
        model.size = about["size"]
        model.cards = cards
        fill(model, files)
    except KeyError as error:
        raise CheckpointError(f"{folder} lacks {error}: it is not a saved model of this version") from None
    except TypeError as error:
        raise CheckpointError(f"{folder} is not a saved model of this version: {error}") from None
    return model, cards, files


def read_cards(files: Mapping[str, bytes]) -> tuple[TaskCard, ...]:
    """The cards of a saved model's tasks."""
    return tuple(
        TaskCard(**{**card, "instructions": tuple(card["instructions"]), "metrics": tuple(card["metrics"])})
        for card in json.loads(files["tasks.json"])
    )


def fill(model: GeneralistModel, files: Mapping[str, bytes]) -> None:
    """Give a model of the right shape the vocabulary, adaptors and weights of saved files."""
    about = json.loads(files["model.json"])
    if about["config"] != model.config.to_dict():
        mine, theirs = model.config.to_dict(), about["config"]
        name = next(key for key in mine if mine[key] != theirs.get(key))
        raise CheckpointError(
            f"the saved model has {name}={theirs.get(name)!r} and this one {mine[name]!r}; use the saved size"
        )
    missing = set(about["modalities"]) - {modality.tag for modality in model.modalities.modalities}
    if missing:
        raise CheckpointError(
            f"the saved model uses modality {min(missing)}, which is not installed; install its plug-in"
        )
    model.used = set(about["modalities"])
    model.tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    vocabulary = Vocabulary(tuple((name, start, size) for name, start, size in about["vocabulary"]))
    if vocabulary.fingerprint != about["fingerprint"]:
        raise CheckpointError("the vocabulary's hash does not fit its ranges; the checkpoint was changed by hand")
    for name, tensor in tensors(files["fitted.safetensors"]).items():
        key, _, array = name.rpartition("/")
        model.fitted.setdefault(key, {})[array] = tensor.numpy()
    model.set_vocabulary(vocabulary)
    for key, how in about["adaptors"].items():
        model.add_adaptor(key, how["modality"], how["name"], how["options"], how["fitted"])
    for how in about["criteria"].values():
        model.add_criterion(how["name"], how["options"])
    try:
        problems = model.load_state_dict(tensors(files["model.safetensors"]), strict=False)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"weights do not fit the model: {error}") from None
    if problems.missing_keys or problems.unexpected_keys:
        name = (problems.missing_keys + problems.unexpected_keys)[0]
        raise CheckpointError(f"weights do not fit the model: {name!r} is missing or unknown")
