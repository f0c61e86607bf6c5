"""Each modality shows its values on a page: raw ones as rows hold them, and answers."""

import base64
import io
import re
import sqlite3

import numpy as np
import pytest
from PIL import Image

from ofasys.errors import DataError
from ofasys.language import Instruction
from ofasys.modality import BUILT_IN, View, default_registry
from ofasys.modality.audio.waveform import Audio
from ofasys.modality.box.box import Box
from ofasys.modality.motion.motion import Motion
from ofasys.modality.struct.notation import Malformed
from ofasys.modality.struct.table import Table
from ofasys.modality.video.moving import Video
from ofasys.planner import plan
from ofasys.report.examples import Canvas

PICTURE = np.zeros((40, 60, 3), np.uint8)
POSITIONS = np.random.default_rng(0).normal(size=(6, 3, 3))


def shown(tag, values, **view):
    return BUILT_IN.spec(tag).show.resolve()(values, View(**view))


def files(page):
    """The files within a page, opened as pictures where they are."""
    return [base64.b64decode(data) for data in re.findall("base64,([^']*)'", page)]


def test_those_that_draw_are_known():
    drawing = {spec.tag for spec in BUILT_IN.modalities if spec.show is not None}
    assert drawing >= {"IMAGE", "BOX", "AUDIO", "VIDEO", "MOTION", "STRUCT"}
    for spec in default_registry().modalities:
        if spec.show is not None:
            assert callable(spec.show.resolve())


@pytest.mark.parametrize(("size", "wide"), [((40, 60), 180), ((1000, 500), 100), ((1, 3), 24), ((3000, 1), 1)])
def test_pictures(size, wide):
    page = shown("IMAGE", [np.zeros((*size, 3), np.uint8)])
    assert f"width='{wide}'" in page
    (data,) = files(page)
    assert max(Image.open(io.BytesIO(data)).size) <= 200
    assert ("pixels" in page) == (max(size) <= 100)
    with pytest.raises(DataError, match=r"no file 'gone\.png'"):
        shown("IMAGE", ["gone.png"])


def test_boxes_lie_on_their_picture():
    page = shown("BOX", [[0.0, 0.0, 30.0, 20.0]], referred=PICTURE, truths=[[30.0, 20.0, 60.0, 40.0]], labels=["<a>"])
    image = Image.open(io.BytesIO(files(page)[0]))
    assert image.size == (180, 120)
    colours = {image.getpixel(place) for place in ((0, 30), (120, 60))}
    assert colours == {(230, 25, 75), (173, 181, 189)}
    assert "[0.0, 0.0, 30.0, 20.0]" in page
    shares = shown("BOX", [Box([0.0, 0.0, 0.5, 0.5], "xyxy", True)], referred=PICTURE)
    assert "[0.000, 0.000, 0.500, 0.500]" in shares
    assert Image.open(io.BytesIO(files(shares)[0])).getpixel((89, 30)) == (230, 25, 75)
    assert "(no box)" in shown("BOX", [None], referred=PICTURE)
    assert files(shown("BOX", [[50.0, 30.0, 10.0, 5.0]], referred=PICTURE))  # corners that changed places
    assert shown("BOX", [[1.0, 2.0, 3.0, 4.0]]) == "[1.0, 2.0, 3.0, 4.0]"


def test_a_box_of_a_row_is_read_as_its_slot_says():
    for numbers, options in (
        ([30.0, 20.0, 30.0, 20.0], {"format": "xywh"}),
        ([0.75, 0.75, 0.5, 0.5], {"format": "cxcywh", "normalised": True}),
        ([30.0, 20.0, 60.0, 40.0], {"format": None, "normalised": False}),
    ):
        image = Image.open(io.BytesIO(files(shown("BOX", [numbers], referred=PICTURE, options=options))[0]))
        assert [image.getpixel(place) for place in ((90, 90), (120, 60), (60, 30))] == [(230, 25, 75)] * 2 + [(0, 0, 0)]


