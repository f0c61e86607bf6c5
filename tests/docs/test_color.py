"""The worked example of docs/add-a-modality.md: the parts, and COLOR as an installed plug-in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ofasys.errors import DataError
from ofasys.modality import Context
from ofasys.modality.symbols import Symbols, train_tokenizer
from ofasys.modality.vocabulary import Vocabulary

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def channels(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from color.preprocess import Channels

    tokenizer = train_tokenizer(["red"])
    symbols = Symbols(tokenizer, Vocabulary.assemble({"text": tokenizer.get_vocab_size(), "channels": 256}))
    return lambda levels=256: Channels({"levels": levels}, symbols)


def back(part, value):
    return part.postprocess(part.preprocess(value, Context()).tensors["tokens"], Context())


def test_every_level_comes_back(channels):
    for level in range(256):
        assert back(channels(), (level, 255 - level, 0)) == f"#{level:02x}{255 - level:02x}00"


@pytest.mark.parametrize("levels", [2, 3, 16, 100, 255])
def test_fewer_levels_come_back_within_one(channels, levels):
    for level in range(256):
        found = bytes.fromhex(back(channels(levels), (level, 0, 0))[1:])[0]
        assert abs(found - level) <= 256 / levels


def test_text_and_numbers_are_the_same_colour(channels):
    one, other = (channels().preprocess(value, Context()) for value in ("#FFA500", (255, 165, 0)))
    assert one.length == 3
    assert np.array_equal(one.tensors["tokens"], other.tensors["tokens"])


@pytest.mark.parametrize("value", ["red", "#fff", "#12345g", (1, 2), (1, 2, 256), (-1, 0, 0), None, 7, "", [None] * 3])
def test_no_colour(channels, value):
    with pytest.raises(DataError, match="expected a colour"):
        channels().preprocess(value, Context())


def test_an_installed_package_is_found_by_its_entry_point(tmp_path):
    about = tmp_path / "color-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: color\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[ofasys.modality]\ncolor = color:COLOR\n")
    code = "from ofasys import plan; print(plan('[COLOUR:a] the opposite -> [COLOR:b]'))"
    path = os.pathsep.join([str(tmp_path), str(EXAMPLES), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "b: 3 of channels" in done.stdout
