"""Checkpoints of OFA and OFASys, opened as models of ours with the cards of their tasks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from ofasys.errors import CheckpointError, OfasysError, nearest
from ofasys.generalist import GeneralistModel, Imported
from ofasys.hub.folder import as_path, checkpoint_in
from ofasys.hub.ofa.container import OriginalTask, is_checkpoint, original_in
from ofasys.hub.ofa.convert import Original, converted
from ofasys.hub.ofa.huggingface import is_hugging_face, original_of
from ofasys.hub.ofa.reading import ASKED, reading_of, slots_of
from ofasys.hub.ofa.words import PAIRS, bpe_beside, tokenizer_of
from ofasys.hub.store import MANIFEST
from ofasys.language import Instruction
from ofasys.modality import Registry, default_registry, lexicon
from ofasys.planner import plan
from ofasys.types import TaskCard

_GIVE = "give a .pt file of OFASys, or a folder of OFA from Hugging Face"


@dataclass(frozen=True)
class Opened:
    """A checkpoint as ours."""

    model: GeneralistModel
    """In evaluation mode."""
    cards: tuple[TaskCard, ...]
    """Of its tasks, as far as their lines are lines of ours."""
    left: Mapping[str, str]
    """A weight or a task of the original -> why it is no part of the model."""


def is_original(path: Path) -> bool:
    """Whether there may be a checkpoint of OFA or OFASys."""
    return is_checkpoint(path) or is_hugging_face(path)


def model_place(folder: str | Path, which: str | None = None) -> Path:
    """Where the model lies: a checkpoint of OFA or OFASys itself, or as of `checkpoint_in`. Errors: as of that."""
    path = as_path(folder)
    return path if which is None and is_original(path) else checkpoint_in(path, which)


def opened(path: Path, modalities: Registry | None = None) -> Opened:
    """Errors: CheckpointError for what is none, or has what is not here; nothing is half loaded."""
    try:
        original, tasks, tokenizer, beyond = _parts(path)
        made = converted(original, tokenizer, beyond, modalities)
    except OfasysError as error:
        said = str(error)
        raise CheckpointError(said if said.startswith(str(path)) else f"{path}: {said}") from None
    cards, refused = cards_of(original, tasks, modalities or default_registry())
    made.model.cards = cards
    made.model.imported = Imported(str(path), tuple(made.model.made))
    return Opened(made.model, cards, {**made.left, **refused})


def _parts(path: Path) -> tuple[Original, dict[str, OriginalTask], Tokenizer, int]:
    """The model, its tasks, its tokenizer, and how many of its pieces have no id."""
    _check_there(path)
    if path.is_dir():
        original, tokenizer, beyond = original_of(path)
        return original, {}, tokenizer, beyond
    original, tasks = original_in(path)
    pair = bpe_beside(path.parent)
    if pair is None:
        names = " or ".join(" and ".join(names) for names in PAIRS)
        raise CheckpointError(f"GPT-2's byte pairs are not in a checkpoint; put {names} beside it")
    tokenizer, beyond = tokenizer_of(original.dictionary, *pair)
    return original, tasks, tokenizer, beyond


def _check_there(path: Path) -> None:
    """Errors: CheckpointError for what is not there, and for a folder of something else."""
    if not path.exists():
        beside = os.listdir(path.parent) if path.parent.is_dir() else []
        raise CheckpointError(f"{path} is not there; {nearest(path.name, beside)}{_GIVE}")
    if path.is_dir() and not (path / "config.json").is_file():
        names = sorted(os.listdir(path))
        own = {MANIFEST, "checkpoints"} & set(names)
        files = [name for name in names if is_checkpoint(path / name)]
        if own:
            raise CheckpointError(f"{path} holds a model of ours already, which needs no import; {_GIVE}")
        hint = f"did you mean {path / files[0]}? " if files else ""
        raise CheckpointError(f"{path} has no config.json; {hint}{_GIVE}")


def cards_of(
    original: Original, tasks: Mapping[str, OriginalTask], modalities: Registry
) -> tuple[tuple[TaskCard, ...], dict[str, str]]:
    """A card for each task whose line can be planned here, and of the others why not."""
    slots, cards, left = slots_of(original), [], {}
    asked = {f"ofa_{tag.lower()}": OriginalTask(line) for tag, line in ASKED.items() if tag in slots}
    for name, task in {**asked, **tasks}.items():
        try:
            instruction = Instruction(task.line, lexicon(modalities))
            own = reading_of(instruction, slots, task.read)
            plan(instruction, modalities=modalities, settings=own)
        except OfasysError as error:
            left[f"task {name}"] = f"its line cannot be read here: {error}"
            continue
        cards.append(TaskCard(name, (str(instruction),), own))
    return tuple(cards), left
