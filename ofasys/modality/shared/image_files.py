"""The files of a folder that are pictures, and what else lies there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ofasys.modality.shared.read_image import image_suffixes

_UNREAD = {
    ".heic": "pillow-heif",
    ".heif": "pillow-heif",
    ".jxl": "pillow-jxl-plugin",
    ".svg": "a program that draws it",
    ".dng": "rawpy",
    ".cr2": "rawpy",
    ".nef": "rawpy",
    ".arw": "rawpy",
}  # pictures that Pillow alone does not read, and what does
_OF_SYSTEMS = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class ImageFiles:
    """paths: within the folder, with `/`, sorted. left_out: what else there is, by kind, and how many of it."""

    paths: tuple[str, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def besides(self) -> str:
        """`2 .txt, 1 hidden`; empty where nothing was left out."""
        return ", ".join(f"{count} {kind}" for kind, count in self.left_out.items())


def image_files(folder: str | Path) -> ImageFiles:
    """Every picture below a folder, by the suffixes that Pillow reads here; links are followed, into a folder above
    itself never.

    Hidden files and folders are left out, and those of the system. Errors: OSError when the folder itself cannot be
    opened.
    """
    paths: list[str] = []
    left: Counter[str] = Counter()
    _walk(Path(folder), "", frozenset(), image_suffixes(), paths, left)
    return ImageFiles(tuple(sorted(paths)), dict(sorted(left.items())))


def _walk(
    folder: Path,
    within: str,
    above: frozenset[tuple[int, int]],
    known: frozenset[str],
    paths: list[str],
    left_out: Counter[str],
) -> None:
    status = folder.stat()
    here = status.st_dev, status.st_ino
    if here in above:
        left_out["link to a folder it lies in"] += 1
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path = within + entry.name
            if entry.name.startswith(".") or entry.name.lower() in _OF_SYSTEMS:
                left_out["hidden"] += 1
            elif _leads_nowhere(entry):
                left_out["link that leads nowhere"] += 1
            elif entry.is_dir():
                try:
                    _walk(folder / entry.name, f"{path}/", above | {here}, known, paths, left_out)
                except OSError:
                    left_out["folder that cannot be opened"] += 1
            elif not entry.is_file():
                left_out["no file"] += 1
            elif (suffix := os.path.splitext(entry.name)[1].lower()) in known:
                paths.append(path)
            else:
                reader = _UNREAD.get(suffix)
                left_out[f"{suffix or 'without a suffix'}{f' (needs {reader})' if reader else ''}"] += 1


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and not os.path.exists(entry.path)
    except OSError:
        return True
