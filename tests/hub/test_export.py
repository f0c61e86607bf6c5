"""A line as graphs: they answer as the model does, without it."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ofasys
from ofasys import OFASys, Task, flow
from ofasys.errors import ConfigError, PlanError
from ofasys.generalist import GeneralistModel
from ofasys.generator.options import SearchOptions
from ofasys.hub.export import write
from ofasys.hub.export.graphs import NOTHING, SourceGraph, StepGraph, attend
from ofasys.hub.export.line import described, line_of
from ofasys.hub.export.write import Graph
from ofasys.program.answer import runs
from ofasys.program.sample import Reader
from ofasys.types import TaskCard
from tests.hub import kinds

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "answer_onnx.py"
MOST = 12
ANSWERED = "caption entail prompted detect name_first ground region infill language two head heads".split()  # noqa: SIM905
PAINT = "[TEXT:t] paint -> [IMAGE:img,size=16,patch=4,codes=64,fit_steps=2] as [TEXT:u]"
SEE = "[TEXT:t] beside [IMAGE:img,size=32,patch=8] is [TEXT:u] ? -> [TEXT:kind,closed_set]"
PICTURE = "[IMAGE:img,size=32,adaptor=resnet,preprocess=bicubic,colours=imagenet] -> [TEXT:u]"
SCHEMES = (
    {},
    {"positions": "relative", "buckets": 8, "farthest": 20},
    {"positions": "alibi", "norm": "post", "embed_norm": False},
    {"positions": "rotary", "rotary_axes": 2, "attention_norm": False, "head_scale": False},
)


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("answer_onnx", EXAMPLE)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def eager(module, outputs):
    """A graph as torch runs it, from arrays to arrays."""

    @torch.no_grad()
    def run(given):
        made = module({name: torch.tensor(value) for name, value in given.items()})
        return {name: one.numpy() for name, one in zip(outputs, made, strict=True)}

    return run


def answerer(example, model, program, most=MOST):
    """The example, with the graphs as torch runs them."""
    line = line_of(model, program)
    about = json.loads(json.dumps(described(model, line, most)))
    step = StepGraph(model, line.constraint.grid is not None)
    outputs = ("scores", "past_now", "places_now")[: 3 if step.remembers_places else 2]
    graphs = {"step": eager(step, outputs)}
    if line.reads:
        graphs["source"] = eager(SourceGraph(model, line.reads), ("memory", "seen"))
    return example.Answerer(about, program.symbols.tokenizer, graphs)


def handed(program, row):
    """A row as an export reads it: texts as they are, pictures resized, boxes as tokens."""
    found, reader = dict(row), Reader(program, row)
    for slot in program.plan.on("source"):
        features, value = reader.features(slot, 0), row[slot.column]
        if isinstance(value, np.ndarray):
            w, h = features.info["read"]
            image = Image.fromarray(value).resize((w, h), Image.Resampling.BILINEAR, reducing_gap=2.0)
            found[slot.column] = np.asarray(image)
        elif not isinstance(value, str):
            found[slot.column] = features.tensors["tokens"]
    return found


def answered(model, program, row, most=MOST):
    """The tokens that the model answers with."""
    sample = flow.preprocess(program, row, target=False)
    ((best,),) = flow.generate(model, program, [sample], SearchOptions(max_length=most))
    return best.parts[0].tokens.tolist()


@pytest.mark.parametrize("name", ANSWERED)
def test_graphs_answer_as_the_model_does(tiny, example, name):
    program = tiny.program(name)
    asked = answerer(example, tiny.model(), program)
    for row in tiny.ROWS[name]:
        assert [token for _, token in asked.tokens(handed(program, row))] == answered(tiny.model(), program, row)


@pytest.mark.parametrize("more", [0, 3, 9, 30])
def test_graphs_leave_later_slots_their_room(tiny, example, more):
    program = tiny.program("two")
    most = program.constraint.rest.tokens + more
    asked = answerer(example, tiny.model(), program, most)
    for row in tiny.ROWS["two"]:
        assert [token for _, token in asked.tokens(handed(program, row))] == answered(tiny.model(), program, row, most)


@pytest.mark.parametrize("name", ["detect", "name_first", "entail", "ground", "two"])
def test_values_are_cut_as_the_model_cuts_them(tiny, example, name):
    """Of a repetition a list: texts and labels, and boxes as places in their range."""
    model, program = tiny.model(), tiny.program(name)
    asked = answerer(example, model, program)
    for row in tiny.ROWS[name]:
        sample = flow.preprocess(program, row, target=False)
        ((best,),) = flow.generate(model, program, [sample], SearchOptions(max_length=MOST))
        values, found = flow.postprocess(program, sample, best), asked.answer(handed(program, row))
        assert list(found) == list(values)
        for slot in program.plan.answered:
            one, other = found[slot.column], values[slot.column]
            if slot.modality == "BOX":
                first = program.symbols.vocabulary.span(slot.ranges[0][0])[0]
                own = [(run - first).tolist() for run in runs(program, best)[slot.index]]
                other = own if slot.group is not None else own[0]
            assert one == other, slot.column


@pytest.mark.parametrize("name", ["detect", "name_first"])
@pytest.mark.parametrize("said", [["dog", "a cat"], ["a cat"], []])
def test_rounds_of_a_repetition_are_apart(tiny, example, name, said):
    program = tiny.program(name)
    asked = answerer(example, tiny.model(), program)
    row = tiny.ROWS[name][0] | {"box": [[1, 2, 30, 20]] * len(said), "name": said}
    run = flow.preprocess(program, row).run
    asked.tokens = lambda row: list(zip(run.states.tolist(), run.tokens.tolist(), strict=True))
    found = asked.answer({})
    assert found["name"] == said
    assert [len(box) for box in found["box"]] == [4] * len(said)


def painter(**changes):
    """A model with a scheme of positions that has grown for codes, and for pictures and texts in a source."""
    shape = {"width": 32, "heads": 2, "ffn": 64, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 128}
    config = kinds.ModelConfig(**{**shape, "max_grid": 16, "dropout": 0.0, **changes})
    tasks = [Task("paint", PAINT, train=kinds.ROWS), Task("see", SEE, train=kinds.ROWS)]
    model = GeneralistModel(config=config, text_pieces=280)
    model.grow([(t.plan, t.labels) for t in tasks], lambda: [w for t in tasks for w in t.texts()], tasks[0].examples)
    with torch.no_grad():
        for name, weight in model.engine.named_parameters():
            if weight.dim() > 1:
                weight.mul_(3)  # random weights are sharpened, so that answers differ
            elif name.endswith("bias"):
                weight.normal_(std=0.3)
    return OFASys(model.eval(), [TaskCard(t.name, tuple(map(str, t.instructions)), labels=t.labels) for t in tasks])


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.get("positions", "learned"))
def test_every_scheme_of_positions(example, scheme):
    model = painter(**scheme)
    for line in (PAINT, SEE):
        program = model.program(ofasys.Instruction(line))
        asked = answerer(example, model.model, program)
        for row in kinds.ROWS:
            found = [token for _, token in asked.tokens(handed(program, row))]
            assert found == answered(model.model, program, row)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(a model, a line of a text and a picture, the folder it was exported to)."""
    model, folder = painter(), tmp_path_factory.mktemp("exported") / "see"
    model.export(folder, SEE)
    return model, SEE, folder


