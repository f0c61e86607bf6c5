"""The folder of a demo: the runs of its pages, `report.json` with their figures, and `report.html`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofasys.errors import ConfigError
from ofasys.report.history import read_object

REPORT = "report.json"


def prepare(out: Path, *, anew: bool = False) -> None:
    """Make a folder ready for pages. anew: what an earlier demo left is taken away first.

    Errors: ConfigError for a folder that holds something else, which is left as it is.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; give a new folder: --out FOLDER")
    if out.exists() and any(out.iterdir()) and not _is_demo(out):
        raise ConfigError(
            f"{out} holds something that is not of an earlier demo of this version; remove it, or give a new folder: "
            "--out FOLDER"
        )
    out.mkdir(parents=True, exist_ok=True)
    if anew:
        for path in list(out.iterdir()):  # one by one: the folder may be where a link leads, or the one we are in
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    _write(out, _read(out))  # from here on the folder is known as a demo's


def of_page(out: Path, page: str) -> Path:
    """Where a page's section of the report is, its run, and files that its data needs."""
    return out / "pages" / page


def titles(out: Path) -> dict[str, str]:
    """Page -> its title, of those that were run, in the order they were first run in."""
    return {name: str(about.get("title", name)) for name, about in _read(out)["pages"].items()}


def note(out: Path, page: str, tasks: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write the figures of a page's tasks, and what its run was, into report.json; what that holds of others stays."""
    report = _read(out)
    report["tasks"] |= tasks
    report["pages"][page] = {**about, "tasks": list(tasks)}
    _write(out, report)


def _is_demo(out: Path) -> bool:
    report = read_object(out / REPORT)
    return all(isinstance(report.get(name), dict) for name in ("tasks", "pages"))


def _read(out: Path) -> dict[str, Any]:
    return {"tasks": {}, "pages": {}} | read_object(out / REPORT)


def _write(out: Path, report: Mapping[str, Any]) -> None:
    """Whole or not at all: by this file the folder is known."""
    aside = out / f".{REPORT}.new"
    aside.write_text(json.dumps(report, indent=1) + "\n", encoding="utf8")
    aside.replace(out / REPORT)
