"""What the library does that one would not guess (transformers 5.23.0, tokenizers 0.23.3), and what is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from ofasys import GeneralistModel, Task, flow
from ofasys.engine.huggingface.sight import added
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.options import SearchOptions
from ofasys.program.program import Program
from ofasys.types import Batch
from tests.engine.huggingface.backbones import library_model, tokenizer_of, write
from tests.engine.huggingface.test_flat import ROWS, of

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore:.*does not give every text back")


def test_a_prefix_that_sees_itself_is_what_the_librarys_own_forward_makes_of_such_a_mask(tmp_path: Path) -> None:
    """`generate` refuses such a mask, a forward takes it, and of Gemma 3 it stands for the window too: as a bool it
    would let eager attention see the future, as what is added it does not.
    """
    for family in ("qwen3", "gemma3_text"):
        folder = tmp_path / family
        folder.mkdir()
        library = write(family, folder)
        model, program, batch = of(folder, prefix=True)
        with torch.no_grad():
            states = flow.compute(model, flow.adapt(model, batch)).target
        assert states is not None
        mine = (states.states @ model.engine.output_rows.t()).split(states.layout.lengths.tolist())
        for row, sample in zip(mine, program_rows(model, program), strict=True):
            before, source, target = sample
            ids = torch.tensor([[*before, *source, *target]])
            n, first = ids.shape[1], len(before)
            sees = torch.ones(n, n).tril().bool()
            sees[first : first + len(source), first : first + len(source)] = True
            with pytest.raises(ValueError, match="2D"):
                library.generate(ids, attention_mask=added(sees, torch.float32)[None, None], max_new_tokens=1)
            close = sees & (torch.arange(n)[None] > torch.arange(n)[:, None] - 4)
            masks = {"full_attention": added(sees, torch.float32), "sliding_attention": added(close, torch.float32)}
            given = {name: mask[None, None] for name, mask in masks.items()}
            mask = given if family == "gemma3_text" else given["full_attention"]
            with torch.no_grad():
                own = library(input_ids=ids, attention_mask=mask).logits[0, n - len(target) :]
            torch.testing.assert_close(row, own, atol=1e-5 * float(own.abs().max()), rtol=1e-5)


def program_rows(model: GeneralistModel, program: Program) -> list[tuple[list[int], list[int], list[int]]]:
    """(marks, source, target as it is read) of the rows that `of` has."""
    found = []
    for row in ROWS:
        sample = flow.preprocess(program, row)
        (_, features), *_ = sample.source
        run = sample.run
        assert run.tokens is not None
        target = [*run.prefix.tolist(), *run.tokens.tolist()][:-1]
        found.append((list(model.config.before), features.tensors["tokens"].tolist(), target))
    return found


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_a_label_is_spelled_as_its_tokenizer_spells_it(family: str, tmp_path: Path) -> None:
    """SentencePiece writes "yes" as one piece with a blank before it, which a grammar of the bare word refuses."""
    write(family, tmp_path)
    pieces = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    labels = ["yes", "no", "maybe"]
    assert pieces.id_to_token(pieces.encode("yes", add_special_tokens=False).ids[0]).startswith("▁")
    model = GeneralistModel(engine=f"hf:{tmp_path}").eval()
    line = "[TEXT:q] -> [TEXT:a,closed_set]"
    task = Task("t", line, train=[{"q": "a", "a": label} for label in labels])
    model.grow([(plan, task.labels) for plan in task.plans], lambda: [])
    program = flow.bind(model, task.plans[0], task.labels)
    samples = [flow.preprocess(program, {"q": q}, target=False) for q in ("a", "what is", "x y", "red", "1 2 3")]
    allowed = {tuple(pieces.encode(label, add_special_tokens=False).ids): label for label in labels}
    for (answer, *_), sample in zip(flow.generate(model, program, samples, SearchOptions()), samples, strict=True):
        (made,) = answer.parts
        assert isinstance(made, Hypothesis)
        tokens = [one for one in made.tokens.tolist() if one != model.foreign.end]
        assert flow.postprocess(program, sample, answer)["a"] == allowed[tuple(tokens)]


@pytest.mark.parametrize("family", ["t5", "qwen3", "bert"])
def test_weights_of_half_precision_are_learned_in_full(family: str, tmp_path: Path) -> None:
    """The library makes a model in whatever its weights are in; steps of bfloat16 weights would be lost."""
    library = library_model(family)
    library.to(torch.bfloat16).save_pretrained(tmp_path)
    tokenizer_of(family).save(str(tmp_path / "tokenizer.json"))
    assert transformers.AutoModel.from_pretrained(tmp_path).dtype == torch.bfloat16
    engine = GeneralistModel(engine=f"hf:{tmp_path}").engine
    assert {weight.dtype for weight in engine.parameters()} == {torch.float32}
    assert torch.equal(engine.input_rows, library.get_input_embeddings().weight.float())


def test_rows_of_different_lengths_stand_where_they_would_alone(tmp_path: Path) -> None:
    """A plain forward of GPT-2 counts padding that stands before a row as places."""
    library = write("gpt2", tmp_path)
    short, long = [5, 6, 7], [5, 6, 7, 8, 9, 10]
    with torch.no_grad():
        padded = torch.tensor([[0] * 3 + short, long])
        seen = torch.tensor([[0] * 3 + [1] * 3, [1] * 6])
        alone = library(torch.tensor([short])).logits[0, -1]
        together = library(padded, attention_mask=seen).logits[0, -1]
    assert float((alone - together).abs().max()) > 0.1
    rows = [{"q": "a", "a": "no"}, {"q": "red green blue x and y maybe", "a": "the cat sat on the mat"}]
    model, program, batch = of(tmp_path, rows)
    with torch.no_grad():
        whole = flow.compute(model, flow.adapt(model, batch)).target
        one = flow.compute(model, flow.adapt(model, of_first(program, rows))).target
    assert whole is not None
    assert one is not None
    torch.testing.assert_close(whole.states[: len(one.states)], one.states, atol=1e-5, rtol=1e-4)


def of_first(program: Program, rows: list[dict[str, str]]) -> Batch:
    """A batch of the first row alone."""
    return flow.collate(program, [flow.preprocess(program, rows[0])])


def test_a_model_that_is_drawn_stands_as_one_that_is_read(tmp_path: Path) -> None:
    """The library leaves what it draws in training mode, and what it reads in evaluation mode."""
    shape = write("qwen3", tmp_path).config
    assert transformers.AutoModelForCausalLM.from_config(shape).training
    assert not transformers.AutoModelForCausalLM.from_pretrained(tmp_path).training
    read = GeneralistModel(engine=f"hf:{tmp_path}")
    (tmp_path / "model.safetensors").rename(tmp_path / "away.safetensors")
    drawn = GeneralistModel(engine=read.engine_spec, config=read.config)
    for model in (read, drawn):
        assert {module.training for module in model.modules()} == {model.training}
