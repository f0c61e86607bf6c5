"""Checkpoints of OFA and OFASys, opened as models of ours with the cards of their tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from ofasys.errors import CheckpointError, OfasysError
from ofasys.generalist import GeneralistModel, Imported
from ofasys.hub.ofa.container import OriginalTask, is_checkpoint, original_in
from ofasys.hub.ofa.convert import Original, converted
from ofasys.hub.ofa.huggingface import is_hugging_face, original_of
from ofasys.hub.ofa.reading import ASKED, reading_of, slots_of
from ofasys.hub.ofa.words import PAIRS, bpe_beside, tokenizer_of
from ofasys.language import Instruction
from ofasys.modality import Registry, default_registry, lexicon
from ofasys.planner import plan
from ofasys.types import TaskCard


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
