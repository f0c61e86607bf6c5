"""The file of a checkpoint, read without running anything that stands in it.

What is written there as an object of a class becomes an empty stand-in, whatever the class; a file that names a
function, or a class that no checkpoint of OFA holds, is refused before anything of it is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from ofasys.errors import CheckpointError
from ofasys.hub.ofa.convert import Original
from ofasys.hub.ofa.words import Dictionary

SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")

CONTAINERS = re.compile(
    r"argparse\.Namespace|collections\.(defaultdict|OrderedDict)|builtins\.(dict|list|tuple|set|str|int|float|bool)"
    r"|__builtin__\.(dict|list|tuple|set|str|int|float|bool)|typing\.\w+|pathlib\.\w*Path|enum\.\w+"
    r"|omegaconf\.(dictconfig\.DictConfig|listconfig\.ListConfig|nodes\.\w+Node"
    r"|base\.(Container)?Metadata)|(ofasys|fairseq)(\.\w+)*\.\w+(Config|Namespace)"
)
"""Classes that hold settings in checkpoints of OFA, OFASys and fairseq; of all of them only a stand-in is made."""


class StandIn(dict[Any, Any]):
    """What is left of an object: nothing that it does."""

    def __init__(self, *args: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Its fields, where they are known by name."""
        if isinstance(state, Mapping):
            self.update(state)

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)


@dataclass(frozen=True)
class OriginalTask:
    """A task of a checkpoint."""

    line: str
    """As it was written."""
    read: Mapping[str, Any] = field(default_factory=dict)
    """How its values were read: kind of value -> settings."""


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a file that may be one of these."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def read_file(path: Path) -> dict[str, Any]:
    """What a file of `torch.save` holds. Errors: CheckpointError for code in it, and for what is no such file."""
    try:
        names = get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # the library raises many kinds for files that are none
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint of torch ({_first(error)}); give a .pt file of OFASys, or a folder "
            "of OFA from Hugging Face"
        ) from None
    for name in names:
        if not CONTAINERS.fullmatch(name):
            raise CheckpointError(
                f"{path} names {name}, which is no part of a checkpoint of OFA and could run anything; nothing of the "
                "file was read. Use a copy from where you trust it"
            )
    stand_ins: list[Any] = [(type("StandIn", (StandIn,), {}), name) for name in names]
    try:
        with safe_globals(stand_ins):
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # the library raises many kinds for what is torn, or not known to it
        raise CheckpointError(f"{path} is not a whole checkpoint ({_first(error)}); nothing of it was run") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, and no checkpoint of OFA; give another")
    return found


def _first(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def original_in(path: Path) -> tuple[Original, dict[str, OriginalTask]]:
    """A checkpoint of OFASys, and the tasks it was trained on, by name.

    Errors: CheckpointError for a file that cannot be read, is of another program, or a part of one.
    """
    found = read_file(path)
    weights = found.get("model")
    if "fsdp_metadata" in found or "shard_metadata" in found:
        raise CheckpointError(f"{path} is one shard of a checkpoint; put the shards together with OFASys first")
    if (
        not isinstance(weights, Mapping)
        or not weights
        or not all(isinstance(one, torch.Tensor) for one in weights.values())
    ):
        raise CheckpointError(
            f"{path} has no 'model' of tensors: it is no checkpoint of OFASys; give one of its .pt files"
        )
    store, indices = found.get("configstore"), found.get("global_dict_indices")
    models = store.get("model") if isinstance(store, Mapping) else None
    if not isinstance(models, Mapping) or not models:
        raise CheckpointError(
            f"{path} has no configstore with a model: it was saved by fairseq's OFA, or from Python without its "
            "configuration; give a checkpoint that OFASys's command line wrote, or the Hugging Face form of the model"
        )
    if not isinstance(indices, Mapping) or not all(type(number) is int for number in indices.values()):
        raise CheckpointError(f"{path} has no global_dict_indices, so which token is which is not known; give another")
    config = next(iter(models.values()))
    if not isinstance(config, Mapping):
        raise CheckpointError(f"{path}: its configuration is a {type(config).__name__}, and should be a mapping")
    tasks = store.get("task") if isinstance(store, Mapping) else None
    return Original(config, dict(weights), Dictionary.of(indices)), _tasks(tasks)


def _tasks(tasks: object) -> dict[str, OriginalTask]:
    """Those whose line is known, by name."""
    found = {}
    for name, task in tasks.items() if isinstance(tasks, Mapping) else ():
        own = task.get("instruction") if isinstance(task, Mapping) else None
        if isinstance(own, Mapping) and isinstance(own.get("template"), str):
            read = task.get("preprocess")
            found[str(name)] = OriginalTask(own["template"], read if isinstance(read, Mapping) else {})
    return found


def json_of(path: Path) -> Any:
    """Errors: CheckpointError for what is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({_first(error)}); give another") from None
