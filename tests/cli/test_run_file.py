"""Run files: what they may say, what is wrong with them, and that YAML and Python make the same."""

import inspect
import json
import re

import pytest
import yaml

from ofasys.cli.document import dumped, parse_scalar, read_document
from ofasys.cli.runfile import read_run, resolved
from ofasys.cli.schema import fields
from ofasys.cli.train import resolved_file
from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.hub.folder import log_lines
from ofasys.modality.vocabulary import ForeignVocabulary
from ofasys.task.task import Task
from ofasys.train import Trainer

pytestmark = pytest.mark.slow

TWICE = 'tasks:\n  twice:\n    instruction: "say [TEXT:word] twice -> [TEXT:twice]"\n'


def said(shell, *overrides, file="run.yaml"):
    """What is wrong, from the file to the objects."""
    return shell.wrong("train", file, *overrides, "--check")


def checked(shell, *overrides, file="run.yaml"):
    """The resolved run."""
    return yaml.safe_load(shell.ok("train", file, *overrides, "--check"))


# --- well-formed -----------------------------------------------------------------------------------------------------


def test_every_argument_is_a_field():
    assert fields("task") == [n for n in inspect.signature(Task).parameters if n not in ("name", "modalities")]
    assert fields("model") == [n for n in inspect.signature(GeneralistModel).parameters if n != "modalities"]
    assert fields("trainer") == [n for n in inspect.signature(Trainer).parameters if n != "callbacks"]


def test_a_run_file_makes_the_objects(shell, monkeypatch):
    monkeypatch.chdir(shell.folder)
    run = read_run("run.yaml")
    tasks, model, trainer = run.tasks(), run.model(), run.trainer()
    assert [task.name for task in tasks] == ["caption", "entailment", "ground"]
    assert tasks[0].settings == {"IMAGE.size": 32}
    assert tasks[0].generate.max_length == 6
    assert {split: len(source) for split, source in tasks[0].sources.items()} == {"train": 6, "valid": 3, "test": 3}
    assert tasks[1].labels == {"label": ("yes", "no")}
    assert model.config.width == 32
    assert (trainer.lr, trainer.max_steps, str(trainer.out)) == (1e-3, 3, "runs/run")


def test_the_resolved_run_says_the_same_again(shell):
    first = checked(shell)
    shell.write("runs/run/run.yaml", shell.ok("train", "run.yaml", "--check"))
    assert first["tasks"]["caption"]["train"] == "../../data/captions.jsonl"
    assert checked(shell, file="runs/run/run.yaml") == first


def test_a_list_of_tasks_is_the_same_as_a_mapping(shell):
    given = yaml.safe_load(
        (shell.folder / "run.yaml").read_text().replace("[yes, no]", '["yes", "no"]').replace("1e-3", "0.001")
    )
    given["tasks"] = [{"name": name, **task} for name, task in given["tasks"].items()]
    shell.write("run.yaml.list.yaml", yaml.safe_dump(given, sort_keys=False))
    assert checked(shell, file="run.yaml.list.yaml")["tasks"] == checked(shell)["tasks"]


def test_words_are_words_and_numbers_numbers(shell, monkeypatch):
    monkeypatch.chdir(shell.folder)
    shell.write(
        "a.yaml", "a: [yes, no, on, off, true, ~, 1e-3, 010, 0x1f, 1.5, .inf, 2024-01-01, '1', 1_000, '', -2]\n"
    )
    assert read_document(shell.folder / "a.yaml").values["a"] == [
        *("yes", "no", "on", "off", True, None, 1e-3, 10, 31, 1.5, float("inf"), "2024-01-01", "1", "1_000", "", -2)
    ]


@pytest.mark.parametrize(
    "value", ["yes", "no", "1e-3", "1_000", "~", "true", "", "2024-01-01", "[a", "0o7", "1:30", "é", "a: b", "010"]
)
def test_what_is_written_out_reads_back_the_same(tmp_path, value):
    text = dumped({"a": [value], value or "b": 1e-5})
    (tmp_path / "a.yaml").write_text(text)
    values = read_document(tmp_path / "a.yaml").values
    assert values["a"] == [value]
    assert list(values.values())[1] == 1e-5
    assert yaml.safe_load(text)["a"] == [value]


