"""Folders that are whole or not there: written aside, checksummed, renamed into place; read only if every sum fits.

Weights are safetensors and metadata is JSON, so nothing that is read here can run code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ofasys.errors import CheckpointError, ConfigError

FORMAT = 1
MANIFEST = "manifest.json"
SHARDED = "optimizer-"  # begins the names of files that processes wrote each by itself, and that are read in part


def write_folder(folder: str | Path, files: Mapping[str, Any]) -> None:
    """Write a folder whole. files: name -> tensors (`.safetensors`), text (str), a JSON value, or the path of a file
    that is written already, which is moved.

    A reader, or a crash at any moment, sees the old folder or the new one. Errors: ConfigError where the folder holds
    something that is not of an earlier writing, for the folder is replaced whole.
    """
    folder = Path(os.path.realpath(folder))  # what a link leads to is replaced, and `.` has a name
    try:
        _refuse_foreign(folder)
        _write_whole(folder, files)
    except OSError as error:
        raise CheckpointError(
            f"{folder} cannot be written: {error.strerror or error}; what was there before is as it was. Make room, or "
            "give a folder that may be written"
        ) from error


def check_place(folder: str | Path) -> None:
    """Errors: ConfigError where `write_folder` would refuse to write."""
    _refuse_foreign(Path(os.path.realpath(folder)))


def write_model(folder: str | Path, files: Mapping[str, Any]) -> None:
    """`write_folder`, of the files of a model alone: not into a checkpoint of a run, which holds more."""
    if lost := sorted(set(_listed(Path(os.path.realpath(folder)))) - set(files)):
        raise ConfigError(
            f"{folder} is a checkpoint of a run, whose {', '.join(lost)} would be lost; give a new folder"
        )
    write_folder(folder, files)


def _write_whole(folder: Path, files: Mapping[str, Any]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir()
        sums = {}
        for name, value in files.items():
            written = isinstance(value, Path)
            sums[name] = _take(aside / name, value) if written else _write(aside / name, _chunks(name, value))
        _write(aside / MANIFEST, [_json({"ofasys": FORMAT, "files": sums})])
        _sync(aside)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)  # half a copy takes room that the disk may lack
        raise
    old = folder.with_name(f".{folder.name}.old")
    if folder.exists():  # if not, `old` is all there is: an earlier writing was cut off between the two renames
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    aside.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _listed(folder: Path) -> list[str]:
    """The names of the files that were written there; none where nothing was."""
    try:
        return list(json.loads((folder / MANIFEST).read_text(encoding="utf8"))["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give the name of a folder")
    if Path.cwd().is_relative_to(folder):
        raise ConfigError(f"{folder} is where the program runs, and would be replaced whole; give a new folder in it")
    known = {MANIFEST, *_listed(folder)} if _listed(folder) else set()
    if others := sorted(path.name for path in folder.iterdir() if path.name not in known):
        raise ConfigError(
            f"{folder} holds {others[0]!r}, which is not of a saved model and would be lost; give a new folder"
        )


def standing(folder: str | Path) -> Path:
    """The folder, or the one it was to replace where a writing was cut off between its two renames."""
    folder = Path(folder)
    if not folder.name:  # where the program runs, or the root: neither is moved away
        return folder
    old = folder.with_name(f".{folder.name}.old")
    return old if not folder.exists() and old.exists() else folder


def read_folder(folder: str | Path, names: Collection[str] | None = None) -> dict[str, bytes]:
    """The files of a folder, each checked; of `names` those that it has, and no other is opened. Of those that are
    `SHARDED`, nothing but their names.

    Errors: CheckpointError when one of them is torn, or the folder of another version, or not ours.
    """
    folder = standing(folder)
    try:
        return _read_whole(folder, names)
    except OSError as error:
        what = error.filename or folder
        raise CheckpointError(
            f"{what} cannot be read: {error.strerror or error}; see who may read it, or use another checkpoint"
        ) from None


def _read_whole(folder: Path, names: Collection[str] | None) -> dict[str, bytes]:
    if not folder.is_dir():
        raise CheckpointError(f"no folder {str(folder)!r}; give the folder of a run or of a saved model")
    if not (folder / MANIFEST).is_file():
        raise CheckpointError(f"{folder} has no {MANIFEST}: it is not a checkpoint of ofasys, or was never finished")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf8"))
        version = manifest["ofasys"]
        sums = {n: (e["sha256"], e["bytes"]) for n, e in manifest["files"].items()} if version == FORMAT else {}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(
            f"{folder / MANIFEST} cannot be read ({error}): it is not a checkpoint of ofasys"
        ) from None
    if version != FORMAT:
        raise CheckpointError(
            f"{folder} is of checkpoint format {version!r:.40}; this version of ofasys reads format {FORMAT}"
        )
    found = {}
    for name, (digest, size) in sums.items():
        if names is not None and name not in names:
            continue
        path = folder / Path(name).name
        if name.startswith(SHARDED) and path.is_file() and _sum(path) == {"sha256": digest, "bytes": size}:
            found[name] = b""
            continue
        data = path.read_bytes() if path.is_file() else None
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            state = "is missing" if data is None else f"holds {len(data)} bytes that are not the {size} written"
            raise CheckpointError(f"{folder} is torn: {name} {state}; use another checkpoint")
        found[name] = data
    return found


def write_json(path: str | Path, value: Any) -> None:
    """Replace a small JSON file in one move."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    _write(aside, [_json(value)])
    aside.replace(path)


def tensors(data: bytes, name: str = "a file") -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file's bytes. name: what to call it. Errors: CheckpointError for bytes that are of
    no such file.
    """
    try:
        return load_tensors(data)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{name} of {len(data)} bytes cannot be read as safetensors ({error}); use another checkpoint"
        ) from None


def encoded(name: str, value: Any) -> bytes:
    """A file's bytes, of what `write_folder` takes for it."""
    if name.endswith(".safetensors"):
        return save_tensors({key: tensor.detach().contiguous().cpu() for key, tensor in value.items()})
    return value.encode() if isinstance(value, str) else _json(value)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def _chunks(name: str, value: Any) -> Iterator[bytes | memoryview]:
    """A file's bytes, part by part: of tensors one after the other, from where they are."""
    if not name.endswith(".safetensors"):
        yield encoded(name, value)
        return
    order = sorted(value, key=lambda key: (-value[key].dtype.itemsize, key))  # each is aligned to its numbers
    header, end = dict[str, Any](), 0
    for key in order:
        tensor = value[key]
        start, end = end, end + tensor.numel() * tensor.dtype.itemsize
        header[key] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    said = json.dumps(header, separators=(",", ":")).encode()
    said += b" " * (-len(said) % 8)
    yield len(said).to_bytes(8, "little") + said
    for key in order:
        if value[key].numel():
            yield _bytes_of(value[key])  # no name for it here: the next would be made while this one is held


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    return tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy().data


_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}  # as the safetensors format calls them


def can_hold(tensor: torch.Tensor) -> bool:
    """Whether a file of tensors can hold this one: dense, of a kind of number that the format knows."""
    return tensor.layout == torch.strided and tensor.dtype in _DTYPES


def _write(path: Path, chunks: Iterable[bytes | memoryview]) -> dict[str, Any]:
    """Write a file -> its checksum and size."""
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            del chunk  # before the next is made
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": digest.hexdigest(), "bytes": size}


def _take(path: Path, written: Path) -> dict[str, Any]:
    """Move a file -> its checksum and size."""
    written.rename(path)
    _sync(path)
    return _sum(path)


def _sum(path: Path) -> dict[str, Any]:
    """The checksum and size of a file, read part by part."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
