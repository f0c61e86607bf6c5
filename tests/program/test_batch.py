"""Samples laid end to end: what lies where, what is padded, what crosses to a device or a worker."""

import pickle

import numpy as np
import pytest
import torch

from ofasys import flow
from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel, seeded
from ofasys.program.batch import to_device
from ofasys.types import Batch


def test_streams_lie_end_to_end(tiny):
    made, samples = tiny.program("caption"), tiny.samples("caption")
    batch = flow.collate(made, samples)
    lengths = [len(s.run.prefix) + len(s.run.tokens) - 1 for s in samples]
    layout = batch.target.layout
    assert layout.lengths.tolist() == lengths
    assert layout.length == max(lengths)
    assert layout.padded_index.tolist() == [*range(lengths[0]), *range(layout.length, layout.length + lengths[1])]
    assert not layout.full
    assert batch.source.layout.full
    assert batch.size == 2
    assert batch.positions == sum(lengths) + 2 * batch.source.layout.length
    assert batch.padded == 2 * max(lengths) + 2 * batch.source.layout.length
    tokens = batch.target.inputs[0].tensors["tokens"]
    np.testing.assert_array_equal(tokens, np.concatenate([np.append(s.run.prefix, s.run.tokens[:-1]) for s in samples]))


def test_each_position_is_embedded_once(tiny):
    for name in tiny.INSTRUCTIONS:
        batch = flow.collate(tiny.program(name), tiny.samples(name))
        for side in (batch.source, batch.target):
            if side is not None:
                rows = torch.cat([entry.rows for entry in side.inputs])
                assert sorted(rows.tolist()) == list(range(len(side.layout.padded_index)))


def test_one_sided_instructions(tiny):
    assert flow.collate(tiny.program("language"), tiny.samples("language")).source is None
    sample = flow.preprocess(tiny.program("language"), {}, target=False)
    batch = flow.collate(tiny.program("language"), [sample])
    assert batch.targets == ()
    assert batch.target.layout.lengths.tolist() == [1]


def test_origins_are_kept(tiny):
    made = tiny.program("language")
    batch = flow.collate(
        made, [flow.preprocess(made, row, origin=f"row {i}") for i, row in enumerate(tiny.ROWS["language"])]
    )
    assert batch.origins == ("row 0", "row 1")


def test_to_device_reaches_every_tensor(tiny):
    batch = to_device(flow.collate(tiny.program("detect"), tiny.samples("detect")), torch.device("meta"))
    assert isinstance(batch, Batch)
    assert {targets.at.device.type for targets in batch.targets} == {"meta"}
    assert {t.device.type for s in batch.source.inputs for t in s.tensors.values()} == {"meta"}
    assert batch.target.layout.padded_index.device.type == "meta"


@pytest.mark.parametrize("name", ["caption", "detect", "entail", "heads"])
def test_a_program_crosses_to_a_worker(name, tiny):
    again = pickle.loads(pickle.dumps(tiny.program(name)))
    for row, sample in zip(tiny.ROWS[name], tiny.samples(name), strict=True):
        there = pickle.loads(pickle.dumps(flow.preprocess(again, row)))
        np.testing.assert_array_equal(there.run.tokens, sample.run.tokens)
        np.testing.assert_array_equal(there.run.states, sample.run.states)


def test_a_model_that_knows_nothing_yet(tiny):
    model = GeneralistModel(config=tiny.CONFIG)
    with pytest.raises(ConfigError, match="no vocabulary yet; train it first"):
        flow.bind(model, tiny.plans(("language",))["language"])
    model = tiny.grown(("language",))
    with pytest.raises(ConfigError, match=r"never shown IMAGE:img with adaptor patch"):
        flow.bind(model, tiny.plans(("caption",))["caption"])
    model = tiny.grown(("caption",))
    with pytest.raises(ConfigError, match="no tokens for 'bins'"):
        flow.bind(model, tiny.plans(("ground",))["ground"])
    with pytest.raises(ConfigError, match="unknown size 'tny'; did you mean tiny"):
        GeneralistModel("tny")


def test_a_model_of_pictures_and_boxes_alone_needs_no_text():
    model = GeneralistModel(config=__import__("tiny").CONFIG)
    plan = flow.plan("[IMAGE:i,size=32] -> [BOX:b]")
    model.grow([(plan, {})], lambda: [])
    assert flow.bind(model, plan).constraint.states > 4


def test_first_values_leave_the_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(0, "a name"):
        torch.rand(100)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(1)
    GeneralistModel("tiny")
    assert torch.equal(torch.rand(3), expected)
