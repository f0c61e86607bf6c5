"""`ofasys export`: which task, what is printed, what is refused. What is written, tests/hub/test_export.py looks at."""

import json

import pytest

from ofasys.hub.export import write


@pytest.fixture
def drawn(monkeypatch):
    """Graphs that are not traced, which takes seconds: of each its name is written."""

    def written(graph, folder, made):
        for form in ("onnx", "pt2"):
            place = folder / f"{graph.name}.{form}"
            place.write_text(graph.name)
            made[place.name] = place
        return 2e-7

    monkeypatch.setattr(write, "_written", written)


def test_a_task_is_exported(trained, tmp_path, drawn):
    to = tmp_path / "out"
    lines = trained.ok("export", "runs/run", to, "caption").splitlines()
    assert lines == [
        "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
        "source.onnx, source.pt2: 0.0 MB in ONNX",
        "step.onnx, step.pt2: 0.0 MB in ONNX",
        "onnxruntime gives what the model gives, to 2e-07 of the largest number",
        f"written to {to}",
    ]
    about = json.loads((to / "export.json").read_text())
    assert about["inputs"][0]["shape"] == ["batch", 32, 32, 3]  # by the settings of the task
    assert about["max_length"] == 6
    assert (to / "tokenizer.json").is_file()


def test_an_instruction_with_other_labels_is_exported(trained, tmp_path, drawn):
    trained.ok("export", "runs/run", tmp_path / "out", "-> [TEXT:label,closed_set]", "--closed-set", "red,blue")
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    assert about["graphs"] == ["step"]
    assert about["automaton"]["labels"] == {"0": ["red", "blue"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "has 3 tasks; say which: caption, entailment, ground"),
        (("captoin",), "no task 'captoin' in this run; did you mean caption?"),
        (("([TEXT:a])* -> [TEXT:cap]",), "has a repetition, a contrast or a pattern among what is given"),
    ],
)
def test_refused(trained, tmp_path, words, said):
    assert said in trained.wrong("export", "runs/run", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_else_is_refused(trained, tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    assert "holds 'mine.txt'" in trained.wrong("export", "runs/run", tmp_path, "caption")
    assert (tmp_path / "mine.txt").read_text() == "kept"
