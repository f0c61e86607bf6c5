"""The shapes written beside fields and in signatures hold for every object that the tests make and for every call."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tensor_shapes
import torch
from tensor_shapes import ShapeError
from torch import Tensor

from ofasys import types
from ofasys.criterion.contrast import mean_of
from ofasys.criterion.cross_entropy import CrossEntropy, cross_entropy
from ofasys.modality.number.adaptor import WaveAdaptor
from ofasys.model.sizes import ModelConfig
from ofasys.model.universal import UniversalModel
from ofasys.types import Hidden, Layout, Loss, LossOutput, Prediction, SlotFeatures, Stream, TokenSpan, TokenTargets

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

LAYOUT = {
    "batch": 2,
    "length": 3,
    "padded_index": torch.tensor([0, 1, 2, 3]),
    "positions": torch.zeros(4, 3, dtype=torch.long),
    "lengths": torch.tensor([3, 1]),
    "full": False,
}
INDEX = torch.zeros(5, dtype=torch.long)
TARGETS = {"stage": 0, "group": 0, "at": INDEX, "labels": INDEX, "slots": INDEX, "slot": 0, "allowed": None}


def test_what_is_right_passes():
    layout = Layout(**LAYOUT, blocks=torch.zeros(4, dtype=torch.int32))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        assert Stream(torch.zeros(4, 8, dtype=dtype), layout).layout is layout
    Prediction(TokenTargets(**TARGETS), torch.zeros(5, 8), torch.zeros(7, 8))
    SlotFeatures({}, 3, np.zeros((3, 2), np.int64))


@pytest.mark.parametrize(
    "wrong",
    [
        {"padded_index": torch.tensor([0, 1, 2])},
        {"padded_index": torch.tensor([0.0, 1.0, 2.0, 3.0])},
        {"padded_index": [0, 1, 2, 3]},
        {"positions": torch.zeros(4, 2, dtype=torch.long)},
        {"positions": torch.zeros(12, dtype=torch.long)},
        {"lengths": torch.tensor([4])},
        {"blocks": torch.zeros(3, dtype=torch.long)},
        {"blocks": torch.zeros(4, dtype=torch.bool)},
    ],
)
def test_a_wrong_layout_is_found(wrong):
    with pytest.raises(ShapeError, match=r"Layout\.\w+ is Int"):
        Layout(**{**LAYOUT, **wrong})


def test_what_an_object_holds_has_its_sizes():
    with pytest.raises(ShapeError, match=r"Layout.padded_index is Int \('N',\), N being 5, and torch.int64 \(4,\) was"):
        Stream(torch.zeros(5, 8), Layout(**LAYOUT))
    with pytest.raises(ShapeError, match=r"Layout\.padded_index"):
        dataclasses.replace(Hidden(torch.zeros(4, 8), Layout(**LAYOUT)), states=torch.zeros(3, 8))
    targets = TokenTargets(**{**TARGETS, "allowed": torch.ones(5, 7, dtype=torch.bool)})
    for hidden, candidates in [((5, 8), (7, 9)), ((5, 8), (6, 8)), ((4, 8), (7, 8))]:
        with pytest.raises(ShapeError):
            Prediction(targets, torch.zeros(hidden), torch.zeros(candidates))


def test_a_size_named_as_a_field_is_that_field():
    with pytest.raises(ShapeError, match=r"SlotFeatures.grid is Int \('length', '2'\), length being 4, and"):
        SlotFeatures({}, 4, np.zeros((3, 2), np.int64))


def test_numbers_and_what_stands_in_a_mapping():
    LossOutput(torch.tensor(1.0), {"fit": torch.tensor(0.5)})
    with pytest.raises(ShapeError, match=r"LossOutput.sum is Float \(\)"):
        LossOutput(torch.zeros(1))
    with pytest.raises(ShapeError, match=r"LossOutput.figures\['fit'\] is Float \(\)"):
        LossOutput(torch.tensor(1.0), {"fit": torch.zeros(2)})
    with pytest.raises(ShapeError, match=r"Loss.left_out\[3\]\['short'\] is Int \(\)"):
        Loss(torch.tensor(1.0), torch.zeros(4), torch.zeros(4), {}, {3: {"short": torch.tensor(1.0)}})


def test_an_array_is_no_tensor():
    with pytest.raises(ShapeError, match=r"of ndarray, and a Tensor was given"):
        TokenSpan(0, torch.tensor([1]), None, None)


def checked(function):
    """As the functions of a module are that says `from typing import Annotated as Float`."""
    return tensor_shapes.checked(function, tensor_shapes.arrays(function.__annotations__, sys.modules[__name__]))


@checked
def scores(hidden: Float[Tensor, "n D"], table: Float[Tensor, "U D"]) -> Float[Tensor, "n U"]:
    return hidden @ table.t()


@checked
def at_each(places: Int[Tensor, "R n 3"] | Int[Tensor, "n 3"], hidden: Float[Tensor, "R n D"]) -> Float[Tensor, "R"]:
    return hidden.sum((1, 2))


@checked
def some(x: Float[Tensor, "... D"] | None, count: int = 2) -> Mapping[str, Float[Tensor, "count ..."]]:
    return {"made": torch.zeros(2, 3), "stop": torch.zeros(2)}


@checked
def pair(x: Float[Tensor, "n"], back: tuple) -> tuple[Float[Tensor, "n"], Float[np.ndarray, "n D"]]:
    return back


def test_what_a_function_is_given_and_gives_is_checked():
    assert scores(torch.zeros(3, 4), table=torch.zeros(5, 4)).shape == (3, 5)
    with pytest.raises(
        ShapeError, match=r"^scores\(table\) is Float \('U', 'D'\), D being 4, and torch.float32 \(5, 6\)"
    ):
        scores(torch.zeros(3, 4), torch.zeros(5, 6))
    with pytest.raises(ShapeError, match=r"^scores\(hidden\) is Float"):
        scores(torch.zeros(3, 4, dtype=torch.long), torch.zeros(5, 4))
    with pytest.raises(
        ShapeError, match=r"^scores\(hidden\) is Float \('n', 'D'\) of Tensor, and a NoneType was given"
    ):
        scores(None, torch.zeros(5, 4))
    with tensor_shapes.unwatched(), pytest.raises(RuntimeError, match="shapes"):
        scores(torch.zeros(3, 4), torch.zeros(5, 6))


def test_of_several_annotations_one_counts():
    hidden, places = torch.zeros(2, 5, 8), torch.zeros(2, 5, 3, dtype=torch.long)
    for given in (places, places[0]):
        at_each(given, hidden)
    for given in (places[:1], places[:, :4], places[0, :4], places[0, :, :2], places[0, 0], places.float()):
        with pytest.raises(ShapeError, match=r"^at_each\((places|hidden)\)"):
            at_each(given, hidden)


def test_any_dimensions_and_numbers_by_name():
    for given in (None, torch.zeros(4), torch.zeros(2, 3, 4)):
        some(given)
    with pytest.raises(ShapeError, match=r"^some\(x\) is Float"):
        some(torch.tensor(1.0))
    with pytest.raises(ShapeError, match=r"^some\(\)\['made'\] is Float .*, count being 3, and torch.float32 \(2, 3\)"):
        some(None, count=3)


def test_each_of_a_tuple():
    x, array = torch.zeros(3), np.zeros((3, 2))
    pair(x, (x, array))
    for back in ((x, array.T), (x[:2], array), (array, x), (x, array.astype(int))):
        with pytest.raises(ShapeError, match=r"^pair\(\)\[[01]\]"):
            pair(x, back)


def test_what_adaptors_criteria_and_sessions_are_given_is_checked():
    adaptor = WaveAdaptor({}, 8)
    with pytest.raises(ShapeError, match=r"^WaveAdaptor.predict\(hidden\) is Float \('n', 'D'\)"):
        adaptor.predict(torch.zeros(3, 1, 8), torch.ones(3, dtype=torch.long), {})
    with pytest.raises(
        ShapeError, match=r"^cross_entropy\(labels\) is Int \('n',\), n being 3, and torch.int64 \(4,\)"
    ):
        cross_entropy(torch.zeros(3, 8), torch.zeros(5, 8), torch.zeros(4, dtype=torch.long))
    with pytest.raises(ShapeError, match=r"^CrossEntropy.__new__\(losses\) is Float"):
        CrossEntropy(torch.tensor(1.0), torch.zeros(3, 1), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"^mean_of\(lengths\) is Int"):
        mean_of(torch.zeros(3, 8), torch.ones(3))
    engine = UniversalModel(ModelConfig(width=8, heads=2, ffn=8, encoder_layers=1, decoder_layers=1)).eval()
    session = engine.open(None, None, 2)
    session.fill(torch.zeros(2, 3, 8), torch.zeros(3, 3, dtype=torch.long))
    with pytest.raises(ShapeError, match=r"^CachedSession.append\(positions\) is Int \('R', 'n', '3'\), R being 2"):
        session.append(torch.zeros(2, 1, 8), torch.zeros(1, 1, 3, dtype=torch.long))


ROOMS = ("engine/protocol.py", "model/session.py", "criterion/*.py", "modality/*/adaptor.py", "modality/shared/*.py")
SHAPED = re.compile(r"(Float|Int|Bool)\[[\w.]+, '[^']*'\]|(Mapping|dict)\[str, (Tensor|np.ndarray)\]")


def signatures():
    """(place, annotations) of every public function of these rooms."""
    root = Path(types.__file__).parent
    for file in (file for pattern in ROOMS for file in sorted(root.glob(pattern))):
        tree = ast.parse(file.read_text())
        own = [node for node in tree.body if not getattr(node, "name", "_").startswith("_")]
        for node in [*own, *(each for cls in own if isinstance(cls, ast.ClassDef) for each in cls.body)]:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                asked = [arg.annotation for arg in (*node.args.args, *node.args.kwonlyargs)] + [node.returns]
                yield f"{file.relative_to(root)}: {node.name}", [ast.unparse(one) for one in asked if one is not None]


def test_no_signature_between_rooms_has_a_tensor_without_its_shape():
    found = list(signatures())
    assert sum(bool(SHAPED.search(text)) for _, texts in found for text in texts) > 50
    bare = [place for place, texts in found for text in texts if "Tensor" in SHAPED.sub("", text)]
    assert not bare


def test_no_tensor_crosses_rooms_without_its_shape():
    """Those in a mapping by name are the adaptor's or the criterion's own; a property is a field's."""
    bare = [
        f"{node.target.id}: {ast.unparse(node.annotation)}"
        for cls in ast.parse(inspect.getsource(types)).body
        if isinstance(cls, ast.ClassDef)
        for node in cls.body
        if isinstance(node, ast.AnnAssign)
        and ast.unparse(node.annotation).startswith(("Tensor", "np.ndarray", "tuple[Tensor", "tuple[np.ndarray"))
    ]
    assert not bare


def test_every_class_is_watched():
    found = [cls for cls in vars(types).values() if tensor_shapes.is_ours(cls)]
    assert len(found) > 20
    assert all(hasattr(cls.__init__, "__wrapped__") for cls in found)
    assert {cls.__name__ for cls in found if tensor_shapes.annotated(cls)} >= {
        "Layout",
        "Stream",
        "Batch",
        "Loss",
        "SideBatch",
    }
