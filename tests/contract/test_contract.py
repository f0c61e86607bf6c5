"""A modality that breaks a promise is found out, and told which; a sound one passes without any test framework."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from ofasys.errors import DataError
from ofasys.language import option
from ofasys.modality import Defaults, Part
from ofasys.testing import check_modality
from ofasys.testing.values import alike
from ofasys.types import Fixed, SlotFeatures

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
GOOD = {"values": ["#ff0000", "#0080ff", "#00ff00"], "bad": ["red", (1, 2)]}


@pytest.fixture
def color(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from color import COLOR

    return COLOR


@pytest.fixture
def broken(monkeypatch, color):
    """broken(Part's class) -> COLOR with it as its preprocessor, or as the adaptor of its source."""
    from color.preprocess import Channels

    module = ModuleType("broken_parts")
    monkeypatch.setitem(sys.modules, "broken_parts", module)

    def broken(methods, adaptor=False):
        module.Broken = type("Broken", (torch.nn.Module if adaptor else Channels,), methods)
        module.Broken.__module__, module.Broken.__qualname__ = "broken_parts", "Broken"
        part = Part("broken_parts:Broken", about="broken")
        if not adaptor:
            return replace(color, preprocess={"channels": part})
        source = Defaults(preprocess="channels", adaptor="own")
        return replace(color, adaptor={**color.adaptor, "own": part}, source=source)

    return broken


def found_out(spec, says, **more):
    with pytest.raises(AssertionError, match=says):
        check_modality(spec, **(GOOD | more))


# --- specs -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Unexplained:
    levels: int = option(256)


@dataclass(frozen=True, kw_only=True)
class OutOfRange:
    levels: int = option(999, low=2, high=256, about="levels")


@dataclass(frozen=True, kw_only=True)
class OfAList:
    levels: list = ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tag": "Color"}, "Color, spec: the tag is 'Color'; tags are capitals"),
        ({"value": "a colour"}, "COLOR, spec: value is 'a colour'"),
        ({"about": ""}, "COLOR, spec: about is ''"),
        (
            {"preprocess": {"channels": Part("color.preprocess:Chanels", about="x")}},
            "preprocess=channels does not load",
        ),
        ({"preprocess": {"channels": Part("color.draw:save", about="x")}}, "color.draw:save has no method preprocess"),
        ({"preprocess": {"channels": Part("color.preprocess:Channels")}}, "preprocess=channels has no about="),
        ({"item": None}, "it is a target and has no item="),
        (
            {"item": lambda slot, options: Fixed(slot, "bins", 3)},
            "its item is of range 'bins'; its ranges are channels",
        ),
        ({"ranges": lambda options: {"channels": 0}}, "range 'channels' has 0 ids"),
        ({"expected": lambda options: 0}, "expected is 0"),
        ({"options": Unexplained}, "COLOR, options: option levels has no about="),
        ({"options": OfAList}, "COLOR, spec: OfAList.levels is .*: an option is bool, int, float or str"),
        ({"options": OutOfRange}, "option levels has the default 999, but is a whole number from 2 to 256"),
        ({"source": Defaults(preprocess="chanels", adaptor="tokens")}, "the source's default preprocess is 'chanels'"),
    ],
)
def test_a_broken_face(color, change, says):
    found_out(replace(color, **change), says)


