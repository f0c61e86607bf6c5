"""Checkpoints of a run whose weights lie in pieces: each process writes its own, by `torch.distributed.checkpoint`, as
safetensors.

The moments stay in the files of the processes that wrote them, and are read by any number of processes. The weights are
put together, one parameter after the other, as the file that every other saved model has.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed import checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.tensor import DTensor

from ofasys.errors import CheckpointError
from ofasys.hub.store import SHARDED
from ofasys.parallel.sharded import Shards
from ofasys.train import checkpoint
from ofasys.train.saving import writing

OPTIMIZER = "optimizer.safetensors"
PIECES = ".pieces.new"  # ends the name of the folder that pieces are written into


def copied(files: Mapping[str, Any], shards: Shards) -> dict[str, Any]:
    """What a checkpoint holds, with this process's pieces copied into memory."""
    return {
        name: {key: shards.copied(tensor) for key, tensor in content.items()}
        if name.endswith(".safetensors")
        else content
        for name, content in files.items()
    }


def write(
    out: Path, files: Mapping[str, Any], names: Sequence[str], kept: int | None, keep: int, shards: Shards
) -> None:
    """As `checkpoint.write`, called by all processes, in a thread beside the run or in it.

    Pieces are written aside; the checkpoint is there once the first process has moved and joined all of them. Errors:
    CheckpointError, on each, where any of them cannot write; what was there before is whole.
    """
    step = files["state.json"]["step"]
    aside = out / "checkpoints" / f".step-{step:08d}{PIECES}"
    pieces = {name: content for name, content in files.items() if _in_pieces(content)}
    rest = {name: content for name, content in files.items() if name not in pieces}
    moments = pieces.pop(OPTIMIZER, {})
    flat = {f"{name}//{key}": one for name, content in pieces.items() for key, one in content.items()}

    def finish() -> None:
        made = rest | _joined(aside / "joined") | (_moved(aside / "optimizer") if moments else {})
        checkpoint.write(out, made, names, kept, keep)

    with writing(out, f"the checkpoint of step {step}", kept):
        try:
            _agreed(shards, partial(_emptied, aside), first=True)
            _agreed(shards, partial(_check_there, aside, shards))
            _agreed(shards, partial(_save, aside / "joined", flat, shards))
            if moments:
                _agreed(shards, partial(_save, aside / "optimizer", moments, shards))
            _agreed(shards, finish, first=True)
        finally:
            if shards.ranks.first:
                shutil.rmtree(aside, ignore_errors=True)


def _in_pieces(content: Any) -> bool:
    return isinstance(content, Mapping) and any(isinstance(one, DTensor) for one in content.values())


def _emptied(folder: Path) -> None:
    """A folder of this name in which nothing is; those of savings that were cut off are dropped."""
    for left in folder.parent.glob(f".*{PIECES}"):
        shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(parents=True)


def _check_there(folder: Path, shards: Shards) -> None:
    """Errors: CheckpointError for a folder that the first process has made, and this one does not see."""
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not there on process {shards.ranks.rank}; where weights lie in pieces each process writes "
            "its own: give an `out` that all machines share"
        )


def _save(folder: Path, pieces: Mapping[str, Tensor], shards: Shards) -> None:
    """Write the pieces of all processes. Errors, on each: what the first that failed raised."""
    try:
        dcp.save(
            dict(pieces),
            storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True),
            process_group=shards.side,
        )
    except CheckpointException as error:
        raise next((failed for failed, _ in error.failures.values()), RuntimeError(str(error))) from error


def _agreed(shards: Shards, do: Callable[[], None], first: bool = False) -> None:
    """Do something on each process, or on the first, and tell all how it ended.

    Errors: what it raised here; CheckpointError where it failed on another.
    """
    failed: Exception | None = None
    try:
        if not first or shards.ranks.first:
            do()
    except Exception as error:
        failed = error
    said = shards.told_beside(None if failed is None else f"{type(failed).__name__}: {failed}")
    if failed is not None:
        raise failed
    if (other := next((one for one in said if one is not None), None)) is not None:
        raise CheckpointError(f"a process could not write its part of a checkpoint: {other}")


class Joined:
    """A tensor whose pieces lie in several files: put together when it is written, and not kept."""

    def __init__(self, key: str, files: Sequence[Any], known: TensorStorageMetadata) -> None:
        self.key, self.files = key, files
        self.shape, self.dtype = known.size, known.properties.dtype

    def numel(self) -> int:
        """How many numbers it has."""
        return self.shape.numel()

    def detach(self) -> Tensor:
        """Its pieces, end to end by process."""
        parts = [file.get_tensor(self.key) for file in self.files if self.key in file.keys()]  # noqa: SIM118
        return torch.cat(parts) if self.shape else parts[0]


def _joined(folder: Path) -> dict[str, dict[str, Joined]]:
    """File -> name -> tensor, of the pieces in a folder."""
    paths = sorted(folder.glob("*.safetensors"))
    files = [safe_open(path, framework="pt") for path in paths]
    made: dict[str, dict[str, Joined]] = {}
    for whole, known in HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata.items():
        name, _, key = whole.partition("//")
        assert isinstance(known, TensorStorageMetadata)
        made.setdefault(name, {})[key] = Joined(whole, files, known)
    return made


def _moved(folder: Path) -> dict[str, Path]:
    """Name in the checkpoint -> file, of the moments of each process."""
    paths = sorted(folder.glob("*.safetensors"))
    return {f"{SHARDED}{number:05d}-of-{len(paths):05d}.safetensors": path for number, path in enumerate(paths, 1)}


class Moments:
    """What an optimizer keeps, in the files of the processes that wrote it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        known = HuggingFaceStorageReader(str(folder)).read_metadata()
        places = {index.fqn: Path(at.relative_path).name for index, at in (known.storage_data or {}).items()}
        self.known = dict(_of(known.state_dict_metadata, places))

    def __bool__(self) -> bool:
        return bool(self.known)

    def near(self, model: nn.Module) -> dict[str, Tensor]:
        """KIND/NAME -> the moment as its parameter lies: of one in pieces, the rows of this process are read alone.

        One of another shape than its parameter, as where rows have been added since, is read whole.
        """
        parameters = dict(model.named_parameters())
        targets: dict[str, Tensor] = {}
        for key, known in self.known.items():
            like = parameters.get(key.partition("/")[2])
            same = like is not None and like.shape == known.size
            dtype = known.properties.dtype
            if like is not None:
                targets[key] = torch.zeros_like(like, dtype=dtype) if same else torch.zeros(known.size, dtype=dtype)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            dcp.load(targets, storage_reader=HuggingFaceStorageReader(str(self.folder)), no_dist=True)
        return {key: tensor.detach() for key, tensor in targets.items()}


def _of(known: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[tuple[str, TensorStorageMetadata]]:
    return ((key, one) for key, one in known.items() if places[key].startswith(SHARDED))