@pytest.mark.slow
def test_onnxruntime_answers_without_the_model(example, exported):
    model, line, folder = exported
    asked, program = example.Answerer.of(folder), model.program(ofasys.Instruction(line))
    for row in kinds.ROWS:
        found = asked.answer(handed(program, row))
        assert found == {"kind": model.inference(line, data=row)["kind"]}
    about = json.loads((folder / "export.json").read_text())
    assert about["largest_difference"] < 1e-4
    assert [(one["name"], one["shape"]) for one in about["inputs"]] == [
        ("t", ["batch", "length"]),
        ("img", ["batch", 32, 32, 3]),
        ("u", ["batch", "length"]),
    ]


@pytest.mark.slow
def test_samples_of_a_batch_do_not_see_each_other(example, exported):
    """Texts of other lengths beside one change nothing; a source of which nothing is seen adds nothing."""
    graphs = example.Answerer.of(exported[2]).graphs
    img = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    t, u = np.array([[5, 6, NOTHING], [7, 8, 9]]), np.array([[9, 9], [4, NOTHING]])
    both = graphs["source"]({"t": t, "img": img, "u": u})
    alone = graphs["source"]({"t": t[:1, :2], "img": img[:1], "u": u[:1]})
    there = both["seen"][0]
    np.testing.assert_allclose(both["memory"][:, :, :1][:, :, :, :, there], alone["memory"], atol=1e-5)
    given = {
        "tokens": np.array([[3], [3]]),
        "past": np.zeros((1, 2, 2, 2, 0, 16), np.float32),
        "memory": both["memory"],
    }
    blind = {**given, "seen": np.zeros_like(both["seen"])}
    other = {**blind, "memory": np.random.default_rng(1).normal(size=both["memory"].shape).astype(np.float32)}
    found = graphs["step"](blind)["scores"]
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, graphs["step"](other)["scores"])
    assert np.abs(found - graphs["step"]({**given, "seen": both["seen"]})["scores"]).max() > 1e-3


