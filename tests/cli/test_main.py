"""The frame of all commands: exit codes, messages, no torch where none is needed."""

import json
import re
import subprocess
import sys
import warnings

import pytest
from typer.testing import CliRunner

from ofasys.cli.main import app
from ofasys.cli.show import PACKAGE, heard_warnings

FRESH = """
import sys, time
began = time.perf_counter()
from typer.testing import CliRunner
from ofasys.cli.main import app
done = CliRunner().invoke(app, sys.argv[1:])
print(done.exit_code, "torch" in sys.modules)
print(done.output)
"""


@pytest.mark.parametrize(
    "words",
    [["explain", "[IMAGE:img] what? -> [TEXT:cap]", "--size", "tiny"], ["explain", "[IMGAE] -> [TEXT]"], ["--help"]],
)
def test_explain_loads_no_torch(words):
    done = subprocess.run([sys.executable, "-c", FRESH, *words], capture_output=True, text=True, check=True)
    code, torch = done.stdout.split("\n")[0].split()
    assert torch == "False"
    assert code == ("2" if "[IMGAE] -> [TEXT]" in words else "0")


@pytest.mark.slow
def test_explain_is_quick():
    """Under a second of this process's own work; the clock of the wall is not asked on a busy machine."""
    code = (
        "import resource, sys; from ofasys.cli.main import app\ntry: app(sys.argv[1:])\nfinally:\n"
        " u = resource.getrusage(resource.RUSAGE_SELF); print('seconds', u.ru_utime + u.ru_stime)"
    )
    spent = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code, "explain", "-> [TEXT:t]"], capture_output=True, text=True, check=True
        )
        spent.append(float(done.stdout.split()[-1]))
    assert min(spent) < 1


GOLDEN = {
    ("[IMGAE:img] what does the image describe? -> [TEXT:cap]",): (
        "unknown modality 'IMGAE'\n"
        "  [IMGAE:img] what does the image describe? -> [TEXT:cap]\n"
        "   ^^^^^\n"
        "did you mean IMAGE? known here: {tags}"
    ),
    ("what is it -> [TEXT:cap]",): None,
    ("[TEXT:a] [bold]red[/bold] -> [TEXT:b]",): None,
    ("-> [TEXT:t] [b]x",): None,
}


@pytest.mark.parametrize("words", GOLDEN, ids=[words[0] for words in GOLDEN])
def test_explain_shows_the_caret_as_the_error_has_it(shell, words):
    from ofasys.errors import InstructionError
    from ofasys.language import Instruction
    from ofasys.modality import default_registry

    with pytest.raises(InstructionError) as caught:
        Instruction(words[0])
    said = shell.wrong("explain", *words)
    assert said == str(caught.value)
    assert words[0] in said
    if GOLDEN[words]:
        assert said == GOLDEN[words].format(tags=", ".join(sorted(m.tag for m in default_registry().modalities)))


def test_explain_prints_what_the_planner_explains(shell):
    from ofasys.planner import explain, plan

    text = "[IMAGE:img] what does the image describe? -> [TEXT:cap]"
    assert shell.ok("explain", text, "--size", "tiny").rstrip("\n") == explain(plan(text), "tiny")
    assert "size=64 (setting)" in shell.ok("explain", text, "--set", "IMAGE.size=64")
    found = json.loads(shell.ok("explain", text, "--json", "--size", "small"))
    assert found["fingerprint"] == plan(text).fingerprint
    assert found["cost"]["size"] == "small"


def test_explain_takes_an_instruction_that_begins_with_the_arrow(shell):
    assert shell.ok("explain", "-> [TEXT:t]").startswith("-> [TEXT:t]\n")
    assert "decoder-only" in shell.ok("explain", "--size", "tiny", "-> [TEXT:t]")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["explain", "[TEXT:a] -> [TEXT:b]", "--size", "tny"], "unknown size 'tny'; did you mean tiny?"),
        (
            ["explain", "[TEXT:a] -> [TEXT:b]", "--set", "TEXT"],
            "--set 'TEXT' is not a setting; expected MODALITY.attribute=value",
        ),
        (["explain", "[TEXT:a] -> [TEXT:b]", "--set", "IMAGE.size=64"], "setting 'IMAGE.size' reaches no slot"),
        (["explain", "[TEXT:a] -> [TEXT:b]", "--jsno"], "No such option: --jsno"),
        (["explain"], "Missing argument 'INSTRUCTION'"),
        (["trian", "x"], "No such command 'trian'. Did you mean 'train'?"),
        (["demo", "--minutes", "0"], "--minutes is 0; it is more than 0"),
        (["demo", "--minutes", "soon"], "Invalid value for '--minutes'"),
    ],
)
def test_wrong_words(shell, words, said):
    assert said in shell.wrong(*words)


