"""A repetition that holds values that are no tokens, made by a backbone: each row as it is alone."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from ofasys import GeneralistModel, flow
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.options import SearchOptions
from tests.engine.huggingface.backbones import write

pytest.importorskip("transformers")
LINES = (
    "[TEXT:q] -> ([NUMBER:x,mean=3,std=2])*",
    "[TEXT:q] -> (and [TEXT:t,max_length=3] [NUMBER:x,mean=3,std=2])* so [TEXT:end,max_length=3]",
)
ROWS = [
    {"q": "what is a and b?", "x": [1.0, 4.0, 2.0], "t": ["a", "b a", "the cat"], "end": "yes"},
    {"q": "no", "x": [], "t": [], "end": "the cat"},
    {"q": "red green blue x and y maybe", "x": [2.5], "t": ["yes"], "end": "a"},
]


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("family", ["bart", "qwen3"])
def test_rows_together_and_alone(family: str, line: str, tmp_path: Path) -> None:
    write(family, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tiny tokenizers lose some letters
        model = GeneralistModel(engine=f"hf:{tmp_path}").eval()
    planned = flow.plan(line)
    model.grow([(planned, {})], list, lambda *_: [])
    made = flow.bind(model, planned)
    samples = [flow.preprocess(made, row) for row in ROWS]
    sums = model(made, flow.collate(made, samples)).sums
    alone = [model(made, flow.collate(made, [sample])).sums for sample in samples]
    np.testing.assert_allclose(sums, sum(alone), rtol=1e-4, atol=1e-4)
    asked = [flow.preprocess(made, row, target=False) for row in ROWS]
    options = SearchOptions(sampling=True, temperature=2.0, max_length=40, min_items=1, max_items=3, seed=3)
    together = flow.generate(model, made, asked, options)
    assert len({answer.numbers for (answer,) in together}) > 1
    for number, (sample, (answer,)) in enumerate(zip(asked, together, strict=True)):
        ((own,),) = flow.generate(model, made, [sample], options, [number])
        assert own.numbers == answer.numbers
        for one, other in zip(own.parts, answer.parts, strict=True):
            if isinstance(one, Hypothesis):
                assert isinstance(other, Hypothesis)
                assert one.tokens.tolist() == other.tokens.tolist()
            else:
                np.testing.assert_allclose(one, other, atol=1e-4)