@pytest.mark.slow
def test_torch_loads_what_it_exported(exported):
    model, _, folder = exported
    step = torch.export.load(folder / "step.pt2").module()
    given = {"tokens": torch.tensor([[3, 4]]), "past": torch.zeros(1, 2, 1, 2, 0, 16)}
    given |= {"memory": torch.randn(1, 2, 1, 2, 7, 16), "seen": torch.ones(1, 7, dtype=torch.bool)}
    scores, past = step(given)
    whole, past_now = StepGraph(model.model, False)(given)
    torch.testing.assert_close(scores, whole, atol=1e-5, rtol=1e-5)
    assert past.shape == past_now.shape == (1, 2, 1, 2, 2, 16)


@pytest.mark.slow
def test_what_is_written_names_no_place_of_this_machine(exported):
    here = str(Path(ofasys.__file__).parent).encode()
    files = sorted(path.name for path in exported[2].iterdir())
    graphs = [f"{name}.{form}" for name in ("source", "step") for form in ("onnx", "pt2")]
    assert files == sorted(["export.json", "manifest.json", "tokenizer.json", *graphs])
    for name in files:
        assert here not in (exported[2] / name).read_bytes(), name


class Product(torch.nn.Module):
    """The product of attention alone."""

    def forward(self, given):
        return (attend(given["q"], given["k"], given["v"], given["seen"], None, None),)


def test_a_row_that_sees_nothing_is_zero(tmp_path):
    """In torch, and in onnxruntime, which gives the mean of all values, or NaN, where it is left to itself."""
    draw = torch.Generator().manual_seed(0)
    given = {name: torch.randn(2, 1, 4, 8, generator=draw) for name in ("q", "k", "v")}
    given["seen"] = torch.tensor([[True], [False]])[:, None, None, :].expand(2, 1, 1, 4).contiguous()
    product = Product()
    (made,) = product(given)
    torch.testing.assert_close(made, torch.nn.functional.scaled_dot_product_attention(*given.values()))
    assert made[0].abs().max() > 0
    assert made[1].abs().max() == 0
    graph = Graph("product", product, given, given, dict.fromkeys(given), ("y",))
    assert write._written(graph, tmp_path, {}) < 1e-6


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (kinds.LINES["match"], "has no target"),
        (kinds.LINES["say"], "stages, of which some are no tokens"),
        (kinds.LINES["spell"], "stages, of which some are no tokens"),
        ("([TEXT:t])* -> [TEXT:u]", "has a repetition, a contrast or a pattern"),
        (f"[AUDIO:{kinds.SOUND.replace(',vocoder_steps=2', '')}] -> [TEXT:u]", "AUDIO:wav is read by preprocess="),
        ("[IMAGE:img,keep_aspect] -> [TEXT:u]", "IMAGE:img: keep_aspect=true gives each picture a shape of its own"),
        ('[TEXT:t] -> [TEXT:u,regex="a+"]', "TEXT:u has regex="),
        ("[TEXT:t,uncased] or [TEXT:t] -> [TEXT:u]", "two slots read column 't' each in its own way"),
        ("[TEXT:t] so [TEXT:seen] -> [TEXT:u]", "column 'seen' is called as what the graph of a source gives"),
    ],
)
def test_what_no_graph_can_hold_is_refused(tmp_path, line, why):
    folder = tmp_path / "out"
    with pytest.raises((PlanError, ConfigError), match=re.escape(why)):
        refused(folder, line)
    assert not folder.exists()


def grown(line):
    """A model that has grown for a line."""
    task = Task("one", line, train=[{**row, "seen": row["u"]} for row in kinds.ROWS])
    model = GeneralistModel(config=kinds.CONFIG, text_pieces=280)
    model.grow([(task.plan, task.labels)], lambda: [*task.texts()], task.examples)
    return OFASys(model.eval(), [])


@pytest.mark.parametrize("option", ["uncased", "max_length=3"])
def test_a_given_text_of_the_target_is_read_as_its_slot_says(example, option):
    line = f"-> so [TEXT:t,no_loss,{option}] [TEXT:u]"
    model = grown(line)
    program = model.program(ofasys.Instruction(line))
    row = {"t": "ONE Two three"}
    asked = answerer(example, model.model, program)
    assert asked.begin(row) == flow.preprocess(program, row, target=False).run.prefix.tolist()
    assert [token for _, token in asked.tokens(row)] == answered(model.model, program, row)