def test_debug_shows_the_traceback_anywhere(shell, monkeypatch):
    for words in (["--debug", "explain", "[X] ->"], ["explain", "[X] ->", "--debug"]):
        done = shell(*words)
        assert done.exit_code == 2
        assert "Traceback" in done.stderr
        assert "unknown modality 'X'" in done.stderr


def test_debug_by_environment(monkeypatch):
    monkeypatch.setenv("OFASYS_DEBUG", "1")
    assert "Traceback" in CliRunner().invoke(app, ["explain", "[X] ->"]).stderr
    monkeypatch.setenv("OFASYS_DEBUG", "0")
    assert "Traceback" not in CliRunner().invoke(app, ["explain", "[X] ->"]).stderr


def test_version_and_help(shell):
    assert shell.ok("--version").startswith("ofasys 0")
    listed = shell.ok("--help")
    for command in ("explain", "train", "evaluate", "infer", "tasks", "demo", "doctor"):
        assert f"\n  {command} " in listed
        assert re.match(rf"Usage: \S+ {command} ", shell.ok(command, "--help"))


def test_tasks(shell):
    from ofasys.gallery.pages import MAIN, PAGES
    from ofasys.gallery.tasks import TASKS

    built_in = [(line.name, line.metric, line.instruction) for page in (MAIN, *PAGES) for line in page.lines]
    built_in += [(f"gallery:{task.name}", task.metric, task.instructions[0]) for task in TASKS]
    lines = shell.ok("tasks").splitlines()
    assert [line.split() for line in lines[1:]] == [[name, metric, *line.split()] for name, metric, line in built_in]
    told = json.loads(shell.ok("tasks", "--json"))
    assert told == {name: {"instruction": line, "metric": metric} for name, metric, line in built_in}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(24, "Too many open files"),
         "Too many open files; raise the limit of open files with ulimit -n, or use fewer workers"),
        (OSError(28, "No space left on device", "x/y"), "x/y: No space left on device; make room on that disk"),
        (OSError("odd"), "odd"),
    ],
)  # fmt: skip
def test_errors_of_the_system_are_sentences(shell, monkeypatch, error, said):
    def run_demo(out, minutes, seed):
        raise error

    monkeypatch.setattr("ofasys.gallery.demo.run_demo", run_demo)
    assert shell.wrong("demo").startswith(said)


def test_who_reads_may_have_had_enough(shell, monkeypatch):
    def run_demo(out, minutes, seed):
        raise BrokenPipeError

    monkeypatch.setattr("ofasys.gallery.demo.run_demo", run_demo)
    done = shell("demo")
    assert done.exit_code == 141
    assert done.output == ""


def test_demo_is_told_what_was_asked(shell, monkeypatch):
    asked = []

    def run_demo(out, minutes, seed):
        asked.append((str(out), minutes, seed))
        return out / "report.html"

    monkeypatch.setattr("ofasys.gallery.demo.run_demo", run_demo)
    assert shell.ok("demo") == "the report is runs/demo/report.html\n"
    shell.ok("demo", "--minutes", "0.5", "--out", "elsewhere", "--seed", "3")
    assert asked == [("runs/demo", None, 0), ("elsewhere", 0.5, 3)]


def test_ctrl_c_ends_with_130(shell, monkeypatch):
    def run_demo(out, minutes, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr("ofasys.gallery.demo.run_demo", run_demo)
    assert shell("demo").exit_code == 130


def test_a_file_that_may_not_be_written_is_a_message(trained):
    trained.write("taken", "a file, not a folder")
    assert "taken" in trained.wrong("train", "run.yaml", "trainer.out=taken/run")


def test_errors_of_ours_are_not_hidden(monkeypatch):
    """A fault of the program keeps its traceback."""

    def run_demo(out, minutes, seed):
        raise ZeroDivisionError

    monkeypatch.setattr("ofasys.gallery.demo.run_demo", run_demo)
    done = CliRunner().invoke(app, ["demo"])
    assert done.exit_code == 1
    assert isinstance(done.exception, ZeroDivisionError)


def test_warnings_of_the_package_are_told_without_lines_of_code(capsys):
    with warnings.catch_warnings(record=True) as theirs:
        warnings.simplefilter("always")
        with heard_warnings():
            warnings.warn_explicit("words lose their accents", UserWarning, f"{PACKAGE}/modality/symbols.py", 1)
            warnings.warn_explicit("of another", UserWarning, "/elsewhere/library.py", 7)
    assert capsys.readouterr().err == "words lose their accents\n"
    assert [str(one.message) for one in theirs] == ["of another"]
