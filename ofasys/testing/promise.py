"""Promises checked one after the other: what holds is told, the first that does not is an AssertionError in a sentence.

No test framework is needed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ofasys.errors import ConfigError, OfasysError, PluginError
from ofasys.language import Option, options_of
from ofasys.modality.plugin import reason
from ofasys.testing.draws import put_back, seed

LEFT_OUT = "left out: "
"""What a check gives that cannot be made begins with this."""


@dataclass(frozen=True)
class Report:
    """What was checked, and what could not be: (name, one line) each."""

    tag: str
    """Of what: the tag of a modality, or what it is and its name."""
    checked: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """What could not be checked, and why."""

    def __str__(self) -> str:
        lines = [f"{self.tag} keeps its contract", *(f"  {name:<12}{about}" for name, about in self.checked)]
        return "\n".join(lines + [f"  {name:<12}left out: {why}" for name, why in self.left_out])


def kept(tag: str, checks: Iterable[tuple[str, Callable[[], str]]]) -> Report:
    """Make the checks, (name, check) each, in order. A check gives a line about what it found; random states begin
    as of seed 0, and are put back.

    Errors: AssertionError for the first promise that is not kept, whatever was raised. ConfigError under `python -O`,
    which takes assertions out.
    """
    if not __debug__:
        raise ConfigError("the checks are assertions, and `python -O` leaves them out; run without -O")
    checked, left_out = [], []
    with put_back():
        seed(0)
        for name, check in checks:
            found = _made(tag, name, check)
            if found.startswith(LEFT_OUT):
                left_out.append((name, found.removeprefix(LEFT_OUT)))
            else:
                checked.append((name, found))
    return Report(tag, tuple(checked), tuple(left_out))


def _made(tag: str, name: str, check: Callable[[], str]) -> str:
    """What a check says. AssertionError, naming it, for whatever it raises."""
    try:
        return check()
    except AssertionError as error:
        raise AssertionError(f"{tag}, {name}: {error}") from error.__cause__
    except PluginError as error:
        raise AssertionError(f"{tag}, {name}: {error}") from error
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"in {frame.name} ({Path(frame.filename).name}, line {frame.lineno})"
        raise AssertionError(f"{tag}, {name}: {reason(error)}, {where}") from error


def check_about(about: str) -> None:
    """A record says in one line what it is."""
    assert len(about.splitlines()) == 1, f"about is {about!r}; it is one line that says what it is"


def check_options(kind: type | None) -> str:
    """Each option of a dataclass is typed and explained, and its default is a value it takes."""
    if kind is None:
        return "none of its own"
    try:
        own = options_of(kind)
    except TypeError as error:
        raise AssertionError(str(error)) from None
    for name, option in own.items():
        assert option.about, f"option {name} has no about="
        if option.default is not None:
            written = str(option.default).lower() if option.type is bool else str(option.default)
            assert reads(option, written), f"option {name} has the default {option.default!r}, but is {option.expects}"
    return ", ".join(own) or "none of its own"


def reads(option: Option, text: str) -> bool:
    """Whether an option takes a text as its value."""
    try:
        return option.read(text) is not None
    except (ValueError, OfasysError):
        return False
