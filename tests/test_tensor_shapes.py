"""The shapes written in `ofasys.types` are those of every object that the tests make."""

import ast
import dataclasses
import inspect

import numpy as np
import pytest
import tensor_shapes
import torch
from tensor_shapes import ShapeError

from ofasys import types
from ofasys.types import Hidden, Layout, Loss, LossOutput, Prediction, SlotFeatures, Stream, TokenSpan, TokenTargets

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
