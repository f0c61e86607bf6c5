"""A backbone through our flow is the library's own: forward, greedy answers, beams. It keeps the laws of engines."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

from ofasys import GeneralistModel, Task, flow
from ofasys.engine.huggingface.config import BackboneConfig, BackboneOptions
from ofasys.engine.spec import HUGGINGFACE
from ofasys.generator.options import SearchOptions
from ofasys.generator.search import Hypothesis
from ofasys.model.rows import looked_up
from ofasys.program.batch import layout
from ofasys.program.program import Program
from ofasys.testing import check_engine
from ofasys.testing.questions import questions
from ofasys.types import Sample, Stream
from tests.engine.huggingface.backbones import SHAPES, shape_of, write

pytest.importorskip("transformers")
LINE = "[TEXT:q] -> [TEXT:a]"
ROWS = [
    {"q": "what is a and b?", "a": "yes"},
    {"q": "no", "a": "the cat sat on the mat"},
    {"q": "red green blue x and y maybe 1 2 3 4", "a": "b a"},
]
FAMILIES = ("t5", "bart", "qwen3", "llama", "gemma3_text", "gpt2", "mistral", "pegasus", "bert")
NEWER = ("mbart", "qwen2", "gemma", "olmo2", "olmo3", "phi3", "smollm3")


@cache
def case(family: str) -> tuple[GeneralistModel, Any, Program, list[Sample]]:
    """(our model, the library's, a program, samples) of a folder."""
    with TemporaryDirectory() as folder:
        library = write(family, Path(folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tiny tokenizers lose some letters
            model = GeneralistModel(engine=f"hf:{folder}")
    task = Task("t", LINE, train=ROWS)
    model.grow([(plan, task.labels) for plan in task.plans], lambda: [])
    model.eval()
    program = flow.bind(model, task.plans[0], task.labels)
    return model, library, program, [flow.preprocess(program, row) for row in ROWS]


def ids_of(model: GeneralistModel, sample: Sample) -> tuple[list[int], list[int]]:
    """What the library is given for the source, and what before the answer."""
    config = model.config
    (_, features), *rest = sample.source
    assert not rest
    source = [*config.before, *features.tensors["tokens"].tolist(), *config.after]
    return source, [*config.opening, *sample.run.prefix.tolist()]


@torch.no_grad()
def logits_of(library: Any, source: list[int], target: list[int]) -> torch.Tensor:
    """The library's own scores after each position of the target (n, F)."""
    if library.config.model_type == "bert":
        return scores_of_encoder(library, source, target)
    if library.config.is_encoder_decoder:
        return library(input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target])).logits[0]
    return library(input_ids=torch.tensor([source + target])).logits[0, len(source) :]


def scores_of_encoder(library: Any, source: list[int], target: list[int]) -> torch.Tensor:
    """Of one that was never told to be a decoder: the source is seen by all, a target by what follows (n, F)."""
    whole, n = [*source, *target], len(source)
    seen = torch.ones(len(whole), len(whole)).tril().bool()
    seen[:, :n] = True
    seen[:n, n:] = False
    mask = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)[None, None]
    assert not library.config.is_decoder
    states = library(input_ids=torch.tensor([whole]), attention_mask=mask).last_hidden_state[0, n:]
    return states @ library.get_input_embeddings().weight.t()


@pytest.mark.parametrize("family", FAMILIES + NEWER)
def test_a_forward_of_a_batch_is_the_librarys_own(family: str) -> None:
    """With marks, scales, windows and positions as the library has them; rows of different lengths in one batch."""
    model, library, program, samples = case(family)
    batch = flow.collate(program, samples)
    with torch.no_grad():
        states = flow.compute(model, flow.adapt(model, batch)).target
    assert states is not None
    scores = states.states @ model.engine.output_rows.t()
    begins = np.cumsum([0, *states.layout.lengths.tolist()])
    for row, sample in enumerate(samples):
        source, before = ids_of(model, sample)
        tokens = sample.run.tokens
        assert tokens is not None
        whole = [*before, *tokens.tolist()]
        own = logits_of(library, source, whole)[len(model.config.opening) :]
        mine = scores[begins[row] : begins[row + 1]]
        assert abs(len(mine) - len(own)) <= 1  # what follows the end mark is predicted by nobody
        n = min(len(mine), len(own))
        torch.testing.assert_close(mine[:n], own[:n], atol=1e-5 * float(own.abs().max().clamp(min=1)), rtol=1e-5)


