"""train, evaluate, infer: on made-up rows, well-formed and wrong."""

import json
import shutil

import pytest
import yaml

from ofasys import OFASys
from ofasys.hub.folder import step_of

pytestmark = pytest.mark.slow

CAPTION = "[IMAGE:img] what does the image describe? -> [TEXT:cap]"
ENTAIL = "can text1 [TEXT:a] imply text2 [TEXT:b]? -> [TEXT:label,closed_set]"
GROUND = '[IMAGE:img] which region does the text " [TEXT:phrase] " describe? -> [BOX:box]'

# --- train -----------------------------------------------------------------------------------------------------------


def test_train_writes_the_run_and_says_where(trained):
    out = trained.folder / "runs" / "run"
    assert (out / "checkpoints" / "best.json").is_file()
    assert (out / "metrics.jsonl").is_file()
    found = yaml.safe_load((out / "run.yaml").read_text())
    assert found["trainer"]["lr"] == 1e-3
    assert found["tasks"]["caption"]["test"] == "../../data/captions-test.jsonl"
    lines = trained.printed.splitlines()
    assert lines[0].split() == ["task", "step", "loss", "valid", "loss", "valid", "metrics"]
    assert [line.split()[:2] for line in lines[1:4]] == [["caption", "3"], ["entailment", "3"], ["ground", "3"]]
    assert "exact_match" in lines[1]
    assert lines[4] == "the run is in runs/run; next: ofasys evaluate runs/run"


def test_train_goes_on_and_says_what_changed(trained, shell):
    shutil.copytree(trained.folder / "runs", shell.folder / "runs")
    out = shell.folder / "runs" / "run"
    done = shell("train", "run.yaml")
    assert done.exit_code == 0
    assert "a run that is finished (step 3 of 3)" in done.stderr
    done = shell("train", "run.yaml", "trainer.max_steps=4", "tasks.caption.weight=2")
    told = done.stderr.splitlines()
    assert told[:3] == [
        "runs/run holds a run: going on from step 3 of 4",
        "  changed since: trainer.max_steps 3 -> 4",
        "  changed since: tasks.caption.weight 1.0 -> 2.0",
    ]
    assert told[3].split()[:4] == ["task", "rows", "samples", "tokens"]  # of the step that is left
    assert [line.split()[0] for line in told[4:]] == ["caption", "entailment", "ground", "all"]
    assert step_of(out, "last") == 4


def test_train_of_a_python_file_and_evaluate_with_it(shell):
    shell.write(
        "mine.py",
        """
from ofasys import GeneralistModel, Task, Trainer
from ofasys.model.sizes import ModelConfig

rows = [{"word": w, "twice": f"{w} {w}"} for w in ("red", "green", "blue")]
config = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, max_positions=128)

def run():
    task = Task("twice", "say [TEXT:word] twice -> [TEXT:twice]", train=rows, test=rows, metrics=["exact_match"],
                micro_batch_size=2, generate={"max_length": 6})
    return [task], GeneralistModel(config=config, text_pieces=300), Trainer(max_steps=9, warmup=1, eval_batch_size=2)
""",
    )
    shell.ok("train", "mine.py", "trainer.max_steps=1")
    assert step_of(shell.folder / "runs" / "mine", "last") == 1
    assert "has no test or valid rows" in shell("evaluate", "runs/mine").stderr
    assert shell("evaluate", "runs/mine").exit_code == 2
    found = json.loads(shell.ok("evaluate", "runs/mine", "--file", "mine.py", "--json"))
    assert found["twice"]["samples"] == 3


def test_train_never_begins_with_what_is_wrong(shell):
    shell.wrong("train", "run.yaml", "trainer.max_steps=0")
    shell.wrong("train", "nowhere.yaml")
    shell.wrong("train", "run.yaml", "tasks.caption.valid=nowhere.jsonl")
    assert not (shell.folder / "runs").exists()


# --- evaluate --------------------------------------------------------------------------------------------------------


def test_evaluate_prints_a_table_of_the_test_rows(trained):
    lines = trained.ok("evaluate", "runs/run", "tasks.entailment.test=data/nli.csv").splitlines()
    assert lines[0].split() == ["task", "split", "samples", "loss", "metrics"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["caption", "test", "3"],
        ["entailment", "test", "9"],
        ["ground", "test", "3"],
    ]
    assert "iou_accuracy@0.5" in lines[3]


def test_evaluate_gives_what_the_trainer_gives(trained):
    from ofasys import Trainer
    from ofasys.cli.runfile import read_run

    found = json.loads(trained.ok("evaluate", "runs/run", "--task", "caption", "--json"))
    tasks = read_run(trained.folder / "runs" / "run" / "run.yaml").tasks(["caption"])
    model = OFASys.from_pretrained(trained.folder / "runs" / "run").model
    assert found == Trainer(live=False).evaluate(model=model, tasks=tasks)


