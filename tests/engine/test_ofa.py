"""OFA's architecture as an engine: kinds of places, runs, and what its shape may be."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ofasys import AnswerSession, GeneralistModel, OFASys, flow
from ofasys.engine import ENGINES
from ofasys.engine.ofa.config import FRAME, MARK, WAVE, Kind, OFAConfig
from ofasys.engine.ofa.model import OFAModel
from ofasys.engine.ofa.places import buckets, kind_of, source_places, target_places
from ofasys.errors import ConfigError, DataError
from ofasys.program.batch import layout
from ofasys.testing.questions import questions
from ofasys.types import Stream

LINE = Kind(rows=34, near=8, far=32)
GRID = Kind(rows=26, near=5)
SIDES: dict[str, Any] = {
    "source": {"line": LINE, "grid": GRID, "wave": Kind(rows=40, near=40, far=4096), "film": Kind(rows=9, near=4)},
    "target": {"line": LINE, "codes": GRID},
}
SHAPE: dict[str, Any] = {"width": 16, "heads": 2, "ffn": 24, "encoder_layers": 2, "decoder_layers": 2, "dropout": 0.0}

WORDS = [(-1, -1)] * 3
PICTURE = [(y, x) for y in range(2) for x in range(3)]
CLIP = [(FRAME * (frame + 1) + y, x) for frame in range(2) for y, x in PICTURE[:4]]
SOUND = [(WAVE, WAVE)] * 4


def made(**changes: Any) -> OFAModel:
    torch.manual_seed(0)
    model = OFAModel(OFAConfig(**SHAPE, **{**SIDES, **changes}))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model.eval()


def stream(*rows: list[tuple[int, int]]) -> Stream:
    """Rows of (y, x), each position's embedding a function of its place in its row."""
    lengths = [len(row) for row in rows]
    order = np.concatenate([np.arange(n) for n in lengths])
    positions = np.concatenate([order[:, None], np.concatenate([np.array(row) for row in rows])], 1)
    random = torch.randn(max(lengths), 16, generator=torch.Generator().manual_seed(1))
    return Stream(random[torch.from_numpy(order)], layout(np.array(lengths), positions))


ROWS = (WORDS + PICTURE + WORDS, PICTURE + PICTURE, SOUND + WORDS, CLIP + WORDS, WORDS)


def test_places_of_a_source() -> None:
    places = source_places(stream(ROWS[0], ROWS[1]).layout)
    runs = places[:, 0] // 8
    assert runs.unique_consecutive(return_counts=True)[1].tolist() == [3, 6, 3, 6, 6]
    assert places[:3, 1].tolist() == places[9:12, 1].tolist() == [0, 1, 2]  # each text counts from 0


def test_places_of_a_target() -> None:
    places = target_places(torch.tensor([[0, MARK, MARK], [1, 0, 0], [2, 0, 1], [3, -1, -1]]))
    assert kind_of(places).tolist() == [4, 4, 4, 0]
    assert places[3, 1] == 3


@torch.no_grad()
def test_no_row_depends_on_its_neighbours() -> None:
    model = made()
    together = model.encode(stream(*ROWS)).states.split([len(row) for row in ROWS])
    for row, states in zip(ROWS, together, strict=True):
        torch.testing.assert_close(model.encode(stream(row)).states, states)


@torch.no_grad()
def test_runs_have_no_distance_between_them() -> None:
    model = OFAModel(OFAConfig(**SHAPE, **SIDES, absolute=False)).eval()
    for weight in model.encoder.positions.parameters():
        torch.nn.init.normal_(weight)
    places = source_places(stream(ROWS[0]).layout)[None]
    bias = model.encoder.positions.biases(places, places)(0)[0]
    runs = places[0, :, 0]
    apart = runs[:, None] != runs
    assert not bias[:, apart].any()
    assert bias[:, ~apart].all()


def test_buckets_are_one_each_when_near_and_few_when_far() -> None:
    found = buckets(8, 32, 40)
    assert found[36:45].tolist() == list(range(3, 12))
    assert found[0] == found[8] == 0
    assert found[-1] == found[-9] == 14
    assert bool((found.diff() >= 0).all())


def test_its_shape_is_kept() -> None:
    config = OFAConfig(**SHAPE, **SIDES)
    spec = ENGINES["ofa"]
    assert spec.read(spec.written(config)) == config


def bias_of(model: OFAModel) -> Tensor:
    places = target_places(torch.tensor([[[0, MARK, MARK], [1, 0, 0]]]))
    return model.decoder.positions.biases(places, places)(0)


