"""What a checkpoint keeps of a run besides weights and moments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ofasys.train.update import Window


@dataclass
class RunState:
    """Where a run is. Everything here is JSON, so that a checkpoint can be read by eye."""

    seed: int
    """Of the run: the order of its data rests on it."""
    step: int = 0
    """Updates done."""
    drawn: dict[str, int] = field(default_factory=dict)
    """Micro-batches so far, by task."""
    bad: dict[str, list[int]] = field(default_factory=dict)
    """Rows that were left out, by task."""
    first_bad: dict[str, str] = field(default_factory=dict)
    """Why the first of them was, by task."""
    windows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Sums since the last report, by task."""
    sizes: dict[str, list[int]] = field(default_factory=dict)
    """Rows and micro-batch size, by task, and a 1 where tokens count: its place in the data rests on them."""
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What tells the content of each split, by task."""
    best: dict[str, Any] | None = None
    """The figure, value, step and tasks of the best checkpoint."""
    due: int | None = None
    """The step whose evaluation failed, and is to be made up for."""
    waited: int = 0
    """Validations since the best."""
    pieces: dict[str, int] = field(default_factory=dict)
    """In how many pieces a micro-batch is taken, by task, where the memory does not hold it whole."""
    skipped: int = 0
    """Updates that were left out because they were not finite."""
    skipped_in_row: int = 0
    """Of these, how many just now, one after the other."""
    stopped: dict[str, Any] | None = None
    """Why the run ended early, and by which settings."""
    precision: dict[str, str] | None = None
    """What it computes in, and why."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    """What each callback keeps, but for tensors."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RunState:
        """The inverse of `to_dict`; what another version kept besides is passed over."""
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def odd(state: Any) -> tuple[str, Any] | None:
    """(name, value) of the first thing in a state that no run has written; None where all is sound."""
    if not isinstance(state, Mapping):
        return "the state", state
    best, stopped = state.get("best"), state.get("stopped")
    sound = {
        "step": _whole(state.get("step")),
        "drawn": _by_name(state.get("drawn"), _whole),
        "bad": _by_name(state.get("bad"), lambda rows: isinstance(rows, list)),
        "first_bad": _by_name(state.get("first_bad", {}), lambda text: isinstance(text, str)),
        "windows": _by_name(state.get("windows"), _window),
        "sizes": _by_name(state.get("sizes"), _size),
        "data": _by_name(state.get("data", {}), lambda splits: isinstance(splits, dict)),
        "waited": _whole(state.get("waited", 0)),
        "pieces": _by_name(state.get("pieces", {}), lambda many: _whole(many) and many > 0),
        "skipped": _whole(state.get("skipped", 0)),
        "skipped_in_row": _whole(state.get("skipped_in_row", 0)),
        "due": state.get("due") is None or _whole(state["due"]),
        "best": best is None
        or (
            isinstance(best, dict) and all(isinstance(best.get(k), int | float) for k in ("value", "step") if k in best)
        ),
        "stopped": stopped is None or (isinstance(stopped, dict) and {"why", "settings"} <= stopped.keys()),
        "callbacks": _by_name(state.get("callbacks", {}), lambda own: isinstance(own, dict)),
    }
    return next(((name, state.get(name)) for name, fits in sound.items() if not fits), None)


def _size(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (2, 3) and all(isinstance(one, int) for one in value)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _by_name(value: Any, fits: Any) -> bool:
    return isinstance(value, dict) and all(map(fits, value.values()))


def _window(value: Any) -> bool:
    known = {one.name: isinstance(getattr(Window(), one.name), int | float) for one in fields(Window)}
    return isinstance(value, dict) and all(
        name in known and isinstance(one, int | float if known[name] else dict) for name, one in value.items()
    )
