"""Pictures from files and folders, for training an image tokenizer on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ofasys.errors import ConfigError, DataError
from ofasys.modality.shared.cut import resized
from ofasys.modality.shared.image_files import image_files
from ofasys.modality.shared.read_image import read_image


def squares(
    paths: Sequence[str | Path], size: int, most: int, skipped: Callable[[str], None] | None = None
) -> np.ndarray:
    """Pictures (n, size, size, 3) uint8 of files and of folders (all that is in them, links followed, in the order of
    their names).

    most: at most so many, evenly spread. skipped: told of each file that cannot be read. Errors: ConfigError when a
    path is not there, or no picture can be read.
    """
    files = list(_files(paths))
    step = -(-len(files) // most) if files else 1
    found = []
    for file in files[::step]:
        try:
            found.append(resized(read_image(file), size, size))
        except DataError as error:
            if skipped is not None:
                skipped(f"{file}: {error}")
    if not found:
        raise ConfigError(f"no picture can be read in {', '.join(map(str, paths))}")
    return np.stack(found)


def _files(paths: Iterable[str | Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from (path / one for one in image_files(path).paths)
        elif path.is_file():
            yield path
        else:
            raise ConfigError(f"no file or folder {str(path)!r}")