def test_the_mark_of_codes_has_biases_of_its_own() -> None:
    model = OFAModel(OFAConfig(**SHAPE, **SIDES, absolute=False))
    table = model.decoder.positions.places["codes"].relative[0].weight  # type: ignore[index, union-attr]
    bias = bias_of(model)[0].permute(1, 2, 0)
    assert torch.equal(bias[0, 0], table[-1])
    assert torch.equal(bias[1, 0], table[-2])
    assert torch.equal(bias[0, 1], table[-3])


def test_a_pass_asks_its_device_for_nothing() -> None:
    model, found = made().train(), Counter[str]()
    source, target = stream(*ROWS[:3]), stream(*[[(MARK, MARK), *PICTURE], WORDS, WORDS])
    with questions(found):
        states = model(source, target)
        states.target.states.square().sum().backward()
    assert not found
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


WRONG = {
    "no line": ({"source": {"grid": GRID}}, "no kind of place 'line'"),
    "a name": ({"source": {"line": LINE, "grit": GRID}}, "did you mean grid"),
    "film alone": ({"source": {"line": LINE, "film": LINE}}, "'film' and no 'grid'"),
    "codes in a source": ({"source": {"line": LINE, "codes": GRID}}, "never stands there"),
    "a norm": ({"decoder_norm": "middle"}, "decoder_norm is 'middle'"),
    "a factor": ({"attention_factor": 0.0}, "attention_factor is 0.0"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_shape_that_cannot_be(what: str) -> None:
    changes, message = WRONG[what]
    with pytest.raises(ConfigError, match=message):
        OFAConfig(**SHAPE, **{**SIDES, **changes})


def test_a_kind_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="rows 0"):
        Kind(rows=0, near=4)
    with pytest.raises(ConfigError, match="with rows and near"):
        OFAConfig.from_dict({**SHAPE, "source": {"line": {"rows": 3}}})


def test_a_picture_that_is_too_large() -> None:
    with pytest.raises(DataError, match="2 rows and 6 columns, the model has 5 of each"):
        made().encode(stream([(y, x) for y in range(2) for x in range(6)]))


def test_codes_that_were_not_learned() -> None:
    model = OFAModel(OFAConfig(**SHAPE, source=SIDES["source"], target={"line": LINE}))
    with pytest.raises(DataError, match="codes of a picture"):
        model.decode(stream(PICTURE), None)


@torch.no_grad()
def test_rows_of_joined_sessions_stand_where_those_of_one_do() -> None:
    model = made()
    source, target = stream(WORDS + PICTURE, WORDS), stream(PICTURE[:3] + WORDS, PICTURE[:3] + WORDS)
    rows = target.embedding.unflatten(0, (2, 6)), target.layout.positions.unflatten(0, (2, 6))
    wanted = model.decode(target, model.encode(source)).states.unflatten(0, (2, 6))
    alone = model.open(source, None, 2)
    joined, session = model.joined(), model.open(source, None, 2)
    joined.add(session)
    for at in range(6):
        embedding, positions = (part[:, at] for part in rows)
        one = alone.append(embedding[:, None], positions[:, None])
        together = joined.append([session], embedding, positions, [1])
        torch.testing.assert_close(one, wanted[:, at])
        torch.testing.assert_close(together, wanted[:, at])


def test_a_session_answers_as_inference_does() -> None:
    """Greedy, drawn, by beams and with labels, all at once."""
    torch.manual_seed(0)
    lines, labels = ("[TEXT:q] -> [TEXT:a]", "[TEXT:q] -> [CATEGORY:kind]"), {"kind": ["some", "none at all"]}
    config = OFAConfig(**SHAPE, source={"line": LINE}, target={"line": LINE})
    model = GeneralistModel(engine="ofa", config=config, text_pieces=300)
    model.grow([(flow.plan(flow.parse(line)), labels) for line in lines], lambda: ["one and two or three"] * 9)
    served = OFASys(model.eval())
    ways: list[dict[str, Any]] = [{}, {"sampling": True, "temperature": 0.5}, {"beam_size": 2}, {"min_length": 3}]
    asked = [(lines[0], {"max_length": 5, **way}) for way in ways] + [(lines[1], {"closed_set": labels})]
    given = [(line, {"q": f"{n} and {n}"}, {**way, "first": n}) for n in range(3) for line, way in asked]
    with AnswerSession(served, rows=9) as session:
        pending = [session.submit(line, row, **way) for line, row, way in given]
        found = [one.result(60) for one in pending]
    assert found == [served.inference(line, row, **way) for line, row, way in given]