def test_evaluate_works_from_another_folder_and_after_a_move(trained, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(trained.folder, moved)
    shell = type(trained)(tmp_path)
    first = trained.ok("evaluate", "runs/run", "--json", "--task", "ground")
    assert shell.ok("evaluate", str(moved / "runs" / "run"), "--json", "--task", "ground") == first


def test_evaluate_of_a_split_with_a_limit(trained):
    found = json.loads(
        trained.ok(
            "evaluate", "runs/run", "--split", "valid", "--task", "caption", "--limit", "2", "--json", "--which", "last"
        )
    )
    assert list(found) == ["caption"]
    assert found["caption"]["samples"] == 2


def test_evaluate_says_which_tasks_it_leaves_out(trained):
    done = trained("evaluate", "runs/run")
    assert done.exit_code == 0
    assert done.stderr.startswith(
        "left out: task 'entailment' has no test or valid rows in runs/run/run.yaml (it has: train)"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runs/run", "--split", "tets"], "no split 'tets'; did you mean test? there are train, valid, test"),
        (["runs/run", "--task", "captoin"],
         "no task 'captoin' in this run; did you mean caption? there are caption, entailment, ground"),
        (["runs/run", "--task", "entailment"],
         "task 'entailment' has no test or valid rows in runs/run/run.yaml (it has: train); give "
         "tasks.entailment.test=PATH"),
        (["runs/run", "--split", "valid", "--task", "ground"], "task 'ground' has no valid rows"),
        (["runs/run", "--limit", "0"], "--limit is 0; it is 1 or more"),
        (["runs/run", "--which", "bets"], "no 'bets' checkpoint here"),
        (["runs"], "runs is above a model"),
        (["nowhere"], "there is no folder 'nowhere'"),
        (["runs/run", "--file", "nowhere.yaml"], "the run file nowhere.yaml is not there"),
        (["runs/run", "tasks.caption.test=nowhere.jsonl", "--task", "caption"], "there is no file"),
        (["runs/run", "trainer.x=1"], "trainer has no field 'x'"),
    ],
)  # fmt: skip
def test_evaluate_wrong(trained, words, said):
    assert said in trained.wrong("evaluate", *words)


def test_evaluate_of_a_saved_model_asks_for_its_tasks(trained, tmp_path):
    OFASys.from_pretrained(trained.folder / "runs" / "run").save_pretrained(tmp_path / "saved")
    said = trained.wrong("evaluate", str(tmp_path / "saved"))
    assert "has no run.yaml, so its tasks' rows are not known; give --file with a run file" in said
    assert "caption" in trained.ok("evaluate", str(tmp_path / "saved"), "--file", "run.yaml", "--task", "caption")


def test_data_that_has_gone_is_said_with_its_place(trained, tmp_path):
    shutil.copytree(trained.folder / "runs" / "run", tmp_path / "alone" / "deep" / "run")
    said = trained.wrong("evaluate", str(tmp_path / "alone" / "deep" / "run"), "--task", "caption")
    assert "run.yaml, line " in said
    assert "there is no file" in said


# --- infer -----------------------------------------------------------------------------------------------------------


def answers(trained):
    return OFASys.from_pretrained(trained.folder / "runs" / "run")


def test_infer_answers_as_the_library_does(trained):
    image = trained.folder / "data" / "red.png"
    known = answers(trained).inference(CAPTION, data={"img": str(image)})
    assert trained.ok("infer", "runs/run", CAPTION, "img=data/red.png") == f"{known}\n"
    found = json.loads(trained.ok("infer", "runs/run", CAPTION, "img=data/red.png", "--json"))
    assert found == {"cap": known["cap"]}
    beams = answers(trained).inference(CAPTION, data={"img": str(image)}, beam_size=3, max_length=4, min_length=2)
    given = ("--beam-size", "3", "--max-length", "4", "--search", "min_length=2")
    assert json.loads(trained.ok("infer", "runs/run", CAPTION, "img=data/red.png", "--json", *given)) == beams.values


def test_infer_reads_text_boxes_and_closed_sets(trained):
    assert trained.ok("infer", "runs/run", ENTAIL, "a=[red]", "b= {x} = y").strip() in ("yes", "no")
    assert trained.ok("infer", "runs/run", ENTAIL, "a=x", "b=y", "--closed-set", "maybe, maybe").strip() == "maybe"
    assert trained.ok("infer", "runs/run", ENTAIL, "a=x", "b=y", "--closed-set", '["a, b"]').strip() == "a, b"
    (trained.folder / "labels.txt").write_text("perhaps\n\n")
    assert trained.ok("infer", "runs/run", ENTAIL, "a=x", "b=y", "--closed-set", "@labels.txt").strip() == "perhaps"
    region = "[IMAGE:img] what does the region describe? region: [BOX:box] -> [TEXT:cap]"
    trained.ok("infer", "runs/run", region, "img=data/red.png", "box=[1, 2, 20, 30]", "--max-length", "4")
    box = json.loads(trained.ok("infer", "runs/run", GROUND, "img=data/red.png", "phrase=red", "--json"))["box"]
    assert len(box) == 4


def test_infer_takes_an_instruction_without_a_source(trained):
    trained.ok("infer", "runs/run", "-> [TEXT:t]", "--max-length", "3")