def test_anchors_and_merge_keys(tmp_path):
    (tmp_path / "a.yaml").write_text("model: &m {size: tiny, seed: 1}\ntrainer:\n  <<: *m\n  seed: 2\n")
    assert read_document(tmp_path / "a.yaml").values["trainer"] == {"size": "tiny", "seed": 2}


def test_includes_lie_under_the_file_and_paths_start_at_their_own_file(shell):
    shell.write(
        "shared/nli.yaml",
        f"{TWICE.replace('twice', 'pairs')}    train: ../data/nli.csv\n".replace("[TEXT:word]", "[TEXT:a]").replace(
            "[TEXT:pairs]", "[TEXT:b]"
        ),
    )
    shell.write("shared/all.yaml", "include: [nli.yaml]\ntrainer: {max_steps: 7, lr: 0.5}\n")
    shell.write(
        "top.yaml",
        "include: [run.yaml, shared/all.yaml]\ntrainer: {lr: 0.25}\ntasks: {ground: null, caption: {weight: 3}}\n",
    )
    found = checked(shell, file="top.yaml")
    assert list(found["tasks"]) == ["caption", "entailment", "pairs"]
    assert found["tasks"]["pairs"]["train"] == "../../data/nli.csv"
    assert found["tasks"]["caption"]["weight"] == 3
    assert found["tasks"]["caption"]["metrics"] == ["exact_match"]
    assert (found["trainer"]["max_steps"], found["trainer"]["lr"]) == (7, 0.25)


def test_groups_of_parameters_are_in_the_run_file_and_in_what_ran(shell):
    group = {"match": "engine.encoder.*", "lr": "0.1x", "freeze": 2}
    shell.write(
        "groups.yaml",
        "include: run.yaml\ntrainer:\n  optimizer: muon\n  groups:\n"
        "  - {match: engine.encoder.*, lr: 0.1x, freeze: 2}\n",
    )
    found = checked(shell, file="groups.yaml")["trainer"]
    assert (found["groups"], found["optimizer"], found["lr"]) == ([group], "muon", 1e-3)
    shell.write("wrong.yaml", "include: run.yaml\ntrainer:\n  groups:\n  - {match: engine.encoder.*, freez: 2}\n")
    assert "wrong.yaml, line 3: a group of trainer.groups has 'freez'; did you mean freeze" in shell.wrong(
        "train", "wrong.yaml", "--check"
    )


def test_overrides(shell):
    found = checked(
        shell,
        "trainer.max_steps=100",
        "trainer.lr=1e-4",
        "model.config.width=16",
        "tasks.caption.micro_batch_size=8",
        "tasks.caption.settings.IMAGE.size=64",
        "tasks.entailment.closed_set=[yes, no, maybe]",
        "tasks.entailment.instruction=[TEXT:a] so [TEXT:b]? -> [TEXT:label,closed_set]",
        "tasks.ground=null",
        "tasks.entailment.test=data/nli.csv",
    )
    assert (found["trainer"]["max_steps"], found["trainer"]["lr"], found["model"]["config"]["width"]) == (100, 1e-4, 16)
    assert found["tasks"]["caption"]["micro_batch_size"] == 8
    assert found["tasks"]["caption"]["settings"] == {"IMAGE.size": 64}
    assert found["tasks"]["entailment"]["closed_set"] == {"label": ["yes", "no", "maybe"]}
    assert found["tasks"]["entailment"]["instruction"] == "[TEXT:a] so [TEXT:b] ? -> [TEXT:label,closed_set]"
    assert found["tasks"]["entailment"]["test"] == "../../data/nli.csv"
    assert "ground" not in found["tasks"]


def test_a_task_whose_name_has_a_dot_is_found(shell):
    shell.write("dots.yaml", TWICE.replace("twice:", "a.b:") + "  a:\n    instruction: '-> [TEXT:t]'\n")
    given = read_run(shell.folder / "dots.yaml", ["tasks.a.b.weight=2", "tasks.a.weight=3"])
    assert {task.name: task.weight for task in given.tasks()} == {"a.b": 2, "a": 3}


