"""Every modality keeps its contract: the built-in ones, and the worked example of the docs."""

from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofasys.modality import BUILT_IN
from ofasys.testing import check_modality

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def picture(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def near(one, other, most):
    return bool(np.abs(np.asarray(one, float) - np.asarray(other, float)).max() <= most)


def text():
    return {
        "values": ["a", "the red cat on the hill", "ein Käse, 干酪, сыр \U0001f9c0"],
        "bad": [float("nan"), b"a", ["a"], "", "  ", "\ud800"],
        "extreme": [7, 2.5, "x" * 5000, "\n\t\0a", "\u202ea", "a" * 900],
    }


def image():
    return {
        "values": [picture(40, 30), Image.fromarray(picture(9, 70, 1)), picture(5, 5, 2) / 255.0],
        "bad": ["nowhere.png", 7, np.zeros((3, 4, 5)), b"not a picture", np.full((4, 4), np.nan)],
        "extreme": [picture(1, 1), picture(3000, 1), np.zeros((0, 4, 3), np.uint8), Image.new("1", (5, 3))],
        "source": "[IMAGE:x,size=32] what is it? -> [TEXT:answer]",
        "target": "what is [TEXT:question]? -> [IMAGE:x,size=16,fit_steps=2]",
        "same": lambda value, back: isinstance(value, str) or back.size == (16, 16),
    }


def box():
    return {
        "values": [[1, 2, 20, 25.5], (0, 0, 40, 30), np.array([3.0, 4, 5, 6])],
        "bad": [[3, 2, 3, 4], [1, 2, 3], "1 2 3 4", [0, 0, 41, 30], [float("nan"), 0, 1, 1], {}],
        "extreme": [[0, 0, 1e-9, 1e-9], [0, 0, 1e30, 1e30], [-0.0, 0, 40, 30]],
        "source": "[IMAGE:img] what is at [BOX:x]? -> [TEXT:answer]",
        "target": "[IMAGE:img] where is it? -> [BOX:x]",
        "beside": {"img": picture(40, 30)},
        "settings": {"IMAGE.size": 32},
        "same": lambda value, back: near(value, back, 40 / 1000 + 1e-6),
    }


def category():
    return {
        "values": ["yes", "no", "not sure"],
        "bad": ["maybe", "", 3.5, ["yes"], b"yes"],
        "extreme": ["y" * 10_000, 10**20],
        "labels": {"x": ("yes", "no", "not sure")},
    }


def phone():
    return {
        "values": ["K AE T", ["HH", "AH0", "L", "OW1"], "W ER L D | K AE T"],
        "bad": ["QQ", "", 7, ["K", 3], b"K", "K AE4"],
        "extreme": ["K " * 2000, ["AH"] * 3, "  K   AE ", "|"],
    }


def walk(frames, seed=0, joints=4):
    random = np.random.default_rng(seed)
    return random.normal(size=(1, joints, 3)) + np.cumsum(random.normal(size=(frames, joints, 3)) * 0.05, 0)


def motion():
    settings = "start=world,frames=24"
    return {
        "values": [walk(20), {"positions": walk(7, 1), "fps": 20}, walk(13, 2)],
        "bad": [7, "nowhere.bvh", np.zeros((3, 4)), np.full((3, 4, 3), np.nan), walk(5, joints=3), b"HIERARCHY"],
        "extreme": [walk(1), walk(4000), {"positions": walk(30), "fps": 1000}, np.zeros((9, 4, 3)), 1e9 * walk(5)],
        "source": f"[MOTION:x,{settings}] what is it? -> [TEXT:answer]",
        "target": f"what is [TEXT:question]? -> [MOTION:x,{settings},steps=4]",
        "same": lambda value, back: near(value["positions"] if isinstance(value, dict) else value, back, 1e-3),
    }


def tone(seconds, rate=16000, frequency=440):
    return 0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate).astype(np.float32)


def audio():
    return {
        "values": [(tone(0.3), 16000), {"array": tone(0.5, 8000), "sampling_rate": 8000}, (tone(0.1), 16000)],
        "bad": ["nowhere.wav", 7, tone(0.1), (np.full(800, np.nan), 16000), b"RIFF", (np.zeros(0), 16000)],
        "extreme": [
            (np.zeros(1), 16000),
            (np.zeros(1600), 16000),
            (np.zeros((19200, 8)), 192_000),
            (tone(1), 100),
            (np.full(4000, 32767, np.int16), 8000),
        ],
        "source": "[AUDIO:x,hop=20] what is it? -> [TEXT:answer]",
        "target": "what is [TEXT:question]? -> [AUDIO:x,hop=20,vocoder_steps=2]",
        # the rate is the slot's, and the length a whole number of positions of two frames
        "same": lambda value, back: back.rate == 16000 and abs(back.seconds - seconds(value)) < 0.06,
    }


def seconds(value):
    if hasattr(value, "seconds"):
        return value.seconds
    samples, rate = value.values() if isinstance(value, dict) else value
    return len(samples) / rate


def video():
    frames = np.stack([picture(30, 20, seed) for seed in range(7)])
    return {
        "values": [frames, [Image.fromarray(frame) for frame in frames[:3]], {"frames": frames[:1], "rate": 5.0}],
        "bad": ["nowhere.mp4", 7, np.zeros((3, 4)), [], b"not a clip", {"frames": frames, "rate": -1}],
        "extreme": [frames[:1, :1, :1], np.zeros((0, 4, 4, 3), np.uint8), np.zeros((300, 2, 2, 3), np.uint8)],
        "settings": {"VIDEO.size": 32, "VIDEO.frames": 4, "VIDEO.patch": 16},
        "target": "what is [TEXT:question]? -> [VIDEO:x,fit_steps=2]",
        "same": lambda value, back: back.frames.shape == (4, 32, 32, 3),
    }


