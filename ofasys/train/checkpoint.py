"""The checkpoints of a run: the last and the best, each whole, found again by a pointer that is replaced in one
move.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ofasys.errors import CheckpointError
from ofasys.generalist import GeneralistModel
from ofasys.hub.model import fill, model_files, read_cards
from ofasys.hub.store import read_folder, standing, tensors, write_folder, write_json
from ofasys.train.optimizer import optimizer_tensors
from ofasys.train.saving import writing
from ofasys.train.update import Window
from ofasys.types import TaskCard


def save(
    out: Path,
    model: GeneralistModel,
    optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any],
    names: Sequence[str],
    kept: int | None = None,
) -> None:
    """Write step `state["step"]` as the checkpoints of these names ("last", "best"); drop those no name points to.

    kept: the step of the last checkpoint before. Errors: CheckpointError where it cannot be written; what was there
    before is whole, and nothing half written is left.
    """
    step, place = state["step"], out / "checkpoints"
    folder = f"step-{step:08d}"
    files = model_files(model, model.cards)
    files["optimizer.safetensors"] = optimizer_tensors(optimizer, model)
    files["state.json"] = dict(state)
    with writing(out, f"the checkpoint of step {step}", kept):
        try:
            write_folder(place / folder, files)
            for name in names:
                best = state.get("best") if name == "best" else None
                told = {key: best[key] for key in ("figure", "value", "step")} if best else {}
                write_json(place / f"{name}.json", {"folder": folder, **told})
            pointed = {_pointed(out, name) for name in ("last", "best")}
            for path in place.iterdir():
                if path.is_dir() and path.name not in pointed:
                    shutil.rmtree(path)
        except (OSError, CheckpointError):
            _sweep(place)
            raise


def _sweep(place: Path) -> None:
    """Drop what was begun to be written."""
    for path in place.glob(".*.new") if place.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def has_run(out: Path) -> bool:
    """Whether a run was begun here that can be resumed."""
    return _pointed(out, "last") is not None


def settle_best(out: Path, best: Mapping[str, Any]) -> bool:
    """Whether the best checkpoint that a run's state tells of is there.

    Where a saving was cut off between the two pointers, the one to the best is set now.
    """
    told = {key: best[key] for key in ("figure", "value", "step") if key in best}
    folder = _pointed(out, "best")
    here = folder if "step" not in told else f"step-{told['step']:08d}"
    if here is None or not standing(out / "checkpoints" / here).is_dir():
        return False
    if folder != here:
        with writing(out, "best.json", None):
            write_json(out / "checkpoints" / "best.json", {"folder": here, **told})
    return True


def restore(
    out: Path, model: GeneralistModel, seed: int
) -> tuple[dict[str, Any], dict[str, torch.Tensor], tuple[TaskCard, ...]]:
    """Fill `model` from the last checkpoint: (state, the optimizer's tensors, the cards of its tasks).

    seed: of the run to go on. Errors: CheckpointError when the checkpoint is torn, holds what it cannot, or is of
    another model or seed.
    """
    folder = out / "checkpoints" / str(_pointed(out, "last"))
    files = read_folder(folder)
    try:
        about, state = json.loads(files["model.json"]), json.loads(files["state.json"])
        cards = read_cards(files)
        moments = tensors(files["optimizer.safetensors"])
        seeds = {"model": (about["seed"], model.seed), "run": (state["seed"], seed)}
        ranges = [tuple(one) for one in about["vocabulary"]]
    except KeyError as error:
        raise CheckpointError(f"{folder} lacks {error}; it holds a model but no run to resume") from None
    except (CheckpointError, *ODD) as error:
        raise CheckpointError(f"{folder} cannot be read ({error}); {_OTHER}") from None
    _check_state(state, folder / "state.json")
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
    except (KeyError, *ODD) as error:
        raise CheckpointError(f"{folder} cannot be read ({type(error).__name__}: {error}); {_OTHER}") from None
    return state, moments, cards


def _check_state(state: Any, path: Path) -> None:
    """Errors: CheckpointError for a state that no run has written."""
    numbers = (int, float)

    def pair(value: Any) -> bool:
        return isinstance(value, list) and len(value) == 2 and all(isinstance(one, int) for one in value)

    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0

    def by_name(value: Any, fits: Callable[[Any], bool]) -> bool:
        return isinstance(value, dict) and all(map(fits, value.values()))

    def window(value: Any) -> bool:
        known = {field.name: isinstance(getattr(Window(), field.name), numbers) for field in fields(Window)}
        return isinstance(value, dict) and all(
            name in known and isinstance(one, numbers if known[name] else dict) for name, one in value.items()
        )

    best, stopped = state.get("best"), state.get("stopped")
    sound = {
        "step": whole(state.get("step")),
        "drawn": by_name(state.get("drawn"), whole),
        "bad": by_name(state.get("bad"), lambda rows: isinstance(rows, list)),
        "first_bad": by_name(state.get("first_bad", {}), lambda text: isinstance(text, str)),
        "windows": by_name(state.get("windows"), window),
        "sizes": by_name(state.get("sizes"), pair),
        "data": by_name(state.get("data", {}), lambda splits: isinstance(splits, dict)),
        "waited": whole(state.get("waited", 0)),
        "due": state.get("due") is None or whole(state["due"]),
        "best": best is None
        or (isinstance(best, dict) and all(isinstance(best.get(k), numbers) for k in ("value", "step") if k in best)),
        "stopped": stopped is None or (isinstance(stopped, dict) and {"why", "settings"} <= stopped.keys()),
    }
    for name, fits in sound.items():
        if not fits:
            raise CheckpointError(f"{path}: {name} is {state.get(name)!r:.80}, which no run has written; {_OTHER}")


_NEXT = "give a model as the run's was made, or another `out`"
_OTHER = "it was changed since it was saved; point last.json to another checkpoint, or give another `out`"
ODD = (TypeError, ValueError, AttributeError, IndexError, SafetensorError)  # what odd content makes of a reading


def _pointed(out: Path, name: str) -> str | None:
    pointer = out / "checkpoints" / f"{name}.json"
    try:
        folder = json.loads(pointer.read_text(encoding="utf8"))["folder"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CheckpointError(f"{pointer} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{pointer} cannot be read: {error}; {_POINTER}") from None
    if not isinstance(folder, str) or Path(folder).name != folder or not folder:
        raise CheckpointError(f"{pointer} points to {folder!r:.80}, which is no checkpoint's name; {_POINTER}")
    return folder


_POINTER = 'it holds {"folder": "step-..."}, one of the folders beside it; mend it, or give another `out`'