def test_paths_on_the_command_line_start_here_and_those_of_a_file_there(shell, monkeypatch):
    shell.write("inner/run.yaml", TWICE + "    train: rows.jsonl\ntrainer: {out: kept}\n")
    row = json.dumps({"word": "a", "twice": "a a"})
    shell.write("inner/rows.jsonl", row)
    shell.write("rows.jsonl", f"{row}\n{row}\n")
    monkeypatch.chdir(shell.folder)
    run = read_run("inner/run.yaml", ["tasks.twice.valid=rows.jsonl"])
    assert {split: len(source) for split, source in run.tasks()[0].sources.items()} == {"train": 1, "valid": 2}
    assert run.trainer().out == shell.folder / "inner" / "kept"
    assert read_run("inner/run.yaml", ["trainer.out=kept"]).trainer().out == shell.folder / "kept"


def test_an_absolute_path_stays_absolute(shell):
    path = shell.folder / "data" / "captions.jsonl"
    assert checked(shell, f"tasks.caption.train={path}")["tasks"]["caption"]["train"] == str(path)


@pytest.mark.parametrize("text", ["3", "a", "[1, 2]", "{a: 1}", "1e-3", "", "a: b: c", "[", "null", "'quoted'"])
def test_values_on_the_command_line_are_yaml_or_text(text):
    known = {"3": 3, "[1, 2]": [1, 2], "{a: 1}": {"a": 1}, "1e-3": 1e-3, "null": None, "'quoted'": "quoted"}
    assert parse_scalar(text) == known.get(text, text)


