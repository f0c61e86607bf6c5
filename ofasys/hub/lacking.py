"""What a saved model was made with and is not installed here: it is said where a line is refused that may need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ofasys.errors import InstructionError, PlanError
from ofasys.generalist import GeneralistModel


@contextmanager
def told_lacking(model: GeneralistModel) -> Iterator[None]:
    """Within it, an error of a line says besides what the model was trained with and is not known here."""
    try:
        yield
    except InstructionError as error:
        if not (lacks := _lacks(model)):
            raise
        hint = f"{error.hint}; {lacks}" if error.hint else lacks
        raise InstructionError(error.message, error.text, error.start, error.end, hint) from error.__cause__
    except PlanError as error:
        if not (lacks := _lacks(model)):
            raise
        raise PlanError(f"{error}; {lacks}") from error.__cause__


def _lacks(model: GeneralistModel) -> str:
    return (
        f"the model was trained with {', '.join(model.lacks)}, which is not installed here: install it, or give "
        "modalities=default_registry().with_(its record)"
        if model.lacks
        else ""
    )
