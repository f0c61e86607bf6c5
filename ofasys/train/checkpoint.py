"""The checkpoints of a run: the last and the best, each whole, found again by a pointer that is replaced in one
move.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ofasys.errors import CheckpointError
from ofasys.generalist import GeneralistModel
from ofasys.hub.model import fill, model_files, read_cards
from ofasys.hub.store import read_folder, tensors, write_folder, write_json
from ofasys.train.optimizer import optimizer_tensors
from ofasys.types import TaskCard


def save(
    out: Path,
    model: GeneralistModel,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    names: Sequence[str],
) -> None:
    """Write step `state["step"]` as the checkpoints of these names ("last", "best"); drop those no name points to."""
    folder = f"step-{state['step']:08d}"
    files = model_files(model, model.cards)
    files["optimizer.safetensors"] = optimizer_tensors(optimizer, model)
    files["state.json"] = dict(state)
    write_folder(out / "checkpoints" / folder, files)
    for name in names:
        write_json(out / "checkpoints" / f"{name}.json", {"folder": folder})
    kept = {_pointed(out, name) for name in ("last", "best")}
    for path in (out / "checkpoints").iterdir():
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path)


def has_run(out: Path) -> bool:
    """Whether a run was begun here that can be resumed."""
    return _pointed(out, "last") is not None


def restore(
    out: Path, model: GeneralistModel, seed: int
) -> tuple[dict[str, Any], dict[str, torch.Tensor], tuple[TaskCard, ...]]:
    """Fill `model` from the last checkpoint: (state, the optimizer's tensors, the cards of its tasks).

    seed: of the run to go on. Errors: CheckpointError when the checkpoint is torn, or of another model or seed.
    """
    folder = out / "checkpoints" / str(_pointed(out, "last"))
    files = read_folder(folder)
    try:
        about, state = json.loads(files["model.json"]), json.loads(files["state.json"])
        cards = read_cards(files)
        moments = tensors(files["optimizer.safetensors"])
        seeds = {"model": (about["seed"], model.seed), "run": (state["seed"], seed)}
        ranges = [tuple(one) for one in about["vocabulary"]]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} lacks {error}; it holds a model but no run to resume") from None
    for kind, (there, here) in seeds.items():
        if there != here:
            raise CheckpointError(f"{out} holds a run whose {kind} has seed {there}, not {here}; {_NEXT}")
    if (
        model.symbols is not None
        and list(model.symbols.vocabulary.ranges) != ranges[: len(model.symbols.vocabulary.ranges)]
    ):
        raise CheckpointError(
            f"{out} holds a run of a model with another vocabulary than this one has already; {_NEXT}"
        )
    try:
        fill(model, files)
    except CheckpointError as error:
        raise CheckpointError(f"{out} holds a run that this model cannot go on with: {error}; {_NEXT}") from None
    return state, moments, cards


_NEXT = "give a model as the run's was made, or another `out`"


def _pointed(out: Path, name: str) -> str | None:
    pointer = out / "checkpoints" / f"{name}.json"
    if not pointer.is_file():
        return None
    try:
        return str(json.loads(pointer.read_text(encoding="utf8"))["folder"])
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{pointer} cannot be read: {error}") from None
