"""Whether the processes of a run are about to do the same, and have done so."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import torch

from ofasys.errors import ConfigError, RankError
from ofasys.parallel.digest import digest
from ofasys.train.setup import Setup
from ofasys.train.start import fingerprints

OWN = {"out", "device", "workers", "data"}  # what each process may have of its own
OBJECTS = {"schedule", "balance"}  # what may be an object


def check_alike(setup: Setup, record: Mapping[str, Any]) -> None:
    """Before the first step. record: what `about` says of the run.

    Errors: ConfigError, on each process, for settings, data, versions, weights or a checkpoint that are not those of
    the first, and for a micro-batch with fewer rows than there are processes.
    """
    ranks = setup.ranks
    if not ranks.several:
        return
    told = ranks.objects("settings", dict(_identity(setup, record)))
    for rank, other in enumerate(told):
        for key in told[0] | other:
            here, there = told[0].get(key), other.get(key)
            if here != there:
                raise ConfigError(
                    f"{key} is {here!r:.80} on process 0 and {there!r:.80} on process {rank} of {ranks.size}; start "
                    "all of them with the same run file, data, versions, and a folder `out` that all can read"
                )
    for task in setup.tasks.values():
        if task.micro_batch_size < ranks.size:
            raise ConfigError(
                f"task {task.name!r} has micro_batch_size {task.micro_batch_size}, which {ranks.size} processes are to "
                f"share; give it {ranks.size} or more, or start fewer processes"
            )


def check_same_weights(setup: Setup) -> None:
    """Errors: RankError where the weights that each process has whole are not the same to the bit any more."""
    if not setup.ranks.several:
        return
    told = setup.ranks.numbers("a checkpoint", [digest(setup.model)])[:, 0].tolist()
    for rank, own in enumerate(told):
        if own != told[0]:
            raise RankError(
                f"the weights of process {rank} of {len(told)} are not those of process 0 at step {setup.state.step}; "
                "they are not saved: a callback changes them otherwise there, or a machine computes wrongly; start all "
                "again, and the run goes on from its last checkpoint"
            )


def _identity(setup: Setup, record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What has to be the same, by a name that tells a person where to look."""
    yield from (("the version of ofasys", version("ofasys")), ("the version of torch", torch.__version__))
    yield "the version of Python", ".".join(platform.python_version_tuple()[:2])
    yield "the step of the run in `out`", setup.state.step
    for key, value in record["trainer"].items():
        if key not in OWN:
            yield f"trainer.{key}", _comparable(getattr(setup.trainer, key)) if key in OBJECTS else value
    yield from ((f"model.{key}", value) for key, value in record["model"].items())
    for task in record["tasks"]:
        yield from ((f"task {task['name']!r}: {key}", value) for key, value in task.items() if key not in OWN)
    for name, splits in fingerprints(list(setup.tasks.values())).items():
        yield f"task {name!r}: loss_weight", setup.tasks[name].loss_weight
        yield from ((f"task {name!r}: the content of its {split} rows", found) for split, found in splits.items())
    assert setup.model.tokenizer is not None
    yield "the tokenizer", hashlib.blake2b(setup.model.tokenizer.to_str().encode(), digest_size=8).hexdigest()
    yield "the sum of all weights", setup.digest


def _comparable(given: object) -> object:
    """A schedule or a balancer: an object by its class, for what it is printed as may be another on each process."""
    return given if isinstance(given, str | Mapping) else type(given).__qualname__
