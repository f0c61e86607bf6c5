"""COCO's annotations and YOLO folders: the boxes and names that are there, and the place of what is wrong."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

from ofasys import DataError, GeneralistModel, Task, Trainer
from ofasys.modality.shared.read_image import image_size, read_image
from ofasys.task.source import open_source

LINE = "[IMAGE:image,size=16,patch=8] detect -> ([BOX:box] [TEXT:label])*"
SIZES = [(40, 30), (30, 40), (64, 48), (20, 20), (33, 21)]


def picture(path, size=(40, 30), **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path, **more)


def coco(**changed):
    """Annotations of five pictures, in no order; one has none, one a crowd beside a box."""
    images = [{"id": 10 * i + 3, "file_name": f"{i}.png", "width": w, "height": h} for i, (w, h) in enumerate(SIZES)]
    boxes = [(23, 7, [1, 2, 10, 12.5]), (3, 7, [0, 0, 40, 30]), (23, 2, [5.25, 4, 58.75, 40]), (33, 7, [3, 3, 4, 5])]
    annotations = [
        {"id": 100 + i, "image_id": image, "category_id": kind, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for i, (image, kind, box) in enumerate(boxes)
    ]
    annotations.append({"id": 200, "image_id": 33, "category_id": 2, "bbox": [0, 0, 20, 20], "iscrowd": 1})
    categories = [{"id": 7, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "traffic light"}]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories} | changed


def written(folder, data, name="annotations.json", pictures="."):
    for image in data["images"] if isinstance(data.get("images"), list) else []:
        picture(folder / pictures / image["file_name"], (image["width"], image["height"]))
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(data))
    return folder / name


def test_coco_gives_a_row_a_picture(tmp_path):
    source = open_source(written(tmp_path, coco()))
    assert len(source) == 5
    assert source[2] == {
        "image": str(tmp_path / "2.png"),
        "box": [[1, 2, 11, 14.5], [5.25, 4, 64, 44]],
        "label": ["cat", "traffic light"],
        "id": 23,
        "width": 64,
        "height": 48,
        "file_name": "2.png",
    }
    assert (source[1]["box"], source[1]["label"]) == ([], [])
    assert (source[3]["box"], source[3]["label"]) == ([[3, 3, 7, 8]], ["cat"])
    assert source.column("label") == [["cat"], [], ["cat", "traffic light"], ["cat"], []]
    assert source.column("box") == [source[i]["box"] for i in range(5)]
    assert source.describe() == "annotations.json of 5 images and 4 boxes (left out: 1 crowds)"
    assert source.root == tmp_path
    assert pickle.loads(pickle.dumps(source))[2] == source[2]
    with pytest.raises(DataError, match=r"has no column 'labels'; did you mean label\?"):
        source.column("labels")


def test_coco_agrees_with_the_reader_of_faster_coco_eval(tmp_path):
    from faster_coco_eval import COCO

    source, theirs = open_source(written(tmp_path, coco())), COCO(str(tmp_path / "annotations.json"))
    names = {kind["id"]: kind["name"] for kind in theirs.load_cats(theirs.get_cat_ids())}
    for i in range(len(source)):
        row = source[i]
        (image,) = theirs.load_imgs([row["id"]])
        assert (row["file_name"], row["width"], row["height"]) == (image["file_name"], image["width"], image["height"])
        expected = theirs.load_anns(theirs.get_ann_ids(img_ids=[row["id"]], iscrowd=False))
        assert row["label"] == [names[one["category_id"]] for one in expected]
        assert [[x, y, x2 - x, y2 - y] for x, y, x2, y2 in row["box"]] == [one["bbox"] for one in expected]


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("a.json", "."),
        ("a.json", "images"),
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/instances_val2017.json", "images/val2017"),
        ("annotations/a.json", "images"),
        ("annotations/a.json", "."),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_where_the_pictures_of_coco_lie(tmp_path, monkeypatch, name, pictures):
    written(tmp_path, coco(), name, pictures)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, name):
        assert open_source(path)[0]["image"] == str(tmp_path / pictures / "0.png")


def test_pictures_of_coco_that_are_not_there(tmp_path):
    path = written(tmp_path, coco())
    (tmp_path / "0.png").unlink()
    source = open_source(path)
    assert source[0]["image"] == str(tmp_path / "0.png")  # the slot says that there is no such file
    for i in range(1, 5):
        (tmp_path / f"{i}.png").unlink()
    with pytest.raises(
        DataError, match=r"none of the first 5 pictures is there, such as '0.png'; expected them in one of "
    ):
        open_source(path)


def test_a_picture_that_was_resized_or_turned_since(tmp_path):
    source = open_source(written(tmp_path, coco()))
    picture(tmp_path / "0.png", (80, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(tmp_path / "2.png", (64, 48), exif=exif)
    with pytest.raises(DataError, match=r"image 3: 0.png is 80 x 60 pixels upright, its annotations are for 40 x 30"):
        source[0]
    with pytest.raises(DataError, match=r"image 23: 2.png is 48 x 64 pixels upright, its annotations are for 64 x 48"):
        source[2]
    assert source[3]["label"] == ["cat"]


@pytest.mark.parametrize("written_as", [float, str])
def test_the_size_of_a_picture_may_be_a_float_or_a_text(tmp_path, written_as):
    data = coco()
    path = written(tmp_path, data)
    for image in data["images"]:
        image["width"], image["height"] = written_as(image["width"]), written_as(image["height"])
    path.write_text(json.dumps(data))
    source = open_source(path)
    assert source[3]["label"] == ["cat"]
    picture(tmp_path / "0.png", (80, 60))
    with pytest.raises(DataError, match=r"0.png is 80 x 60 pixels upright, its annotations are for 40(\.0)? x 30"):
        source[0]


def one(**changed):
    return {"id": 5, "image_id": 3, "category_id": 7, "bbox": [0, 0, 4, 4], "iscrowd": 0} | changed


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (one(category_id=1), r"annotations.json, image 3, annotations\[0\] \(id 5\): no category has the id 1"),
        (one(bbox=[0, 0, 4]), r"annotations\[0\] \(id 5\): bbox is \[0, 0, 4\]; expected \[x, y, width, height\]"),
        (one(bbox=[0, 0, 4, "4"]), "bbox is"),
        (one(bbox=[0, 0, 4, True]), "bbox is"),
        (one(bbox=[0, 0, 4, float("nan")]), "bbox is"),
        (one(bbox=None), "bbox is None"),
        ({"image_id": 3, "category_id": 7, "segmentation": []}, r"annotations\[0\] \(id None\): bbox is None"),
    ],
)
def test_a_bad_annotation_is_a_fault_of_its_row(tmp_path, annotation, says):
    source = open_source(written(tmp_path, coco(annotations=[annotation])))
    with pytest.raises(DataError, match=says):
        source[0]
    assert source[1]["box"] == []
    assert source.column("label") == [None, [], [], [], []]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"annotations": [one(image_id=99)]},
            r"annotations\[0\] \(id 5\): no image has the id 99; expected the id of one of the 5",
        ),
        ({"annotations": {"a": 1}}, "annotations.json: annotations is a dict"),
        ({"annotations": [7]}, r"annotations\[0\] is 7; expected an object"),
        ({"images": [{"id": 3}]}, r"images\[0\] is {'id': 3}; expected an object with `id` and `file_name`"),
        ({"categories": [{"id": 1, "name": 5}]}, r"categories\[0\] is"),
        (
            {"categories": [{"id": 1, "name": "a"}, {"id": 1.0, "name": "b"}]},
            r"categories\[1\]: the id 1 is given twice",
        ),
        ({"images": []}, "no image has the id"),
    ],
)
def test_annotations_that_are_built_otherwise(tmp_path, changed, says):
    (tmp_path / "annotations.json").write_text(json.dumps(coco() | changed))
    with pytest.raises(DataError, match=says):
        open_source(tmp_path / "annotations.json")


def test_json_that_is_no_coco(tmp_path):
    data = coco()
    del data["categories"]
    (tmp_path / "captions.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"captions.json holds no 'categories', only 'info', 'images', 'annotations'"):
        open_source(tmp_path / "captions.json")
    (tmp_path / "a.json").write_text('  {"images": 1}')
    with pytest.raises(DataError, match=r"a.json holds a dict; expected one JSON list of objects"):
        open_source(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('{"images": ')
    with pytest.raises(DataError, match=r"a\.json is not JSON"):
        open_source(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('\ufeff [{"a": 1}]'.lstrip("\ufeff"))
    assert open_source(tmp_path / "a.json")[0] == {"a": 1}
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(coco(images=[], annotations=[])))
    with pytest.raises(DataError, match=r"the data set is empty: a\.json of 0 images"):
        open_source(tmp_path / "a.json")


# --- YOLO ------------------------------------------------------------------------------------------------------------

LABELS = {
    "0": "0 0.5 0.5 1 1\n",
    "1": "1 0.25 0.5 0.5 0.25\n0 0.500000 0.250000 0.100000 0.200000\n\n",
    "2": "",
    "4": "1 0.1 0.2 0.6 0.2 0.6 0.9 0.3 0.95\n",  # an outline
}
EXPECTED = [
    ([[0, 0, 40, 30]], ["person"]),
    ([[0, 15, 15, 25], [13.5, 6, 16.5, 14]], ["traffic light", "person"]),
    ([], []),
    ([], []),
    ([[3.3, 4.2, 19.8, 19.95]], ["traffic light"]),
]
NAMES = "names:\n  0: person\n  1: traffic light\n"


def yolo(images, labels, texts=LABELS):
    for i, size in enumerate(SIZES):
        picture(images / f"{i}.jpg", size)
    labels.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (labels / f"{name}.txt").write_text(text)


def check(source, folder):
    assert len(source) == 5
    for i, (boxes, names) in enumerate(EXPECTED):
        row = source[i]
        assert (row["image"], row["path"], row["label"]) == (str(folder / f"{i}.jpg"), f"{i}.jpg", names)
        assert np.array(row["box"]).reshape(-1, 4) == pytest.approx(np.array(boxes).reshape(-1, 4))
    assert source.column("label") == [names for _, names in EXPECTED]
    assert source.column("box") is None
    assert source.describe() == f"YOLO folder {folder.parent.name}/{folder.name} of 5 images, 1 without labels"


LAYOUTS = {
    "a split of its own": ("images/train", "labels/train", "train: images/train\n" + NAMES, "."),
    "a split of several": (
        "images/train",
        "labels/train",
        "train: images/train\nval: images/val\n" + NAMES,
        "images/train",
    ),
    "with a path": ("images/val", "labels/val", "path: ../coco8\nval: images/val\nnc: 2\n" + NAMES, "data.yaml"),
    "a list of names": ("images", "labels", "train: images\nnames: [person, traffic light]\n", "."),
    "as Roboflow writes": (
        "train/images",
        "train/labels",
        "train: ../train/images\nval: ../valid/images\n" + NAMES,
        "train",
    ),
    "the YAML of Roboflow": ("train/images", "train/labels", "train: ../train/images\n" + NAMES, "data.yaml"),
    "labels beside": ("train", "train", "train: train\n" + NAMES, "."),
    "classes.txt": ("images", "labels", None, "."),
    "another YAML": ("images/a", "labels/a", NAMES + "train: images/a\n", "."),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_yolo(tmp_path, monkeypatch, layout):
    images, labels, about, given = LAYOUTS[layout]
    root = tmp_path / "pets"
    yolo(root / images, root / labels)
    if about is None:
        (root / labels / "classes.txt").write_text("person\ntraffic light\n")
    else:
        (root / ("coco8.yaml" if layout == "another YAML" else "data.yaml")).write_text(about)
    check(open_source(root / given), root / images)
    monkeypatch.chdir(tmp_path)
    check(open_source(f"pets/{given}"), root / images)


def test_yolo_without_names_has_numbers(tmp_path, caplog):
    yolo(tmp_path / "images", tmp_path / "labels")
    source = open_source(tmp_path)
    assert source.column("label") == [["0"], ["1", "0"], [], [], ["1"]]
    assert "the classes have no names, so labels are their numbers; write a data.yaml" in caplog.text


def test_several_splits_of_yolo_ask_for_one(tmp_path):
    for split in ("train", "val"):
        yolo(tmp_path / "images" / split, tmp_path / "labels" / split)
    with pytest.raises(
        DataError, match=r"has 2 splits: train, val; expected the folder of one: .*images/train, .*images/val"
    ):
        open_source(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\ntest:\n" + NAMES)
    for path in (tmp_path, tmp_path / "data.yaml"):
        with pytest.raises(DataError, match=r"has 2 splits: train, val; expected the folder of one"):
            open_source(path)
    check(open_source(tmp_path / "images/val"), tmp_path / "images/val")


def test_yolo_measures_the_picture_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("jpg", "png", "webp", "tiff"):
        picture(tmp_path / f"images/{suffix}.{suffix}", (40, 30), exif=exif)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/{suffix}.txt").write_text("0 0.5 0.5 1 0.5\n")
    source = open_source(tmp_path)
    for i in range(4):
        assert source[i]["box"] == [[0, 10, 30, 30]]
        assert read_image(source[i]["image"]).size == image_size(source[i]["image"]) == (30, 40)
    data = (tmp_path / "images/png.png").read_bytes()
    start = data.index(b"eXIf") - 4
    chunk = data[start : start + 12 + int.from_bytes(data[start : start + 4])]
    (tmp_path / "images/png.png").write_bytes(data.replace(chunk, b"")[:-12] + chunk + data[-12:])
    assert image_size(tmp_path / "images/png.png") == (30, 40)  # behind the pixels
    with pytest.raises(DataError, match="holds no picture"):
        image_size(tmp_path / "labels/jpg.txt")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2 0.5 0.5 1 1", "no class 2; there are 2"),
        ("-1 0.5 0.5 1 1", "no class -1"),
        ("0.5 0.5 0.5 1 1", "no class 0.5"),
        ("0 0.5 0.5 1", "4 numbers"),
        ("0 0.5 0.5 1 1 0.93", "6 numbers; a last number that is how sure a model was has to go"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 numbers"),
        ("0 20 15 40 30", "they are shares of its sides, and not pixels"),
        ("0 0.5 nan 1 1", "not finite"),
        ("0 0.5 0.5 1 one", "could not convert string to float: 'one'"),
        ("person 0.5 0.5 1 1", "could not convert"),
    ],
)
def test_a_line_that_cannot_be_read_is_a_fault_of_its_row(tmp_path, line, says):
    yolo(tmp_path / "images", tmp_path / "labels", LABELS | {"0": f"0 0.5 0.5 1 1\n{line}\n"})
    (tmp_path / "data.yaml").write_text("train: images\n" + NAMES)
    source = open_source(tmp_path)
    with pytest.raises(DataError, match=rf"labels/0.txt, line 2: .*{says}.*expected lines `class cx cy width height`"):
        source[0]
    assert source[1]["label"] == ["traffic light", "person"]
    assert source.column("label")[:2] == [[], ["traffic light", "person"]]


def test_keypoints_behind_a_box_are_no_outline(tmp_path):
    """Of two of three numbers, or four of two: as many numbers as an outline may have."""
    texts = LABELS | {"0": "0 0.5 0.5 1 1 0.1 0.1 2 0.9 0.9 1\n", "4": "1 0.25 0.5 0.5 0.25" + " 0.1 0.9" * 4}
    yolo(tmp_path / "images", tmp_path / "labels", texts)
    (tmp_path / "data.yaml").write_text("train: images\nkpt_shape: [2, 3]\n" + NAMES)
    source = open_source(tmp_path)
    assert source[0]["box"] == [[0, 0, 40, 30]]
    assert source[4]["box"] == [pytest.approx([0, 7.875, 16.5, 13.125])]


def test_labels_that_are_no_text(tmp_path):
    yolo(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "labels/0.txt").write_bytes(b"0 0.5 0.5 1 1 \xff\n")
    with pytest.raises(DataError, match=r"0.txt cannot be read: 'utf-8' codec"):
        open_source(tmp_path)[0]


@pytest.mark.parametrize(
    ("about", "says"),
    [
        (
            "train: images\nnames: [yes, no]\n",
            "to YAML the name of class 0 is True; expected a name; put it into quotes",
        ),
        ("train: images\nnames: 5\n", "names is 5; expected a list of names"),
        ("train: images\nnames: {a: 1}\n", "names is"),
        ("train: images\nnc: 3\n" + NAMES, "nc is 3, and there are 2 names"),
        (
            "train: nowhere\n" + NAMES,
            "train is 'nowhere', and there is no such folder; expected a folder of pictures at",
        ),
        ("train: [images, more]\n" + NAMES, r"train is \['images', 'more'\]; expected the path of one folder"),
        (
            "train: train.txt\n" + NAMES,
            r"train is 'train.txt', a list of pictures in a file; expected the path of one folder",
        ),
        ("train: [images\n" + NAMES, "is no YAML"),
        (NAMES, "names no folder; expected `train:`, `val:` or `test:`"),
        ("- names\n", "data.yaml holds a list"),
    ],
)
def test_a_data_yaml_that_is_wrong(tmp_path, about, says):
    yolo(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "data.yaml").write_text(about)
    (tmp_path / "train.txt").write_text("images/0.jpg\n")
    with pytest.raises(DataError, match=says):
        open_source(tmp_path / "data.yaml")


def test_yolo_without_pictures_or_labels(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "data.yaml").write_text("train: images\n" + NAMES)
    with pytest.raises(DataError, match=r"images holds no image; expected the pictures of a YOLO data set"):
        open_source(tmp_path)
    picture(tmp_path / "images/a.png")
    with pytest.raises(
        DataError, match=r"none of the 1 pictures in .*images has a file of labels in .*; expected a.txt there"
    ):
        open_source(tmp_path)


def test_a_folder_of_images_beside_other_files_is_no_yolo(tmp_path):
    picture(tmp_path / "images/cat/a.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "settings.yaml").write_text("names: 3\n")
    assert open_source(tmp_path).describe().startswith(f"folder {tmp_path.name} of 1 images")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_detection_trains_on_them(tmp_path, kind):
    if kind == "coco":
        data = written(tmp_path, coco())
    else:
        yolo(tmp_path / "images", tmp_path / "labels")
        (tmp_path / "data.yaml").write_text("train: images\n" + NAMES)
        data = tmp_path
    task = Task("t", LINE, train=data, valid=data, metrics=["detection"], on_bad="stop", micro_batch_size=5)
    trainer = Trainer(max_steps=2, live=False)
    model = GeneralistModel(size="tiny", text_pieces=300)
    trainer.fit(model=model, tasks=task)
    assert 0 <= trainer.evaluate(model=model, tasks=[task])["t"]["f1@0.5"] <= 1
