"""What a sweep tries: ranges and choices of the fields of a run file, as a command line says them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ofasys.errors import ConfigError

_RANGE = re.compile(r"(?P<low>[^.|]+(?:\.\d+)?[^.|]*)\.\.(?P<high>[^|,]+)(?P<log>,log)?")
_SYNTAX = "give KEY=LOW..HIGH, KEY=LOW..HIGH,log or KEY=A|B|C, as trainer.lr=1e-4..1e-2,log"


@dataclass(frozen=True)
class Field:
    """A field of a run file that is tried with several values: of a range, or of a list."""

    key: str
    """Its path, as `trainer.lr`."""
    low: int | float = 0
    """Of a range: the least value; whole numbers if both ends are."""
    high: int | float = 0
    """Of a range: the largest value."""
    log: bool = False
    """Of a range: drawn by their logarithms."""
    choices: tuple[str, ...] = ()
    """Of a list: as they are written in an override."""

    def suggested(self, trial: Any) -> int | float | str:
        """A value, by a trial of Optuna."""
        value: int | float | str
        if self.choices:
            value = trial.suggest_categorical(self.key, self.choices)
        elif isinstance(self.low, int) and isinstance(self.high, int):
            value = trial.suggest_int(self.key, self.low, self.high, log=self.log)
        else:
            value = trial.suggest_float(self.key, self.low, self.high, log=self.log)
        return value

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that must all be right for the sweep to be: the choices, or both ends."""
        return self.choices or (self.low, self.high)

    def __str__(self) -> str:
        if self.choices:
            return f"{self.key}={'|'.join(self.choices)}"
        return f"{self.key}={self.low}..{self.high}{',log' if self.log else ''}"


def read_space(texts: Sequence[str]) -> tuple[Field, ...]:
    """The fields that are tried. Errors: ConfigError for what cannot be read, or is given twice, or is none at all."""
    found: dict[str, Field] = {}
    for text in texts:
        key, equals, written = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"--over {text!r} is no field and values; {_SYNTAX}")
        if key in found:
            raise ConfigError(f"--over names {key!r} twice; give it once")
        found[key] = _field(text, key, written)
    if not found:
        raise ConfigError(f"a sweep tries values of fields, and there is no --over; {_SYNTAX}")
    return tuple(found.values())


def _field(text: str, key: str, written: str) -> Field:
    if "|" in written or ".." not in written:
        choices = tuple(one.strip() for one in written.split("|"))
        if len(choices) < 2 or len(set(choices)) < len(choices) or not all(choices):
            raise ConfigError(f"--over {text!r} is no list of two values or more, each another; {_SYNTAX}")
        return Field(key, choices=choices)
    match = _RANGE.fullmatch(written)
    ends = [_number(match[name]) for name in ("low", "high")] if match else [None, None]
    low, high = ends
    if match is None or low is None or high is None:
        raise ConfigError(f"--over {text!r} is no range of numbers; {_SYNTAX}")
    if not low < high or (match["log"] and low <= 0):
        raise ConfigError(
            f"--over {text!r}: the low end is less than the high one{', and more than 0' * bool(match['log'])}"
        )
    return Field(key, low, high, bool(match["log"]))


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            found = kind(text)
        except ValueError:
            continue
        return found if abs(found) < float("inf") else None
    return None