# --- wrong -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("micro_batch_size: 2", "micro_batchsize: 2",
         "run.yaml, line 9: task 'caption' has no field 'micro_batchsize'; did you mean micro_batch_size? fields: "
         "instruction, train"),
        ("max_steps: 3", "max_stpes: 3",
         "run.yaml, line 29: trainer has no field 'max_stpes'; did you mean max_steps?"),
        ("text_pieces: 300", "pieces_text: 300", "run.yaml, line 26: model has no field 'pieces_text'"),
        ("trainer:", "trianer:",
         "run.yaml, line 28: a run file has no 'trianer'; did you mean trainer? it has tasks, model, trainer and "
         "include"),
        ("micro_batch_size: 2", "micro_batch_size: two",
         "run.yaml, line 9: micro_batch_size of task 'caption' is 'two'; expected a whole number"),
        ("micro_batch_size: 2", "micro_batch_size: 2.5", "is 2.5; expected a whole number"),
        ("micro_batch_size: 2", "micro_batch_size: true", "is True; expected a whole number"),
        ("micro_batch_size: 2", "micro_batch_size: 0",
         "run.yaml, line 9: task 'caption' has micro_batch_size 0; it is a whole number of at least 1"),
        ("max_steps: 3", "max_steps: 0", "run.yaml, line 29: trainer.max_steps is 0; it is 1 or more"),
        ("warmup: 1", "schedule: round", "run.yaml, line 31: 'schedule' is given twice; keep one"),
        ("schedule: accumulate", "betas: [1]", "betas of trainer is [1]; expected two numbers"),
        ("schedule: accumulate", "schedule: [a]", "schedule of trainer is ['a']; expected a name, or a mapping"),
        ("[exact_match]", "[exactmatch]", "unknown metric 'exactmatch'; did you mean exact_match?"),
        ("[exact_match]", "{}", "metrics of task 'caption' is {}; expected the name of a metric, or a list"),
        ("{max_length: 6}", "{beamsize: 6}",
         "run.yaml, line 3, task 'caption': search has no option 'beamsize'; did you mean beam_size?"),
        ("{IMAGE.size: 32}", "{IMAGE.sise: 32}", "did you mean IMAGE.size?"),
        ("[yes, no]", "[true, false]", "closed_set of task 'entailment' is [True, False]; expected a list of labels"),
        ("data/captions.jsonl", "data/caption.jsonl", "run.yaml, line 5: there is no file"),
        ("data/captions.jsonl", "3", "run.yaml, line 5: train of task 'caption' is 3; expected a path"),
        ("width: 32", "widht: 32", "run.yaml, line 27: model has no field 'widht'; did you mean width?"),
        ("[IMAGE:img] what does", "[IMGAE:img] what does",
         "run.yaml, line 4, task 'caption':\nunknown modality 'IMGAE'\n  [IMGAE:img] what does the image describe? -> "
         "[TEXT:cap]\n   ^^^^^\n"),
        ('"[IMAGE:img] what does the image describe? -> [TEXT:cap]"', "[IMAGE:img] what -> [TEXT:cap]",
         "run.yaml, line 4: not YAML"),
        ("model: &model", "model: 3 #", "run.yaml, line"),
        ("  text_pieces: 300", "  text_pieces: !!python/object:os.system 300",
         "the tag 'tag:yaml.org,2002:python/object:os.system' is not read here"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(shell, old, new, expected):
    text = (shell.folder / "run.yaml").read_text()
    assert old in text
    shell.write("run.yaml", text.replace(old, new, 1))
    assert expected in said(shell)


def test_all_wrong_fields_are_said_at_once(shell):
    text = (shell.folder / "run.yaml").read_text()
    shell.write("run.yaml", text.replace("warmup: 1", "warmupp: 1\n  seed: x"))
    lines = said(shell).splitlines()
    assert len(lines) == 2
    assert "warmupp" in lines[0] + lines[1]
    assert "seed of trainer is 'x'" in lines[0] + lines[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a.yaml: there is no task; give tasks: with at least one"),
        ("- a\n", "a.yaml holds a list; expected tasks:, model:, trainer:, include:"),
        ("tasks:\n", "a.yaml, line 1: there is no task"),
        ("tasks:\n  caption:\n", "a.yaml, line 2: task 'caption' is empty; expected fields such as instruction:"),
        (
            "tasks:\n  caption: {train: x}\n",
            "a.yaml, line 2: task 'caption' has no instruction; expected an instruction in quotes",
        ),
        ("tasks:\n  - instruction: x\n", "a.yaml, line 2: item 1 of tasks has no name"),
        ("tasks:\n  - name: a\n  - name: a\n", "a.yaml, line 3: two tasks are named 'a'"),
        ("tasks: 3\n", "a.yaml, line 1: there is no task"),
        ("tasks:\n  a: {name: b}\n", "task 'a' has another name inside"),
        ("include: 3\n", "a.yaml, line 1: include is 3; expected a file name"),
        ("include: b.yml\n", "a.yaml, line 1: the run file b.yml is not there"),
        ("include: run.yml\n", "a.yaml, line 1: the run file run.yml is not there; did you mean run.yaml?"),
        ("include: data\n", "a.yaml, line 1: the run file data is a folder, not a file"),
        ("include: a.yaml\n", "files include each other: a.yaml includes a.yaml; take one of these includes out"),
        ("a: &x [*x]\n", "an anchor holds itself"),
        ("a: [\n", "a.yaml, line 2: not YAML"),
        ("? [a]\n: b\n", "a key is one word"),
        ("\x00", "a.yaml: not YAML"),
    ],
)
def test_files_that_are_not_run_files(shell, text, expected):
    shell.write("a.yaml", text)
    assert expected in said(shell, file="a.yaml")


def test_a_ring_of_includes(shell):
    shell.write("a.yaml", "include: deep/b.yaml\n")
    shell.write("deep/b.yaml", "include: c.yaml\n")
    shell.write("deep/c.yaml", "include: ../a.yaml\n")
    expected = (
        "files include each other: a.yaml includes deep/b.yaml includes deep/c.yaml includes a.yaml; "
        "take one of these includes out"
    )
    assert said(shell, file="a.yaml") == expected


