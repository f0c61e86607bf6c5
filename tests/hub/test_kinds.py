"""Requests for values of every kind: what is asked reaches a slot or is refused, rows have numbers, files have a
kind.
"""

import json

import numpy as np
import pytest
from PIL import Image

from ofasys import ConfigError, DataError
from tests.hub import kinds

# --- files -----------------------------------------------------------------------------------------------------------

pytestmark = pytest.mark.slow


def test_a_file_takes_the_value_it_can_hold(tmp_path):
    out = kinds.ask("paint")
    assert out.save(tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"
    assert Image.open(out.save(tmp_path / "a.PNG")).size == (16, 16)
    with pytest.raises(
        ConfigError, match=r"cannot write this answer as 'a\.bvh'; use \.txt, \.json, \.png, .* or \.mp3"
    ):
        out.save(tmp_path / "a.bvh")
    move = kinds.ask("move", steps=2)
    assert move.save(tmp_path / "m.bvh").read_text().startswith("HIERARCHY")
    assert set(json.loads(move.save(tmp_path / "m.json").read_text())["m"]) == {"skeleton", "values", "frame_time"}
    with pytest.raises(ConfigError, match=r"use \.txt, \.json, \.bvh or \.gif"):
        move.save(tmp_path / "m.wav")


def test_a_view_is_no_picture(tmp_path):
    out = kinds.ask("match")
    with pytest.raises(ConfigError, match=r"cannot write this answer as 'x\.png'; use \.txt or \.json"):
        out.save(tmp_path / "x.png")
    assert len(json.loads(out.save(tmp_path / "x.json").read_text())["t"]) == kinds.CONFIG.width


# --- rows have numbers -----------------------------------------------------------------------------------------------


def test_rows_asked_in_parts_are_answered_as_rows_asked_at_once():
    rows = [{"t": "one"}] * 3
    for name, options in (("write", {"sampling": True, "max_length": 8}), ("move", {"steps": 2})):
        asked = kinds.ask(name, rows, **options)
        parts = [kinds.ask(name, [row], first=i, **options)[0] for i, row in enumerate(rows)]
        if name == "write":
            assert [out.text for out in parts] == [out.text for out in asked]
            assert len({out.text for out in asked}) > 1
        else:
            one, other = (np.stack([out.motion.positions for out in outs]) for outs in (parts, asked))
            np.testing.assert_allclose(one, other, atol=0.02)
            assert np.abs(one[0] - one[1]).max() > 1


def test_the_first_number_is_a_number():
    with pytest.raises(ConfigError, match="first is -1; it is a whole number, 0 or more"):
        kinds.ask("write", first=-1)
    with pytest.raises(DataError, match="sample 'row 7'"):
        kinds.ask("write", [{"t": "one"}, {"t": None}], first=6)


# --- nothing that is asked is ignored --------------------------------------------------------------------------------


def test_a_negative_needs_guidance():
    one, two = (kinds.ask("move", steps=2, guidance_weight=2, negative_prompt=p).motion for p in ("two", "one"))
    assert np.abs(one.values - two.values).max() > 0
    with pytest.raises(
        ConfigError, match="negative_prompt does nothing while guidance_weight is 1; give guidance_weight"
    ):
        kinds.ask("move", steps=2, negative_prompt="two")
    with pytest.raises(ConfigError, match="negative_prompt reaches no slot"):
        kinds.ask("write", negative_prompt="two")


def test_several_answers_where_there_is_one():
    assert len(kinds.ask("write", n_best=3, max_length=4).nbest) == 3
    assert len(kinds.ask("spell", n_best=1, max_length=4).nbest) == 1
    with pytest.raises(ConfigError, match=r"n_best is 3, but .* has one answer: its target is made in several stages"):
        kinds.ask("spell", n_best=3)
    with pytest.raises(ConfigError, match=r"n_best is 3, but .* has one answer: nothing is searched for"):
        kinds.ask("sort", n_best=3)


def test_how_long_a_sound_is():
    whole = kinds.ask("say", min_positions=9).audio
    short = kinds.ask("say", min_positions=9, max_length=5).audio
    assert len(short) < len(whole)
    assert short == kinds.ask("say", min_positions=9, max_positions=5).audio
    assert kinds.ask("say", min_positions=9, max_length=3, max_positions=5).audio == short
    assert kinds.ask("say", min_positions=9, max_length=200).audio == whole  # the slot's own is fewer
    with pytest.raises(ConfigError, match="max_positions is a whole number of at least 1, not '0'"):
        kinds.ask("say", max_positions=0)
    with pytest.raises(ConfigError, match="max_positions reaches no slot"):
        kinds.ask("write", max_positions=5)


def test_more_steps_than_it_was_trained_with():
    assert len(kinds.ask("move", steps=1000 // 100).motion) == 6
    with pytest.raises(
        ConfigError, match="steps=1001 is more than the timesteps=1000 of training; expected at most 1000"
    ):
        kinds.ask("move", steps=1001)


def test_a_task_that_asks_for_what_it_has_not():
    assert kinds.task("move", generate={"steps": 3}).generate.draw == {"steps": 3}
    with pytest.raises(ConfigError, match="steps reaches no slot of task 'write'; leave it out"):
        kinds.task("write", generate={"steps": 3})
    assert kinds.task("say", generate={"max_length": 7}).generate.draw == {"max_positions": 7}
    assert kinds.task("write", generate={"max_length": 7}).generate.draw == {}


# --- labels and views ------------------------------------------------------------------------------------------------


def test_the_order_of_a_closed_set_does_not_matter():
    known = kinds.ask("sort")
    assert known["kind"] in ("odd", "even")
    for order in (["odd", "even"], ["even", "odd"]):
        assert kinds.ask("sort", closed_set=order)["kind"] == known["kind"]
        assert kinds.ask("sort", closed_set={"kind": order}).score == known.score
    with pytest.raises(ConfigError, match=r"no tokens for the labels odd, none of 'kind' \(2 of them\)"):
        kinds.ask("sort", closed_set=["odd", "none"])
    with pytest.raises(ConfigError, match="the closed set of 'kind' is 'odd'; give a list of labels"):
        kinds.ask("sort", closed_set={"kind": "odd"})


def test_what_is_embedded():
    line, model = kinds.LINES["match"], kinds.model()
    assert model.embed(line, [{"t": "one"}] * 3, batch_size=2)["t"].shape == (3, kinds.CONFIG.width)
    with pytest.raises(ConfigError, match="batch_size is 0; it is at least 1"):
        model.embed(line, [{"t": "one"}], batch_size=0)
    with pytest.raises(DataError, match="there are no rows to embed"):
        model.embed(line, [])
    with pytest.raises(DataError, match="data is a str, 'one'; expected a dict with 't' or 'u', or a list of them"):
        model.embed(line, "one")
    with pytest.raises(DataError, match=r"a row is a str 'one' \(sample 'row 0'\); expected a dict with 't' or 'u'"):
        model.embed(line, ["one"])


def test_a_number_and_its_spread(tmp_path):
    out = kinds.ask("price")
    assert out.number == out["n"] == float(str(out))
    assert out.spread == out["n"].spread == out.nbest[0]["n"].spread > 0
    assert out.spreads == {"n": out.spread}
    assert json.loads(out.save(tmp_path / "x.json").read_text()) == {"n": out.number, "n_spread": out.spread}
    assert kinds.ask("write", max_length=4).spreads == {}
    with pytest.raises(AttributeError, match="this answer has no spread; it has text"):
        _ = kinds.ask("write", max_length=4).spread
    together = kinds.ask("price", [{"t": "two"}, {"t": "one"}, {"t": "three"}])
    assert together[1].number == pytest.approx(out.number, rel=1e-5)
