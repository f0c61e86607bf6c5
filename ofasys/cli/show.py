"""What commands print: plain text and tables, in which [brackets] stay what they are."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]


def say(text: str = "") -> None:
    """A line on standard output."""
    print(text)


def note(text: str) -> None:
    """A line beside the answer, on standard error."""
    print(text, file=sys.stderr)


class Notes(logging.Handler):
    """What the package warns of, beside the answer."""

    def emit(self, record: logging.LogRecord) -> None:
        """A warning as a note."""
        note(record.getMessage())


@contextmanager
def heard_warnings() -> Iterator[None]:
    """Within it the package's warnings are shown, whatever the logging of others is, and without lines of code."""
    log, notes, shown = logging.getLogger("ofasys"), Notes(logging.WARNING), warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, lineno: int, *more: Any) -> None:
        if category is UserWarning and Path(filename).is_relative_to(PACKAGE):
            note(str(message))
        else:
            shown(message, category, filename, lineno, *more)

    log.addHandler(notes)
    warnings.showwarning = show  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = shown
        log.removeHandler(notes)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Rows under their heads. right: numbers of the columns set flush right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(heads):
        made.add_column(Text(head), justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 10_000  # a line is a row, whatever reads it
    with console.capture() as capture:
        console.print(made)
    say("\n".join(line.rstrip() for line in capture.get().splitlines()))


def figure(value: float) -> str:
    """A figure as a person reads it: whole numbers whole, others with four digits."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 10 else f"{value:.4g}"