def test_two_files_may_include_a_third(shell):
    for name in "ab":
        shell.write(f"{name}.yaml", "include: run.yaml\n")
    shell.write("top.yaml", "include: [a.yaml, b.yaml]\n")
    assert len(checked(shell, file="top.yaml")["tasks"]) == 3


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.max_steps", "'trainer.max_steps' is not an override; expected dotted.key=value"),
        ("=3", "'=3' is not an override"),
        (
            "trianer.max_steps=3",
            "'trianer.max_steps=3': no section is called 'trianer.max_steps'; did you mean trainer?",
        ),
        (
            "trainer=3",
            "'trainer=3': nothing is called 'trainer'; overrides begin with trainer., model., or tasks.NAME.",
        ),
        (
            "trainer.max_stpes=3",
            "'trainer.max_stpes=3' on the command line: trainer has no field 'max_stpes'; did you mean max_steps?",
        ),
        (
            "trainer.max_steps=many",
            "'trainer.max_steps=many' on the command line: max_steps of trainer is 'many'; expected a whole number",
        ),
        (
            "tasks.captoin.weight=2",
            "'tasks.captoin.weight=2': no task 'captoin'; did you mean caption? there are caption, entailment, ground",
        ),
        ("tasks.caption.wieght=2", "on the command line: task 'caption' has no field 'wieght'; did you mean weight?"),
        ("model.size=tyni", "'model.size=tyni' on the command line: unknown size 'tyni'; there are tiny"),
        ("tasks.caption.train=nowhere.jsonl", "there is no file"),
        ("include=run.yaml", "no section is called 'include'"),
    ],
)
def test_wrong_overrides(shell, override, expected):
    drop = ["model.config=null"] if override.startswith("model.size") else []
    assert expected in said(shell, *drop, override)


def test_files_that_are_not_there(shell):
    assert said(shell, file="rum.yaml") == "the run file rum.yaml is not there; did you mean run.yaml?"
    assert said(shell, file="data") == "data is a folder without run.yaml: no run of `ofasys train`; give a run file"
    (shell.folder / "latin.yaml").write_bytes(b"tasks: \xe9\n")
    assert said(shell, file="latin.yaml") == "latin.yaml is not UTF-8 text; a run file is YAML, or a .py file"


# --- Python ----------------------------------------------------------------------------------------------------------

SHORT = """
from ofasys import GeneralistModel, Task, Trainer
from ofasys.model.sizes import ModelConfig

rows = [{"word": w, "twice": f"{w} {w}"} for w in ("red", "green", "blue")]

def close(predictions, references):
    return {"close": 1.0}

config = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, max_positions=128)
"""
OBJECTS = """
tasks = [Task("twice", "say [TEXT:word] twice -> [TEXT:twice]", train=rows, test=rows, metrics=["exact_match", close],
              micro_batch_size=2, generate={"max_length": 6, "beam_size": 2}, settings={"TEXT.uncased": True})]
model = GeneralistModel(config=config, seed=5, text_pieces=300)
trainer = Trainer(max_steps=2, warmup=1, eval_batch_size=3)
"""


def indented(text):
    return "".join(f"    {line}\n" for line in text.strip().splitlines())