def video_codes():
    return video() | {"source": "[VIDEO:x,preprocess=codes,fit_steps=2] what is it? -> [TEXT:answer]"}


def struct():
    table = [{"name": "a | b", "n": 1}, {"name": None, "n": -2.5}, {"name": "x\ny", "n": True}]
    return {
        "values": [table, {"k": [1, 2], "v": ["one", "two"]}, "name,n\ncat,3\n"],
        "bad": [7, "nowhere.csv", [{"a": 1}, {"b": 2}], {"a": [1, 2], "b": [1]}, {"a": [object()]}],
        "extreme": [[{"a": "y" * 5000}], [{f"c{i}": i for i in range(40)}], [{"a": i} for i in range(20_000)]],
    }


def grid():
    return {
        "values": [[[1, 2], [3, 4]], np.zeros((3, 3), int), [[9]]],
        "bad": [7, [[1, 2], [3]], [[1.5]], [[10]], [[-1]], "12\n34"],
        "extreme": [[[0] * 64] * 15, [[]], np.zeros((65, 65), int)],
        "source": "[STRUCT:x,preprocess=grid] what is it? -> [TEXT:answer]",
        "target": "what is [TEXT:question]? -> [STRUCT:x,preprocess=grid]",
    }


def image_codes():
    codes = "preprocess=codes,adaptor=tokens,size=16,fit_steps=2"
    return image() | {"source": f"[IMAGE:x,{codes}] what is it? -> [TEXT:answer]"}


def phone_in(inventory, values, bad):
    slot = f"[PHONE:x,inventory={inventory}]"
    return {
        "values": values,
        "bad": bad,
        "source": f"{slot} what is it? -> [TEXT:answer]",
        "target": f"what is [TEXT:question]? -> {slot}",
    }


def spoken():
    slot = "[PHONE:x,preprocess=g2p]"
    return {
        "values": ["a cat", "tomato", "Hello, world"],
        "bad": ["zzyzzx", "", 7, ["K", "AE"], "42"],
        "source": f"{slot} what is it? -> [TEXT:answer]",
        "target": f"what is [TEXT:question]? -> {slot}",
    }


def number(**options):
    written = "".join(f",{name}={value}" for name, value in options.items())
    return {
        "values": [3, 2.5, "-1e2", np.float32(7), Fraction(1, 3), Decimal("4.20")],
        "bad": ["three", "", "1,234", float("nan"), True, [3], b"3", 2**53 + 1, 1j, date(2026, 1, 1)],
        "extreme": [1e300, -1e-300, "0", -0.0, float("inf"), 10**400, np.array([1.0])],
        "source": f"[NUMBER:x{written}] what is it? -> [TEXT:answer]",
        "target": f"what is [TEXT:question]? -> [NUMBER:x{written}]",
    }


def logarithms():
    return number(scale="log") | {"values": [3, 2.5e9, "1e-7"], "bad": [0, -1, "0", "x"]}


TABLE = {
    "TEXT": text,
    "IMAGE": image,
    "BOX": box,
    "CATEGORY": category,
    "PHONE": phone,
    "MOTION": motion,
    "AUDIO": audio,
    "VIDEO": video,
    "STRUCT": struct,
    "NUMBER": number,
}
OTHERS = {  # other preprocessors and options of them
    "IMAGE as codes": image_codes,
    "VIDEO as codes": video_codes,
    "STRUCT grid": grid,
    "NUMBER logarithms": logarithms,
    "NUMBER on a given scale": lambda: number(mean=10, std=3, lo=-100, hi=1000),
    "PHONE pinyin": lambda: phone_in("pinyin", ["ni3 hao3", "xi'an", "nǚ er2"], ["nihao", "qwert"]),
    "PHONE ipa": lambda: phone_in("ipa", ["həˈloʊ", "t͡ʃaː˥˩ | ç", ["a", "b"]], ["HH", 7]),
    "PHONE spoken": spoken,
    "CATEGORY head": lambda: category() | {"target": "what is [TEXT:question]? -> [CATEGORY:x,adaptor=head]"},
}


@pytest.mark.parametrize("modality", BUILT_IN.modalities, ids=lambda m: m.tag)
def test_the_built_in_ones(modality):
    assert modality.tag in TABLE, f"{modality.tag} has no row in the table of this file"
    report = check_modality(modality, **TABLE[modality.tag]())
    assert not [name for name, _ in report.left_out if name not in _sides(modality)], report


@pytest.mark.parametrize("name", OTHERS)
def test_what_else_they_take(name):
    modality = next(m for m in BUILT_IN.modalities if m.tag == name.split()[0])
    check_modality(modality, **OTHERS[name]())


def _sides(modality):
    """What may be left out of one that is no target, or no source."""
    return {"round trip", "as target"} if modality.target is None else set() if modality.source else {"as source"}


def channels(color):
    return tuple(bytes.fromhex(color[1:])) if isinstance(color, str) else tuple(color)


def test_the_worked_example_of_the_docs(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from color import COLOR

    report = check_modality(
        COLOR,
        values=["#ff0000", (0, 128, 255), "#FFFFFF"],
        bad=["red", "#fff", (1, 2), (1, 2, 256), 7],
        extreme=["#000000", [0, 0, 0], (1.5, 2, 3)],
        same=lambda value, back: channels(value) == channels(back),
    )
    assert dict(report.checked)["import"] == "color loads no torch"
    assert not report.left_out
