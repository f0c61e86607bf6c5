"""Pictures to codes and back; trained by seed, saved, loaded, and a VQModel of diffusers in its place."""

import json

import numpy as np
import pytest
import shapes
import torch
from PIL import Image

from ofasys.errors import ConfigError
from ofasys.modality.image.gather import squares
from ofasys.modality.image.judge import judged, sheet
from ofasys.modality.shared.image_tokenizer import ImageTokenizer, TokenizerOptions, train_tokenizer

pytestmark = pytest.mark.slow

FEW = TokenizerOptions(codes=64, patch=4, steps=3, width=8, batch=4)


def same(one, other):
    mine, theirs = one.arrays(), other.arrays()
    return mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_pictures_come_back(tokenizer):
    pictures = shapes.pixels()
    found = [tokenizer.decode(tokenizer.encode(picture)) for picture in pictures]
    mean = pictures.mean(0)
    gained = [shapes.psnr(f, p) - shapes.psnr(mean, p) for f, p in zip(found, pictures, strict=True)]
    assert found[0].shape == (16, 16, 3)
    assert found[0].dtype == np.uint8
    assert min(gained) > 0
    assert np.mean(gained) > 7


def test_codes_come_back(tokenizer):
    """What is drawn of a picture's codes has, mostly, these codes."""
    codes = np.stack([tokenizer.encode(picture) for picture in shapes.pixels()])
    again = np.stack([tokenizer.encode(tokenizer.decode(one)) for one in codes])
    assert codes.shape == (16, 4, 4)
    assert codes.dtype == np.int64
    assert codes.min() >= 0
    assert codes.max() < 64
    assert (codes == again).mean() > 0.75


def test_a_picture_has_the_same_codes_alone_and_among_others(tokenizer):
    pictures = torch.from_numpy(shapes.pixels()).movedim(-1, 1).float() / 127.5 - 1
    with torch.no_grad():
        together = tokenizer.net.encode(pictures).numpy()
    alone = np.stack([tokenizer.encode(picture) for picture in shapes.pixels()])
    assert (together == alone).mean() > 0.99
    np.testing.assert_array_equal(alone, np.stack([tokenizer.encode(picture) for picture in shapes.pixels()]))


def test_the_number_of_threads_is_left_as_it_was(tokenizer):
    before, picture = torch.get_num_threads(), shapes.pixels()[3]
    codes = tokenizer.encode(picture)
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(tokenizer.encode(picture), codes)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("patch", [4, 8, 16, 32])
def test_every_patch(patch):
    made = train_tokenizer(
        np.zeros((1, 2 * patch, 3 * patch, 3), np.uint8), TokenizerOptions(codes=240, patch=patch, steps=1, width=8)
    )
    codes = made.encode(np.zeros((3 * patch, 2 * patch, 3), np.uint8))
    assert codes.shape == (3, 2)
    assert made.decode(codes).shape == (3 * patch, 2 * patch, 3)


def test_the_seed_decides():
    pictures, before = shapes.pixels(), torch.get_rng_state()
    one, other = (train_tokenizer(pictures, FEW, seed=3) for _ in range(2))
    assert same(one, other)
    assert not same(one, train_tokenizer(pictures, FEW, seed=4))
    assert torch.equal(torch.get_rng_state(), before)  # nobody else's numbers change


def test_training_lowers_the_loss_it_reports():
    told = []
    train_tokenizer(
        shapes.pixels(), TokenizerOptions(codes=64, patch=4, steps=15, width=16), 0, lambda *at: told.append(at)
    )
    assert [step for step, _ in told] == list(range(1, 16))
    assert told[-1][1] < 0.8 * told[0][1]


def test_no_picture():
    with pytest.raises(ConfigError, match="no picture"):
        train_tokenizer([], FEW)


def test_no_such_number_of_codes():
    with pytest.raises(ConfigError, match="no set of levels for codes=500; there are 64, 240, 512, 1000"):
        TokenizerOptions(codes=500)


@pytest.mark.slow
def test_as_arrays_and_as_a_folder(tokenizer, tmp_path):
    assert same(ImageTokenizer.from_arrays(tokenizer.arrays()), tokenizer)
    folder = tokenizer.save(tmp_path / "new" / "tokenizer")
    loaded = ImageTokenizer.load(folder)
    assert same(loaded, tokenizer)
    assert (loaded.codes, loaded.patch) == (64, 4)
    picture = shapes.pixels()[0]
    np.testing.assert_array_equal(loaded.encode(picture), tokenizer.encode(picture))
    assert sorted(path.name for path in folder.iterdir()) == ["tokenizer.json", "tokenizer.safetensors"]
    train_tokenizer(shapes.pixels(), FEW).save(folder)  # over one of its kind
    assert not same(ImageTokenizer.load(folder), tokenizer)


