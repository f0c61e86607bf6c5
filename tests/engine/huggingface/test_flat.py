"""Rows of different lengths: no layer computes padding, and no number depends on that."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ofasys import GeneralistModel, Task, flow
from ofasys.engine.huggingface.places import Places
from ofasys.program.program import Program
from ofasys.types import Batch
from tests.engine.huggingface.backbones import write

pytest.importorskip("transformers")
FAMILIES = ("t5", "bart", "pegasus", "bert", "gpt2", "qwen3", "gemma3_text", "mistral")
ROWS = [
    {"q": "what is a and b?", "a": "yes"},
    {"q": "no", "a": "the cat sat on the mat"},
    {"q": "red green blue x and y maybe 1 2 3 4", "a": "b a"},
]
OF_SOURCES = ("EncDecAttention", "encoder_attn")  # their keys and values are those of a source, which lies in rows


def of(folder: Path, rows: list[dict[str, str]] = ROWS, **options: Any) -> tuple[GeneralistModel, Program, Batch]:
    """A model of a folder, and rows for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tiny tokenizers lose some letters
        model = GeneralistModel(engine=f"hf:{folder}", config=options).eval()
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=rows)
    model.grow([(plan, task.labels) for plan in task.plans], lambda: [])
    program = flow.bind(model, task.plans[0], task.labels)
    return model, program, flow.collate(program, [flow.preprocess(program, row) for row in rows])


def learned(model: GeneralistModel, program: Program, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """The loss, and the gradient of each weight."""
    loss = model(program, batch).total
    loss.backward()
    return float(loss), {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_are_those_of_padded_rows(family: str, tmp_path: Path) -> None:
    """Padded they are under the library's other implementation of attention."""
    write(family, tmp_path)
    loss, mine = learned(*of(tmp_path))
    padded, theirs = learned(*of(tmp_path, attention="eager"))
    assert loss == pytest.approx(padded, rel=1e-5)
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        close = 1e-4 * float(gradient.abs().max()) + 1e-6
        torch.testing.assert_close(
            mine[name], gradient, atol=close, rtol=1e-3, msg=lambda said, of=name: f"{of}: {said}"
        )


@pytest.mark.parametrize("family", ["t5", "bart", "bert", "qwen3"])
def test_padding_is_computed_by_no_layer(family: str, tmp_path: Path) -> None:
    write(family, tmp_path)
    model, program, batch = of(tmp_path)
    seen: set[int] = set()

    def count(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
        seen.add(given[0].shape[:-1].numel())

    for name, module in model.engine.named_modules():
        if isinstance(module, nn.Linear) and not any(one in name for one in OF_SOURCES):
            module.register_forward_pre_hook(count)
    model(program, batch)
    assert batch.source is not None
    assert batch.target is not None
    config, sides = model.config, [len(side.layout.padded_index) for side in (batch.source, batch.target)]
    marks = [3 * len((*config.before, *config.after)), 3 * len(config.opening)]
    assert seen == ({sum(sides) + sum(marks)} if config.alone else {sides[0] + marks[0], sides[1] + marks[1]})


@pytest.mark.parametrize("family", ["t5", "qwen3"])
def test_rows_of_one_length_are_laid_side_by_side(family: str, tmp_path: Path) -> None:
    """Then there is no padding, and what is laid end to end would only cost more: the same numbers."""
    write(family, tmp_path)
    row = {"q": "red green blue", "a": "yes"}
    many, one = of(tmp_path, [row, row]), of(tmp_path, [row])
    assert float(many[0](*many[1:]).total) == pytest.approx(float(one[0](*one[1:]).total), rel=1e-5)


def test_biases_of_positions_are_looked_up_once_for_all_rows(tmp_path: Path) -> None:
    """T5's are the same in each row where places are counted, and of each row where they are not."""
    write("t5", tmp_path)
    model, program, batch = of(tmp_path)
    table = next(one for name, one in model.engine.encoder.named_modules() if name.endswith("relative_attention_bias"))
    rows: list[int] = []
    table.register_forward_pre_hook(lambda _module, given: rows.append(len(given[0])))
    want = model(program, batch).total
    assert batch.source is not None
    object.__setattr__(batch.source.layout, "counted", False)
    torch.testing.assert_close(model(program, batch).total, want)
    assert rows == [1, 3]


def test_a_bias_that_is_made_anew_is_not_taken_for_the_one_before() -> None:
    at, mask = torch.zeros(1, 2, dtype=torch.int64), torch.zeros(2)
    places = Places(at, at)
    sums = [places.together(torch.full((2,), float(layer)), mask)[0].item() for layer in range(4)]
    assert sums == [0.0, 1.0, 2.0, 3.0]
    bias = torch.ones(2)
    assert places.together(bias, mask) is places.together(bias, mask)
