"""What inference answers: by column, by kind, as text, as a file."""

import json

import numpy as np
import pytest
from PIL import Image

from ofasys.errors import ConfigError, DataError
from ofasys.hub import OFASys
from ofasys.types import TaskCard


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
