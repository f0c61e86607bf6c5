"""A folder that `save_to_disk` of `datasets` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.errors import ConfigError, DataError
from ofasys.task.source.blocks import lengths
from ofasys.task.source.hub_dataset import HubDataset
from ofasys.task.source.watch import Watch

SPLITS, STATE = "dataset_dict.json", "state.json"


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder: a data set, or a folder of several by split."""
    return (folder / STATE).is_file() or (folder / SPLITS).is_file()


class SavedDataset(HubDataset):
    """The rows of a data set that was saved, read where they lie. Relative paths inside them start at the folder.

    Errors: ConfigError when `datasets` is not installed; DataError for a folder that holds several splits, or cannot be
    read.
    """

    def __init__(self, folder: Path) -> None:
        if (folder / SPLITS).is_file():
            splits = _splits(folder)
            raise DataError(
                f"{folder} holds a DatasetDict of {', '.join(splits)}",
                expected=f"the folder of one of its splits: {', '.join(str(folder / split) for split in splits)}",
            )
        try:
            from datasets import load_from_disk
        except ImportError as error:
            raise ConfigError(f'{folder} is of the library `datasets`: pip install "ofasys[hf]"') from error
        try:
            self.shards = [Watch(folder / one["filename"]) for one in _state(folder)["_data_files"]]
            sizes = [_rows_of(shard) for shard in self.shards]
            data = load_from_disk(str(folder))
        except Exception as error:  # datasets raises many kinds
            raise DataError(
                f"{folder} cannot be read: {type(error).__name__}: {error}", expected="a folder that save_to_disk wrote"
            ) from None
        self.name, self.root = folder.name, folder
        super().__init__(data)
        ends = np.cumsum(sizes, dtype=np.int64)
        self.ends = ends if len(ends) and ends[-1] == len(data) else None  # else rows are chosen out of the files
        self._check_all()

    def _fresh(self, i: int) -> Any:
        if self.ends is None:
            self._check_all()
            return self._row(i)
        with self.shards[int(self.ends.searchsorted(i, side="right"))]:
            return self._row(i)

    def _check_all(self) -> None:
        for shard in self.shards:
            shard.check()

    def column(self, name: str) -> list[Any] | None:
        """All values of a column. Errors: LoadingError when a file has changed."""
        self._check_all()
        found = super().column(name)
        self._check_all()
        return found

    def describe(self) -> str:
        """`saved data set pets of 40 rows`."""
        return f"saved data set {self.name} of {len(self)} rows"


def _splits(folder: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads((folder / SPLITS).read_text(encoding="utf-8"))["splits"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder / SPLITS} is not what save_to_disk writes", expected='{"splits": [...]}') from None


def _state(folder: Path) -> Any:
    return json.loads((folder / STATE).read_text(encoding="utf-8"))


def _rows_of(shard: Watch) -> int:
    import pyarrow as pa

    with shard, pa.memory_map(str(shard.path)) as file:
        return sum(lengths(file.read_buffer()))
