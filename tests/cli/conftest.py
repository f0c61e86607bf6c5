"""A folder of made-up rows and pictures, a run file over them, and the command line in this process."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ofasys.cli.main import app

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220)}
CAPTION = "[IMAGE:img] what does the image describe? -> [TEXT:cap]"
ENTAIL = "can text1 [TEXT:a] imply text2 [TEXT:b]? -> [TEXT:label,closed_set]"
GROUND = '[IMAGE:img] which region does the text " [TEXT:phrase] " describe? -> [BOX:box]'

RUN = f"""
tasks:
  caption:
    instruction: "{CAPTION}"
    train: data/captions.jsonl
    valid: data/captions-valid.jsonl
    test: data/captions-test.jsonl
    metrics: [exact_match]
    micro_batch_size: 2
    settings: {{IMAGE.size: 32}}
    generate: {{max_length: 6}}
  entailment:
    instruction: "{ENTAIL}"
    train: data/nli.csv
    closed_set: [yes, no]
    metrics: [accuracy]
    micro_batch_size: 2
  ground:
    instruction: '{GROUND}'
    train: data/boxes.jsonl
    test: data/boxes.jsonl
    metrics: [iou_accuracy]
    micro_batch_size: 2
    settings: {{IMAGE.size: 32}}
model: &model
  text_pieces: 300
  config: {{width: 32, heads: 2, ffn: 64, encoder_layers: 1, decoder_layers: 1, max_positions: 128, max_grid: 16}}
trainer:
  max_steps: 3
  schedule: accumulate
  warmup: 1
  lr: 1e-3
"""


def write_rows(folder: Path) -> None:
    """data/: pictures, captions, sentence pairs, boxes."""
    data = folder / "data"
    data.mkdir()
    for name, colour in COLOURS.items():
        Image.fromarray(np.full((32, 32, 3), colour, np.uint8)).save(data / f"{name}.png")
    captions = [{"img": f"{name}.png", "cap": f"a {name} square"} for name in COLOURS] * 2
    boxes = [{"img": f"{name}.png", "phrase": name, "box": [2, 3, 20, 30]} for name in COLOURS]
    for name, rows in (
        ("captions", captions),
        ("captions-valid", captions[:3]),
        ("captions-test", captions[:3]),
        ("boxes", boxes),
    ):
        (data / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    pairs = [f"{a},{b},{'yes' if a == b else 'no'}" for a in COLOURS for b in COLOURS]
    (data / "nli.csv").write_text("\n".join(["a,b,label", *pairs]) + "\n")


@dataclass
class Shell:
    """`ofasys` in this process, in a folder."""

    folder: Path

    def __call__(self, *words: str):
        before, debug = Path.cwd(), os.environ.pop("OFASYS_DEBUG", None)
        os.chdir(self.folder)
        try:
            return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
        finally:
            os.chdir(before)
            os.environ.pop("OFASYS_DEBUG", None)
            if debug is not None:
                os.environ["OFASYS_DEBUG"] = debug

    def ok(self, *words: str) -> str:
        """Standard output of a command that must succeed."""
        done = self(*words)
        assert done.exit_code == 0, done.output
        return done.stdout

    def wrong(self, *words: str) -> str:
        """Standard error of a command that must fail as the user's error, saying nothing else."""
        done = self(*words)
        assert done.exit_code == 2, done.output
        assert "Traceback" not in done.output
        assert done.stdout == ""
        return done.stderr.rstrip("\n")

    def write(self, name: str, text: str) -> Path:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)
        return self.folder / name


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shell(tmp_path):
    write_rows(tmp_path)
    (tmp_path / "run.yaml").write_text(RUN)
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A shell in a folder where `ofasys train run.yaml` was run. Only to be read."""
    folder = tmp_path_factory.mktemp("trained")
    write_rows(folder)
    (folder / "run.yaml").write_text(RUN)
    shell = Shell(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shell.printed = shell.ok("train", "run.yaml")
    torch.set_num_threads(threads)
    return shell
