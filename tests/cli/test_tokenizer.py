"""`ofasys tokenizer train`: pictures in, a folder out that a slot can name."""

import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ofasys.modality.shared.image_tokenizer import ImageTokenizer

pytestmark = pytest.mark.slow


@pytest.fixture
def pictures(shell):
    """Twelve small pictures in a folder."""
    folder = shell.folder / "pictures"
    folder.mkdir()
    for number in range(12):
        image = Image.new("RGB", (20, 16), "white")
        ImageDraw.Draw(image).rectangle((number, 3, number + 6, 12), fill=("red", "green", "blue")[number % 3])
        image.save(folder / f"{number:02}.png")
    return folder


SMALL = ("--size", 16, "--patch", 4, "--codes", 64, "--steps", 5)


def test_a_tokenizer_is_trained_and_written(shell, pictures):
    said = shell.ok("tokenizer", "train", pictures, "--out", "made", *SMALL)
    assert "10 pictures to learn from, 2 to judge by" in said
    assert re.search(r"PSNR \d+\.\d dB, \d+% of 64 codes used by 2 pictures", said)
    assert "[IMAGE:x,size=16,patch=4,codes=64,tokenizer=made]" in said
    made = shell.folder / "made"
    assert sorted(path.name for path in made.iterdir()) == ["sheet.png", "tokenizer.json", "tokenizer.safetensors"]
    assert Image.open(made / "sheet.png").size == (34 * 6, 34 * 6)
    tokenizer = ImageTokenizer.load(made)
    assert (tokenizer.codes, tokenizer.patch) == (64, 4)
    assert tokenizer.encode(np.zeros((16, 16, 3), np.uint8)).shape == (4, 4)


def test_the_seed_decides_and_it_is_written_over(shell, pictures):
    def weights(seed):
        shell.ok("tokenizer", "train", pictures, "--out", "made", *SMALL, "--seed", seed)
        return (shell.folder / "made" / "tokenizer.safetensors").read_bytes()

    assert weights(1) == weights(1) != weights(2)


def test_steps_are_told_beside_the_answer(shell, pictures):
    done = shell("tokenizer", "train", pictures, "--out", "made", *SMALL)
    assert "step 5 of 5  loss" in done.stderr
    assert "step" not in done.stdout


def test_what_cannot_be_read_is_left_out_and_said(shell, pictures):
    (pictures / "03.png").write_bytes(b"torn")
    done = shell("tokenizer", "train", pictures, "--out", "made", *SMALL)
    assert done.exit_code == 0
    assert "03.png" in done.stderr
    assert "9 pictures to learn from, 2 to judge by" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere", "--out", "made"), "no file or folder 'nowhere'"),
        (("data/captions.jsonl", "--out", "made"), "no picture can be read in data/captions.jsonl"),
        (("pictures", "--out", "data"), "data holds something that is no image tokenizer"),
        (("pictures", "--out", "run.yaml"), "run.yaml is a file"),
        (("pictures", "--out", "made", "--codes", 65), "no set of levels for codes=65; there are 64, 240"),
        (("pictures", "--out", "made", "--patch", 5), "--patch is 5; it is one of 4, 8, 16, 32"),
        (("pictures", "--out", "made", "--size", 20), "--size is 20; it is a multiple of 8 from 8 to 1024"),
        (("pictures", "--out", "made", "--size", 2048), "--size is 2048"),
        (("pictures", "--out", "made", "--steps", 0), "--steps is 0; it is 1 or more"),
        (("pictures",), "Missing option '--out'"),
        (("--out", "made"), "Missing argument 'IMAGES...'"),
    ],
)
def test_wrong_words(shell, pictures, words, says):
    done = shell("tokenizer", "train", *words)
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.output
    assert not (shell.folder / "made").exists()


def test_help(shell):
    assert "tokenizer" in shell.ok("--help")
    assert "train" in shell.ok("tokenizer", "--help")
    assert "IMAGES..." in shell.ok("tokenizer", "train", "--help")
