"""What a run was made by: versions, the machine's arithmetic, and the state of the code in git."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import torch

GIT_SECONDS = 20  # that git may take to answer; a checkout on a slow disk is not waited for any longer


def provenance(device: torch.device) -> dict[str, Any]:
    """As JSON: `versions` of what computes, `machine`, and `git` of the folder a run is started in and of this package,
    where these are checkouts.

    With the same of all three, and the same run file and rows, a run on a CPU ends in the same weights to the bit.
    """
    folders = {"started_in": Path.cwd(), "ofasys": Path(__file__).parent}
    found = {name: state for name, folder in folders.items() if (state := _loaded(folder)) is not None}
    return {"versions": versions(), "machine": machine(device), "git": found}


@cache
def _loaded(folder: Path) -> dict[str, Any] | None:
    """The state of a checkout when this process first asked: what it has loaded is of then."""
    return git_state(folder)


@cache
def versions() -> dict[str, str]:
    """Library -> version: Python, this package, and what it always needs."""
    found = {"python": platform.python_version(), "ofasys": _version("ofasys")}
    try:
        needed = [line for line in requires("ofasys") or [] if "extra ==" not in line]
    except PackageNotFoundError:  # run from its folder
        needed = ["torch", "numpy", "tokenizers"]
    for line in needed:
        name = line.split(">")[0].split("=")[0].split("<")[0].split(";")[0].strip()
        found[name] = _version(name)
    return found


def machine(device: torch.device) -> dict[str, Any]:
    """What the bits of a sum depend on: the processor's instructions, how many threads, which device."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def git_state(folder: Path) -> dict[str, Any] | None:
    """commit, and, where files differ from it, `changed` and a checksum of the differences; None where there is no
    checkout or no git.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = (_git(folder, "status", "--porcelain", "--untracked-files=no") or "").splitlines()
    found: dict[str, Any] = {"commit": commit.strip()}
    if changed:
        diff = _git(folder, "diff", "HEAD") or ""
        found |= {"changed": [line[3:] for line in changed], "diff": hashlib.sha256(diff.encode()).hexdigest()}
    return found


def _git(folder: Path, *words: str) -> str | None:
    environment: Mapping[str, str] = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
