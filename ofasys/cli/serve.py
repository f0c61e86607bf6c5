"""`ofasys serve`: a trained model behind HTTP."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from ofasys.cli.document import lines_of, parse_scalar, shown
from ofasys.cli.runfile import RESOLVED, read_run
from ofasys.cli.show import note
from ofasys.errors import ConfigError, OfasysError, nearest
from ofasys.hub import OFASys
from ofasys.hub.examples import COUNT, read_examples
from ofasys.hub.examples import examples as examples_of
from ofasys.hub.shipped import SHIPPED
from ofasys.serve.limits import Limits

KEYS = "OFASYS_API_KEYS"


def serve(
    folder: Path,
    *,
    host: str,
    port: int,
    key_file: Path | None,
    names: Sequence[str],
    url_hosts: Sequence[str],
    limits: Sequence[str],
    rows: int,
    waiting: int,
    drain: float,
    examples: int | None,
    which: str | None,
    precision: str | None,
    device: str | None,
) -> None:
    """Serve the model in `folder`. Errors: ConfigError with the extra to install where it is not."""
    try:
        from ofasys.serve import logs, server
        from ofasys.serve.service import Service
    except ModuleNotFoundError as error:
        raise ConfigError(f'serve needs {error.name}: pip install "ofasys[serve]"') from error
    bounds, keys = read_limits(limits), read_keys(key_file)
    if not 0 <= port < 65536:
        raise ConfigError(f"--port is {port}; it is a number up to 65535, or 0 for any that is free")
    if not drain >= 0:
        raise ConfigError(f"--drain is {drain:g}; it is seconds, 0 or more")
    if examples is not None and examples < 0:
        raise ConfigError(f"--examples is {examples}; it is how many rows of each task are shown, 0 or more")
    if examples is None:
        examples = (
            COUNT if server.is_local(host) else 0
        )  # rows of a run are shown to nobody who was not meant to see them
    spare_a_core()
    answerer = OFASys.from_pretrained(folder, which=which, precision=precision, device=device)
    logs.begin()
    told = rows_to_try(folder, examples) if examples else {}
    name = folder.name if folder.parent == SHIPPED else shown(folder)
    service = Service(answerer, limits=bounds, name=name, allowed=url_hosts, rows=rows, waiting=waiting, examples=told)
    server.serve(service, host=host, port=port, keys=keys, names=names, drain=drain)


def spare_a_core() -> None:
    """The model computes on one core fewer than there are, unless `OMP_NUM_THREADS` says how many: threads that share a
    step wait for the one whose core reads requests meanwhile.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))


def rows_to_try(folder: Path, count: int) -> dict[str, list[dict[str, Any]]]:
    """Task -> some rows of a run, of those whose data are still where they were, or of those that were left with it."""
    if not (folder / RESOLVED).is_file():
        return {name: rows[:count] for name, rows in read_examples(folder).items()}
    run = read_run(folder / RESOLVED)
    found: dict[str, list[dict[str, Any]]] = {}
    for name in run.names:
        try:
            found |= examples_of(run.tasks([name]), count)
        except OfasysError as error:
            note(f"task {name!r} has no examples on the page: {error}")
    return found


def read_limits(pairs: Sequence[str]) -> Limits:
    """Limits of `name=value`. Errors: ConfigError."""
    known = [entry.name for entry in fields(Limits)]
    found: dict[str, Any] = {}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise ConfigError(f"--limit {text!r} is no limit; {nearest(name, known)}there are {', '.join(known)}")
        found[name] = parse_scalar(value)
    return Limits(**found)


def read_keys(file: Path | None) -> list[str]:
    """The keys of a file, one a line, and those of the environment. Errors: ConfigError for one that is too short."""
    lines = [] if file is None else lines_of(file, "file of keys")
    keys = [key.strip() for key in (*lines, *os.environ.get(KEYS, "").split(",")) if key.strip()]
    if file is not None and not keys:
        raise ConfigError(f"{file} holds no key; write one a line")
    if short := [key for key in keys if len(key) < 16 or not key.isascii()]:
        raise ConfigError(f"a key has {len(short[0])} characters; it is ASCII, of 16 or more: openssl rand -hex 32")
    return keys