FORMS = {
    "names": OBJECTS,
    "run": f"def run():\n{indented(OBJECTS)}    return tasks, model, trainer\n",
    "mapping": f"def run():\n{indented(OBJECTS)}    return dict(tasks=tasks, model=model, trainer=trainer)\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_python_file_makes_the_same_objects(shell, form):
    shell.write("run.py", SHORT + FORMS[form])
    found = checked(shell, file="run.py")
    assert found["tasks"]["twice"]["generate"]["beam_size"] == 2
    assert (found["model"]["config"]["width"], found["model"]["seed"], found["trainer"]["max_steps"]) == (32, 5, 2)


def test_what_only_python_holds_is_named(shell):
    shell.write("run.py", SHORT + OBJECTS)
    text = shell.ok("train", "run.py", "--check")
    assert "#   task twice: its train rows, a list of 3 rows\n" in text
    assert "#   task twice: metric close, a function\n" in text


def test_overrides_reach_the_objects(shell, monkeypatch):
    monkeypatch.chdir(shell.folder)
    shell.write("run.py", SHORT + OBJECTS)
    changes = [
        "trainer.max_steps=9",
        "tasks.twice.weight=2",
        "tasks.twice.generate.beam_size=3",
        "model.seed=8",
        "tasks.twice.valid=data/nli.csv",
    ]
    run = read_run("run.py", changes)
    [task], model, trainer = run.tasks(), run.model(), run.trainer()
    assert (trainer.max_steps, trainer.eval_batch_size, str(trainer.out)) == (9, 3, "runs/run")
    assert (task.weight, task.generate.beam_size, task.generate.max_length, task.settings) == (
        2,
        3,
        6,
        {"TEXT.uncased": True},
    )
    assert (model.seed, model.config.width, model.text_pieces) == (8, 32, 300)
    assert [metric.name for metric in task.metrics] == ["exact_match", "close"]
    assert {split: len(source) for split, source in task.sources.items()} == {"train": 3, "valid": 9, "test": 3}
    assert read_run("run.py", ["model.size=small"]).model().size == "small"


FOREIGN = "model: {size: tiny, tokenizer: vocab.json, vocabulary: {size: 1000, text: [3, 900], end: 2}}\n"


def test_a_model_may_have_the_vocabulary_of_another(shell, monkeypatch, tiny):
    tiny.with_marks(tiny.tokenizer()).save(str(shell.folder / "vocab.json"))
    shell.write("rows.jsonl", '{"word": "so", "twice": "so so"}\n')
    shell.write("own.yaml", f"{TWICE}    train: rows.jsonl\n{FOREIGN}")
    text = shell.ok("train", "own.yaml", "--check")
    assert yaml.safe_load(text)["model"]["vocabulary"] == {
        "size": 1000, "text": [3, 900], "end": 2, "begin": None, "mask": None,
    }  # fmt: skip
    shell.write("runs/own/run.yaml", text)
    monkeypatch.chdir(shell.folder)
    for file in ("own.yaml", "runs/own/run.yaml"):
        assert read_run(file).model().foreign == ForeignVocabulary(size=1000, text=(3, 900), end=2)
    assert read_run("own.yaml", ["model.vocabulary.begin=1"]).model().foreign.begin == 1
    shell.write(
        "own.py",
        "from ofasys import GeneralistModel\nfrom ofasys.modality.vocabulary import ForeignVocabulary\n"
        "tasks = {}\nmodel = GeneralistModel(vocabulary=ForeignVocabulary(size=9, text=(1, 9), end=0))\n",
    )
    run = read_run("own.py")
    assert "  vocabulary:\n    size: 9\n" in resolved(run, [], run.model(), Trainer(max_steps=1), shell.folder)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("end: 2", "ende: 2",
         "own.yaml, line 4: foreign vocabulary: it has no 'ende'; did you mean end? there are size, text"),
        (", end: 2", "", "own.yaml, line 4: foreign vocabulary: end is missing; give size, text, end"),
        ("end: 2", "end: two", "foreign vocabulary: end is 'two'; give a whole number"),
        ("end: 2", "end: null", "foreign vocabulary: end is None; give a whole number"),
        ("end: 2", "end: 2, begin: true", "foreign vocabulary: begin is True; give a whole number"),
        ("[3, 900]", "[3]", "foreign vocabulary: text is [3]; give two ids, the first and one past the last"),
        ("[3, 900]", "900", "foreign vocabulary: text is 900; give two ids"),
        ("[3, 900]", "ab", "foreign vocabulary: text is 'ab'; give two ids"),
        ("end: 2", "end: 3", "foreign vocabulary: end is 3; give one of its 1000 ids that is not a piece, 3 to 899"),
        ("{size: 1000, text: [3, 900], end: 2}", "vocab.json",
         "vocabulary of model is 'vocab.json'; expected a mapping such as size: 50265"),
    ],
)  # fmt: skip
def test_a_vocabulary_that_cannot_be(tmp_path, old, new, expected):
    assert old in FOREIGN
    (tmp_path / "own.yaml").write_text(TWICE + FOREIGN.replace("tokenizer: vocab.json, ", "").replace(old, new))
    with pytest.raises(ConfigError, match=re.escape(expected)):
        read_run(tmp_path / "own.yaml").model()


