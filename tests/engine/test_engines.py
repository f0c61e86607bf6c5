"""An engine of one's own: every kind of target is learned, answered, saved and loaded by it; what is none is
refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from ofasys import GeneralistModel, OFASys, Task, Trainer, flow
from ofasys.engine import ENGINES, Engine, EngineSpec
from ofasys.errors import CheckpointError, ConfigError, DataError, PluginError
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.options import SearchOptions
from ofasys.hub.model import MODEL_FILES, model_of, renamed
from ofasys.hub.store import read_folder, write_folder
from ofasys.modality import BUILT_IN, default_registry, registry
from ofasys.modality.vocabulary import ForeignVocabulary
from ofasys.model import UniversalModel
from ofasys.model.sizes import ModelConfig
from ofasys.program.answer import Answer
from ofasys.types import States
from tests.engine.causal import CAUSAL, CausalConfig, CausalEngine, CausalSession
from tests.laws.test_accumulate import LINES, ROWS

SMALL = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, max_positions=256, max_grid=16)
CONFIG = CausalConfig(max_positions=256)
KINDS = LINES | {
    "contrast": "[IMAGE:img,size=16,patch=8|TEXT:q] ->",
    "closed set": "[TEXT:q] -> [CATEGORY:kind]",
    "ranked": "[TEXT:q] -> [CATEGORY:kind,generator=rank]",
    "guided": "[TEXT:q] -> [MOTION:m,fps=10,frames=12,drop=0.5,guidance_weight=2.0]",
    "frames and text": "[TEXT:q] -> [AUDIO:wav,rate=8000,mels=16,reduction=2,max_positions=8] says [TEXT:a]",
}


def same(one: Answer, other: Answer) -> None:
    """Alike but for rounding."""
    assert other.score == pytest.approx(one.score, abs=1e-4)
    for mine, theirs in zip((*one.parts, *one.extras.values()), (*other.parts, *other.extras.values()), strict=True):
        if isinstance(mine, Hypothesis):
            assert mine.tokens.tolist() == theirs.tokens.tolist()
        elif mine is not None:
            np.testing.assert_allclose(theirs, mine, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_trains_answers_is_saved_and_loaded(kind: str, tmp_path: Any) -> None:
    """Of one stream, with output rows of its own; answers of a batch are those of each row alone."""
    known = BUILT_IN.with_(CAUSAL)
    task = Task("t", KINDS[kind], train=ROWS, micro_batch_size=4, modalities=known)
    model = GeneralistModel(engine="causal", config=CONFIG, tied=False, modalities=known, text_pieces=300)
    trainer = Trainer(max_steps=4, lr=1e-3, warmup=1, out=tmp_path, live=False, log_every=1, precision="float32")
    trainer.fit(model=model, tasks=task)
    losses = [line["loss"] for line in trainer.history if line["kind"] == "train"]
    assert np.isfinite(losses).all()
    loaded = OFASys.from_pretrained(tmp_path, modalities=known)
    assert isinstance(loaded.model.engine, CausalEngine)
    assert not loaded.model.tied
    program = loaded.program(flow.parse(KINDS[kind]))
    samples = [flow.preprocess(program, row) for row in ROWS]
    options = SearchOptions(max_length=6)
    together = flow.generate(loaded.model, program, samples, options)
    before = flow.generate(model, flow.bind(model, program.plan, task.labels), samples, options)
    for i, (one, other) in enumerate(zip(together, before, strict=True)):
        same(one[0], other[0])
        same(one[0], flow.generate(loaded.model, program, [samples[i]], options, seeds=[i])[0][0])
    batch = flow.collate(program, samples)
    states = flow.compute(loaded.model, flow.adapt(loaded.model, batch)) if program.plan.views is None else None
    if states is not None and states.source is not None:  # states that are known already change nothing
        again = flow.generate(loaded.model, program, samples, options, memory=states.source)
        for one, other in zip(together, again, strict=True):
            same(one[0], other[0])


@pytest.mark.parametrize("line", ["[TEXT:q] -> [TEXT:a]", "[TEXT:q] -> [CATEGORY:kind] and [TEXT:b]"])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_search_of_one_stream_is_that_of_its_full_pass(line: str, beam_size: int) -> None:
    """What a search says an answer scores, with its cache, rows that change places and trees, is what one pass says."""
    model = GeneralistModel(engine=CAUSAL, config=CONFIG, tied=False, text_pieces=300)
    task = Task("t", line, train=ROWS, micro_batch_size=4)
    Trainer(max_steps=30, lr=1e-2, warmup=1, live=False, precision="float32").fit(model=model, tasks=task)
    model.eval()
    program = flow.bind(model, task.plans[0], task.labels)
    asked = [flow.preprocess(program, row, target=False) for row in ROWS]
    found = flow.generate(model, program, asked, SearchOptions(max_length=40, beam_size=beam_size, length_penalty=0.0))
    finished = 0
    for sample, several in zip(asked, found, strict=True):
        (best,) = several[0].parts
        assert isinstance(best, Hypothesis)
        states = program.constraint.walk(best.tokens)
        answer = replace(sample, target=(replace(sample.run, tokens=best.tokens, states=states),))
        with torch.no_grad():
            loss = model(program, flow.collate(program, [answer]))
        assert best.logprob == pytest.approx(-float(loss.sums.sum()), abs=1e-3) or not best.finished
        finished += best.finished
    assert finished


# --- how an engine is given ------------------------------------------------------------------------------------------


def test_one_that_is_not_known_is_told() -> None:
    with pytest.raises(ConfigError, match=r"unknown engine 'casual'.*did you mean causal"):
        GeneralistModel(engine="casual", modalities=BUILT_IN.with_(CAUSAL))
    with pytest.raises(ConfigError, match="engine 'causal' has no sizes; give its shape as config"):
        GeneralistModel("small", engine=CAUSAL)
    with pytest.raises(ConfigError, match="it is a CausalConfig or None"):
        GeneralistModel(engine=CAUSAL, config=SMALL)
    with pytest.raises(ConfigError, match="it is a ModelConfig or None"):
        GeneralistModel(config=CONFIG)
    with pytest.raises(ConfigError, match="engine 'transformer' is registered already"):
        BUILT_IN.with_(replace(CAUSAL, name="transformer"))
    with pytest.raises(ConfigError, match="has no 'layer'; did you mean layers"):
        CAUSAL.read({"layer": 3})
    with pytest.raises(PluginError, match="load='nowhere:Engine' is not there"):
        GeneralistModel(engine=replace(CAUSAL, load="nowhere:Engine"))
    with pytest.raises(PluginError, match=r"config='tests.engine.causal:seen' is no dataclass"):
        GeneralistModel(engine=replace(CAUSAL, config="tests.engine.causal:seen"))
    assert GeneralistModel(engine=CAUSAL).config == CausalConfig()  # as it is by itself
    assert isinstance(GeneralistModel("tiny").engine, UniversalModel)


def test_one_that_is_installed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(group: str) -> Iterator[EntryPoint]:
        if group == "ofasys.engines":
            yield EntryPoint("causal", "tests.engine.causal:CAUSAL", group)

    monkeypatch.setattr(registry, "entry_points", found)
    default_registry.cache_clear()
    try:
        model = GeneralistModel(engine="causal", config=CONFIG)
        assert isinstance(model.engine, CausalEngine)
    finally:
        default_registry.cache_clear()


def test_both_engines_are_engines() -> None:
    for model in (GeneralistModel("tiny"), GeneralistModel(engine=CAUSAL)):
        assert isinstance(model.engine, Engine)
        assert model.engine_spec.read(model.engine_spec.written(model.config)) == model.config
    assert list(ENGINES) == ["transformer"]


# --- what is none ----------------------------------------------------------------------------------------------------


class Wide(CausalEngine):
    """Its states are of another width than it says."""

    def forward(self, source: Any, target: Any) -> States:
        found = super().forward(source, target)
        return States(
            *(side and replace(side, states=torch.cat([side.states] * 2, 1)) for side in (found.source, found.target))
        )


class Half(CausalEngine):
    """It leaves out the target."""

    def forward(self, source: Any, target: Any) -> States:
        return States(super().forward(source, target).source, None)


class Loose(CausalEngine):
    """It gives no states."""

    def forward(self, source: Any, target: Any) -> Any:
        return ()


class Closed(CausalEngine):
    """Its sessions are none."""

    def open(self, *args: Any, **given: Any) -> Any:
        return object()


class Short(CausalEngine):
    """Its sessions forget rows."""

    def open(self, *args: Any, **given: Any) -> Any:
        session = super().open(*args, **given)
        append = session.append
        session.append = lambda *given: append(*given)[:1]
        return session


class Bare(CausalEngine):
    """Its sessions have nothing after a prefix."""

    def open(self, *args: Any, **given: Any) -> CausalSession:
        session = super().open(*args, **given)
        session.hidden = None
        return session


class Sourced(CausalEngine):
    """It makes no target without a source."""

    empty_source = False


class Nameless(nn.Module):
    """No engine at all."""

    def __init__(self, config: CausalConfig) -> None:
        super().__init__()


class Still(Nameless):
    """Nearly one."""

    width, max_positions, empty_source, reads_states = 32, 64, True, True

    def forward(self, source: Any, target: Any) -> States:
        return States(None, None)


class Empty(CausalEngine):
    """Of no width."""

    def __init__(self, config: CausalConfig) -> None:
        super().__init__(config)
        self.width = 0


class Unsure(CausalEngine):
    """It does not say."""

    reads_states = None


class Raising(CausalEngine):
    """It cannot be made."""

    def __init__(self, config: CausalConfig) -> None:
        raise RuntimeError("no room")


class Plain:
    """No module."""

    def __init__(self, config: CausalConfig) -> None:
        pass


def spec_of(kind: type) -> EngineSpec:
    return replace(CAUSAL, name="other", load=f"tests.engine.test_engines:{kind.__name__}")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Nameless, "engine 'other': Nameless has no width; give it one"),
        (Still, "engine 'other': Still has no open; give it one"),
        (Empty, "engine 'other': width is 0; give a whole number of 1 or more"),
        (Unsure, "engine 'other': reads_states is None; give True or False"),
        (Raising, "engine 'other': .*raised RuntimeError: no room"),
        (Plain, "engine 'other' is a Plain; make it a torch.nn.Module"),
    ],
)
def test_what_is_no_engine_is_refused_when_the_model_is_made(kind: type, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        GeneralistModel(engine=spec_of(kind))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Wide, r"Wide: forward gave float32 \(\d+, 64\) for the source; give states of shape \(\d+, 32\)"),
        (Half, "Half.forward gave None for the target; give Hidden"),
        (Loose, "Loose.forward gave a tuple; give States"),
    ],
)
def test_what_gives_no_states_is_refused_at_the_first_step(kind: type, said: str) -> None:
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=ROWS, micro_batch_size=4)
    with pytest.raises(PluginError, match=said):
        Trainer(max_steps=1, live=False).fit(model=GeneralistModel(engine=spec_of(kind)), tasks=task)


@pytest.mark.parametrize(
    ("kind", "line", "said"),
    [
        (Closed, "[TEXT:q] -> [TEXT:a]", "Closed.open gave a object, which has no hidden, append, fill, reorder"),
        (Short, "[TEXT:q] -> [TEXT:a]", r"Short: append gave float32 \(1, 32\); give states of shape \(4, 32\)"),
        (Bare, "[TEXT:q] -> [NUMBER:n]", "Bare: open gave None as hidden after a prefix; give states of shape"),
    ],
)
def test_sessions_that_are_none_are_refused_at_the_first_answer(kind: type, line: str, said: str) -> None:
    task = Task("t", line, train=ROWS, micro_batch_size=4)
    model = GeneralistModel(engine=spec_of(kind), text_pieces=300)
    Trainer(max_steps=1, live=False, precision="float32").fit(model=model, tasks=task)
    program = flow.bind(model, task.plans[0], task.labels)
    asked = [flow.preprocess(program, row, target=False) for row in ROWS]
    with pytest.raises(PluginError, match=said):
        flow.generate(model, program, asked, SearchOptions(max_length=4))


def test_a_line_without_a_source_is_refused_where_the_engine_needs_one() -> None:
    task = Task("t", "-> [TEXT:a]", train=ROWS, micro_batch_size=4)
    with pytest.raises(ConfigError, match="has no source, and engine 'other' makes no target without one"):
        Trainer(max_steps=1, live=False).fit(model=GeneralistModel(engine=spec_of(Sourced)), tasks=task)
    Trainer(max_steps=1, live=False).fit(model=GeneralistModel(engine=CAUSAL), tasks=task)


# --- saved models ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of a saved model of each engine."""
    found = {}
    for name, spec, config in (("transformer", ENGINES["transformer"], SMALL), ("causal", CAUSAL, CONFIG)):
        model = GeneralistModel(engine=spec, config=config, text_pieces=300)
        task = Task("t", "[TEXT:q] -> [TEXT:a]", train=ROWS, micro_batch_size=4)
        model = Trainer(max_steps=1, live=False, precision="float32").fit(model=model, tasks=task)
        folder = tmp_path_factory.mktemp(name) / "saved"
        OFASys(model).save_pretrained(folder)
        found[name] = read_folder(folder, MODEL_FILES)
    return found


