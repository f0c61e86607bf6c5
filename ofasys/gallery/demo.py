"""What `ofasys demo` runs: the main page, every page, or those named. One report shows what was run.

ofasys demo            # at most five minutes on two cores; then open runs/demo/report.html
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ofasys.errors import ConfigError, nearest
from ofasys.gallery.pages import MAIN, PAGES, Page
from ofasys.gallery.pages.run import Say, run_each


def run_demo(out: str | Path = "runs/demo", minutes: float | None = None, seed: int = 0, say: Say = print) -> Path:
    """The main page: train, evaluate, save, load, answer, report; the path of report.html.

    minutes: for all that; the page's own if None. say: told what happens. Errors: ConfigError for a folder that holds
    something that is not of an earlier demo.
    """
    return run_each([MAIN], out, minutes, seed, say, anew=True)


def run_all(out: str | Path = "runs/demo", minutes: float | None = None, seed: int = 0, say: Say = print) -> Path:
    """The main page and every other, in one report; its path. minutes: in all, shared as by default."""
    return run_each([MAIN, *PAGES], out, minutes, seed, say, anew=True)


def run_pages(
    out: str | Path = "runs/demo",
    minutes: float | None = None,
    seed: int = 0,
    say: Say = print,
    names: Sequence[str] = (),
    *,
    steps: int | None = None,
) -> Path:
    """Run pages (all but the main one, or those named) and add them to the report in `out`; its path.

    More as `run_each` says. Errors: ConfigError for an unknown page, and those of `run_each`.
    """
    return run_each(chosen(names), out, minutes, seed, say, steps=steps)


def chosen(names: Sequence[str]) -> list[Page]:
    """The pages of these names, in their own order; all for no names. Errors: ConfigError for one that is not known."""
    known = {page.name: page for page in PAGES}
    for name in names:
        if name not in known:
            raise ConfigError(f"no page {name!r}; {nearest(name, known)}there are {', '.join(known)}")
    return [page for page in PAGES if not names or page.name in names]
