"""What the library does that one would not guess (transformers 5.23.0, tokenizers 0.23.3), and what is made of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers

from ofasys import GeneralistModel, Task, flow
from ofasys.engine.huggingface.sight import added
from ofasys.errors import ConfigError
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.options import SearchOptions
from ofasys.planner import plan
from ofasys.program.program import Program
from ofasys.types import Batch
from tests.engine.huggingface.backbones import SHAPES, SIZE, library_model, tokenizer_of, write
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


def test_a_bool_mask_lets_eager_attention_see_the_future_and_ours_does_not() -> None:
    """The library adds it to scores as 0 and 1."""
    library, first, second = library_model("qwen3"), torch.arange(5, 13)[None], torch.arange(5, 13)[None]
    second[0, -1] = 30
    sees = torch.ones(8, 8).tril().bool()
    moved = []
    for mask in (sees[None, None], added(sees, torch.float32)[None, None]):
        with torch.no_grad():
            one, other = (library(input_ids=ids, attention_mask=mask).logits[0, :-1] for ids in (first, second))
        moved.append(float((one - other).abs().max()))
    assert moved[0] > 1e-2
    assert moved[1] == 0.0


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3_text"])
def test_a_prefix_that_sees_itself_is_answered_as_generate_goes_on_from_a_prefill(family: str, tmp_path: Path) -> None:
    """`generate` refuses the mask; a pass that fills its cache does not, nor that it goes on from this."""
    library = write(family, tmp_path)
    model, program, _ = of(tmp_path, prefix=True)
    lo, hi = model.foreign.text
    end = model.foreign.end
    outside = [one for one in range(model.foreign.size) if not lo <= one < hi and one != end]
    samples = [flow.preprocess(program, row, target=False) for row in ROWS]
    found = set()
    for (answer, *_), sample in zip(
        flow.generate(model, program, samples, SearchOptions(max_length=6)), samples, strict=True
    ):
        (_, features), *_ = sample.source
        source = features.tensors["tokens"].tolist()
        before, marks = list(model.config.before), [*model.config.after, *sample.run.prefix.tolist()]
        ids = torch.tensor([[*before, *source, *marks]])
        n, begins = ids.shape[1], len(before)
        sees = torch.ones(n, n).tril().bool()
        sees[begins : begins + len(source), begins : begins + len(source)] = True
        near = sees & (torch.arange(n)[None] > torch.arange(n)[:, None] - (model.engine.window or n))
        kinds = {"full_attention": sees, "sliding_attention": near}
        masks = {name: added(mask, torch.float32)[None, None] for name, mask in kinds.items()}
        cache = transformers.DynamicCache()
        with torch.no_grad():
            given = masks if family == "gemma3_text" else masks["full_attention"]
            scores = library(input_ids=ids, attention_mask=given, past_key_values=cache, use_cache=True).logits[0, -1]
        scores[outside] = -torch.inf
        begun = torch.cat([ids, scores.argmax()[None, None]], 1)
        made = library.generate(
            begun,
            attention_mask=torch.ones_like(begun),
            past_key_values=cache,
            max_new_tokens=5,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=0,
            suppress_tokens=outside,
        )[0, n:].tolist()
        want = made[: made.index(end)] if end in made else made
        (best,) = answer.parts
        assert isinstance(best, Hypothesis)
        assert best.tokens.tolist() == [*want, end]
        found.add(tuple(want))
    assert len(found) > 1, "answers depend on the source"


def test_a_t5_whose_output_rows_are_its_own_is_tied_by_the_library(tmp_path: Path) -> None:
    """Its configuration takes the word for the scale of states alone; what its file says is so here."""
    said = transformers.T5Config(**SHAPES["t5"], vocab_size=SIZE, tie_word_embeddings=False, decoder_start_token_id=0)
    theirs = transformers.T5ForConditionalGeneration(said)
    assert theirs.lm_head.weight is theirs.shared.weight
    write("t5", tmp_path, tie_word_embeddings=False, scale_decoder_outputs=False)
    assert not GeneralistModel(engine=f"hf:{tmp_path}").tied


def test_long_rotary_positions_turn_all_rows_of_a_batch_otherwise_and_are_refused(tmp_path: Path) -> None:
    """So a row would be answered by what else was asked with it."""
    turned = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 8}
    turned |= {"short_factor": [1.0] * 4, "long_factor": [2.0, 3.0, 4.0, 5.0]}
    library = write("llama", tmp_path, rope_parameters=turned)
    short, long = torch.arange(5, 10), torch.arange(5, 30)
    both = torch.stack([torch.cat([short, torch.zeros(20).long()]), long])
    with torch.no_grad():
        alone = library(input_ids=short[None]).logits[0]
        together = library(input_ids=both).logits[0, :5]
    assert float((alone - together).abs().max()) > 0.1
    with pytest.raises(ConfigError, match="rope_type='longrope'"):
        GeneralistModel(engine=f"hf:{tmp_path}")


OLDER = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
DECODERS = {"as of T5": decoders.Metaspace(), "as of Llama 2": decoders.Sequence(OLDER)}
DECODERS["as of Gemma"] = decoders.Sequence(OLDER[:-1])  # whose texts begin without a blank


@pytest.mark.parametrize("how", DECODERS)
def test_a_text_of_a_grammar_has_no_blank_before_it_however_its_tokenizer_writes_one(how: str, tmp_path: Path) -> None:
    """Of one that takes the first blank away the answer may begin with it, of another it may not."""
    write("llama", tmp_path)
    alike = tokenizer_of("llama")
    alike.decoder = DECODERS[how]
    if how == "as of Gemma":
        alike.normalizer = normalizers.Replace(" ", "▁")
        alike.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    alike.save(str(tmp_path / "tokenizer.json"))
    line = '[TEXT:q] -> [TEXT:a,regex="(yes|no|maybe), [a-c]{2} [0-9]"]'
    asked = ("a", "the cat sat", "x y", "red", "1 2 3")
    led = 0
    for seed in range(4):
        write("llama", tmp_path / "other", seed=seed)
        (tmp_path / "other" / "model.safetensors").replace(tmp_path / "model.safetensors")
        model = GeneralistModel(engine=f"hf:{tmp_path}").eval()
        model.grow([(plan(line), {})], list)
        program = flow.bind(model, plan(line))
        samples = [flow.preprocess(program, {"q": q}, target=False) for q in asked]
        for (answer, *_), sample in zip(flow.generate(model, program, samples, SearchOptions()), samples, strict=True):
            assert re.fullmatch("(yes|no|maybe), [a-c]{2} [0-9]", flow.postprocess(program, sample, answer)["a"])
            (made,) = answer.parts
            assert isinstance(made, Hypothesis)
            first = alike.id_to_token(int(made.tokens[0]))
            assert first is not None
            led += first.startswith("▁")
    assert (led == 0) == (how == "as of Gemma")


@pytest.mark.parametrize("beams", [1, 3])
def test_a_decoder_deeper_than_its_encoder_answers(beams: int, tmp_path: Path) -> None:
    """The library's cache for it has as many layers as the encoder; without one it answers as ours does with one."""
    library = write("t5", tmp_path, num_decoder_layers=3)
    source = torch.arange(5, 12)[None]
    with pytest.raises(IndexError):
        library.generate(source, max_new_tokens=2)
    model, program, _ = of(tmp_path)
    lo, hi = model.foreign.text
    end = model.foreign.end
    outside = [one for one in range(model.foreign.size) if not lo <= one < hi and one != end]
    samples = [flow.preprocess(program, row, target=False) for row in ROWS]
    options = SearchOptions(max_length=6, beam_size=beams, early_stopping="never")
    for (answer, *_), sample in zip(flow.generate(model, program, samples, options), samples, strict=True):
        (_, features), *_ = sample.source
        made = library.generate(
            torch.tensor([[*features.tensors["tokens"].tolist(), *model.config.after]]),
            max_new_tokens=6,
            num_beams=beams,
            do_sample=False,
            early_stopping="never" if beams > 1 else False,
            suppress_tokens=outside,
            renormalize_logits=True,
            use_cache=False,
        )[0, 1:].tolist()
        (best,) = answer.parts
        assert isinstance(best, Hypothesis)
        assert best.tokens.tolist() == [*(made[: made.index(end)] if end in made else made), end]
