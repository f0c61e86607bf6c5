"""Options: what may be written after the comma of a slot, with type and range.

A modality, preprocessor or adaptor declares its options as one dataclass, and gets the values typed and checked:

    @dataclass(frozen=True, kw_only=True)
    class TextOptions:
        mask_ratio: float = option(0.0, low=0, high=1, side="source", about="share of tokens hidden")
"""

from __future__ import annotations

import math
import re
import types
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ofasys.errors import nearest

Value = bool | int | float | str
Kind = type[bool] | type[int] | type[float] | type[str]
Side = Literal["source", "target"]

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_META = "ofasys.option"


@dataclass(frozen=True, slots=True)
class Option:
    """One attribute a slot may have.

    low, high: bounds of a number, both inclusive. choices: the values allowed, empty for any. side: the only side
    whose slots may have it. about: one line for people. place: whether a value may name a file or folder of this
    machine, so that no stranger may give it.
    """

    name: str
    type: Kind
    """The kind of its value."""
    default: Value | None = None
    """Its value where the slot does not say it; None: it has none."""
    low: float | None = None
    high: float | None = None
    choices: tuple[Value, ...] = ()
    side: Side | None = None
    about: str = ""
    place: bool = False

    @property
    def expects(self) -> str:
        """What a value has to be, as the middle of a sentence: `a number from 0 to 1`."""
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        if self.type in (bool, str):
            return "true or false" if self.type is bool else "a text"
        kind = "a whole number" if self.type is int else "a number"
        if self.low is not None and self.high is not None:
            return f"{kind} from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"{kind} of at least {self.low:g}"
        return f"{kind} of at most {self.high:g}" if self.high is not None else kind

    @property
    def example(self) -> str:
        """How it may be written: `mask_ratio=0.3`."""
        if self.type is bool:
            return self.name
        if self.type is str or self.choices:
            return f"{self.name}={self.choices[0] if self.choices else 'word'}"
        number = max(1 if self.type is int else 0.3, -math.inf if self.low is None else self.low)
        return f"{self.name}={min(number, math.inf if self.high is None else self.high):g}"

    def read(self, text: str | None) -> Value:
        """The typed value of `text`; None is the bare key, which is True for a flag. ValueError says what was
        expected.
        """
        if text is None:
            if self.type is bool:
                return True
            raise ValueError(f"{self.name} needs a value: {self.example}")
        value = self._coerce(text)
        if value is None or not self._allows(value):
            raise ValueError(f"{self.name} is {self.expects}, not {_shown(text)}")
        return value

    def _coerce(self, text: str) -> Value | None:
        if self.type is bool:
            return _TRUTH.get(text.lower())
        if self.type is str:
            return text
        if not (_INT if self.type is int else _FLOAT).fullmatch(text):
            return None
        try:
            return int(text) if self.type is int else float(text) + 0.0  # -0.0 becomes 0.0: one value, one spelling
        except ValueError:  # more digits than int() takes
            return None

    def _allows(self, value: Value) -> bool:
        if self.choices and value not in self.choices:
            return False
        if isinstance(value, str):
            return True
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def hint(self, text: str | None) -> str:
        """The next step after `read(text)` failed: the nearest choice, and what the option is for."""
        near = nearest(text, map(str, self.choices)) if text and self.type is str else ""
        return (near + (f"{self.name}: {self.about}" if self.about else "")).strip()


def option(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Value, ...] | None = None,
    side: Side | None = None,
    about: str = "",
    place: bool = False,
) -> Any:
    """A dataclass field that is an option; see `Option` for the arguments."""
    meta = {"low": low, "high": high, "choices": tuple(choices or ()), "side": side, "about": about, "place": place}
    return field(default=default, metadata={_META: meta})


def options_of(cls: type) -> dict[str, Option]:
    """The options a dataclass declares, by name. TypeError for a field without a default or of another type."""
    return dict(_options_of(cls))


@cache
def _options_of(cls: type) -> dict[str, Option]:
    hints = get_type_hints(cls)
    found = {}
    for entry in fields(cls):
        kind = _plain(hints[entry.name])
        if kind not in (bool, int, float, str):
            raise TypeError(f"{cls.__name__}.{entry.name} is {hints[entry.name]}: an option is bool, int, float or str")
        if entry.default is MISSING:
            raise TypeError(f"{cls.__name__}.{entry.name} has no default: an option needs one")
        found[entry.name] = Option(entry.name, kind, entry.default, **entry.metadata.get(_META, {}))
    return found


def _plain(hint: Any) -> Any:
    """`X` of `X | None`, else the hint as it is."""
    if get_origin(hint) in (Union, types.UnionType):
        rest = [arg for arg in get_args(hint) if arg is not type(None)]
        return rest[0] if len(rest) == 1 else hint
    return hint


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


@dataclass(frozen=True, kw_only=True)
class SlotOptions:
    """Attributes every slot has, of whatever modality."""

    preprocess: str | None = option(None, about="the preprocessor, by name")
    adaptor: str | None = option(None, about="the adaptor, by name")
    criterion: str | None = option(None, about="the loss, by name")
    generator: str | None = option(None, about="what fills the slot at inference, by name")
    weight: float = option(1.0, low=0, about="what the loss of this slot is multiplied by")
    no_loss: bool = option(False, side="target", about="the value is given at inference too, and carries no loss")
    closed_set: bool = option(False, side="target", about="the value is one of a known set of labels")
    is_label: bool = option(False, side="target", about="the slot that the metrics score")
    max_length: int | None = option(None, low=1, about="the most positions the slot may take")