@pytest.mark.slow
def test_a_face_that_loads_torch(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "heavy_color"
    package.mkdir()
    (package / "preprocess.py").write_text("from color.preprocess import Channels\n")
    (package / "__init__.py").write_text(
        "import torch\n"
        "from dataclasses import replace\n"
        "from color import COLOR\n"
        "from ofasys.modality import Part\n"
        "HEAVY = replace(COLOR, preprocess={'channels': Part('heavy_color.preprocess:Channels', about='heavy')})\n"
    )
    from heavy_color import HEAVY

    found_out(HEAVY, r"COLOR, import: import heavy_color loads torch; name what needs it as Part")


# --- values ----------------------------------------------------------------------------------------------------------


def _takes_all(self, value, context):
    return SlotFeatures({"tokens": np.full(3, self.start)}, 3)


def _own_error(self, value, context):
    if value == "red":
        raise KeyError("red")
    return self.sound(value, context)


def _tells_nothing(self, value, context):
    if value == "red":
        raise DataError("no")
    return self.sound(value, context)


def _says_two(self, value, context):
    return SlotFeatures(self.sound(value, context).tensors, 2)


def _by_chance(self, value, context):
    tokens = self.sound(value, context).tensors["tokens"]
    return SlotFeatures({"tokens": self.start + np.random.default_rng().integers(0, 256, 3) + 0 * tokens}, 3)


def _only_strings(self, value, context):
    if value is True:
        return value.upper()
    return self.sound(value, context)


def _unsendable(self, value, context):
    self.hidden = lambda: None
    return self.sound(value, context)


@pytest.mark.parametrize(
    ("preprocess", "says"),
    [
        (_takes_all, "COLOR, bad input: 'red' is read as if it were a good value"),
        (_own_error, r"bad input: 'red' raises KeyError \('red'\), not a DataError: Broken._own_error"),
        (_tells_nothing, "bad input: the DataError for 'red' does not say what was expected"),
        (_says_two, r"values: COLOR:x: Broken._says_two .* gave tokens int64 \(3,\) and length=2 for '#ff0000'"),
        (_by_chance, "values: '#ff0000' gives other features when read again"),
        (_only_strings, "extremes: True raises AttributeError"),
        (_unsendable, "values: the preprocessor cannot be sent to a data worker"),
    ],
)
def test_a_broken_preprocessor(broken, preprocess, says):
    from color.preprocess import Channels

    found_out(broken({"preprocess": preprocess, "sound": Channels.preprocess}), says)


def test_a_length_that_the_face_does_not_say(color):
    says = r"COLOR, values: Channels.preprocess \(color.preprocess\) gave length=3 for '#ff0000', and the spec's "
    found_out(replace(color, expected=lambda options: 4), says + "expected is 4; expected the same number")
    item = replace(color, item=lambda slot, options: Fixed(slot, "channels", 4, 256))
    with pytest.raises(AssertionError, match=says + "item's count is 4"):
        check_modality(item, **GOOD)


def test_a_value_that_does_not_come_back(broken):
    spec = broken({"postprocess": lambda self, tokens, context: "#000000", "canonical": lambda self, value: "#0000ff"})
    found_out(spec, "COLOR, round trip: '#ff0000', canonically '#0000ff', came back as '#000000'")
    found_out(spec, "round trip: '#ff0000' came back as '#000000'", same=lambda value, back: False)


def test_good_values_that_are_bad(color):
    found_out(color, "values: the good value 'red' as a source raises DataError", values=["#ff0000", "red"])
    found_out(color, "give two good values or more", values=["#ff0000"])
    found_out(color, "bad input: give at least one bad value", bad=[])
    found_out(color, "has no slot named 'x' as a source", source="[COLOR:c] -> [TEXT:answer]")
    found_out(color, "cannot be planned", target="what is [TEXT:question]? -> [COLOR:x,adaptor=own]")


# --- adaptors --------------------------------------------------------------------------------------------------------


def _made(self, options, width):
    torch.nn.Module.__init__(self)
    self.table = torch.nn.Embedding(1000, width)
    self.drift = torch.tensor(np.random.default_rng().normal(size=width), dtype=torch.float32)  # not saved


@pytest.mark.parametrize(
    ("embed", "says"),
    [
        (lambda self, tensors: self.table(tensors["tokens"]), None),
        (
            lambda self, tensors: self.table(tensors["tokens"]) - self.table(tensors["tokens"]).mean(0),
            "batch: as a source, the source's embedding of '#ff0000' differ by .* in a batch",
        ),
        (
            lambda self, tensors: self.table(tensors["tokens"]).detach(),
            "as source: no gradient reaches adaptor color_own",
        ),
        (lambda self, tensors: self.table(tensors["tokens"]) / 0, "batch: .* hold NaN or infinity"),
        (
            lambda self, tensors: self.table(tensors["tokens"]) + self.drift,
            "save, load: as a source, the source's embedding of '#ff0000' differ by .* after the model was saved",
        ),
    ],
)
def test_a_broken_adaptor(broken, embed, says):
    spec = broken({"__init__": _made, "embed": embed}, adaptor=True)
    if says is None:
        assert "2 weights" not in str(check_modality(spec, **GOOD))
    else:
        found_out(spec, says)


def test_the_report(color):
    report = check_modality(replace(color, target=None), **GOOD)
    assert [name for name, _ in report.left_out] == ["import", "round trip", "as target"]
    lines = str(report).splitlines()
    assert lines[0] == "COLOR keeps its contract"
    assert "  bad input   2 values, and a missing one" in lines
    assert "  as target   left out: it does not stand there" in lines


def test_what_is_alike():
    same = [
        (1.0, 1.0 + 1e-9),
        ({"a": [1, 2.0]}, {"a": (1, 2)}),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan])),
        ("a", "a"),
    ]
    other = [(1.0, 1.1), ({"a": 1}, {"b": 1}), ([1], [1, 2]), (np.zeros(2), np.zeros(3)), ("a", ["a"]), (None, 0)]
    assert all(alike(*pair) for pair in same)
    assert not any(alike(*pair) for pair in other)