def test_the_values_of_a_row_by_themselves():
    made = plan(Instruction("find [TEXT:what] in [IMAGE:img] -> ([BOX:box,format=xywh] [TEXT:name])*"))
    row = {"img": PICTURE, "what": "<cats>", "box": [[0, 0, 30, 20]], "name": ["cat"]}
    found = {slot.column: html for slot, html in Canvas(made, row, None, BUILT_IN).truth()}
    assert list(found) == ["what", "box", "name"]
    assert found["what"] == "&lt;cats&gt;"
    assert Image.open(io.BytesIO(files(found["box"])[0])).getpixel((89, 30)) == (230, 25, 75)
    assert found["name"] == "cat"
    alone = {slot.column for slot, _ in Canvas(made, {**row, "box": None, "name": None}, None, BUILT_IN).truth()}
    assert alone == {"what", "img"}
    heard = plan(Instruction("[AUDIO:wav,criterion=ctc,ctc_target=said] ->"))
    assert [slot.column for slot, _ in Canvas(heard, {"wav": "gone.wav", "said": "a"}, None, BUILT_IN).truth()] == [
        "wav",
        "said",
    ]


def test_sounds():
    samples = np.sin(np.arange(800) / 9).astype(np.float32)
    options = {"rate": 8000, "seconds": 2.0}
    for value in ((samples, 8000), Audio(samples, 8000), {"array": samples, "sampling_rate": 8000}):
        page = shown("AUDIO", [value], options=options)
        assert "<audio controls" in page
        assert "0.1 s" in page
    with pytest.raises(DataError):
        shown("AUDIO", [(np.zeros(80_000), 8000)], options=options)


def test_clips():
    frames = [np.full((20, 30, 3), 10 * i, np.uint8) for i in range(20)]
    for value in (frames, {"frames": frames, "rate": 5}, np.stack(frames)):
        (data,) = files(shown("VIDEO", [value]))
        film = Image.open(io.BytesIO(data))
        assert film.format == "GIF"
        assert film.n_frames == 12
    film, strip = (Image.open(io.BytesIO(data)) for data in files(shown("VIDEO", [Video(np.stack(frames), 5.0)])))
    assert (film.n_frames, strip.size) == (12, (12 * 32 - 2, 20))
    (data,) = files(shown("VIDEO", [[PICTURE]]))
    assert Image.open(io.BytesIO(data)).n_frames == 1


def test_motions():
    for value in (POSITIONS, {"positions": POSITIONS, "fps": 30}, Motion.from_positions(POSITIONS)):
        (data,) = files(shown("MOTION", [value]))
        assert Image.open(io.BytesIO(data)).n_frames > 1
    long = files(shown("MOTION", [np.repeat(POSITIONS, 100, axis=0)]))
    assert Image.open(io.BytesIO(long[0])).n_frames <= 100


def test_structures(tmp_path):
    rows = [{"<name>": f"<i>{i}</i>", "n": i} for i in range(50)]
    page = shown("STRUCT", [rows], options={"preprocess": "table"})
    assert "&lt;name&gt;" in page
    assert "50 rows; the first are shown" in page
    assert "&lt;i&gt;11" in page
    assert "&lt;i&gt;12" not in page
    assert "<td>" not in shown("STRUCT", [Table([], ["a", "b"])], options={"preprocess": "table"})
    board = shown("STRUCT", [[[1, 2], [3, 4]]], options={"preprocess": "grid", "values": 5})
    assert board.count("<td>") == 4
    assert "<pre>1 2 &lt;</pre>" in shown(
        "STRUCT", [Malformed("1 2 <", "no grid")], options={"preprocess": "grid", "values": 5}
    )
    assert "(nothing)" in shown("STRUCT", [None], options={"preprocess": "triples"})
    triples = shown("STRUCT", [[("a", "is", "<b>")]], options={"preprocess": "triples"})
    assert "&lt;b&gt;" in triples
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table people (name text, age int)")
    for kind in ("database", "table"):
        assert "people" in shown("STRUCT", ["a.db"], options={"preprocess": kind}, root=tmp_path)
