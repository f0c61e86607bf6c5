"""The checkpoints of a run: the last, the one before it, and the best, each whole, found again by a pointer that is
replaced in one move.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ofasys.errors import CheckpointError, ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.hub.folder import pointed_to
from ofasys.hub.model import ANSWERING, fill, model_files, read_cards, renamed
from ofasys.hub.store import SHARDED, read_folder, standing, tensors, write_folder, write_json
from ofasys.train.callback import Callbacks
from ofasys.train.optimizer import optimizer_tensors
from ofasys.train.saving import writing
from ofasys.train.state import RunState, odd
from ofasys.types import TaskCard

_log = logging.getLogger("ofasys")

POINTERS = ("last", "best", "before")  # files beside the checkpoints, each naming one


def gathered(
    model: GeneralistModel, optimizer: torch.optim.Optimizer, state: RunState, callbacks: Callbacks | None = None
) -> dict[str, Any]:
    """name -> content, for `write`: of tensors those of the run, not copies."""
    state.callbacks, tensors = callbacks.state() if callbacks is not None else ({}, {})
    files = model_files(model, model.cards)
    files["optimizer.safetensors"] = optimizer_tensors(optimizer, model)
    if tensors:
        files["callbacks.safetensors"] = tensors
    if callbacks is not None and (answering := callbacks.answering_weights(model)):
        files[ANSWERING] = answering
    files["state.json"] = state.to_dict()
    return files


def copied(files: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with the tensors copied into memory: the run may change its own while these are written."""
    return {
        name: {key: tensor.detach().to("cpu", copy=True) for key, tensor in content.items()}
        if name.endswith(".safetensors")
        else content
        for name, content in files.items()
    }


def write(out: Path, files: Mapping[str, Any], names: Sequence[str], kept: int | None = None, keep: int = 2) -> None:
    """Write what `gathered` gave as the checkpoints of these names ("last", "best"). What no name points to is dropped,
    but for the newest `keep`; the last one before this is one of them, as "before".

    kept: the step of the last checkpoint that is whole. Tensors are written one by one from where they are. Errors:
    CheckpointError where it cannot be written; what was there before is whole, and nothing half written is left.
    """
    step, best, place = files["state.json"]["step"], files["state.json"]["best"], out / "checkpoints"
    with writing(out, f"the checkpoint of step {step}", kept):
        try:
            if kept != step:  # what is there is of a run that went on from before it, as where it was torn
                shutil.rmtree(place / _folder(step), ignore_errors=True)
            write_folder(place / _folder(step), files)
            if kept is not None and kept != step:
                write_json(place / "before.json", {"folder": _folder(kept)})
            for name in names:
                told = {key: best[key] for key in ("figure", "value", "step")} if name == "best" and best else {}
                write_json(place / f"{name}.json", {"folder": _folder(step), **told})
            _prune(place, step, keep)
        except (OSError, CheckpointError):
            _sweep(place)
            raise


def _prune(place: Path, step: int, keep: int) -> None:
    """Drop all checkpoints but those that are pointed to and the newest up to this step."""
    there = [path for path in place.iterdir() if path.is_dir()]
    stay = {pointed_to(place / f"{name}.json") for name in POINTERS}
    stay |= set(sorted((path.name for path in there if _step(path.name) <= step), key=_step)[-keep:])
    for path in there:
        if path.name not in stay:
            shutil.rmtree(path)


def _step(name: str) -> int:
    """The step of a checkpoint's folder; of any other folder none that a run has."""
    number = name.removeprefix("step-")
    return int(number) if number.isdecimal() and name.startswith("step-") else sys.maxsize


def _folder(step: int) -> str:
    return f"step-{step:08d}"


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
    return any((out / "checkpoints" / f"{name}.json").exists() for name in ("last", "before"))


def settle_last(out: Path) -> None:
    """Where the first saving was cut off before its pointer, the one to the last is set now.

    Errors: ConfigError for several checkpoints none of which is the last: a new run would drop them.
    """
    place = out / "checkpoints"
    there = sorted(path.name for path in place.glob("step-*") if path.is_dir())
    if not there or has_run(out):
        return
    if len(there) > 1:
        raise ConfigError(
            f"{place} holds {', '.join(there[-3:])}, and neither last.json nor before.json, which say where a run was: "
            f'a new run would drop what is there; to go on, write {{"folder": "{there[-1]}"}} into '
            f"{place / 'last.json'}; else remove {place}, or give another `out`"
        )
    _log.warning(f"{place} holds {there[0]} and no pointer to it, as where its saving was cut off: it is gone on with")
    with writing(out, "last.json", None):
        write_json(place / "last.json", {"folder": there[0]})


