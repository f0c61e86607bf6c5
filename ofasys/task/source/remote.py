"""Files that are elsewhere (`s3://`, `https://`, `memory://`, `zip://rows.csv::file.zip`), by fsspec: fetched once."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ofasys.caches import user_cache
from ofasys.errors import ConfigError, DataError, OfasysError
from ofasys.task.source.row import said

FETCHED_BYTES = 4 * 2**20  # read at once
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")
_VERSIONS = (
    "etag",
    "md5",
    "crc",
    "content-md5",
    "digest",
    "generation",
    "mtime",
    "lastmodified",
    "last-modified",
    "created",
)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_log = logging.getLogger("ofasys")


def is_remote(data: Any) -> bool:
    """Whether it is the URL of a file, and no path."""
    return isinstance(data, str) and _SCHEME.match(data) is not None


def fetched(url: str) -> Path:
    """Where a copy of a file or a folder lies on this machine; it is fetched if it is not there yet.

    Copies lie in `ofasys/files` of the user's folder for caches, each version in a folder of its own, put there whole:
    a version that was fetched before is not fetched again. Variables of the environment in the URL ($NAME) are filled
    in. Errors: ConfigError for a library that is missing or a URL of no kind that is known; DataError for a file that
    is not there, or cannot be fetched.
    """
    shown = _shown(url)
    system, path = _system(os.path.expandvars(url), shown)
    protocols = (system.protocol,) if isinstance(system.protocol, str) else system.protocol
    if "file" in protocols:
        return Path(path)
    try:
        files = _files(system, path)
        if not files:
            raise DataError(f"there is no file in {shown!r}")
        known = all(_version(info) for info in files.values())
        folder = user_cache("files") / hashlib.blake2b(url.encode(), digest_size=12).hexdigest()
        if known and (kept := folder / _name(files)).is_dir():
            return kept / _stem(path)
        return _fetch(system, files, folder, path, shown, known)
    except OfasysError:
        raise
    except FileNotFoundError as error:
        raise _gone(shown, error) from error
    except ImportError as error:  # of a protocol whose library is asked for late
        raise _missing(shown, error) from error
    except Exception as error:  # each protocol has errors of its own
        raise DataError(f"{shown} cannot be fetched: {type(error).__name__}: {said(error)}") from error


def _system(url: str, shown: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ConfigError(f'{shown} is read by the library `fsspec`: pip install "ofasys[fsspec]"') from error
    try:
        system, path = url_to_fs(url)
    except ImportError as error:
        raise _missing(shown, error) from error
    except ValueError as error:
        raise ConfigError(f"{shown} is no URL that fsspec knows: {said(error)}") from error
    except FileNotFoundError as error:  # of an archive that the file lies in
        raise _gone(shown, error) from error
    return system, str(path)


def _gone(shown: str, error: FileNotFoundError) -> DataError:
    """fsspec says so of a server that does not answer, too."""
    why = said(error.__cause__ or error).replace("\n", " ")
    return DataError(f"there is no file {shown!r}, or what should give it does not answer ({why:.200})")


def _missing(shown: str, error: ImportError) -> ConfigError:
    return ConfigError(
        f"{shown} needs a library that is not installed: {said(error)} (ofasys[fsspec] brings those of files and of "
        "http)"
    )


def _files(system: Any, path: str) -> dict[str, dict[str, Any]]:
    """What is there: the path itself, or all files below it -> what the system says of each."""
    info = system.info(path)
    if info["type"] != "directory":
        return {path: info}
    found = system.find(path, detail=True)
    return {name: found[name] for name in sorted(found)}


def _version(info: Mapping[str, Any]) -> list[str]:
    """What changes when the content does, beside the size; nothing where the system tells no such thing."""
    told = {str(name).lower(): value for name, value in info.items()}
    return [f"{name}={told[name]}" for name in _VERSIONS if told.get(name) is not None]


def _name(files: Mapping[str, Mapping[str, Any]]) -> str:
    told = [[name, info.get("size"), _version(info)] for name, info in files.items()]
    return hashlib.blake2b(json.dumps(told).encode(), digest_size=12).hexdigest()


def _stem(path: str) -> str:
    """What a file is called here: its own name, without what may follow in a URL."""
    return PurePosixPath(path.rstrip("/").partition("?")[0].partition("#")[0]).name or "files"


def _fetch(
    system: Any, files: Mapping[str, Mapping[str, Any]], folder: Path, path: str, shown: str, known: bool
) -> Path:
    size = sum(info.get("size") or 0 for info in files.values())
    _log.warning(f"fetching {shown} ({size / 1e6:,.1f} MB) into {folder}")
    new = folder / f".{secrets.token_hex(8)}"
    sums = hashlib.blake2b(digest_size=12)
    try:
        for name, info in files.items():
            inner = name[len(path) :].strip("/") if name != path else ""
            target = new / _stem(path) / inner if inner else new / _stem(path)
            if not target.resolve().is_relative_to(new.resolve()):
                raise DataError(f"{shown} holds a file that would lie outside its folder: {name!r:.120}")
            target.parent.mkdir(parents=True, exist_ok=True)
            sums.update(name.encode())
            _copy(system, name, target, info.get("size"), sums)
        kept = folder / (_name(files) if known else sums.hexdigest())
        if not kept.is_dir():
            new.rename(kept)
        return kept / _stem(path)
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DataError(
                f"{shown} cannot be copied to {folder}: {error.strerror or error}",
                expected="room for all of it in the folder for caches, which XDG_CACHE_HOME names",
            ) from error
        raise
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _copy(system: Any, name: str, target: Path, size: int | None, sums: Any) -> None:
    """Errors: DataError where fewer or more bytes come than were told."""
    count = 0
    with system.open(name, "rb") as source, open(target, "xb") as file:
        while part := source.read(FETCHED_BYTES):
            file.write(part)
            sums.update(part)
            count += len(part)
    if size is not None and count != size:
        raise DataError(f"{_shown(name)} gave {count:,} bytes of {size:,}", expected="a file that is whole; try again")


def _shown(url: str) -> str:
    """A URL without the name and password of a user, and without what follows `?`, where keys may stand."""
    return re.sub(r"(?<=://)[^/@]*@", "", url).partition("?")[0]
