"""What a criterion gives is looked at where it comes in: what is promised passes, each wrong twin is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tensor_shapes import unwatched

from ofasys import GeneralistModel, Task
from ofasys.criterion import CRITERIA
from ofasys.criterion.check import check_output, check_tokens
from ofasys.criterion.regress import SquaredError as Squares
from ofasys.errors import PluginError
from ofasys.flow import collate, preprocess
from ofasys.modality import BUILT_IN
from ofasys.types import LossOutput, SlotFeatures
from tests.laws.test_accumulate import CONFIG

MINE = replace(CRITERIA["mse"], name="mine", load=f"{__name__}:Summed")
LOSS = torch.zeros((), requires_grad=True)


class Summed(Squares):
    """Forgets to say that it is a sum."""

    def forward(self, seen):
        return super().forward(seen).sum


def output(**wrong):
    with unwatched():
        return LossOutput(**{"sum": LOSS, "figures": {"l2": torch.zeros(())}, **wrong})


def test_what_is_promised_passes():
    good = output(left_out={"too short": torch.zeros((), dtype=torch.int64)})
    assert check_output(MINE, good) is good
    loss, each = check_tokens(MINE, (LOSS, torch.ones(3, requires_grad=True), "more"), 3)
    assert loss is LOSS
    assert not each.requires_grad


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (LOSS, r"gave float32 \(\); give a LossOutput"),
        (output(sum=2.0), "gave sum=a float; give the loss summed over its units"),
        (output(sum=torch.zeros(3)), r"gave sum=float32 \(3,\); give the loss"),
        (output(sum=torch.zeros((), dtype=torch.int64)), r"gave sum=int64 \(\); give the loss"),
        (output(figures=[1.0]), "gave figures=a list; give figures by name"),
        (output(figures={1: LOSS.detach()}), "gave figures=a dict; give figures by name"),
        (output(figures={"l2": 0.5}), r"gave figures\['l2'\]=a float; give a detached tensor \(\)"),
        (output(figures={"l2": torch.zeros(2)}), r"gave figures\['l2'\]=float32 \(2,\); give a detached"),
        (output(figures={"l2": LOSS}), r"gave figures\['l2'\]=float32 \(\) with a gradient; give a detached"),
        (output(left_out={"short": 3}), r"gave left_out\['short'\]=a int; give a detached"),
    ],
)
def test_each_wrong_output_is_named(found, said):
    with pytest.raises(PluginError, match=rf"criterion 'mine' \({__name__}:Summed, module tests\) {said}"):
        check_output(MINE, found)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (None, "gave None for 3 tokens"),
        ((LOSS,), r"gave float32 \(\) for 3 tokens; give the weighted sum \(\)"),
        ((LOSS, torch.zeros(2)), r"gave float32 \(\), float32 \(2,\) for 3 tokens; .* the loss of each token \(3,\)"),
        ((torch.zeros(3), torch.zeros(3)), r"gave float32 \(3,\), float32 \(3,\) for 3 tokens"),
        ((torch.zeros((), dtype=torch.int32), torch.zeros(3)), r"gave int32 \(\), float32 \(3,\)"),
    ],
)
def test_each_wrong_pair_is_named(found, said):
    with pytest.raises(PluginError, match=said):
        check_tokens(MINE, found, 3)


@pytest.mark.parametrize("load", [f"{__name__}:Summed", "ofasys.criterion.regress:SquaredError"])
def test_a_module_from_outside_is_looked_at_in_a_run(load):
    registry = BUILT_IN.with_(replace(MINE, load=load))
    rows = [{"n": float(i)} for i in range(4)]
    task = Task("t", "[NUMBER:n] -> [NUMBER:n,criterion=mine]", train=rows, modalities=registry)
    model = GeneralistModel(config=CONFIG, text_pieces=300, modalities=registry)
    model.grow([(task.plan, task.labels)], task.texts, task.examples)
    program = model.bind(task.plan, task.labels)
    batch = collate(program, [preprocess(program, row) for row in rows])
    if load == MINE.load:
        with pytest.raises(PluginError, match=r"criterion 'mine' .* gave float32 \(\); give a LossOutput"):
            model(program, batch)
    else:
        assert torch.isfinite(model(program, batch).total)


def drawn(features, options, random):
    return features, {"noise": random.standard_normal(3)}


def undecided(features, options, random):
    return features


def nameless(features, options, random):
    return features, [1, 2]


def half(lengths, arrays):
    return len(lengths) / 2


def less(lengths, arrays):
    return -1


def listed(lengths, arrays):
    return {"tokens": [1, 2]}


FEATURES = SlotFeatures({"frames": np.zeros((2, 1), np.float32)}, 2)
LENGTHS = np.array([2, 1])


def test_what_prepares_counts_and_joins():
    one, other = (replace(MINE, prepare=f"{__name__}:drawn").prepared(FEATURES, {}, None) for _ in range(2))
    assert one[0] is FEATURES
    assert np.array_equal(one[1]["noise"], other[1]["noise"])
    assert MINE.prepared(FEATURES, {}, None) == (FEATURES, FEATURES.tensors)
    assert MINE.counted(LENGTHS, {}) == 3
    assert MINE.joined(LENGTHS, {"a": LENGTHS}) == {"a": LENGTHS}


@pytest.mark.parametrize(
    ("what", "name", "said"),
    [
        ("prepare", "undecided", r"gave SlotFeatures\(.*; give \(SlotFeatures for the stream, arrays to learn from\)"),
        ("prepare", "nameless", r"gave \[1, 2\]; give numpy arrays by name"),
        ("prepare", "nowhere", "is not there"),
        ("units", "half", "gave 1.0; give a whole number, 0 or more"),
        ("units", "less", "gave -1; give a whole number"),
        ("units", "nowhere", "is not there"),
        ("join", "listed", r"gave {'tokens': \[1, 2\]}; give numpy arrays by name"),
    ],
)
def test_what_they_give_is_looked_at(what, name, said):
    mine = replace(MINE, **{what: f"{__name__}:{name}"})
    with pytest.raises(PluginError, match=rf"criterion 'mine'.*{what}='{__name__}:{name}' {said}"):
        {
            "prepare": lambda: mine.prepared(FEATURES, {}, None),
            "units": lambda: mine.counted(LENGTHS, {}),
            "join": lambda: mine.joined(LENGTHS, {}),
        }[what]()
