"""Where a model of the library lies: a folder here, or one got from the hub; its settings, and the files of its
weights. No torch here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ofasys.engine.huggingface.reach import endpoint, hub_library
from ofasys.errors import ConfigError

SETTINGS = ("*.json",)
WHOLE = ("*.json", "*.safetensors", "*.jinja")


def library() -> Any:
    """The module `transformers`. Errors: ConfigError where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise ConfigError("a backbone or a front needs the library transformers; pip install 'ofasys[hf]'") from error
    return transformers


def folder_of(place: str, what: str = "backbone", wanted: Sequence[str] = WHOLE, here: bool = False) -> Path:
    """Where a model lies. place: a folder, or OWNER/NAME of the hub. what: what it is to be. wanted: the files that are
    got from the hub. here: nothing is got. Errors: ConfigError where it is not there, or cannot be got.
    """
    return got_of(place, what, wanted, here)[0]


def got_of(place: str, what: str = "backbone", wanted: Sequence[str] = WHOLE, here: bool = False) -> tuple[Path, str]:
    """(where a model lies, OWNER/NAME@COMMIT if it was got from the hub). Arguments and errors as of `folder_of`."""
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder.resolve(), ""
    name, _, revision = place.partition("@")
    if not name or name.startswith((".", "/", "~")) or name.count("/") != 1:
        start = "" if folder.is_absolute() else f" in {Path.cwd()}"
        raise ConfigError(
            f"there is no folder {place!r}{start}; give hf:FOLDER, or hf:OWNER/NAME of the Hugging Face hub"
        )
    library()
    hub = hub_library()
    asked = {"allow_patterns": list(wanted), "local_files_only": here, "endpoint": endpoint()}
    try:
        got = Path(hub.snapshot_download(name, revision=revision or None, **asked))
        return got.resolve(), f"{name}@{got.name}"
    except Exception as error:  # the library raises a dozen kinds, those of its transport too
        why = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"{name!r} is no folder here, and was not got from the Hugging Face hub "
            f"({type(error).__name__}: {why:.200}); copy the {what} to a folder and give hf:FOLDER"
        ) from error


def json_object(path: Path, what: str = "backbone") -> dict[str, Any]:
    """Errors: ConfigError for what is no JSON object. what: as of `folder_of`."""
    if not path.is_file():
        raise ConfigError(
            f"{path.parent} has no {path.name}; give a folder as save_pretrained of transformers writes it"
        )
    try:
        found = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); take a whole copy of the {what}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no JSON object; take a whole copy of the {what}")
    return found


def weight_files(folder: Path) -> list[Path]:
    """The files of a folder's weights: one, or the shards of an index; none where there are none.

    Errors: ConfigError for a shard that is missing, and for an index that is none.
    """
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        whole = folder / "model.safetensors"
        return [whole] if whole.is_file() else []
    listed = json_object(index).get("weight_map")
    if not isinstance(listed, dict):
        raise ConfigError(f"{index} has no weight_map; take a whole copy of the backbone")
    found = sorted({folder / str(name) for name in listed.values()})
    for shard in found:
        if not shard.is_file():
            raise ConfigError(f"{folder} lacks {shard.name}, a part of its weights that its index names; copy it there")
    return found


def needed_files(folder: Path) -> list[Path]:
    """The same. Errors: ConfigError also where there are none."""
    files = weight_files(folder)
    if not files:
        raise ConfigError(
            f"{folder} has no model.safetensors; other kinds of weights may hold code and are not read: save them with "
            "save_pretrained"
        )
    return files


def fingerprint(files: Sequence[Path]) -> str:
    """SHA-256 of the content of files, in order."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