def test_infer_writes_the_answer(trained, tmp_path):
    trained.ok("infer", "runs/run", GROUND, "img=data/red.png", "phrase=red", "--out", str(tmp_path / "x" / "box.png"))
    assert (tmp_path / "x" / "box.png").stat().st_size > 0
    trained.ok("infer", "runs/run", GROUND, "img=data/red.png", "phrase=red", "--out", str(tmp_path / "box.json"))
    assert len(json.loads((tmp_path / "box.json").read_text())["box"]) == 4


def test_infer_answers_a_file_line_by_line(trained, tmp_path):
    lines = trained.ok("infer", "runs/run", CAPTION, "@data/captions.jsonl", "--json", "--batch-size", "4").splitlines()
    one = trained.ok("infer", "runs/run", CAPTION, "img=data/red.png", "--json").strip()
    assert len(lines) == 6
    assert lines[0] == lines[3] == one
    assert len(trained.ok("infer", "runs/run", ENTAIL, "--data", "data/nli.csv", "b=red").splitlines()) == 9
    done = trained("infer", "runs/run", CAPTION, "@data/captions.jsonl", "--out", str(tmp_path / "a.jsonl"))
    assert done.stdout == ""
    records = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [{"cap": record["cap"]} for record in records] == [json.loads(line) for line in lines]
    assert list(records[0]) == ["row", "img", "input_cap", "cap", "score", "error"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([CAPTION], "nothing is asked about; give img=..., or many rows by --data FILE"),
        ([CAPTION, "data/red.png"], "'data/red.png' is not column=value; this instruction needs img=..."),
        ([CAPTION, "image=data/red.png"],
         "no slot is called 'image'; did you mean img? this instruction needs img=..."),
        ([CAPTION, "img=a", "img=b"], "'img' is given twice; give it once"),
        ([CAPTION, "img=data/rde.png"], "no file 'data/rde.png'"),
        (["[IMGAE:img] x -> [TEXT:cap]", "img=a"], "unknown modality 'IMGAE'\n  [IMGAE:img] x -> [TEXT:cap]\n   ^^^^^"),
        ([CAPTION, "img=data/red.png", "--search", "beamsize=2"],
         "search has no option 'beamsize'; did you mean beam_size?"),
        ([CAPTION, "img=data/red.png", "--search", "beam"], "--search 'beam' is not option=value"),
        ([CAPTION, "img=data/red.png", "--search", "temperature=0.5"], "nothing is drawn; it goes with sampling=True"),
        ([CAPTION, "img=data/red.png", "--beam-size", "0"], "beam_size is 0; expected a whole number, 1 or more"),
        ([CAPTION, "img=data/red.png", "--closed-set", "a,b"], "closed_set"),
        ([ENTAIL, "a=x", "b=y", "--closed-set", "[a"], "is not JSON"),
        ([ENTAIL, "a=x", "b=y", "--closed-set", "@nowhere"], "the file of labels nowhere is not there"),
        (["[IMAGE:img] region: [BOX:box] -> [TEXT:cap]", "img=data/red.png", "box=[1,2"], "box='[1,2' is not JSON"),
        ([CAPTION, "@nowhere.jsonl"], "there is no file"),
        ([CAPTION, "@data/captions.jsonl", "--data", "data/nli.csv"], "rows come from 2 files; give one"),
        ([CAPTION, "@data/captions.jsonl", "--out", "x.png"],
         "answers to many rows are written as .jsonl, .csv, .tsv, .parquet or .txt, not 'x.png'"),
        ([CAPTION, "@data/captions.jsonl", "--batch-size", "0"], "--batch-size is 0; it is 1 or more"),
        ([CAPTION, "img=data/red.png", "--out", "x.mp3"], "cannot write this answer as 'x.mp3'"),
    ],
)  # fmt: skip
def test_infer_wrong(trained, words, said):
    assert said in trained.wrong("infer", "runs/run", *words)


def test_a_bad_row_is_named_by_its_number_in_the_file(trained, tmp_path):
    rows = [{"img": str(trained.folder / "data" / "red.png")}] * 5 + [{"img": "nowhere.png"}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = trained(
        "infer", "runs/run", CAPTION, f"@{tmp_path / 'rows.jsonl'}", "--batch-size", "2", "--max-length", "2"
    )
    assert done.exit_code == 2
    assert f"row 5 of {tmp_path / 'rows.jsonl'}" in done.stderr
    assert len(done.stdout.splitlines()) == 5


def test_infer_without_a_run(shell):
    assert "there is no folder 'nowhere'" in shell.wrong("infer", "nowhere", CAPTION, "img=x")


@pytest.mark.parametrize(
    "asked", [["doctor"], ["sweep", "--over", "trainer.lr=1..2"], ["evaluate", "runs/run", "--file"]]
)
def test_where_a_run_file_is_wanted_a_run_s_folder_is_told_its_own(trained, asked):
    command, *rest = asked
    done = trained(command, *rest, "runs/run") if command == "evaluate" else trained(command, "runs/run", *rest)
    assert done.exit_code == 2
    assert done.stderr == "runs/run is the folder of a run; its run file is runs/run/run.yaml\n"