def test_a_python_file_may_give_plain_values(shell):
    fields = {"instruction": "say [TEXT:a] twice -> [TEXT:b]", "train": "data/nli.csv"}
    shell.write("run.py", f"tasks = {{'twice': {fields!r}}}\ntrainer = {{'max_steps': 4}}\n")
    found = checked(shell, "tasks.twice.weight=2", file="run.py")
    assert (found["tasks"]["twice"]["weight"], found["trainer"]["max_steps"]) == (2, 4)
    assert found["tasks"]["twice"]["train"] == "../../data/nli.csv"


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        ("model = 3\n", (), "run.py defines no tasks; define tasks, model and trainer"),
        ("tasks = 3\n", (), "run.py: tasks is a int; expected a list of Task"),
        ("tasks = []\n", (), "run.py: there is no task"),
        ("tasks = []\nmodel = 3\n", (), "run.py: model is a int; expected a GeneralistModel"),
        ("def run():\n    return 3\n", (), "run.py: run() returned int; expected (tasks, model, trainer)"),
        (SHORT + OBJECTS, ("trainer.max_stpes=3",), "trainer has no field 'max_stpes'; did you mean max_steps?"),
        (SHORT + OBJECTS, ("tasks.twice.wieght=3",), "task 'twice' has no field 'wieght'; did you mean weight?"),
        (SHORT + OBJECTS, ("tasks.twice.weight=0",), "weight 0"),
        (
            SHORT + "class Mine(Task): pass\n" + OBJECTS.replace("[Task", "[Mine"),
            ("tasks.twice.weight=2",),
            "it is a Mine, of your own",
        ),
    ],
)
def test_wrong_python_files(shell, text, overrides, expected):
    shell.write("run.py", text)
    assert expected in said(shell, *overrides, file="run.py")


def test_a_fault_in_a_python_file_keeps_its_traceback(shell):
    shell.write("run.py", "tasks = 1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        shell("train", "run.py")


@pytest.mark.parametrize("text", ["import sys\nsys.exit(0)\n", "def run():\n    raise SystemExit\n"])
def test_a_python_file_that_ends_the_process_is_told(shell, text):
    shell.write("run.py", text)
    assert "run.py ended the process" in said(shell, file="run.py")


@pytest.mark.parametrize(
    ("before", "began", "left"), [("old", False, "old"), (None, False, None), ("old", True, "new")]
)
def test_a_run_that_is_refused_leaves_the_resolved_file_as_it_was(tmp_path, before, began, left):
    path = tmp_path / "run.yaml"
    if before is not None:
        path.write_text(before)

    def fit():
        assert path.read_text() == "new"
        if began:
            (tmp_path / "run.json").write_text("{}")
        raise ConfigError("refused")

    with pytest.raises(ConfigError, match="refused"), resolved_file(tmp_path, "new"):
        fit()
    assert (path.read_text() if path.exists() else None) == left


def test_config_error_is_what_is_raised(tmp_path):
    with pytest.raises(ConfigError, match="is not there"):
        read_run(tmp_path / "run.yaml")


def bomb(levels):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            bomb(9),
            r"run.yaml, line \d: with what its references \(\*\) stand for the file holds more than 100,000 values",
        ),
        ("a: &a {x: 1}\n" + "".join(f"b{i}: &b{i} {{<<: [*a, *a]}}\n" for i in range(3)), None),
        ("x: &x {<<: *x}\n", "an anchor holds itself"),
        ("a: " + "[" * 150 + "]" * 150, "more than 100 levels deep"),
        ("a: " + "[" * 20_000 + "]" * 20_000, "more than 100 levels deep"),
        ("a: " + "9" * 5000, "a number of 5,000 digits"),
    ],
)
def test_what_grows_without_end_is_refused_at_once(text, says, tmp_path):
    (tmp_path / "run.yaml").write_text(text)
    if says is None:
        assert read_document(tmp_path / "run.yaml").values["b2"] == {"x": 1}
        return
    with pytest.raises(ConfigError, match=says):
        read_document(tmp_path / "run.yaml")


