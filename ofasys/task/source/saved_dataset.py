"""A folder that `save_to_disk` of `datasets` wrote."""

from __future__ import annotations

import json
from pathlib import Path

from ofasys.errors import ConfigError, DataError
from ofasys.task.source.hub_dataset import HubDataset

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
            data = load_from_disk(str(folder))
        except Exception as error:  # datasets raises many kinds
            raise DataError(
                f"{folder} cannot be read: {type(error).__name__}: {error}", expected="a folder that save_to_disk wrote"
            ) from None
        self.name, self.root = folder.name, folder
        super().__init__(data)

    def describe(self) -> str:
        """`saved data set pets of 40 rows`."""
        return f"saved data set {self.name} of {len(self)} rows"


def _splits(folder: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads((folder / SPLITS).read_text(encoding="utf-8"))["splits"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder / SPLITS} is not what save_to_disk writes", expected='{"splits": [...]}') from None
