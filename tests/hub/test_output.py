"""What inference answers: by column, by kind, as text, as a file."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofasys.errors import ConfigError, DataError
from ofasys.hub import OFASys
from ofasys.hub.output import Output
from ofasys.modality import BUILT_IN
from ofasys.planner import plan
from ofasys.types import TaskCard

sys.path.insert(0, str(Path(__file__).parents[2] / "docs" / "examples"))
from patterns import CHOICE, MAYBE


@pytest.fixture(scope="module")
def ask(tiny):
    """ask(name, **options) -> the Output of the first row."""
    cards = [
        TaskCard(n, (str(p.instruction),), tiny.SETTINGS if "IMAGE" in p.instruction else {}, tiny.LABELS)
        for n, p in tiny.plans().items()
    ]
    model = OFASys(tiny.model(), cards)
    return lambda name, rows=0, **more: model.inference(
        tiny.INSTRUCTIONS[name],
        data=tiny.ROWS[name][rows] if isinstance(rows, int) else rows,
        **({"max_length": 12} | more),
    )


def test_kinds_of_answers(ask, tiny):
    text = ask("caption")
    assert text.text == text["cap"] == str(text)
    assert ask("ground").box == ask("ground")["box"]
    label = ask("head")
    assert label.label == label["group"]
    assert label.label in tiny.LABELS["group"]
    closed = ask("entail")
    assert closed.label == closed.text == closed["label"]
    assert closed.label in tiny.LABELS["label"]
    found = ask("detect")
    assert len(found.box) == len(found.text) == len(found["name"]) >= 1
    two = ask("two")
    assert two.values.keys() == {"first", "second", "group"}
    assert isinstance(two.score, float)


def test_what_is_not_there_is_named(ask):
    out = ask("caption")
    with pytest.raises(KeyError, match="no target column 'cpa'; did you mean cap"):
        out["cpa"]
    with pytest.raises(AttributeError, match="this answer has no box; it has text"):
        _ = out.box
    assert not hasattr(out, "box")


def test_as_text(ask):
    found = ask("ground")
    assert str(found) == "[" + ", ".join(f"{c:.1f}" for c in found.box) + "]"
    pairs = ask("detect")
    assert str(pairs) == "; ".join(
        f"[{', '.join(f'{c:.1f}' for c in box)}] {name}" for box, name in zip(pairs["box"], pairs["name"], strict=True)
    )
    assert repr(ask("head")).startswith("Output(group='")


def test_n_best(ask):
    out = ask("caption", beam_size=4, n_best=3)
    assert len(out.nbest) == 3
    assert out.nbest[0] is out
    assert [o.score for o in out.nbest] == sorted((o.score for o in out.nbest), reverse=True)
    assert len({o.text for o in out.nbest}) == 3
    assert len(ask("caption").nbest) == 1


def test_files(ask, tmp_path):
    out = ask("detect")
    saved = out.save(tmp_path / "new" / "answer.json")
    assert json.loads(saved.read_text(encoding="utf8")) == {
        name: json.loads(json.dumps(v)) for name, v in out.values.items()
    }
    assert out.save(str(tmp_path / "answer.txt")).read_text(encoding="utf8") == f"{out}\n"
    picture = Image.open(out.save(tmp_path / "answer.png"))
    assert picture.size == (240, 180)  # 40 x 30, enlarged
    plain = Image.fromarray(out.data["img"]).resize((240, 180), Image.Resampling.NEAREST)
    assert (np.asarray(picture) != np.asarray(plain)).any(2).sum() > 50
    assert Image.open(ask("ground").save(tmp_path / "one.png")).size == (240, 180)


def test_a_file_of_a_wrong_kind(ask, tmp_path):
    with pytest.raises(ConfigError, match=r"cannot write this answer as 'x\.png'; use \.txt or \.json"):
        ask("caption").save(tmp_path / "x.png")
    with pytest.raises(ConfigError, match=r"cannot write this answer as 'x\.docx'; use \.txt, \.json, \.png"):
        ask("detect").save(tmp_path / "x.docx")
    with pytest.raises(ConfigError, match=r"x\.docx"):
        ask("head").save(tmp_path / "x.docx")


def test_a_bad_row_is_named(ask, tiny):
    good = tiny.ROWS["caption"][0]
    with pytest.raises(DataError, match=r"the column is missing.*slot 'IMAGE:img'.*sample 'row 1'"):
        ask("caption", [good, {"picture": 1}])
    assert len(ask("caption", [good, good])) == 2


def test_the_closed_set_may_be_given(ask):
    assert ask("entail", closed_set=["blue"]).label == "blue"
    assert ask("entail", closed_set={"label": ["green", "red"]}).label in ("green", "red")
    with pytest.raises(ConfigError, match="closed_set names 'lable'; columns with a set: \\['label'\\]"):
        ask("entail", closed_set={"lable": ["a"]})
    with pytest.raises(ConfigError, match="write closed_set in the slot"):
        ask("caption", closed_set=["a"])


# --- an answer as a mapping -------------------------------------------------------------------------------------------


def test_an_answer_is_a_mapping(ask):
    out = ask("two")
    assert dict(out) == {**out} == {name: out[name] for name in ("first", "second", "group")}
    assert list(out) == list(out.keys()) == ["first", "second", "group"]
    assert len(out) == 3
    assert "group" in out
    assert "box" not in out
    assert list(out.values()) == list(out.values.values()) == [out["first"], out["second"], out["group"]]
    assert list(out.items()) == list(out.values.items())
    assert out.get("group") == out["group"]
    assert out.get("box", 3) == 3
    match out:
        case {"group": found}:
            assert found == out["group"]


def test_answers_are_equal_by_their_values(ask, tiny):
    out = ask("two")
    assert out == ask("two")
    assert out == dict(out)
    assert out != {**out, "group": "x"}
    assert out != 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(out)
    made = type(out)(out.plan, {"x": np.arange(3), "y": [np.zeros(2)]}, 0.0, {}, out.registry)
    assert made == {"x": np.arange(3), "y": [np.zeros(2)]}
    assert made != {"x": np.arange(4), "y": [np.zeros(2)]}
    assert made != {"x": np.arange(3), "y": [np.ones(2)]}


@pytest.mark.parametrize("name", ["caption", "detect", "ground", "entail", "two"])
def test_answers_travel(ask, name, tmp_path):
    import copy
    import pickle

    out = ask(name)
    for other in (pickle.loads(pickle.dumps(out)), copy.deepcopy(out), copy.copy(out)):
        assert other == out
        assert (other.score, str(other), repr(other)) == (out.score, str(out), repr(out))
        assert other.save(tmp_path / "x.json").is_file()
    again = pickle.loads(pickle.dumps(out))
    assert again.nbest[0] is again
    if name == "detect":
        assert again.save(tmp_path / "x.png").is_file()


def test_probabilities_of_one_label(ask, tiny):
    line = tiny.INSTRUCTIONS["entail"].replace("closed_set", "closed_set,generator=rank")
    tiny.INSTRUCTIONS["entail_ranked"], tiny.ROWS["entail_ranked"] = line, tiny.ROWS["entail"]
    out = ask("entail_ranked")
    del tiny.INSTRUCTIONS["entail_ranked"], tiny.ROWS["entail_ranked"]
    assert out.probability == pytest.approx(np.exp(out.score))
    assert set(out.probabilities) == set(tiny.LABELS["label"])
    assert sum(out.probabilities.values()) == pytest.approx(1)
    assert list(out.probabilities.values()) == sorted(out.probabilities.values(), reverse=True)
    for name in ("caption", "ground", "detect", "two", "heads"):  # no label, or not a label alone
        other = ask(name)
        assert other.probability is None
        assert other.probabilities == {}


def test_as_strict_json(ask):
    for name in ("caption", "ground", "detect", "entail", "two"):
        out = ask(name, **({"beam_size": 2, "n_best": 2} if name == "caption" else {}))
        found = out.to_dict()
        assert json.loads(json.dumps(found, allow_nan=False)) == found
        assert found.keys() == {"values", "label", "score", "probability", "nbest", "error"}
        assert found["values"].keys() == set(out)
        assert found["nbest"][0] == {k: found[k] for k in ("values", "score", "probability")}
        assert len(found["nbest"]) == len(out.nbest)
        assert found["label"] == (out.label if hasattr(out, "label") else None)


def test_what_json_has_no_word_for():
    from ofasys.hub.output import plain

    picture = Image.new("RGB", (2, 2))
    assert plain({1: (np.float32(0.5), np.arange(2), float("nan"), True, None, picture)}) == {
        "1": [0.5, [0, 1], None, True, None, str(picture)]
    }
    assert type(plain(np.float64(2.0))) is float
    assert plain(np.array([np.inf, 1.0])) == [None, 1.0]


def test_an_answer_that_is_none_says_why(ask, tmp_path):
    (out,) = ask("entail", [{"sent1": "a"}], on_bad="skip")
    assert not out
    assert str(out) == "(no answer)"
    assert "the column is missing" in repr(out)
    assert dict(out) == {}
    assert out.probability is None
    with pytest.raises(
        KeyError, match="'label': there is no answer, for the row could not be used: the column is miss"
    ):
        out["label"]
    with pytest.raises(AttributeError, match="there is no label, for the row could not be used"):
        _ = out.label
    with pytest.raises(ConfigError, match="there is no answer to write"):
        out.save(tmp_path / "x.txt")
    found = out.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["values"] == {}
    assert found["label"] is found["score"] is found["probability"] is None
    assert "sent2" in found["error"]
    assert found["nbest"] == []


REGISTRY = BUILT_IN.with_(CHOICE, MAYBE)


def output(line, values, data=None, score=-1.0):
    return Output(plan(line, modalities=REGISTRY), values, score, data or {}, REGISTRY)


def test_of_alternatives_the_one_that_stands_is_meant():
    line = "[TEXT:q] -> {[CATEGORY:a] as [TEXT:s]|[CATEGORY:b] in [TEXT:t]}"
    one = output(line, {"a": "x", "s": "so", "b": None, "t": None})
    other = output(line, {"a": None, "s": None, "b": "y", "t": "no"})
    assert (one.label, one.text, one.to_dict()["label"], str(one)) == ("x", "so", "x", "x so")
    assert (other.label, other.text, other.to_dict()["label"], str(other)) == ("y", "no", "y", "y no")
    neither = output("[TEXT:q] -> [CATEGORY:a]? [TEXT:s]", {"a": None, "s": "so"})
    assert (neither.label, neither.to_dict()["label"], neither.text) == (None, None, "so")


def test_that_a_label_is_left_out_has_a_probability_and_is_no_label():
    line, shares = "[TEXT:q] -> [CATEGORY:a]?", {"x": 0.5, None: 0.3, "y": 0.2}
    every = [output(line, {"a": label}, score=math.log(share)) for label, share in shares.items()]
    every[0].nbest = every
    assert every[0].probabilities == pytest.approx({"x": 0.5, "y": 0.2})
    assert [out.probability for out in every] == pytest.approx([0.5, 0.3, 0.2])
    assert (every[1].probabilities, str(every[1])) == ({}, "(none)")
    said = every[0].to_dict()["nbest"]
    assert [one["values"]["a"] for one in said] == ["x", None, "y"]


def test_a_box_whose_picture_was_not_given_is_not_written(tmp_path):
    line = "[IMAGE:img]? [TEXT:q] -> [TEXT:t] [BOX:box]"
    lost = output(line, {"t": "so", "box": None}, {"q": "what"})
    assert str(lost) == "so"
    with pytest.raises(ConfigError, match=r"cannot write this answer as 'box.png'; use .txt or .json"):
        lost.save(tmp_path / "box.png")
    assert json.loads(lost.save(tmp_path / "box.json").read_text()) == {"t": "so", "box": None}
    picture = np.zeros((20, 30, 3), np.uint8)
    there = output(line, {"t": "so", "box": [0.0, 0.0, 9.0, 9.0]}, {"q": "what", "img": picture})
    assert Image.open(there.save(tmp_path / "box.png")).size == (240, 160)