def test_a_folder_of_something_else_is_not_written_to(tokenizer, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="holds something that is no image tokenizer"):
        tokenizer.save(tmp_path)
    with pytest.raises(ConfigError, match="is a file"):
        tokenizer.save(tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def torn(folder, tokenizer, kind):
    made = tokenizer.save(folder / "made")
    about = json.loads((made / "tokenizer.json").read_text())
    if kind == "nothing there":
        return folder / "nowhere"
    if kind == "half the weights":
        data = (made / "tokenizer.safetensors").read_bytes()
        (made / "tokenizer.safetensors").write_bytes(data[: len(data) // 2])
    elif kind == "no weights":
        (made / "tokenizer.safetensors").unlink()
    elif kind == "no JSON":
        (made / "tokenizer.json").write_text("{")
    elif kind == "a list":
        (made / "tokenizer.json").write_text("[]")
    elif kind == "another version":
        (made / "tokenizer.json").write_text(json.dumps(about | {"ofasys": 9}))
    elif kind == "another shape":
        (made / "tokenizer.json").write_text(json.dumps(about | {"width": 8}))
    elif kind == "a shape that cannot be":
        (made / "tokenizer.json").write_text(json.dumps(about | {"codes": 7}))
    elif kind == "another model of diffusers":
        (made / "tokenizer.json").unlink()
        (made / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL"}))
    return made


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("nothing there", "holds no image tokenizer; make one with `ofasys tokenizer train"),
        ("half the weights", "cannot be read"),
        ("no weights", "has no tokenizer.safetensors"),
        ("no JSON", "is not JSON"),
        ("a list", "is no configuration"),
        ("another version", "of another version"),
        ("another shape", "do not fit"),
        ("a shape that cannot be", "cannot be read"),
        ("another model of diffusers", "holds a AutoencoderKL, not a VQModel"),
    ],
)
def test_folders_that_hold_none(kind, says, tokenizer, tmp_path):
    with pytest.raises(ConfigError, match=says):
        ImageTokenizer.load(torn(tmp_path, tokenizer, kind))


def test_arrays_of_something_else(tokenizer):
    arrays = tokenizer.arrays()
    for wrong in ({}, {"mean": np.zeros(3)}, arrays | {"config": np.zeros(3, np.uint8)}):
        with pytest.raises(ConfigError, match="not the arrays of an image tokenizer"):
            ImageTokenizer.from_arrays(wrong)
    with pytest.raises(ConfigError, match="do not fit"):
        ImageTokenizer.from_arrays({name: array for name, array in arrays.items() if "decoder.0" not in name})


@pytest.mark.slow
def test_a_vq_model_of_diffusers(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    more = {"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3}
    model = diffusers.VQModel(
        block_out_channels=(8, 8, 8), norm_num_groups=4, num_vq_embeddings=32, latent_channels=4, **more
    ).eval()
    torch.nn.init.normal_(model.quantize.embedding.weight)
    model.save_pretrained(tmp_path / "vq")
    tokenizer = ImageTokenizer.load(tmp_path / "vq")
    assert (tokenizer.codes, tokenizer.patch) == (32, 4)
    picture = shapes.pixels()[1]
    pictures = torch.from_numpy(picture).movedim(-1, 0)[None].float() / 127.5 - 1
    with torch.no_grad():
        latents = model.encode(pictures).latents
        index = model.quantize(latents)[2][2].view(4, 4).numpy()
        expected = model.decode(latents).sample[0].movedim(0, -1).add(1).mul(127.5).clamp(0, 255).numpy()
    codes = tokenizer.encode(picture)
    np.testing.assert_array_equal(codes, index)
    assert np.abs(tokenizer.decode(codes).astype(float) - expected).max() < 1
    assert same(ImageTokenizer.load(tokenizer.save(tmp_path / "ours")), tokenizer)
    assert same(ImageTokenizer.from_arrays(tokenizer.arrays()), tokenizer)
    (tmp_path / "vq" / "diffusion_pytorch_model.safetensors").rename(tmp_path / "vq" / "diffusion_pytorch_model.bin")
    with pytest.raises(ConfigError, match="only safetensors are read"):
        ImageTokenizer.load(tmp_path / "vq")


def test_without_diffusers(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "diffusers", None)
    (tmp_path / "config.json").write_text(json.dumps({"_class_name": "VQModel"}))
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(ConfigError, match="pip install diffusers"):
        ImageTokenizer.load(tmp_path)


def test_pictures_of_files_and_folders(tmp_path):
    (tmp_path / "sub").mkdir()
    for number in range(5):
        Image.new("RGB", (10 + number, 9), (number * 50,) * 3).save(tmp_path / "sub" / f"{number}.png")
    (tmp_path / "sub" / "notes.txt").write_text("no picture")
    (tmp_path / "one.jpg").write_bytes((tmp_path / "sub" / "0.png").read_bytes())
    told = []
    found = squares([tmp_path / "one.jpg", tmp_path / "sub"], 8, 100, told.append)
    assert found[:, 0, 0, 0].tolist() == [0, 0, 50, 100, 150, 200]
    assert found.shape == (6, 8, 8, 3)
    assert squares([tmp_path / "sub"], 8, 2)[:, 0, 0, 0].tolist() == [0, 150]
    (tmp_path / "sub" / "torn.png").write_bytes(b"\x89PNG")
    assert len(squares([tmp_path / "sub"], 8, 100, told.append)) == 5
    assert len(told) == 1
    assert "torn.png" in told[0]


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_no_picture_there(name, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no file or folder|no picture can be read"):
        squares([tmp_path / name], 8, 100)


def test_judged(tokenizer):
    found = judged(tokenizer, shapes.pixels())
    assert 15 < found["psnr"] < 60
    assert 4 / 64 < found["codebook_share"] <= 1
    assert sheet(tokenizer, shapes.pixels()[:3]).size == ((16 * 3 + 2 * 2) * 6, (16 * 2 + 2) * 6)