class Sum(torch.nn.Module):
    """Of inputs that are called as a weight, and as values within."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.arange(3.0))

    def forward(self, given):
        return (given["table"] * self.table + given["val_0"].exp() + given["add"],)


def test_a_column_may_be_called_as_what_is_within_a_graph(tmp_path):
    given, other = ({name: torch.randn(rows, 3) for name in ("table", "val_0", "add")} for rows in (2, 1))
    batch = {0: write._open("batch")}
    graph = Graph("source", Sum(), given, other, dict.fromkeys(given, batch), ("y",))
    assert write._written(graph, tmp_path, {}) < 1e-6


def refused(folder, line):
    """Export a line of a model that grows for it, as far as it gets."""
    grown(line).export(folder, line)


def test_an_engine_without_a_graph_is_refused(tmp_path):
    model = GeneralistModel(config=kinds.CONFIG, text_pieces=280)
    task = Task("write", kinds.LINES["write"], train=kinds.ROWS)
    model.grow([(task.plan, {})], task.texts)
    model.engine_spec = model.modalities.engine("ofa")
    with pytest.raises(PlanError, match="engine 'ofa' cannot be exported: the graphs are of engine 'transformer'"):
        OFASys(model, []).export(tmp_path / "out", kinds.LINES["write"])
    assert not (tmp_path / "out").exists()


def test_a_place_that_holds_something_else_is_refused_first(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").write_text("kept")
    monkeypatch.setattr(write, "_graphs", None)
    with pytest.raises(ConfigError, match=r"holds 'mine.txt', which is not of a saved model and would be lost"):
        kinds.model().export(tmp_path, kinds.LINES["write"])


def test_a_missing_library_is_said_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r'library `onnxscript`: pip install "ofasys\[export\]"'):
        kinds.model().export(tmp_path / "out", kinds.LINES["write"])


@pytest.fixture
def drawn(monkeypatch):
    """Graphs that are drawn without tracing, which takes seconds: each writes its name."""

    def written(graph, folder, made):
        place = folder / f"{graph.name}.onnx"
        place.write_text(graph.name)
        made[place.name] = place
        return 0.0

    monkeypatch.setattr(write, "_written", written)


def test_an_export_replaces_another_whole_or_not_at_all(tmp_path, monkeypatch, drawn):
    folder, model = tmp_path / "out", kinds.model()
    model.export(folder, kinds.LINES["write"])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"source.onnx", "step.onnx", "export.json"} < set(before)
    monkeypatch.setattr(write, "described", lambda *_: {"torn": object()})  # JSON cannot hold it
    with pytest.raises(TypeError):
        model.export(folder, kinds.LINES["write"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()


def test_the_model_is_as_it_was(tmp_path, drawn):
    model = kinds.model()
    model.model.train()
    try:
        model.export(tmp_path / "out", kinds.LINES["write"])
        assert model.model.training
    finally:
        model.model.eval()


class Doubled(torch.nn.Module):
    """Gives what it is given; twice that, once it was traced."""

    traced = False

    def forward(self, given):
        return (given["x"] * (2 if self.traced else 1),)


def test_a_graph_that_gives_something_else_is_refused(tmp_path):
    module = Doubled()
    given, other = ({"x": torch.ones(rows, 3)} for rows in (2, 1))
    graph = Graph("step", module, given, other, {"x": {0: write._open("batch")}}, ("y",))
    assert write._written(graph, tmp_path, {}) == 0
    module.traced = True
    with pytest.raises(ConfigError, match=r"y of step.onnx is 0.5 of its largest number away"):
        write._apart(graph, tmp_path / "step.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES[-1:], ids=lambda scheme: scheme["positions"])
def test_onnxruntime_paints_codes_where_queries_are_turned(example, tmp_path, scheme):
    model = painter(**scheme)
    model.export(tmp_path / "out", PAINT)
    asked, program = example.Answerer.of(tmp_path / "out"), model.program(ofasys.Instruction(PAINT))
    for row in kinds.ROWS:
        sample = flow.preprocess(program, row, target=False)
        ((best,),) = flow.generate(model.model, program, [sample], SearchOptions())
        assert [token for _, token in asked.tokens(handed(program, row))] == best.parts[0].tokens.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("line", ["-> say [TEXT:u]", PICTURE])
def test_onnxruntime_answers_lines_of_one_kind(example, tmp_path, line):
    """Without a source, and without a text in it."""
    tasks = [Task("one", line, train=kinds.ROWS)]
    made = GeneralistModel(config=kinds.CONFIG, text_pieces=280)
    made.grow([(t.plan, t.labels) for t in tasks], lambda: [w for t in tasks for w in t.texts()], tasks[0].examples)
    model, folder = OFASys(made.eval(), []), tmp_path / "out"
    model.export(folder, line)
    asked = example.Answerer.of(folder)
    for row in kinds.ROWS:
        picture = {"img": np.asarray(Image.fromarray(row["img"]).resize((32, 32), Image.Resampling.BICUBIC))}
        assert asked.answer(picture)["u"] == model.inference(line, data=row)["u"]