@pytest.mark.parametrize("family", [family for family in FAMILIES + NEWER if family != "bert"])
@pytest.mark.parametrize("beams", [1, 3])
def test_answers_are_those_of_generate(family: str, beams: int) -> None:
    """Token for token, of a batch of ours and of each row alone of the library. Where the length is used up the library
    ends without a mark, and ours end by one that costs nothing; scores are those of the other tokens.
    """
    model, library, program, samples = case(family)
    options = SearchOptions(max_length=8, beam_size=beams, length_penalty=1.0, early_stopping="never")
    answers = flow.generate(model, program, samples, options)
    library.generation_config.forced_eos_token_id = None
    lo, hi = model.foreign.text
    outside = [one for one in range(model.foreign.size) if not lo <= one < hi and one != model.foreign.end]
    different = set()
    for sample, several in zip(samples, answers, strict=True):
        source, before = ids_of(model, sample)
        joined = library.config.is_encoder_decoder
        given = {"input_ids": torch.tensor([source])} if joined else {"input_ids": torch.tensor([source + before])}
        if joined:
            given["decoder_input_ids"] = torch.tensor([before])
        made = library.generate(
            **given,
            attention_mask=torch.ones_like(given["input_ids"]),
            max_new_tokens=8,
            num_beams=beams,
            do_sample=False,
            early_stopping="never" if beams > 1 else False,
            length_penalty=1.0,
            forced_bos_token_id=None,
            eos_token_id=model.foreign.end,
            pad_token_id=0,
            suppress_tokens=outside,
            renormalize_logits=True,  # ours are over what may come
        )[0]
        skip = len(before) if joined else len(source) + len(before)
        want, end = made[skip:].tolist(), model.foreign.end
        (best,) = several[0].parts
        assert isinstance(best, Hypothesis)
        assert best.tokens.tolist() == [*want[: want.index(end) if end in want else len(want)], end]
        different.add(tuple(want))
    assert len(different) > 1, "answers depend on the source"


def test_greedy_answers_of_an_encoder_are_those_of_whole_forwards() -> None:
    """Its cache, where rows are of different lengths, against the library's passes without one."""
    model, library, program, samples = case("bert")
    answers = flow.generate(model, program, samples, SearchOptions(max_length=6))
    lo, hi = model.foreign.text
    may = torch.zeros(model.foreign.size, dtype=torch.bool)
    may[lo:hi] = may[model.foreign.end] = True
    different = set()
    for sample, several in zip(samples, answers, strict=True):
        source, target = ids_of(model, sample)
        made: list[int] = []
        while len(made) < 6 and model.foreign.end not in made:
            scores = scores_of_encoder(library, source, [*target, *made])[-1]
            made.append(int(scores.masked_fill(~may, -torch.inf).argmax()))
        (best,) = several[0].parts
        assert isinstance(best, Hypothesis)
        assert best.tokens.tolist()[: len(made)] == made
        different.add(tuple(made))
    assert len(different) > 1, "answers depend on the source"


@pytest.mark.parametrize("family", SHAPES)
def test_the_laws_of_an_engine_are_kept(family: str) -> None:
    """With marks around both sides, under eager attention, which would see the future through a bool mask."""
    shape = shape_of(family)
    architecture = {name: value for name, value in shape.to_dict().items() if not name.startswith("_")}
    marks: dict[str, Any] = {"before": (5, 6), "after": (7,)}
    for options in (BackboneOptions(attention="eager"), BackboneOptions(prefix=not shape.is_encoder_decoder)):
        config = BackboneConfig(architecture=architecture, options=options, **marks)
        if shape.is_encoder_decoder:
            config = replace(config, opening=(8, 9))
        check_engine(HUGGINGFACE, config=config)


