"""A model that trains a step in milliseconds, and tasks for it."""

from __future__ import annotations

import json

import numpy as np
import torch

from ofasys import GeneralistModel, Task
from ofasys.hub import store
from ofasys.model.sizes import ModelConfig

COLOURS = ("red", "green", "blue", "white")
WORDS = ["a", "small", "big", "round", "flat", "old", "new", "bird", "fish", "tree", "stone", "house"]
TIMES = ("tokens_per_second", "waiting")  # figures that a clock gives
CONFIG = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, max_positions=128)

LABEL = "what colour is [TEXT:text] -> [TEXT:label,closed_set]"
FILL = 'what is the complete text of " [TEXT:text,mask_ratio=0.3] "? -> [TEXT:text]'
BOX = "[IMAGE:img] where is the [TEXT:label]? -> [BOX:box]"
SMALL = {"IMAGE.size": 16, "IMAGE.patch": 8, "BOX.bins": 8}


def model(seed: int = 0, **changes) -> GeneralistModel:
    torch.set_num_threads(1)
    return GeneralistModel(config=ModelConfig(**(CONFIG.to_dict() | changes)), seed=seed, text_pieces=300)


def label_rows(n: int = 12, bad: tuple[int, ...] = ()) -> list[dict]:
    """Texts of many lengths that name a colour; those of the numbers in `bad` have none to read."""
    found = []
    for i in range(n):
        colour = COLOURS[i % len(COLOURS)]
        words = [WORDS[(i * 5 + j) % len(WORDS)] for j in range(1 + i * 3 % 7)]
        found.append({"text": None if i in bad else " ".join([colour, *words]), "label": colour})
    return found


def box_rows(n: int = 8) -> list[dict]:
    """Pictures with one coloured square, and where it is."""
    found = []
    for i in range(n):
        left, top = (i % 2) * 16, (i // 2 % 2) * 16
        picture = np.zeros((32, 32, 3), np.uint8)
        picture[top : top + 16, left : left + 16, i % 3] = 255
        found.append(
            {"img": picture, "label": ("red", "green", "blue")[i % 3], "box": [left, top, left + 16, top + 16]}
        )
    return found


def label_task(name: str = "label", **changes) -> Task:
    given = {"instruction": LABEL, "train": label_rows(), "valid": label_rows(4)}
    return Task(name, **(given | {"metrics": ["accuracy"], "micro_batch_size": 4} | changes))


def fill_task(name: str = "fill", **changes) -> Task:
    given = {"instruction": FILL, "train": label_rows(10), "micro_batch_size": 3, "generate": {"max_length": 8}}
    return Task(name, **(given | changes))


def box_task(name: str = "box", **changes) -> Task:
    given = {"train": box_rows(), "metrics": ["iou_accuracy"], "micro_batch_size": 4, "settings": SMALL}
    return Task(name, BOX, **(given | changes))


def weights(trained: GeneralistModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trained.state_dict().items()}


def same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def lines(path) -> list[dict]:
    """A .jsonl file without the figures of a clock."""
    if not path.is_file():
        return []
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in found]


def rewrite_state(out, **changes) -> None:
    """Other values in the state of a run's last checkpoint, which is whole otherwise."""
    folder = out / "checkpoints" / json.loads((out / "checkpoints" / "last.json").read_text())["folder"]
    files = {
        name: json.loads(data) if name.endswith(".json") else store.tensors(data)
        for name, data in store.read_folder(folder).items()
    }
    store.write_folder(folder, files | {"state.json": files["state.json"] | changes})
