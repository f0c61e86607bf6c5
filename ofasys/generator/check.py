"""What a generator gives, looked at where it comes in: what is not as promised is said in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ofasys.errors import PluginError
from ofasys.generator.generator import Generator
from ofasys.generator.hypothesis import Hypothesis
from ofasys.packages import told


def check_hypotheses(record: Generator, found: Any, sources: int) -> Sequence[Sequence[Hypothesis]]:
    """What a generator of tokens gave. Errors: PluginError for what are no hypotheses of each of so many sources."""
    expected = f"for each of {sources} sources its hypotheses, best first, one or more"
    if not isinstance(found, Sequence) or len(found) != sources:
        raise _broken(record, f"gave {_kind(found)} for {sources} sources", expected)
    for several in found:
        if not isinstance(several, Sequence) or not len(several) or not isinstance(several[0], Hypothesis):
            raise _broken(record, f"gave {_kind(several)} for a source", expected)
        best = several[0]
        if not _is_row(best.tokens, "iu") or not _is_row(best.states, "iu") or len(best.tokens) != len(best.states):
            raise _broken(
                record,
                f"gave a hypothesis of tokens {_kind(best.tokens)} and states {_kind(best.states)}",
                "whole numbers (n,), and as many states of the automaton, the one before each token",
            )
    return found


def check_scores(record: Generator, found: Any, sources: int, labels: int) -> np.ndarray:
    """What a generator that ranks gave. Errors: PluginError for what is no log-probability of each label."""
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or found.shape != (sources, labels):
        expected = f"an array of log-probabilities ({sources}, {labels}), a row a source"
        raise _broken(record, f"gave {_kind(found)} for {labels} labels", expected)
    return found


def check_values(record: Generator, found: Any, rows: int) -> Sequence[np.ndarray]:
    """What a generator of values gave. Errors: PluginError for what is no array of frames of each of so many rows."""
    expected = f"for each of {rows} rows its frames, float32 (n, C)"
    if not isinstance(found, Sequence) or len(found) != rows:
        raise _broken(record, f"gave {_kind(found)} for {rows} rows", expected)
    for frames in found:
        if not isinstance(frames, np.ndarray) or frames.ndim < 2 or not len(frames) or frames.dtype != np.float32:
            raise _broken(record, f"gave {_kind(frames)} for a row", expected)
    return found


def check_labels(record: Generator, found: Any, values: int, labels: int) -> Sequence[tuple[np.ndarray, float]]:
    """What a generator of labels gave. Errors: PluginError for what are no labels of each of so many values."""
    expected = f"for each of {values} values (its labels, whole numbers (n,) below {labels}; their log-probability)"
    if not isinstance(found, Sequence) or len(found) != values:
        raise _broken(record, f"gave {_kind(found)} for {values} values", expected)
    for one in found:
        if not isinstance(one, tuple) or len(one) != 2 or not isinstance(one[1], float):
            raise _broken(record, f"gave {_kind(one)} for a value", expected)
        tokens = np.asarray(one[0])
        if not len(tokens.shape) == 1 or (len(tokens) and tokens.dtype.kind not in "iu"):
            raise _broken(record, f"gave labels {_kind(tokens)} for a value", expected)
        if len(tokens) and not 0 <= int(tokens.min()) <= int(tokens.max()) < labels:
            raise _broken(record, f"gave labels from {tokens.min()} to {tokens.max()} for a value", expected)
    return found


def _is_row(value: Any, kinds: str) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in kinds


def _broken(record: Generator, what: str, expected: str) -> PluginError:
    return PluginError(f"{told('generator', record.name, record.load)} {what}; give {expected}")


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