def settle_best(out: Path, best: Mapping[str, Any]) -> bool:
    """Whether the best checkpoint that a run's state tells of is there.

    Where a saving was cut off between the two pointers, the one to the best is set now.
    """
    told = {key: best[key] for key in ("figure", "value", "step") if key in best}
    folder = pointed_to(out / "checkpoints" / "best.json")
    here = folder if "step" not in told else _folder(told["step"])
    if here is None or not standing(out / "checkpoints" / here).is_dir():
        return False
    if folder != here:
        with writing(out, "best.json", None):
            write_json(out / "checkpoints" / "best.json", {"folder": here, **told})
    return True


def restore(
    out: Path, model: GeneralistModel, seed: int, callbacks: Callbacks | None = None
) -> tuple[RunState, dict[str, torch.Tensor] | Path, tuple[TaskCard, ...]]:
    """Fill `model` from the last checkpoint: (state, the optimizer's tensors, or the folder that has them in pieces,
    the cards of its tasks).

    Where the last is torn, that is told, and the one before it is gone on with. seed: of the run to go on. Errors:
    CheckpointError when no checkpoint is whole, or it is of another model or seed; as of `Callbacks.restore`.
    """
    found, folder = _read_newest(out)
    about, state = found["model.json"], found["state.json"]
    seeds = {"model": (about["seed"], model.seed), "run": (state["seed"], seed)}
    for kind, (there, here) in seeds.items():
        if there != here:
            raise CheckpointError(f"{out} holds a run whose {kind} has seed {there}, not {here}; {_NEXT}")
    ranges = [tuple(one) for one in about["vocabulary"]]
    if model.symbols is not None:
        if list(model.symbols.vocabulary.ranges) != ranges[: len(model.symbols.vocabulary.ranges)]:
            raise CheckpointError(
                f"{out} holds a run of a model with another vocabulary than this one has already; {_NEXT}"
            )
        _log.warning(f"{out} holds a run (step {state['step']}): its weights are gone on with, not those given")
    try:
        fill(model, found["files"])
    except CheckpointError as error:
        raise CheckpointError(f"{out} holds a run that this model cannot go on with: {error}; {_NEXT}") from None
    except (KeyError, *ODD) as error:
        raise CheckpointError(f"{folder} cannot be read ({type(error).__name__}: {error}); {_OTHER}") from None
    kept = RunState.of(state)
    (callbacks or Callbacks(())).restore(kept.callbacks, found["callbacks"])
    return kept, folder if found["moments"] is None else found["moments"], found["cards"]


def _read_newest(out: Path) -> tuple[dict[str, Any], Path]:
    """(what the newest whole checkpoint holds, its folder). Errors: CheckpointError that says what is wrong with
    each.
    """
    place, wrong = out / "checkpoints", list[CheckpointError]()
    for name in ("last", "before"):
        try:
            pointed = pointed_to(place / f"{name}.json")
            if pointed is None and name == "last":  # the one before is only kept where there was a last
                raise CheckpointError(f"{place / 'last.json'} is missing, though there is a checkpoint before it")
            if pointed is None:
                continue
            found = _read(place / pointed)
        except CheckpointError as error:
            wrong.append(error)
            continue
        if wrong:
            _log.warning(f"{wrong[0]}\n  going on from the checkpoint before it, of step {found['state.json']['step']}")
        return found, place / pointed
    if len(wrong) > 1:
        raise CheckpointError(f"{wrong[0]}; and the one before it: {wrong[1]}")
    raise wrong[0]


def _read(folder: Path) -> dict[str, Any]:
    """The files of a checkpoint, those read that a run needs. Errors: CheckpointError where one is torn or odd."""
    files = read_folder(folder)
    try:
        found = {name: json.loads(files[name]) for name in ("model.json", "state.json")}
        found |= {"files": files, "cards": read_cards(files)}
        sharded = any(name.startswith(SHARDED) for name in files)
        found["moments"] = None if sharded else renamed(tensors(files["optimizer.safetensors"]))
        kept = tensors(files["callbacks.safetensors"]) if "callbacks.safetensors" in files else {}
        found["callbacks"] = renamed(kept)
        [tuple(one) for one in found["model.json"]["vocabulary"]]
        found["model.json"]["seed"], found["state.json"]["seed"]
    except KeyError as error:
        raise CheckpointError(f"{folder} lacks {error}; it holds a model but no run to resume") from None
    except (CheckpointError, *ODD) as error:
        raise CheckpointError(f"{folder} cannot be read ({error}); {_OTHER}") from None
    if (wrong := odd(found["state.json"])) is not None:
        name, value = wrong
        raise CheckpointError(f"{folder / 'state.json'}: {name} is {value!r:.80}, which no run has written; {_OTHER}")
    return found


_NEXT = "give a model as the run's was made, or another `out`"
_OTHER = "it was changed since it was saved; point last.json to another checkpoint, or give another `out`"
ODD = (TypeError, ValueError, AttributeError, IndexError, SafetensorError)  # what odd content makes of a reading
