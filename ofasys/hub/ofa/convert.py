"""A checkpoint of OFASys, its parts read, as a model of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from ofasys.errors import CheckpointError
from ofasys.generalist import GeneralistModel
from ofasys.hub.ofa.names import placed
from ofasys.hub.ofa.settings import Front, fronts_of, shape_of
from ofasys.hub.ofa.words import Dictionary
from ofasys.modality import Registry
from ofasys.modality.vocabulary import Vocabulary

HEAD = "decoder.adaptor.text.output_projection.weight"
TABLES = ("adaptors.tokens.weight", "adaptors.tokens.head")


@dataclass(frozen=True)
class Original:
    """What a checkpoint holds, under the names of OFASys."""

    config: Mapping[str, Any]
    """The model's."""
    weights: Mapping[str, Tensor]
    """Buffers too."""
    dictionary: Dictionary


@dataclass(frozen=True)
class Imported:
    """A model, and what of the checkpoint is no part of it."""

    model: GeneralistModel
    left: Mapping[str, str]
    """Name of a weight -> why it was left out."""


def converted(
    original: Original, tokenizer: Tokenizer, beyond: int = 0, modalities: Registry | None = None
) -> Imported:
    """A model of the same numbers. tokenizer: whose numbers are the dictionary's ids; beyond: its pieces without one.

    Errors: CheckpointError for what this engine has not, and for a weight that is missing or of another shape.
    """
    config = shape_of(original.config, original.weights)
    fronts = fronts_of(original.config, original.weights)
    foreign = original.dictionary.vocabulary(beyond)
    model = GeneralistModel(
        engine="ofa", config=config, tied=HEAD not in original.weights, vocabulary=foreign, modalities=modalities
    )
    model.tokenizer = tokenizer
    model.set_vocabulary(Vocabulary.assemble({}, foreign))
    keys = {front.original: _added(model, front) for front in fronts}
    weights, left = placed(original.weights, keys)
    _fill(model, weights, len(original.dictionary.symbols))
    return Imported(model.eval(), left)


def _added(model: GeneralistModel, front: Front) -> str:
    """The key of a front's adaptor, which is made."""
    part = model.modalities.spec(front.modality).adaptor[front.name]
    key = part.key(front.modality, front.name, front.options)
    model.add_adaptor(key, front.modality, front.name, front.options)
    model.used.add(front.modality)
    return key


@torch.no_grad()
def _fill(model: GeneralistModel, weights: Mapping[str, Tensor], symbols: int) -> None:
    """Errors: CheckpointError for a weight that is missing, not known, or of another shape."""
    own = model.state_dict()
    for name, mine in own.items():
        if name not in weights:
            raise CheckpointError(f"the checkpoint has nothing for {name}: a part of it is missing")
        rows = mine[:symbols] if name in TABLES else mine
        if rows.shape != weights[name].shape:
            raise CheckpointError(
                f"{name} has shape {tuple(weights[name].shape)} in the checkpoint, and should have "
                f"{tuple(rows.shape)}; its configuration or dictionary is of another model"
            )
        rows.copy_(weights[name])
    if unknown := sorted(set(weights) - set(own)):
        raise CheckpointError(f"the checkpoint has {unknown[0]}, which its configuration does not name")