def changed(files: dict[str, bytes], **values: Any) -> dict[str, bytes]:
    about = {k: v for k, v in (json.loads(files["model.json"]) | values).items() if v is not ...}
    return files | {"model.json": json.dumps(about).encode()}


def test_a_model_whose_engine_is_not_there_is_told(files: dict[str, dict[str, bytes]]) -> None:
    with pytest.raises(
        CheckpointError,
        match="here: the saved model has engine 'causal' of module tests, which is not installed; known",
    ):
        model_of(files["causal"], "here")
    model, _ = model_of(files["causal"], "here", BUILT_IN.with_(CAUSAL))
    assert isinstance(model.engine, CausalEngine)


def test_models_of_before_knew_one_engine(files: dict[str, dict[str, bytes]]) -> None:
    """Neither the engine nor whether its table was tied was written, and its weights had another name."""
    now, _ = model_of(files["transformer"], "here")
    weights = {
        name.replace("engine.", "universal.", 1) if name.startswith("engine.") else name: tensor
        for name, tensor in load(files["transformer"]["model.safetensors"]).items()
    }
    assert any(name.startswith("universal.") for name in weights)
    old = changed(files["transformer"], engine=..., tied=..., foreign=...) | {"model.safetensors": save(weights)}
    then, _ = model_of(old, "here")
    mine, theirs = now.state_dict(), then.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_run_of_before_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Stopped when its engine was called `universal`: moments are found again, so it ends as one that was not
    stopped.
    """
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=ROWS, micro_batch_size=2)
    weights = []
    for folder, stops in (("whole", (6,)), ("parts", (3, 6))):
        for step in stops:
            model = GeneralistModel(config=SMALL, text_pieces=300)
            settings: dict[str, Any] = {"warmup": 1, "decay": "constant", "out": tmp_path / folder, "live": False}
            Trainer(max_steps=step, lr=1e-2, precision="float32", **settings).fit(model=model, tasks=task)
            if step == 3:
                rename_on_disk(tmp_path / folder / "checkpoints" / "last.json")
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def rename_on_disk(pointer: Path) -> None:
    """Write a checkpoint as versions wrote it that knew one engine."""
    folder = pointer.parent / json.loads(pointer.read_text())["folder"]
    files: dict[str, Any] = dict(read_folder(folder))
    for name, data in files.items():
        if name.endswith(".safetensors"):
            files[name] = {re.sub("(^|/)engine[.]", r"\1universal.", key): value for key, value in load(data).items()}
        elif name.endswith(".json"):
            files[name] = json.loads(data)
        else:
            files[name] = data.decode()
    assert any("/universal." in key for key in files["optimizer.safetensors"])
    assert renamed(files["optimizer.safetensors"]).keys() != files["optimizer.safetensors"].keys()
    for name in ("engine", "tied", "foreign"):
        del files["model.json"][name]
    files["tokenizer.json"] = json.dumps(files["tokenizer.json"])
    write_folder(folder, files)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"engine": 3}, "engine is 3, and should be a text"),
        ({"tied": "yes"}, "tied is 'yes', and should be true or false"),
        ({"tied": False}, "weights do not fit the model"),
        ({"foreign": {"size": 3}}, "foreign of model.json is no vocabulary"),
        ({"foreign": [1]}, "foreign of model.json is no vocabulary"),
        ({"config": {"depth": 3}}, "has no .*'depth'"),
    ],
)
@pytest.mark.parametrize("engine", ["transformer", "causal"])
def test_files_that_were_changed_are_refused(
    files: dict[str, dict[str, bytes]], engine: str, values: dict[str, Any], said: str
) -> None:
    with pytest.raises((CheckpointError, ConfigError), match=said):
        model_of(changed(files[engine], **values), "here", BUILT_IN.with_(CAUSAL))


# --- a vocabulary that begins with another ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"text": (0, 1001), "end": 2}, r"text is \(0, 1001\); give a span within its 1000 ids"),
        ({"text": (3, 3), "end": 2}, "give a span within"),
        ({"text": (3, 900), "end": 3}, "end is 3; give one of its 1000 ids that is not a piece, 3 to 899"),
        ({"text": (3, 900), "end": 2, "begin": 1000}, "begin is 1000"),
        ({"text": (3, 900), "end": 2, "mask": 899}, "mask is 899"),
    ],
)
def test_a_foreign_vocabulary_that_cannot_be(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ForeignVocabulary(size=1000, **fields)


def test_a_foreign_vocabulary_trains_answers_is_saved_and_loaded(tiny: Any, tmp_path: Any) -> None:
    """Its 1000 ids and its end mark stay as they are, ours come after; growing later changes none."""
    foreign = ForeignVocabulary(size=1000, text=(3, 900), end=2)
    file = tmp_path / "tokenizer.json"
    tiny.with_marks(tiny.tokenizer()).save(str(file))
    model = GeneralistModel(config=SMALL, tokenizer=file, vocabulary=foreign)
    rows = [{"q": word, "a": f"the {word} cat", "kind": "yes" if i % 2 else "no"} for i, word in enumerate("abcd")]
    lines = ["[TEXT:q] -> [TEXT:a]", "[TEXT:q] -> [CATEGORY:kind,adaptor=head]"]
    tasks = [Task(f"t{i}", line, train=rows, micro_batch_size=4) for i, line in enumerate(lines)]
    Trainer(max_steps=200, lr=1e-2, warmup=5, out=tmp_path / "run", live=False, precision="float32").fit(
        model=model, tasks=tasks
    )
    assert model.symbols is not None
    vocabulary = model.symbols.vocabulary
    assert vocabulary.ranges[:3] == (("foreign.before", 0, 3), ("text", 3, 897), ("foreign.after", 900, 100))
    assert (vocabulary.end, vocabulary.begin, vocabulary.mask) == (2, 1001, 1002)
    loaded = OFASys.from_pretrained(tmp_path / "run")
    assert loaded.model.symbols is not None
    assert loaded.model.symbols.vocabulary == vocabulary
    program = loaded.program(flow.parse(lines[0]))
    assert flow.preprocess(program, rows[0]).run.tokens[-1] == 2
    assert [loaded.inference(lines[0], data=row)["a"] for row in rows] == [row["a"] for row in rows]
    assert [loaded.inference(lines[1], data=row)["kind"] for row in rows] == [row["kind"] for row in rows]
    pieces = model.symbols.tokenizer.encode("the cat").ids
    assert model.symbols.encode("the cat") == pieces
    assert min(pieces) >= 3
    marked = tiny.with_marks(tiny.tokenizer())
    marked.add_special_tokens(["</s>"])
    model.symbols.tokenizer = marked
    with pytest.raises(DataError, match="token 2, which is a mark and no piece"):
        model.symbols.encode("a </s> b")


def test_a_foreign_vocabulary_needs_its_own_tokenizer(tiny: Any, tmp_path: Any) -> None:
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=ROWS, micro_batch_size=4)
    model = GeneralistModel(config=SMALL, vocabulary=ForeignVocabulary(size=1000, text=(3, 900), end=2))
    with pytest.raises(ConfigError, match="a foreign vocabulary and no tokenizer"):
        Trainer(max_steps=1, live=False).fit(model=model, tasks=task)
    file = tmp_path / "tokenizer.json"
    tiny.tokenizer().save(str(file))
    model = GeneralistModel(config=SMALL, tokenizer=file, vocabulary=ForeignVocabulary(size=40, text=(3, 40), end=2))
    with pytest.raises(ConfigError, match="and the foreign vocabulary 40; give the tokenizer that goes with it"):
        Trainer(max_steps=1, live=False).fit(model=model, tasks=task)