def test_a_run_file_of_a_hundred_megabytes_is_not_read(tmp_path):
    with (tmp_path / "run.yaml").open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(ConfigError, match="has 104,857,600 bytes"):
        read_document(tmp_path / "run.yaml")


def test_lines_of_a_log_that_no_run_has_written_are_left_out(tmp_path):
    (tmp_path / "log").write_text('[[\n5\n{"step": "x", "task": 5}\n{"kind": "valid"}\n{"step": 3}\n' + "[" * 100_000)
    assert [line for _, line in log_lines(tmp_path / "log") if line is not None] == [{"step": 3}]


def test_a_backbone_is_named_by_its_folder(shell, monkeypatch):
    """From where the file lies; what is written out names it again, with the options it is used with."""
    pytest.importorskip("transformers")
    from tests.engine.huggingface.backbones import write

    folder = shell.folder / "backbones" / "tiny"
    folder.mkdir(parents=True)
    write("gpt2", folder)
    monkeypatch.chdir(shell.folder)
    shell.write("own.yaml", TWICE + "model: {engine: 'hf:backbones/tiny', config: {prefix: true}}\n")
    run = read_run("own.yaml")
    shell.write("runs/own/run.yaml", resolved(run, [], run.model(), Trainer(max_steps=1), shell.folder))
    changed = read_run("own.yaml", ["model.seed=3"]).model()
    for made in (run.model(), read_run("runs/own/run.yaml").model(), changed):
        assert made.config.folder == str(folder.resolve())
        assert made.config.options.prefix
        assert made.tokenizer is not None
    assert changed.seed == 3


def test_what_is_wrong_with_a_backbone_has_its_place(shell):
    pytest.importorskip("transformers")
    (shell.folder / "nothing").mkdir()
    shell.write("far.yaml", TWICE + "model:\n  seed: 1\n  engine: hf:nowhere\n  config:\n    attention: flash\n")
    nowhere = (
        f"there is no folder 'nowhere' in {shell.folder}; give hf:FOLDER, or hf:OWNER/NAME of the Hugging Face hub"
    )
    assert said(shell, file="far.yaml") == "far.yaml, line 8: backbone: attention is 'flash'; give sdpa or eager"
    assert said(shell, "model.config=null", file="far.yaml") == f"far.yaml, line 6: {nowhere}"
    shell.write("near.yaml", TWICE + "model: {seed: 1}\n")
    there = "'model.engine=hf:nowhere' on the command line"
    assert said(shell, "model.engine=hf:nowhere", file="near.yaml") == f"{there}: {nowhere}"
    nothing = said(shell, "model.engine=hf:nothing", file="near.yaml")
    assert "nothing has no config.json; give a folder as" in nothing
    option = "model.config={prefx: true}"
    assert said(shell, "model.engine=hf:nothing", option, file="near.yaml") == (
        f"{option!r} on the command line: a backbone has no option 'prefx'; did you mean prefix? there are prefix, "
        "chat, attention, quantize"
    )
    assert "name a backbone as hf:FOLDER or hf:OWNER/NAME" in said(shell, "model.engine=hf:", file="near.yaml")
    shell.write("bare.yaml", TWICE + "model:\n  engine: hf:\n")
    assert said(shell, file="bare.yaml") == (
        "bare.yaml, line 5: not YAML: mapping values are not allowed here; quote a value that ends with a colon, or "
        "has a blank after one"
    )


def test_an_engine_without_sizes_asks_for_its_shape_alone(shell):
    shell.write("ofa.yaml", TWICE + "model: {engine: ofa, size: tiny}\n")
    assert said(shell, file="ofa.yaml").endswith("decoder_layers; give each as config")
    shell.write("half.yaml", TWICE + "model: {config: {width: 8}}\n")
    assert said(shell, file="half.yaml").endswith("give each, or a size out of tiny, small, base, large")