@pytest.mark.parametrize("family", ["t5", "mt5"])
def test_output_rows_of_their_own_are_the_librarys(family: str, tmp_path: Path) -> None:
    """Of T5 v1.1, whose rows the library's configuration says are tied when it has read that they are not."""
    library = write(family, tmp_path, tie_word_embeddings=False, scale_decoder_outputs=False)
    library.encoder.embed_tokens = library.decoder.embed_tokens = library.shared
    library.save_pretrained(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = GeneralistModel(engine=f"hf:{tmp_path}").eval()
    assert not model.tied
    assert torch.equal(model.engine.output_rows, library.lm_head.weight)
    assert torch.equal(model.engine.input_rows, library.shared.weight)
    assert not torch.equal(model.engine.output_rows, model.engine.input_rows)
    assert model.engine.state_scale == 1.0
    source, target = [5, 6, 7], [0, 8, 9]
    with torch.no_grad():
        want = logits_of(library, [*source, *model.config.after], target)
        got = model.engine(stream_of(model, source), stream_of(model, target)).target
    assert got is not None
    torch.testing.assert_close(got.states @ model.engine.output_rows.t(), want, atol=1e-5, rtol=1e-4)


def stream_of(model: GeneralistModel, ids: list[int]) -> Stream:
    """One row of ids of the backbone."""
    positions = np.full((len(ids), 3), -1, dtype=np.int64)
    positions[:, 0] = np.arange(len(ids))
    rows = looked_up(model.engine.input_rows, torch.tensor(ids)) * model.engine.input_scale
    return Stream(rows, layout(np.array([len(ids)]), positions))


@pytest.mark.parametrize("family", ["t5", "bart", "gemma3_text"])
def test_half_precision_and_a_batch_alone_are_close(family: str) -> None:
    """Masks go with whatever the passes are computed in."""
    model, _, program, samples = case(family)
    batch = flow.collate(program, samples)
    with torch.no_grad():
        whole = float(model(program, batch).total)
        model.precision = "bfloat16"
        try:
            half = float(model(program, batch).total)
            (answer, *_), *_ = flow.generate(model, program, samples, SearchOptions(max_length=4, beam_size=2))
        finally:
            model.precision = "float32"
    assert np.isfinite(half)
    assert half == pytest.approx(whole, rel=0.1)
    assert np.isfinite(answer.score)


PICTURE = "[IMAGE:img,size=16,patch=4] [TEXT:q] -> [TEXT:a]"
PICTURES = [row | {"img": np.full((16, 16, 3), 90 * i, dtype=np.uint8)} for i, row in enumerate(ROWS)]


@cache
def pictured(family: str, line: str = PICTURE, **changes: int) -> tuple[GeneralistModel, Program, list[Sample]]:
    """(a model, a program, samples) with a picture in their source, whose patches all stand at one place."""
    with TemporaryDirectory() as folder:
        write(family, Path(folder), **changes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = GeneralistModel(engine=f"hf:{folder}")
    task = Task("t", line, train=PICTURES)
    model.grow([(plan, task.labels) for plan in task.plans], lambda: [])
    model.eval()
    program = flow.bind(model, task.plans[0], task.labels)
    return model, program, [flow.preprocess(program, row) for row in PICTURES]


@torch.no_grad()
def states_of(model: GeneralistModel, program: Program, samples: list[Sample]) -> tuple[torch.Tensor, ...]:
    """Of the target of each."""
    found = flow.compute(model, flow.adapt(model, flow.collate(program, samples))).target
    assert found is not None
    return found.states.split(found.layout.lengths.tolist())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_with_a_picture_is_the_same_alone_and_in_a_batch(family: str) -> None:
    """Alone there is no padding; the library would take each place that does not go on by one for another text."""
    model, program, samples = pictured(family)
    for together, sample in zip(states_of(model, program, samples), samples, strict=True):
        (alone,) = states_of(model, program, [sample])
        torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", ["gemma3_text", "mistral"])
def test_a_picture_takes_one_place_of_a_sliding_window(family: str) -> None:
    """What stands right before the target is seen by it, however many patches come before."""
    model, program, samples = pictured(family)
    source, target = flow.adapt(model, flow.collate(program, samples[:1]))
    assert source is not None
    other = source.embedding.clone()
    other[-1] = -other[-1]
    with torch.no_grad():
        first, second = (
            model.engine(replace(source, embedding=one), target).target.states[0] for one in (source.embedding, other)
        )
    assert float((first - second).abs().max()) > 1e-3


@pytest.mark.parametrize(
    ("family", "limit"), [("gpt2", {"n_positions": 64}), ("bart", {"max_position_embeddings": 40})]
)
def test_a_picture_of_more_patches_than_positions_is_read(family: str, limit: dict[str, int]) -> None:
    """A table of positions needs one for all of it, while what comes after goes on from there."""
    model, program, samples = pictured(family, "[IMAGE:img,size=32,patch=4] -> [TEXT:a]", **limit)
    assert len(samples[0].source[0][1].grid) > model.engine.max_positions
    with torch.no_grad():
        whole = model(program, flow.collate(program, samples))
    assert torch.isfinite(whole.total)
    assert flow.generate(model, program, samples, SearchOptions(max_length=4))


@pytest.mark.parametrize("family", ["t5", "bart", "qwen3", "gpt2", "gemma3_text"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_step_asks_its_device_for_nothing(family: str, count: int) -> None:
    """Neither of rows that are equally long, of which the library would make a mask itself, nor of others."""
    model, _, program, samples = case(family)
    batch = flow.collate(program, samples[:count])
    model.train()
    try:
        with questions() as asked:
            model(program, batch).total.backward()
    finally:
        model.eval()
        model.zero_grad()
    assert not asked
