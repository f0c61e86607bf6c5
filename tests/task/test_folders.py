"""Folders of images: links, every suffix, what is left out; folders that `save_to_disk` wrote."""

import json
import logging
import os
import pickle
import sys

import numpy as np
import pytest
from PIL import Image

from ofasys import ConfigError, DataError, GeneralistModel, Task, Trainer
from ofasys.modality.shared.image_files import image_files
from ofasys.modality.shared.read_image import image_suffixes
from ofasys.task.source import open_source

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def paths(source):
    return [source[i]["path"] for i in range(len(source))]


WRITABLE = {
    ".avif": "AVIF", ".bmp": "BMP", ".gif": "GIF", ".j2k": "JPEG2000", ".jfif": "JPEG", ".jp2": "JPEG2000",
    ".jpe": "JPEG", ".jpeg": "JPEG", ".jpg": "JPEG", ".pcx": "PCX", ".pgm": "PPM", ".png": "PNG", ".pnm": "PPM",
    ".ppm": "PPM", ".qoi": "QOI", ".sgi": "SGI", ".tga": "TGA", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip


@pytest.mark.slow
def test_every_suffix_that_pillow_reads_is_a_row(tmp_path):
    for i, (suffix, kind) in enumerate(WRITABLE.items()):
        if suffix not in image_suffixes():
            pytest.skip(f"this Pillow was built without {kind}")
        PICTURE.save(tmp_path / f"{i}{suffix.upper() if i % 2 else suffix}", kind)
    source = open_source(tmp_path)
    assert len(source) == len(WRITABLE)
    task = Task("t", "[IMAGE:image,size=16,patch=8] -> [TEXT:path]", train=tmp_path, on_bad="stop", micro_batch_size=8)
    Trainer(max_steps=3, live=False).fit(model=GeneralistModel(size="tiny", text_pieces=300), tasks=task)
    assert (
        not {".mpg", ".h5", ".grib", ".wmf", ".pdf", ".txt", ""} & image_suffixes()
    )  # known by name only, or not at all


def test_links_to_folders_and_files_are_followed(tmp_path):
    put(tmp_path / "store", "dog/0.png", "dog/1.png", "one.png")
    put(tmp_path / "here", "cat/0.png")
    (tmp_path / "here/dog").symlink_to(tmp_path / "store/dog")
    (tmp_path / "here/hound").symlink_to(tmp_path / "store/dog")
    (tmp_path / "here/cat/1.png").symlink_to(tmp_path / "store/one.png")
    source = open_source(tmp_path / "here")
    assert paths(source) == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png", "hound/0.png", "hound/1.png"]
    assert source.column("label") == ["cat", "cat", "dog", "dog", "hound", "hound"]


def test_a_link_into_a_folder_above_is_no_endless_way(tmp_path, caplog):
    put(tmp_path, "a/0.png", "b/1.png")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b/self").symlink_to(tmp_path / "b")
    (tmp_path / "b/ring").symlink_to(tmp_path / "b/ring")
    (tmp_path / "b/gone.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(tmp_path)
    assert paths(source) == ["a/0.png", "b/1.png"]
    assert "2 link that leads nowhere, 2 link to a folder it lies in" in source.describe()


def test_what_is_left_out_is_counted_and_named(tmp_path, caplog):
    put(tmp_path, "cat/a.png", "cat/.b.png", "cat/._a.png", ".git/c.png", ".DS_Store", "cat/Thumbs.db", "desktop.ini")
    assert open_source(tmp_path).describe() == f"folder {tmp_path.name} of 1 images (left out: 6 hidden)"
    assert not caplog.records
    put(tmp_path, "cat/a.txt", "cat/b.TXT", "cat/README", "dog/c.heic", "dog/d.svg")
    with caplog.at_level(logging.WARNING, logger="ofasys"):
        source = open_source(tmp_path)
    left = "1 .heic (needs pillow-heif), 1 .svg (needs a program that draws it), 2 .txt, 6 hidden, 1 without a suffix"
    assert source.describe() == f"folder {tmp_path.name} of 1 images (left out: {left})"
    assert caplog.records[0].getMessage() == f"the folder {tmp_path}: 1 images; left out: {left}"
    os.remove(tmp_path / "cat/a.png")
    with pytest.raises(
        DataError, match=r"holds no image; it holds 1 .heic .needs pillow-heif.*expected files .png .jpg"
    ):
        open_source(tmp_path)
    assert image_files(put(tmp_path / "other", "x.png")).left_out == {}


def test_a_picture_that_cannot_be_read_stays_a_row(tmp_path):
    """It is that row's fault when it is drawn."""
    put(tmp_path, "cat/torn.png")
    for name in ("cat/a.png", "dog/b.png", "dog/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        PICTURE.save(tmp_path / name)
    task = Task("t", "[IMAGE:image,size=16,patch=8] -> [CATEGORY:label]", train=tmp_path, micro_batch_size=4)
    assert len(task.source("train")) == 4
    trainer = Trainer(max_steps=2, out=tmp_path.parent / "run", live=False)
    trainer.fit(model=GeneralistModel(size="tiny", text_pieces=300), tasks=task)
    (bad,) = [json.loads(line) for line in (tmp_path.parent / "run/quarantine.jsonl").read_text().splitlines()]
    assert "torn.png hold no picture" in json.dumps(bad)


def test_a_folder_given_by_a_relative_path(tmp_path, monkeypatch):
    for kind in ("cat", "dog"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        PICTURE.save(tmp_path / "pets" / kind / "a.png")
    monkeypatch.chdir(tmp_path)
    line = "[IMAGE:image,size=16,patch=8] -> [CATEGORY:label]"
    task = Task("t", line, train="pets", on_bad="stop", micro_batch_size=2)
    Trainer(max_steps=1, live=False).fit(model=GeneralistModel(size="tiny", text_pieces=300), tasks=task)


# --- what save_to_disk wrote -----------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "box": datasets.Sequence(datasets.Sequence(datasets.Value("float32"), length=4)),
            "label": datasets.Sequence(datasets.Value("string")),
            "map": datasets.Array2D((2, 3), "uint16"),
        }
    )
    rows = [
        {"image": PICTURE, "box": [[0, 0, 4, 4]] * (i % 3), "label": ["cat"] * (i % 3), "map": np.full((2, 3), 300 * i)}
        for i in range(6)
    ]
    data = datasets.Dataset.from_list(rows, features=features)
    data.save_to_disk(tmp_path / "pets", num_shards=2)
    datasets.DatasetDict({"train": data, "test": data.select([1])}).save_to_disk(tmp_path / "splits")
    return tmp_path


def test_a_saved_data_set_gives_the_rows_of_the_data_set(saved):
    from datasets import load_from_disk

    source, data = open_source(saved / "pets"), open_source(load_from_disk(str(saved / "pets")))
    assert source.describe() == "saved data set pets of 6 rows"
    assert source.root == saved / "pets"
    for i in range(6):
        mine, theirs = source[i], data[i]
        assert mine["map"].dtype == np.uint16
        assert mine.pop("map").tolist() == theirs.pop("map").tolist() == [[300 * i] * 3] * 2
        assert mine == theirs
    assert source.column("label") == [["cat"] * (i % 3) for i in range(6)]
    assert pickle.loads(pickle.dumps(source))[4]["label"] == ["cat"]
    assert len(open_source(saved / "splits" / "test")) == 1


def test_a_saved_folder_of_splits_asks_for_one(saved):
    with pytest.raises(
        DataError, match=r"a DatasetDict of train, test; expected the folder of one of its splits: .*train, .*test"
    ):
        open_source(saved / "splits")
    (saved / "splits/dataset_dict.json").write_text("{}")
    with pytest.raises(DataError, match="is not what save_to_disk writes"):
        open_source(saved / "splits")


def test_a_saved_folder_that_is_torn(saved):
    (saved / "pets/data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"pets cannot be read: .*; expected a folder that save_to_disk wrote"):
        open_source(saved / "pets")
    (saved / "pets/state.json").write_text("{")
    with pytest.raises(DataError, match=r"pets cannot be read: "):
        open_source(saved / "pets")


def test_without_the_library_the_next_step_is_named(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r'pip install "ofasys\[hf\]"'):
        open_source(saved / "pets")


def test_detection_from_a_saved_data_set(saved):
    line = "[IMAGE:image,size=16,patch=8] detect -> ([BOX:box] [TEXT:label])*"
    task = Task("t", line, train=saved / "pets", on_bad="stop", micro_batch_size=3)
    Trainer(max_steps=2, live=False).fit(model=GeneralistModel(size="tiny", text_pieces=300), tasks=task)


def test_a_folder_of_another_library_is_named(tmp_path):
    put(tmp_path, "index.json", "shard.00000.mds.zstd")
    with pytest.raises(
        DataError, match=r"is a data set of MosaicML Streaming, .*expected its rows in .parquet or .arrow files"
    ):
        open_source(tmp_path)
    put(tmp_path / "own", "data/a.png", "index.json")
    assert paths(open_source(tmp_path / "own")) == ["data/a.png"]


@pytest.mark.parametrize("name", ["words.lance/x", "words.lance/data/1.lance", "words/_versions/x"])
def test_half_a_lance_data_set_is_named(tmp_path, name):
    put(tmp_path, name)
    with pytest.raises(DataError, match=r"is no whole Lance data set.*expected the folder as Lance wrote it"):
        open_source(tmp_path / name.partition("/")[0])
