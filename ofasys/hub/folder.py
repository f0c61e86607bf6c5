"""Which folder holds the model: of a run its best checkpoint, else its last; what a folder is that holds none; and the
lines of a run's logs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ofasys.errors import CheckpointError, ConfigError, nearest
from ofasys.hub.shipped import named
from ofasys.hub.store import MANIFEST, standing

_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".onnx", ".gguf")
_GIVE = "give the folder of a run, or of save_pretrained"
_OF_RUNS = ("metrics.jsonl", "run.yaml", "checkpoints")


def checkpoint_in(folder: str | Path, which: str | None = None) -> Path:
    """The folder that holds the model: the folder itself, or a checkpoint of a run.

    which: "best", "last", or the name of a checkpoint's own folder. Errors: CheckpointError when there is none, which
    says what is there instead; ConfigError for what is no path.
    """
    folder = as_path(folder)
    if which is not None and (not isinstance(which, str) or not which):
        raise ConfigError(f"which is {which!r:.60}; it is 'best', 'last' or the name of a checkpoint's folder")
    try:
        if (standing(folder) / MANIFEST).is_file() and which is None:
            return folder
        for name in (which,) if which else ("best", "last"):
            if (pointed := pointed_to(folder / "checkpoints" / f"{name}.json")) is not None:
                return folder / "checkpoints" / pointed
        if which and which == Path(which).name and (folder / "checkpoints" / which / MANIFEST).is_file():
            return folder / "checkpoints" / which
        raise CheckpointError(_no_model(folder, which))
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise CheckpointError(f"{folder} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def as_path(folder: Any) -> Path:
    """A path. Errors: ConfigError for what is none."""
    if not isinstance(folder, (str, os.PathLike)) or isinstance(os.fspath(folder), bytes):
        raise ConfigError(f"a folder is a path, not a {type(folder).__name__}; {_GIVE}")
    if not str(folder).strip():
        raise ConfigError(f"the folder's name is empty; {_GIVE}")
    return Path(folder).expanduser()


def origin_of(folder: str | Path, place: Path) -> str:
    """Where a model was loaded from, in words: `runs/first (best, step 60)`."""
    folder = as_path(folder)
    if place == folder:
        return str(folder)
    names = []
    for name in ("best", "last"):
        pointer = folder / "checkpoints" / f"{name}.json"
        try:
            names += [name] if pointed_to(pointer) == place.name else []
        except CheckpointError:
            continue
    step = place.name.removeprefix("step-").lstrip("0") or "0"
    return f"{folder} ({', '.join([*names, f'step {step}'])})"


def pointed_to(pointer: Path) -> str | None:
    """The name of the checkpoint's folder that a pointer names; None where there is no such file.

    Errors: CheckpointError for a pointer that cannot be read, or names what is no folder beside it.
    """
    try:
        name = json.loads(pointer.read_text(encoding="utf8"))["folder"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CheckpointError(f"{pointer} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{pointer} cannot be read ({type(error).__name__}: {error}); {_POINTER}") from None
    if not isinstance(name, str) or name != Path(name).name or not name:
        raise CheckpointError(f"{pointer} points to {name!r:.80}, which is no checkpoint's name; {_POINTER}")
    return name


def step_of(run: Path, name: str) -> int | None:
    """The step of the checkpoint of a run that is called "last" or "best"; None where none is, or it cannot be told."""
    try:
        number = (pointed_to(run / "checkpoints" / f"{name}.json") or "").rpartition("-")[2]
    except CheckpointError:
        return None
    return int(number) if number.isdecimal() else None


def log_lines(log: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """The lines of metrics.jsonl or quarantine.jsonl, each as it stands, without its end, and as it is read; none where
    there is no such file.

    Read is None where it is no line that a run has written, as the last one of a run that was killed.
    """
    if not log.is_file():
        return
    with log.open("rb") as file:
        for line in file:  # ends at a line feed alone: a text may hold other separators
            if text := line.rstrip(b"\r\n"):
                yield text, _line(text)


def _line(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):  # ValueError: bytes that are no text too
        return None
    return found if isinstance(found, dict) and isinstance(found.get("step"), int) else None


_POINTER = 'it holds {"folder": "step-..."}, one of the folders beside it; mend it, or give another folder'


def _no_model(folder: Path, which: str | None) -> str:
    """What is to be said of a folder in which there is no model."""
    if not folder.exists():
        hint = near_to(folder) or nearest(str(folder), named())
        return f"there is no folder {str(folder)!r}; {hint}{_GIVE}"
    if not folder.is_dir():
        known = folder.suffix.lower() in _WEIGHTS
        kind = "a file of weights, of which nothing here says what they are of" if known else "a file"
        return f"{folder} is {kind}; {_GIVE}"
    pointers = sorted(path.stem for path in (folder / "checkpoints").glob("*.json"))
    if which and (pointers or (standing(folder) / MANIFEST).is_file()):
        there = f"there are {', '.join(pointers)}" if pointers else "it is a saved model, not a run: leave it out"
        return f"{folder}: no {which!r} checkpoint here; {nearest(which, pointers)}{there}"
    if folder.name == "checkpoints" and list(folder.glob("*.json")):
        return f"{folder} is inside a run: no saved model and no run with a checkpoint here; give {folder.parent}"
    if any((folder / name).exists() for name in _OF_RUNS):
        return (
            f"{folder}: the run has no {which or 'saved model and no run with a'} checkpoint yet; train on, or {_GIVE}"
        )
    runs = {path.parent.parent.name for path in folder.glob("*/checkpoints/last.json")}
    runs |= {path.parent.name for path in folder.glob(f"*/{MANIFEST}")}
    if runs:
        return (
            f"{folder} is above a model: no saved model and no run with a checkpoint here; give one of them: "
            f"{', '.join(str(folder / name) for name in sorted(runs)[:6])}"
        )
    kind = f"no {which!r} checkpoint" if which else "no saved model and no run with a checkpoint"
    if (folder / "config.json").is_file():
        kind = f"a model of transformers ({_model_type(folder / 'config.json')}), not of ofasys: {kind}"
    elif weights := sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _WEIGHTS):
        kind = f"weights of something else ({weights[0]}): {kind}"
    return f"{folder}: {kind} here; {_GIVE}"


def _model_type(config: Path) -> str:
    try:
        found = json.loads(config.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError):
        return "config.json"
    kind = found.get("model_type") if isinstance(found, dict) else None
    return f"model_type {kind!r:.40}" if kind else "config.json"


def near_to(folder: Path) -> str:
    """`did you mean runs/first? ` for a folder that is not there: each name of its path that is not is the nearest."""
    there = folder
    wrong: list[str] = []
    while not there.is_dir() and there != there.parent:
        wrong.insert(0, there.name)
        there = there.parent
    for name in wrong:
        hint = nearest(name, [path.name for path in there.iterdir() if path.is_dir()])
        if not hint:
            return ""
        there = there / hint.removeprefix("did you mean ").removesuffix("? ")
    return f"did you mean {there}? "
