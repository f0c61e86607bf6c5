"""`ofasys train RUNFOLDER`: the run that a folder holds, once more, in a folder beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofasys.cli.document import shown
from ofasys.cli.runfile import RESOLVED
from ofasys.cli.show import note, say
from ofasys.errors import CheckpointError, ConfigError
from ofasys.hub.folder import checkpoint_in, step_of
from ofasys.hub.store import MANIFEST, standing
from ofasys.train.record import RECORD

WEIGHTS = "model.safetensors"
_NOT_HERE = "# Not here"


@dataclass(frozen=True)
class Repeat:
    """A run to be made again."""

    folder: Path
    """Of the run that was."""
    file: Path
    """Its run file."""
    overrides: tuple[str, ...]
    """Before those that are given."""

    def compare(self, out: Path) -> None:
        """Say whether the last checkpoints of both have the same weights, where they are of the same step."""
        steps = step_of(self.folder, "last"), step_of(out, "last")
        if steps[0] is None or steps[0] != steps[1]:
            return
        if checksum(self.folder) == checksum(out):
            say(f"its weights are those of {shown(self.folder)}, bit for bit")
        else:
            note(
                f"its weights are not those of {shown(self.folder)}: ofasys runs diff {shown(self.folder)} {shown(out)}"
            )


def repeat_of(folder: Path) -> Repeat:
    """How a run is made again: its resolved run file, into NAME-again, in the precision it computed in.

    Errors: ConfigError for a folder that holds no run file. A note where the file does not hold all that the run was.
    """
    file = folder / RESOLVED
    if not file.is_file():
        raise ConfigError(f"{folder} is a folder without {RESOLVED}: no run of `ofasys train`; give a run file")
    named = folder.resolve()
    overrides = [f"trainer.out={json.dumps(str(folder.parent / f'{named.name}-again'))}"]
    computed = recorded(folder).get("precision")
    if isinstance(computed, dict) and isinstance(computed.get("name"), str):
        overrides.append(f"trainer.precision={computed['name']}")
    if _NOT_HERE in file.read_text(encoding="utf8"):
        note(f"{shown(file)} does not hold all that the run was: see its first lines")
    return Repeat(folder, file, tuple(overrides))


def recorded(folder: Path) -> dict[str, Any]:
    """What run.json of a run says; nothing where there is none that can be read."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def checksum(folder: Path, which: str = "last") -> str | None:
    """The checksum of a checkpoint's weights; None where there is none."""
    try:
        place = standing(checkpoint_in(folder, which))
        return str(json.loads((place / MANIFEST).read_text(encoding="utf8"))["files"][WEIGHTS]["sha256"])
    except (CheckpointError, OSError, ValueError, KeyError, TypeError):
        return None


def begun(path: Path, overrides: Sequence[str]) -> tuple[Path, list[str], Repeat | None]:
    """(the run file, its overrides, the run it repeats) of what `ofasys train` is given: a run file, or a run's
    folder.
    """
    if not path.is_dir():
        return path, list(overrides), None
    repeat = repeat_of(path)
    return repeat.file, [*repeat.overrides, *overrides], repeat
