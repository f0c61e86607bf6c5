"""What a run starts from: the model it is given, with what that has learned before."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ofasys.errors import ConfigError, PlanError
from ofasys.generalist import GeneralistModel
from ofasys.hub.ofasys import OFASys
from ofasys.hub.programs import Programs
from ofasys.planner import plan
from ofasys.program.program import label_range
from ofasys.task.source import fingerprint
from ofasys.task.task import Task
from ofasys.types import TaskCard

Model = GeneralistModel | OFASys | str

_log = logging.getLogger("ofasys")


def generalist(model: Model) -> GeneralistModel:
    """The model meant: itself, that of a saved one, or a new one of a size. Errors: ConfigError for anything else."""
    if isinstance(model, OFASys):
        model.model.cards = model.cards
        return model.model
    if isinstance(model, str):
        return GeneralistModel(model)
    if not isinstance(model, GeneralistModel):
        raise ConfigError(
            f"model is {type(model).__name__}; give GeneralistModel(...), what OFASys.from_pretrained returns, or a "
            "size as 'tiny'"
        )
    return model


def card_for(task: Task, cards: Sequence[TaskCard]) -> TaskCard | None:
    """What a model remembers of a task: by its name, or else by its line."""
    lines = {str(instruction) for instruction in task.instructions}
    named = [card for card in cards if card.name == task.name]
    return next(iter(named), next((card for card in cards if lines & set(card.instructions)), None))


def keep_labels(tasks: Sequence[Task], cards: Sequence[TaskCard], *, grow: bool) -> None:
    """Give tasks the closed sets that the model learned, in its order. grow: labels that only the rows have come
    after.

    A closed set that the task itself names stands as it is.
    """
    for task in tasks:
        card = card_for(task, cards)
        columns = {slot.column for _, slot in task.closed_slots()}
        learned = {c: tuple(own) for c, own in (card.labels if card else {}).items() if c in columns}
        if not learned:
            continue
        here = task.labels if grow or columns - set(learned) - set(task.closed_set) else {}
        task.restore_labels(
            {**here, **{c: tuple(dict.fromkeys((*own, *here.get(c, ())))) for c, own in learned.items()}}
        )


@contextmanager
def as_given(tasks: Sequence[Task]) -> Iterator[None]:
    """After it the tasks have the closed sets they had: those a model has learned are that model's."""
    before = [task.known_labels for task in tasks]
    try:
        yield
    finally:
        for task, labels in zip(tasks, before, strict=True):
            task.known_labels = labels


def tell_settings(tasks: Sequence[Task], cards: Sequence[TaskCard]) -> None:
    """A warning for a task whose settings are others than those it was learned with."""
    for task in tasks:
        card = card_for(task, cards)
        if card is not None and dict(card.settings) != dict(task.settings):
            _log.warning(
                f"task {task.name!r}: the model learned it with settings {dict(card.settings)!r:.120}, and it has "
                f"{dict(task.settings)!r:.120} now"
            )


def tell_adaptors(model: GeneralistModel, tasks: Sequence[Task]) -> None:
    """A warning for a new task that reads values by a new adaptor where the model's tasks have learned another."""
    programs = Programs(model, model.cards)
    for task in tasks:
        if card_for(task, model.cards) is not None:
            continue
        for instruction, mine in zip(task.instructions, task.plans, strict=True):
            settings = {**programs.common_settings(instruction), **task.settings}
            try:
                like = plan(instruction, modalities=model.modalities, settings=settings)
            except PlanError:  # its slots say how they are read
                continue
            for own, learned in zip(mine.slots, like.slots, strict=True):
                if own.key not in model.adaptors and learned.key in model.adaptors:
                    _log.warning(
                        f"task {task.name!r}: {own.name} is read by a new adaptor {own.key}, and the model's tasks "
                        f"have learned {learned.key}; settings=model.settings_of(line) goes on with that"
                    )


@torch.no_grad()
def carry_over(model: GeneralistModel, before: set[str], tasks: Sequence[Task], cards: Sequence[TaskCard]) -> None:
    """Rows of the table for labels of a set that is new to the model, from the learned set they were in before.

    before: the ranges the model had.
    """
    assert model.symbols is not None
    spans = model.symbols.vocabulary.spans
    for task in tasks:
        card = card_for(task, cards)
        for column, new in task.labels.items():
            old: Sequence[str] = card.labels.get(column, ()) if card else ()
            here, there = label_range(new), label_range(old)
            if here not in spans or here in before or there not in spans:
                continue
            places = {label: i for i, label in enumerate(old)}
            kept = [(i, places[label]) for i, label in enumerate(new) if label in places]
            if kept:
                to, of = torch.tensor(kept, device=model.device).T
                for rows in (model.table,) if model.tied else (model.table, model.head):
                    rows[spans[here][0] + to] = rows[spans[there][0] + of]


def fingerprints(tasks: Sequence[Task]) -> dict[str, dict[str, str | None]]:
    """Task -> split -> what tells the content of its rows; None where it cannot be told."""
    return {task.name: {split: fingerprint(source) for split, source in task.sources.items()} for task in tasks}


def tell_data(
    there: Mapping[str, Mapping[str, Any]], here: Mapping[str, Mapping[str, Any]], tasks: Sequence[Task]
) -> None:
    """A warning for each split whose rows are others than when the run was saved."""
    for task in tasks:
        for split, now in here[task.name].items():
            then = there.get(task.name, {}).get(split)
            if then is not None and now is not None and then != now:
                told = "trained on" if split == "train" else "evaluated on"
                _log.warning(
                    f"task {task.name!r}: the {split} rows ({task.source(split).describe()}) are not those this run "
                    "was "
                    f"{told} so far; it goes on with these; give another `out` to begin anew with them"
                )
