"""The page about a saved model says what it is, how well it does, how to ask it and what it cannot do."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from ofasys import CheckpointError, OFASys, Trainer
from ofasys.cli.main import app
from ofasys.hub.facts import FACTS, Facts, TaskFacts, Trivial, facts_of
from ofasys.hub.store import read_folder, write_folder
from tests.train import tiny


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "first"
    trainer = Trainer(max_steps=4, eval_every=2, out=out, live=False, precision="float32", seed=7)
    told = tiny.label_task(origin="Colours <by> hand", licence="cc0-1.0", settings={"TEXT.max_length": 9})
    trainer.fit(model=tiny.model(), tasks=[told, tiny.box_task()])
    return out


def head_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def section(card: str, name: str) -> str:
    return card.split(f"## {name}\n", 1)[1].split("\n## ")[0]


def test_it_says_what_the_run_was(run):
    model = OFASys.from_pretrained(run, which="last")
    card = model.card(name="me/colours", licence="Apache-2.0")
    tasks = section(card, "Tasks")
    assert f"### label\n\n```\n{tiny.LABEL}\n```" in tasks
    assert "labels of `label`: blue, green, red, white" in tasks
    assert "data: Colours &lt;by> hand, 12 train rows\n- licence of the data: cc0-1.0" in tasks
    assert "data: train: list of 8 rows, 8 train rows\n- licence of the data: not told" in tasks
    assert "  TEXT:text  max_length=9  (setting)" in tasks
    made = section(card, "How it was made")
    assert "- seed: 7" in made
    assert "- precision: float32" in made
    assert "- step: 4" in made
    assert "torch " in made


def test_its_scores_are_those_of_the_checkpoint_with_step_and_day(run):
    for which in ("best", "last"):
        model = OFASys.from_pretrained(run, which=which)
        step = model.facts.step
        line = next(one for one in tiny.lines(run / "metrics.jsonl") if one["kind"] == "valid" and one["step"] == step)
        scores = section(model.card(), "Scores")
        assert f"| label | accuracy | {line['accuracy']:.4g} |  | 4 | {step} |" in scores
        assert f"Saved on {model.facts.date}, after step {step}." in scores
        assert "| box |" not in scores


def test_its_head_is_what_the_hub_reads(run):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    model = OFASys.from_pretrained(run)
    told = huggingface_hub.ModelCard(model.card(name="me/colours", licence="Apache-2.0"))
    assert (told.data.library_name, told.data.license) == ("ofasys", "apache-2.0")
    assert told.data.tags == ["ofasys", "multi-task", "box", "image", "text"]
    found = {one.metric_type: one for one in told.data.eval_results}
    assert found["accuracy"].metric_value == model.facts.tasks["label"].scores["accuracy"]
    assert (found["accuracy"].task_type, found["accuracy"].dataset_name) == ("text-to-text", "Colours <by> hand")
    assert told.data.model_name == "colours"


def test_how_it_says_to_ask_is_how_it_is_asked(run, tmp_path, monkeypatch):
    model = OFASys.from_pretrained(run)
    model.save_pretrained(tmp_path / "saved")
    asked = section((tmp_path / "saved" / "README.md").read_text(), "How to ask it").split("```")[1]
    line = next(one for one in asked.splitlines() if "colour" in one)
    monkeypatch.chdir(tmp_path)
    code = asked.removeprefix("python\n").replace("path/to/this/folder", "saved").splitlines()
    names: dict = {}
    exec("\n".join(one for one in code if not one.startswith("print")), names)
    answer = eval(line.removeprefix("print(").removesuffix(")"), names)
    assert answer.text in tiny.COLOURS


def test_it_says_what_it_cannot_do(run):
    model = OFASys.from_pretrained(run)
    limits = section(model.card(), "What it cannot do")
    assert "It has never seen AUDIO, CATEGORY, MOTION, NUMBER, PHONE, STRUCT, VIDEO: a line" in limits
    assert "How well it does is not known of box: no score is there." in limits
    assert "were not compared with answers given without looking" in limits
    scores = {"accuracy": 0.5, "loss": 1.0}
    for value, behind in ((0.4, False), (0.5, True), (0.6, True)):
        trivial = {"accuracy": Trivial(value, "most frequent")}
        model.facts = Facts(tasks={"label": TaskFacts(scores=scores, trivial=trivial)})
        card = model.card()
        told = f"label is no better than answers given without looking at the question: accuracy 0.5, where most {''}"
        assert (f"{told}frequent answers have {value}." in card) == behind
        assert f"| label | accuracy | 0.5 | {value} (most frequent) |" in card
        assert "were not compared" not in card


def test_of_weights_that_were_trained_further_nothing_is_told_that_was_measured_before(run, tmp_path):
    model = OFASys.from_pretrained(run)
    assert model.facts.tasks
    trainer = Trainer(max_steps=1, live=False, precision="float32")
    returned = trainer.fit(model=model, tasks=[tiny.label_task()])
    for one in (model, returned):
        assert one.facts == Facts()
        assert "None is known: it was not evaluated" in section(one.card(), "Scores")
    model.save_pretrained(tmp_path / "saved")
    assert OFASys.from_pretrained(tmp_path / "saved").facts == Facts()


def test_what_is_known_is_saved_with_the_model_and_told_again(run, tmp_path):
    model = OFASys.from_pretrained(run)
    trivial = {"label": {"accuracy": Trivial(0.25, "random")}}
    model.facts = model.facts.with_trivial(trivial)
    model.save_pretrained(tmp_path / "saved")
    again = OFASys.from_pretrained(tmp_path / "saved")
    assert again.facts == model.facts
    assert again.facts.tasks["label"].trivial == trivial["label"]
    assert again.tasks["label"].licence == "cc0-1.0"
    again.save_pretrained(tmp_path / "saved")  # what was written there may be written over
    assert (tmp_path / "saved" / "README.md").read_text() == model.card()


def test_of_a_model_without_a_run_it_says_what_it_knows():
    made = Trainer(max_steps=1, live=False, precision="float32").fit(model=tiny.model(), tasks=tiny.label_task())
    card = OFASys(made).card()
    assert "None is known: it was not evaluated, or its run is not known." in card
    assert "data: not told" in card
    assert set(head_of(card)) == {"library_name", "tags"}


def test_no_text_of_a_task_leaves_its_place(run):
    model = OFASys.from_pretrained(run)
    model.facts = Facts(
        trained={"optimizer": "a|b\n# c"},
        tasks={"label": TaskFacts(scores={"x|y\n## Z": 1.0}, data={"train": "<img src=x>\n## Evil"})},
    )
    card = model.card(name="me/x")
    assert "\n## Z" not in card
    assert "\n## Evil" not in card
    assert "<img" not in card
    assert "| label | x\\|y ## Z | 1 |" in card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: [], "facts.json cannot be read"),
        (lambda facts: facts | {"step": "four"}, "facts.json cannot be read: step: "),
        (lambda facts: facts | {"tasks": {"label": {"scores": {"accuracy": "high"}}}}, r"tasks\.label\.scores"),
    ],
)
def test_facts_that_are_none_are_refused(run, tmp_path, change, message):
    OFASys.from_pretrained(run).save_pretrained(tmp_path / "saved")
    files = {name: json.loads(data) for name, data in read_folder(tmp_path / "saved", [FACTS]).items()}
    write_folder(tmp_path / "odd", {FACTS: change(files[FACTS])})
    with pytest.raises(CheckpointError, match=message):
        facts_of(tmp_path / "odd", tmp_path / "odd")


def test_the_command_prints_it_with_what_is_had_without_looking(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "".join(json.dumps(row) + "\n" for row in tiny.label_rows(8))
    (tmp_path / "rows.jsonl").write_text(rows)
    (tmp_path / "run.yaml").write_text(
        "tasks:\n  label:\n"
        f'    instruction: "{tiny.LABEL}"\n    train: rows.jsonl\n    valid: rows.jsonl\n    metrics: accuracy\n'
        "    licence: mit\n    origin: Colours\n"
        "model: {text_pieces: 300, config: {width: 32, heads: 2, ffn: 64, encoder_layers: 1, decoder_layers: 1}}\n"
        "trainer: {max_steps: 1, out: runs/first, precision: float32}\n"
    )
    shell = CliRunner()
    assert shell.invoke(app, ["train", "run.yaml"], catch_exceptions=False).exit_code == 0
    done = shell.invoke(app, ["card", "runs/first", "--licence", "mit"], catch_exceptions=False)
    assert done.exit_code == 0
    assert head_of(done.stdout)["license"] == "mit"
    assert "data: Colours, 8 train rows\n- licence of the data: mit" in done.stdout
    row = next(line for line in done.stdout.splitlines() if line.startswith("| label | accuracy |"))
    assert "0.25 (" in row or "0.375 (" in row
    assert "of the rows)" not in row
    monkeypatch.setattr("ofasys.cli.hub.ROWS", 4)
    done = shell.invoke(app, ["card", "runs/first"], catch_exceptions=False)
    row = next(line for line in done.stdout.splitlines() if line.startswith("| label | accuracy |"))
    assert ", on 4 of the rows) | 8 |" in row
    done = shell.invoke(app, ["card", "runs/first", "--out", "CARD.md"], catch_exceptions=False)
    assert done.stdout == "the card is CARD.md\n"
    done = shell.invoke(app, ["card", "runs/first", "--out", "runs/first/run.yaml"])
    assert (done.exit_code, "run.yaml is there and is no card; give another name" in done.stderr) == (2, True)
    (tmp_path / "rows.jsonl").unlink()
    done = shell.invoke(app, ["card", "runs/first"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "its scores stand alone: " in done.stderr
