"""A tiny model that has grown for a sentence of each kind of target, and rows for it. `from tests.hub import kinds`."""

from functools import cache

import numpy as np
import torch

from ofasys import GeneralistModel, OFASys, Task
from ofasys.model.sizes import ModelConfig
from ofasys.types import TaskCard
from tests.modality.audio.sounds import tone
from tests.modality.motion import bodies

CONFIG = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, dropout=0.0, max_positions=256)
SOUND = "wav,max_length=20,vocoder_steps=2"
LINES = {
    "write": "write [TEXT:t] -> [TEXT:u]",
    "say": f"say [TEXT:t] -> [AUDIO:{SOUND}]",
    "spell": f"spell [TEXT:t] -> [TEXT:u] [AUDIO:{SOUND}]",
    "paint": f"paint [TEXT:t] -> [IMAGE:img,size=16,patch=4,codes=64,fit_steps=2] [AUDIO:{SOUND}]",
    "film": "film [TEXT:t] -> [VIDEO:v,size=16,patch=8,frames=2,codes=64,fit_steps=2] [TEXT:u]",
    "move": "move [TEXT:t] -> [MOTION:m,frames=6]",
    "price": "price [TEXT:t] -> [NUMBER:n]",
    "match": "[TEXT:t|TEXT:u] ->",
    "sort": "[TEXT:t,criterion=classify,classify_target=kind] ->",
}
ROWS = [
    {
        "t": text,
        "u": f"a {text}",
        "wav": (tone(0.1 + 0.1 * i), 16000),
        "img": np.full((16, 16, 3), 60 * i, np.uint8),
        "v": np.full((2, 16, 16, 3), 60 * i, np.uint8),
        "m": bodies.walker(i, frames=6),
        "kind": ("odd", "even")[i % 2],
        "n": 2.5 * i,
    }
    for i, text in enumerate(("one", "two", "three"))
]


def task(name, **changes):
    return Task(name, **({"instruction": LINES[name], "train": ROWS} | changes))


@cache
def model():
    """One for all tests that only read it."""
    tasks = [task(name) for name in LINES]
    made = GeneralistModel(config=CONFIG, text_pieces=280)
    made.grow([(t.plan, t.labels) for t in tasks], lambda: [w for t in tasks for w in t.texts()], tasks[0].examples)
    torch.manual_seed(0)
    for parameter in made.adaptors.parameters():
        if parameter.dim() > 1 and not parameter.any():  # a motion begins as nothing; here it is to differ
            torch.nn.init.normal_(parameter, std=0.3)
    cards = [TaskCard(t.name, tuple(map(str, t.instructions)), labels=t.labels) for t in tasks]
    return OFASys(made.eval(), cards)


def ask(name, rows=None, **options):
    """The answer to the first row, or to these."""
    return model().inference(LINES[name], data={"t": "one", "u": "one"} if rows is None else rows, **options)
