"""The checkpoints of a run: the last and the best, each whole, found again by a pointer that is replaced in one move."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ofasys.errors import CheckpointError
from ofasys.generalist import GeneralistModel
from ofasys.hub.model import TaskCard, fill, model_files
from ofasys.hub.store import read_folder, tensors, write_folder, write_json
from ofasys.train.optimizer import optimizer_tensors, restore_optimizer


def save(
    out: Path,
    model: GeneralistModel,
    cards: Sequence[TaskCard],
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    names: Sequence[str],
) -> None:
    """Write step `state["step"]` as the checkpoints of these names ("last", "best"); drop those no name points to."""
    folder = f"step-{state['step']:08d}"
    files = model_files(model, cards)
    files["optimizer.safetensors"] = optimizer_tensors(optimizer, model)
    files["state.json"] = dict(state)
    write_folder(out / "checkpoints" / folder, files)
    for name in names:
        write_json(out / "checkpoints" / f"{name}.json", {"folder": folder})
    kept = {_pointed(out, name) for name in ("last", "best")}
    for path in (out / "checkpoints").iterdir():
        if path.is_dir() and path.name not in kept:
            shutil.rmtree(path)


def point(out: Path, name: str, step: int) -> None:
    """Let a name point to a checkpoint that is there already."""
    write_json(out / "checkpoints" / f"{name}.json", {"folder": f"step-{step:08d}"})


def has_run(out: Path) -> bool:
    """Whether a run was begun here that can be resumed."""
    return _pointed(out, "last") is not None


def restore(out: Path, model: GeneralistModel) -> tuple[dict[str, Any], dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Fill `model` from the last checkpoint: (state, the optimizer's tensors, the cards of its tasks)."""
    folder = _pointed(out, "last")
    assert folder is not None
    files = read_folder(out / "checkpoints" / folder)
    try:
        raw = json.loads(files["tasks.json"])
        cards = [TaskCard(**{**card, "instructions": tuple(card["instructions"])}) for card in raw]
        fill(model, files, cards)
        return json.loads(files["state.json"]), tensors(files["optimizer.safetensors"]), raw
    except KeyError as error:
        raise CheckpointError(f"{out}: its last checkpoint lacks {error}; it holds a model but no run to resume") from None


def _pointed(out: Path, name: str) -> str | None:
    pointer = out / "checkpoints" / f"{name}.json"
    if not pointer.is_file():
        return None
    try:
        return str(json.loads(pointer.read_text(encoding="utf8"))["folder"])
    except (ValueError, KeyError) as error:
        raise CheckpointError(f"{pointer} cannot be read: {error}") from None


__all__ = ["has_run", "point", "restore", "restore_optimizer", "save"]
