"""Laws of plans: the same value in every process, plain JSON, made without torch, and honest about their cost."""

import json
import os
import pickle
import subprocess
import sys

import pytest

from ofasys.generalist import GeneralistModel
from ofasys.modality import BUILT_IN
from ofasys.modality.symbols import train_tokenizer
from ofasys.model.sizes import SIZES
from ofasys.planner import plan
from ofasys.planner.explain import TEXT_PIECES, count_parameters

TEXTS = [
    "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
    "-> can text1 [TEXT:sent1,no_loss] imply [TEXT:sent2,no_loss]? [TEXT:label,closed_set,is_label]",
    '[IMAGE:标题,adaptor=resnet] see -> ([BOX:box] \\[at\\] [TEXT:"a b",weight=0.25])*',
    "[IMAGE] region: [BOUNDING_BOX] -> [TEXT] [CATEGORY:c,adaptor=head]",
    'say " [TEXT:sentence,mask_ratio=0.3,max_length=9] "? -> [TEXT:sentence]',
]
SETTINGS = {"TEXT.uncased": True}
SCRIPT = """
import json, sys
from ofasys import plan
plans = [plan(text, settings=settings) for text, settings in json.load(sys.stdin)]
[str(p) for p in plans]
loaded = sorted(m for m in sys.modules if m in ("torch", "PIL", "tokenizers"))
print(json.dumps([[p.fingerprint for p in plans], loaded]))
"""


def test_equal_fingerprints_in_other_processes_and_no_torch():
    here = [plan(text, settings=SETTINGS).fingerprint for text in TEXTS]
    assert len(set(here)) == len(TEXTS)
    asked = json.dumps([[text, SETTINGS] for text in TEXTS])
    for seed in ("0", "12345"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=asked,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf8"},
        )
        there, heavy = json.loads(done.stdout)
        assert there == here
        assert heavy == []


@pytest.mark.parametrize("text", TEXTS)
def test_a_plan_is_a_value(text):
    one, two = plan(text), plan(text)
    assert one == two
    assert hash(one) == hash(two)
    assert pickle.loads(pickle.dumps(one)) == one
    assert {one: 1}[two] == 1
    assert plan(one.instruction) == one  # the canonical text gives the same plan
    assert plan(text, settings={"TEXT.max_length": 5}) != one


@pytest.mark.parametrize("text", TEXTS)
def test_a_plan_is_plain_json(text):
    found = plan(text, settings=SETTINGS).to_dict()
    assert json.loads(json.dumps(found)) == found


@pytest.fixture(scope="module")
def tokenizer():
    words = (
        f"{a}{b}{c}" for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "ou") for c in ("bla", "ner", "tos", "x")
    )
    return train_tokenizer([" ".join(words)], 700)


@pytest.mark.parametrize("size", ["tiny", pytest.param("small", marks=pytest.mark.slow)])
def test_the_parameters_of_explain_are_those_of_the_model(size, tokenizer):
    labels = {"g": ("one", "two", "three")}
    texts = [
        "[IMAGE:i] [IMAGE:j,adaptor=resnet,patch=8] and [TEXT:t] -> ([BOX:b,of=i] [TEXT:c])* [CATEGORY:g]",
        "[IMAGE:i,adaptor=resnet,patch=32] -> [TEXT:t]",
        "[TEXT:q] -> [CATEGORY:g]",
    ]
    for text in texts:
        made = plan(text)
        model = GeneralistModel(size, seed=0)
        model.tokenizer = tokenizer
        model.grow([(made, labels)], lambda: [])
        body, adaptors, table = count_parameters(made, SIZES[size], BUILT_IN)
        assert body == sum(p.numel() for p in model.engine.parameters())
        assert adaptors == sum(
            p.numel() for name, a in model.adaptors.items() if name != "tokens" for p in a.parameters()
        )
        missing = TEXT_PIECES - tokenizer.get_vocab_size()
        assert table - missing * SIZES[size].width == model.table.numel()
