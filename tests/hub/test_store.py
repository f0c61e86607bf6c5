"""Folders that are whole or not there: torn, foreign and other versions are refused with the reason; a crash at any
moment of writing leaves the old folder or the new one."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from ofasys.errors import CheckpointError, ConfigError
from ofasys.hub import OFASys, folder, model_files, store
from ofasys.hub import ofasys as hub_ofasys
from ofasys.hub.facts import FACTS
from ofasys.hub.model import MODEL_FILES, model_of
from ofasys.hub.store import MANIFEST, read_folder, tensors, write_folder, write_json
from ofasys.modality.symbols import train_tokenizer
from ofasys.types import TaskCard

OLD = {"a.json": {"which": "old"}, "w.safetensors": {"x": torch.zeros(3)}, "t.txt": "alt é"}
NEW = {"a.json": {"which": "new"}, "w.safetensors": {"x": torch.ones(3)}, "t.txt": "neu é"}


def which(folder):
    files = read_folder(folder)
    found = json.loads(files["a.json"])["which"]
    assert float(tensors(files["w.safetensors"])["x"][0]) == (found == "new")
    assert files["t.txt"].decode() == {"old": "alt é", "new": "neu é"}[found]
    return found


def test_what_is_written_is_read(tmp_path):
    write_folder(tmp_path / "deep" / "folder", OLD)
    assert which(tmp_path / "deep" / "folder") == "old"
    write_folder(tmp_path / "deep" / "folder", NEW)
    assert which(tmp_path / "deep" / "folder") == "new"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["folder"]


class Crash(BaseException):
    """Power goes."""


def crash_at(monkeypatch, number):
    """The number-th change to the disk (write, sync, rename, removal) does not come about, nor does any after it."""
    count = iter(range(10_000))

    def before(real):
        def stepped(*args, **more):
            if next(count) >= number:
                raise Crash
            return real(*args, **more)

        return stepped

    for name in ("_write", "_sync"):
        monkeypatch.setattr(store, name, before(getattr(store, name)))
    monkeypatch.setattr(Path, "rename", before(Path.rename))
    monkeypatch.setattr(Path, "mkdir", before(Path.mkdir))
    monkeypatch.setattr(shutil, "rmtree", before(shutil.rmtree))


@pytest.mark.parametrize("repeated", [1, 2])
def test_a_crash_at_any_moment_leaves_the_old_or_the_new(tmp_path, monkeypatch, repeated):
    """repeated: the writing after the crash is cut off at the same moment again."""
    seen, finished = [], False
    for number in range(100):
        folder = tmp_path / str(number) / "saved"
        write_folder(folder, OLD)
        for _ in range(repeated):
            with monkeypatch.context() as patch:
                crash_at(patch, number)
                try:
                    write_folder(folder, NEW)
                    finished = True
                except Crash:
                    pass
        seen.append(which(folder))
        write_folder(folder, NEW)  # whatever was left, the next writing goes well
        assert which(folder) == "new"
        assert [path.name for path in folder.parent.iterdir()] == ["saved"]
        if finished:
            break
    assert finished
    assert seen[0] == "old"
    assert seen[-1] == "new"
    if repeated == 1:
        assert sorted(seen, key=["old", "new"].index) == seen  # never back


def test_a_first_writing_cut_off_leaves_nothing(tmp_path, monkeypatch):
    folder = tmp_path / "saved"
    with monkeypatch.context() as patch:
        crash_at(patch, 4)
        with pytest.raises(Crash):
            write_folder(folder, NEW)
    with pytest.raises(CheckpointError, match="no folder"):
        read_folder(folder)


def test_a_torn_write_is_seen(tmp_path):
    """Half a file, as a disk without fsync may leave it."""
    write_folder(tmp_path / "saved", OLD)
    for name in OLD:
        folder = tmp_path / f"torn-{name}"
        shutil.copytree(tmp_path / "saved", folder)
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(
            CheckpointError, match=rf"is torn: {name} holds {len(data) // 2} bytes that are not the {len(data)} written"
        ):
            read_folder(folder)
        (folder / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(CheckpointError, match=f"is torn: {name}"):
            read_folder(folder)
        (folder / name).unlink()
        with pytest.raises(CheckpointError, match=f"is torn: {name} is missing; use another checkpoint"):
            read_folder(folder)
        (folder / name).write_bytes(data)
        assert which(folder) == "old"


def test_only_what_is_asked_for_is_read_and_checked(tmp_path):
    folder = tmp_path / "saved"
    write_folder(folder, OLD)
    (folder / "w.safetensors").write_bytes(b"torn")
    assert read_folder(folder, ("a.json", "t.txt", "absent.json")).keys() == {"a.json", "t.txt"}
    assert read_folder(folder, ()) == {}
    for names in (None, ("a.json", "w.safetensors")):
        with pytest.raises(CheckpointError, match=r"is torn: w\.safetensors holds 4 bytes"):
            read_folder(folder, names)
    (folder / "a.json").unlink()
    with pytest.raises(CheckpointError, match=r"is torn: a\.json is missing"):
        read_folder(folder, ("a.json",))


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ('{"ofasys": 1, "files": {"a.js', "cannot be read"),
        ("", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        ('{"name": "a web page", "icons": []}', "it is not a checkpoint of ofasys"),
        ("[1, 2]", "it is not a checkpoint of ofasys"),
        ('{"ofasys": 1, "files": ["a.json"]}', "it is not a checkpoint of ofasys"),
        ('{"ofasys": 1, "files": {"a.json": "x"}}', "it is not a checkpoint of ofasys"),
        ('{"ofasys": 2, "files": {}}', "is of checkpoint format 2; this version of ofasys reads format 1"),
        ('{"ofasys": 2, "shards": 7, "files": 0}', "is of checkpoint format 2"),
    ],
)
def test_a_manifest_that_is_not_ours(tmp_path, manifest, says):
    write_folder(tmp_path / "saved", OLD)
    data = manifest if isinstance(manifest, bytes) else manifest.encode()
    (tmp_path / "saved" / MANIFEST).write_bytes(data)
    with pytest.raises(CheckpointError, match=says):
        read_folder(tmp_path / "saved")


def test_a_folder_that_is_not_ours(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"has no manifest\.json: it is not a checkpoint of ofasys"):
        read_folder(tmp_path / "other")
    with pytest.raises(CheckpointError, match="no folder"):
        read_folder(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="no folder"):
        read_folder(tmp_path / "other" / "config.json")
    with pytest.raises(CheckpointError, match="no saved model and no run"):
        OFASys.from_pretrained(tmp_path / "other")


def test_a_manifest_cannot_point_elsewhere(tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    write_folder(tmp_path / "saved", OLD)
    manifest = json.loads((tmp_path / "saved" / MANIFEST).read_text())
    manifest["files"]["../secret.json"] = {"sha256": "0" * 64, "bytes": 2}
    (tmp_path / "saved" / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="is torn"):
        read_folder(tmp_path / "saved")


def test_writing_does_not_swallow_what_others_put_there(tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.tex").write_text("years of work")
    with pytest.raises(
        ConfigError, match=r"holds 'chapter1\.tex', which is not of a saved model and would be lost; give a new folder"
    ):
        write_folder(folder, NEW)
    assert (folder / "chapter1.tex").read_text() == "years of work"
    (folder / "chapter1.tex").unlink()
    write_folder(folder, OLD)  # an empty folder is taken
    (folder / "notes.md").write_text("mine")
    with pytest.raises(ConfigError, match=r"notes\.md"):
        write_folder(folder, NEW)
    with pytest.raises(ConfigError, match="is a file; give the name of a folder"):
        write_folder(folder / "notes.md", NEW)
    assert which(folder) == "old"


def test_small_files_are_replaced_in_one_move(tmp_path, monkeypatch):
    path = tmp_path / "x" / "last.json"
    write_json(path, {"folder": "step-1"})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *a: (_ for _ in ()).throw(Crash()))
        with pytest.raises(Crash):
            write_json(path, {"folder": "step-2"})
    assert json.loads(path.read_text()) == {"folder": "step-1"}
    write_json(path, {"folder": "step-2 é"})
    assert json.loads(path.read_text(encoding="utf8")) == {"folder": "step-2 é"}


# --- a saved model ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "saved"
    OFASys(
        tiny.grown(("caption",)),
        [TaskCard("caption", (str(tiny.plans(("caption",))["caption"].instruction),), tiny.SETTINGS)],
    ).save_pretrained(folder)
    return folder


def rewritten(saved, folder, name, change, more=None):
    files = {
        n: json.loads(d) if n.endswith(".json") and n != "tokenizer.json" else d for n, d in read_folder(saved).items()
    }
    files = {
        n: tensors(d) if n.endswith(".safetensors") else d.decode() if isinstance(d, bytes) else d
        for n, d in files.items()
    }
    files[name] = change(files[name])
    write_folder(folder, {n: v for n, v in files.items() if v is not None} | (more or {}))
    return folder


def test_a_saved_model_loads(saved):
    assert OFASys.from_pretrained(saved).model.symbols.vocabulary.size > 256
    assert {path.suffix for path in saved.iterdir()} == {".json", ".safetensors", ".md"}


def test_the_optimizer_of_a_run_is_not_read_to_answer(saved, tmp_path, monkeypatch):
    moments = {"optimizer.safetensors": {"x": torch.zeros(9)}, "state.json": {"step": 3}}
    folder = rewritten(saved, tmp_path / "step", "tasks.json", lambda cards: cards, moments)
    opened, real = [], Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or real(path))
    assert OFASys.from_pretrained(folder).cards
    assert sorted(opened) == sorted([*MODEL_FILES, FACTS])
    (folder / "optimizer.safetensors").unlink()
    assert OFASys.from_pretrained(folder).cards
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"is torn: model\.safetensors"):
        OFASys.from_pretrained(folder)


def test_the_files_of_a_model_are_those_that_are_read(tiny):
    assert set(model_files(tiny.grown(("caption",)), ())) == set(MODEL_FILES)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("model.json", lambda about: None, r"lacks 'model\.json'"),
        ("model.safetensors", lambda t: None, r"lacks 'model\.safetensors'"),
        ("model.json", lambda about: about | {"fingerprint": "0" * 16}, "vocabulary's hash does not fit"),
        (
            "model.json",
            lambda about: about | {"modalities": [*about["modalities"], "SMELL"]},
            "uses modality SMELL, which is not installed",
        ),
        (
            "model.json",
            lambda about: (
                about | {"modalities": [*about["modalities"], "SMELL"], "packages": {"modality SMELL": "nose 1.0"}}
            ),
            r"uses modality SMELL of nose 1\.0, which is not installed",
        ),
        (
            "model.json",
            lambda about: about | {"criteria": {"far_0": {"name": "far", "options": {}}}},
            "has weights of criterion 'far', which is not installed",
        ),
        (
            "model.json",
            lambda about: about | {"packages": ["nose"]},
            r"packages is \['nose'\], and should be an object",
        ),
        ("model.json", lambda about: about | {"packages": {"a": 1}}, r"packages is {'a': 1}, and should be an object"),
        (
            "model.json",
            lambda about: about | {"packages": {"smell far": "nose 1.0"}},
            "packages is 'smell far', and should be one of criterion, engine, .* and its name",
        ),
        ("model.json", lambda about: {k: v for k, v in about.items() if k != "config"}, "lacks 'config'"),
        (
            "model.safetensors",
            lambda t: {k: v for k, v in t.items() if "norm" not in k},
            "weights do not fit the model",
        ),
        ("model.safetensors", lambda t: t | {"extra": torch.zeros(1)}, "weights do not fit the model: 'extra'"),
    ],
)
def test_a_saved_model_that_does_not_fit(saved, tmp_path, name, change, says):
    with pytest.raises(CheckpointError, match=says):
        OFASys.from_pretrained(rewritten(saved, tmp_path / "changed", name, change))


def test_a_model_of_before_tells_no_packages(saved, tmp_path):
    about = json.loads((saved / "model.json").read_text())
    assert about["packages"] == {}
    without = rewritten(
        saved, tmp_path / "old", "model.json", lambda about: {k: v for k, v in about.items() if k != "packages"}
    )
    assert OFASys.from_pretrained(without).model.lacks == []


def test_a_model_that_has_learned_nothing_is_not_saved(tiny, tmp_path):
    from ofasys.generalist import GeneralistModel

    with pytest.raises(ConfigError, match="nothing to save; train it first"):
        OFASys(GeneralistModel(config=tiny.CONFIG)).save_pretrained(tmp_path / "x")


# --- faults of the disk, odd content ----------------------------------------------------------------------------------


def failing(monkeypatch, at, number=errno.ENOSPC):
    """The at-th writing of a file fails, as on a full disk."""
    count, real = iter(range(1000)), store._write

    def write(path, data):
        if next(count) == at:
            raise OSError(number, os.strerror(number), str(path))
        real(path, data)

    monkeypatch.setattr(store, "_write", write)


@pytest.mark.parametrize("at", range(4))
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, at):
    folder = tmp_path / "saved"
    write_folder(folder, OLD)
    with monkeypatch.context() as patch:
        failing(patch, at)
        with pytest.raises(CheckpointError, match=r"saved cannot be written: No space left on device; what was there"):
            write_folder(folder, NEW)
    assert which(folder) == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]  # the half that was written gives its room back
    write_folder(folder, NEW)
    assert which(folder) == "new"


def test_a_folder_that_may_not_be_written_or_read(tmp_path, monkeypatch):
    write_folder(tmp_path / "saved", OLD)
    denied = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "saved" / "a.json"))
    for name in ("read_bytes", "read_text"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, lambda *a, **k: (_ for _ in ()).throw(denied))
            with pytest.raises(CheckpointError, match=r"a\.json cannot be read: Permission denied"):
                read_folder(tmp_path / "saved")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", lambda *a, **k: (_ for _ in ()).throw(denied))
        with pytest.raises(CheckpointError, match="cannot be written: Permission denied"):
            write_folder(tmp_path / "saved", NEW)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CheckpointError, match=r"cannot be written: (Not a directory|File exists)"):
        write_folder(tmp_path / "file" / "saved", NEW)
    assert which(tmp_path / "saved") == "old"


def test_a_link_is_followed(tmp_path):
    write_folder(tmp_path / "real", OLD)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_folder(tmp_path / "link", NEW)
    assert which(tmp_path / "real") == "new"
    assert (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_the_folder_we_are_in_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in (".", "..", str(tmp_path / "here")):
        with pytest.raises(ConfigError, match=r"is where the program runs|would be lost"):
            write_folder(name, NEW)
    write_folder("saved", NEW)
    assert which(tmp_path / "here" / "saved") == "new"


def test_a_checkpoint_of_a_run_is_not_saved_over(saved, tmp_path):
    moments = {"optimizer.safetensors": {"x": torch.zeros(9)}, "state.json": {"step": 3}}
    folder = rewritten(saved, tmp_path / "step", "tasks.json", lambda cards: cards, moments)
    model = OFASys.from_pretrained(folder)
    with pytest.raises(ConfigError, match=r"a checkpoint of a run, whose optimizer\.safetensors, state\.json would be"):
        model.save_pretrained(folder)
    assert read_folder(folder).keys() > {"state.json"}
    assert OFASys.from_pretrained(model.save_pretrained(tmp_path / "new")).cards == model.cards
    model.save_pretrained(tmp_path / "new")  # over an earlier saving of a model


def in_about(**more):
    return lambda about: about | more


def in_card(**more):
    return lambda cards: [cards[0] | more]


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("model.json", lambda about: [], "model.json is .*should be an object"),
        ("model.json", lambda about: 3, "model.json is 3, and should be an object"),
        ("model.json", in_about(seed="0"), "seed is '0', and should be a whole number"),
        ("model.json", in_about(seed=True), "seed is True, and should be a whole number"),
        ("model.json", in_about(config=[]), "config is .*should be an object"),
        ("model.json", in_about(vocabulary=[["text", 0]]), "should be .name, start, size. for each range"),
        ("model.json", in_about(vocabulary=[["text", 0, -1]]), "should be .name, start, size. for each range"),
        ("model.json", in_about(adaptors={"x": 3}), "an object with options in it"),
        ("model.json", in_about(adaptors={"x": {"options": {}}}), "cannot be made here .KeyError: 'modality'"),
        ("model.json", lambda a: a | {"config": a["config"] | {"width": "32"}}, "is not a saved model of this version"),
        ("model.json", lambda a: a | {"config": a["config"] | {"width": None}}, "config.width is None"),
        ("model.json", lambda a: a | {"config": a["config"] | {"depth": 3}}, "model has no field 'depth'"),
        ("model.json", lambda a: a | {"config": a["config"] | {"width": 10**9}}, "not of one saved model"),
        ("model.json", lambda a: a | {"config": a["config"] | {"encoder_layers": 10**12}}, "not of one saved model"),
        ("model.json", in_about(vocabulary=[["text", 0, 10**12]]), "not of one saved model"),
        ("tasks.json", lambda cards: {}, "tasks.json is .*should be a list"),
        ("tasks.json", lambda cards: ["x"], "task 0 of tasks.json is 'x', and should be an object"),
        ("tasks.json", in_card(instructions="a -> [TEXT:b]"), "instructions of task 0 .*should be a list of texts"),
        ("tasks.json", in_card(labels={"x": "ab"}), "labels of task 0 .*column and list of texts"),
        ("tasks.json", in_card(name=3), "name of task 0 of tasks.json is 3, and should be a text"),
        ("tasks.json", in_card(colour="red"), "has 'colour', which this version does not know; it is of a newer one"),
        ("tokenizer.json", lambda text: "{}", "tokenizer.json cannot be read by tokenizers"),
        ("tokenizer.json", lambda text: "not JSON", "tokenizer.json cannot be read by tokenizers"),
        ("tokenizer.json", lambda text: train_tokenizer(["a b c"], 256).to_str(), "tokenizer.json has 256 pieces and"),
        ("fitted.safetensors", lambda t: None, r"lacks 'fitted\.safetensors'"),
        (
            "model.safetensors",
            lambda t: {n: torch.zeros(v.shape, dtype=torch.int64) for n, v in t.items()},
            "holds torch.int64",
        ),
        (
            "model.safetensors",
            lambda t: {n: torch.full_like(v, torch.nan) if n == "adaptors.tokens.weight" else v for n, v in t.items()},
            r"weights of 'adaptors\.tokens\.weight' are not finite",
        ),
        ("model.safetensors", lambda t: {}, "model.safetensors holds 0 numbers"),
        (
            "model.safetensors",
            lambda t: {n: v.reshape(-1) for n, v in t.items()},
            r"has shape .4096,., and should have .128, 32.",
        ),
    ],
)
def test_odd_content_is_told(saved, tmp_path, name, change, says):
    folder = rewritten(saved, tmp_path / "odd", name, change)
    with pytest.raises(CheckpointError, match=says) as found:
        OFASys.from_pretrained(folder)
    assert str(folder) in str(found.value)


@pytest.mark.parametrize("name", MODEL_FILES)
@pytest.mark.parametrize("data", [b"", b"[", b"3", b"\xff\xfe", b"[" * 50_000, b"\x08" + bytes(7) + b'{"a": 1}'])
def test_bytes_of_another_kind(saved, name, data):
    files = {**read_folder(saved), name: data}
    with pytest.raises(CheckpointError, match=rf"here.*{name.partition('.')[0]}"):
        model_of(files, "here")


def test_weights_of_other_precisions_are_read(saved, tmp_path):
    for dtype in (torch.float64, torch.float16):
        folder = rewritten(
            saved, tmp_path / str(dtype), "model.safetensors", lambda t, d=dtype: {n: v.to(d) for n, v in t.items()}
        )
        table = OFASys.from_pretrained(folder).model.table
        assert table.dtype is torch.float32
        torch.testing.assert_close(table, OFASys.from_pretrained(saved).model.table, atol=1e-3, rtol=1e-3)


# --- which folder -----------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(saved, tmp_path, monkeypatch):
    """runs/first with a best and a last checkpoint."""
    monkeypatch.chdir(tmp_path)
    checkpoints = tmp_path / "runs" / "first" / "checkpoints"
    for name, step in (("best", "step-00000060"), ("last", "step-00000080")):
        shutil.copytree(saved, checkpoints / step)
        write_json(checkpoints / f"{name}.json", {"folder": step})
    return Path("runs")


def test_the_checkpoints_of_a_run(runs):
    first = str(runs / "first")
    assert OFASys.from_pretrained(first).origin == "runs/first (best, step 60)"
    assert OFASys.from_pretrained(first, which="last").origin == "runs/first (last, step 80)"
    assert OFASys.from_pretrained(first, which="step-00000080").origin == "runs/first (last, step 80)"
    assert "from runs/first (best, step 60)" in repr(OFASys.from_pretrained(first))


def test_a_run_that_goes_on_while_it_is_read(runs, saved, monkeypatch):
    checkpoints, real = runs / "first" / "checkpoints", hub_ofasys.load_model

    def load(folder, modalities=None, **asked):
        if folder.name == "step-00000080":  # the run writes its next one, and takes this away
            shutil.copytree(saved, checkpoints / "step-00000100")
            write_json(checkpoints / "last.json", {"folder": "step-00000100"})
            shutil.rmtree(folder)
        return real(folder, modalities, **asked)

    monkeypatch.setattr(hub_ofasys, "load_model", load)
    assert OFASys.from_pretrained(runs / "first", which="last").origin == "runs/first (last, step 100)"


@pytest.mark.parametrize(
    ("folder", "which", "says"),
    [
        ("runs/frist", None, "there is no folder 'runs/frist'; did you mean runs/first[?] give the folder of a run"),
        ("rnus/frist", None, "did you mean runs/first[?]"),
        ("runs/xyz", None, "there is no folder 'runs/xyz'; give the folder of a run"),
        ("runs/first", "bset", "no 'bset' checkpoint here; did you mean best[?] there are best, last"),
        ("runs/first", "../first", "no '../first' checkpoint here"),
        ("runs", None, "is above a model: .*give one of them: runs/first"),
        ("runs/first/checkpoints", None, "is inside a run: .*give runs/first"),
        ("new", None, "new: the run has no saved model and no run with a checkpoint yet; train on"),
        ("transformers", None, "a model of transformers .model_type 'bert'., not of ofasys"),
        ("weights", None, "weights of something else .model.pt."),
        ("weights/model.pt", None, "^weights/model.pt cannot be read as a checkpoint of torch"),
        ("weights/notes.txt", None, "notes.txt is a file; give the folder"),
        ("saved", "best", "no 'best' checkpoint here; it is a saved model, not a run"),
        ("broken", None, "best.json cannot be read"),
        ("strange", None, "best.json points to '../../x', which is no checkpoint's name"),
        ("x\0y", None, "there is no folder|cannot be read"),
    ],
)
def test_a_folder_without_a_model_says_what_it_is(runs, saved, folder, which, says):
    Path("new").mkdir()
    Path("new/metrics.jsonl").touch()
    for name, file, text in (
        ("transformers", "config.json", '{"model_type": "bert"}'),
        ("weights", "model.pt", ""),
        ("weights", "notes.txt", ""),
        ("broken/checkpoints", "best.json", '["x"]'),
        ("strange/checkpoints", "best.json", '{"folder": "../../x"}'),
    ):
        Path(name).mkdir(parents=True, exist_ok=True)
        Path(name, file).write_text(text)
    shutil.copytree(saved, "saved")
    with pytest.raises(CheckpointError, match=says):
        OFASys.from_pretrained(folder, which=which)


@pytest.mark.parametrize("folder", [None, 3, b"runs", "", " "])
def test_what_is_no_folder(folder):
    with pytest.raises(ConfigError, match="folder"):
        OFASys.from_pretrained(folder)


@pytest.mark.parametrize("which", ["", 3, True])
def test_a_checkpoint_is_named_by_text(tmp_path, which):
    with pytest.raises(ConfigError, match="it is 'best', 'last' or the name"):
        OFASys.from_pretrained(tmp_path, which=which)


def test_tensors_are_written_from_where_they_are(tmp_path):
    """None is copied that lies in one piece on the CPU; of the others one at a time."""
    plain = torch.arange(6, dtype=torch.float32).view(2, 3)
    odd = {
        "plain": plain,
        "turned": plain.t(),
        "part": plain[:, 1:],
        "shared": plain[0],
        "none": torch.zeros(0, 4),
        "one": torch.tensor(3, dtype=torch.int64),
        "half": plain.bfloat16(),
        "truth": plain > 2,
        "bytes": torch.arange(5, dtype=torch.uint8),
    }
    chunks = list(store._chunks("a.safetensors", odd))
    views = [np.frombuffer(chunk, dtype=np.uint8) for chunk in chunks[1:]]
    assert any(np.shares_memory(view, plain.numpy()) for view in views)
    write_folder(tmp_path / "a", {"a.safetensors": odd})
    with safetensors.safe_open(tmp_path / "a" / "a.safetensors", "pt") as read:
        assert set(read.keys()) == set(odd)
        for name, tensor in odd.items():
            assert torch.equal(read.get_tensor(name), tensor)
            assert read.get_tensor(name).dtype == tensor.dtype


PEAK = """
import resource, sys
import torch
from ofasys.hub.store import write_folder

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

size = 24 * 2**18  # 24 MiB of float32
held = {f"plain{i}": torch.ones(size) for i in range(8)}
turned = torch.ones(2 * size).view(2, size).t()
write_folder(sys.argv[1] + "/small", {"a.safetensors": {"a": torch.ones(8), "t": torch.ones(2, 3).t()}})
before = peak()
write_folder(sys.argv[1] + "/big", {"a.safetensors": held})
plain = peak() - before
write_folder(sys.argv[1] + "/turned", {"a.safetensors": {**held, **{f"turned{i}": turned for i in range(4)}}})
print(plain, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
def test_the_memory_that_writing_takes_is_that_of_one_tensor(tmp_path):
    """192 MiB are written from where they are; four of 48 MiB that lie in pieces, one at a time."""
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "MALLOC_ARENA_MAX": "1"}
    )
    plain, turned = map(float, done.stdout.split())
    assert plain < 12
    assert turned < 48 * 1.5


def test_a_log_is_read_line_by_line_whatever_its_texts_hold(tmp_path):
    """A text may hold what Python takes for the end of a line."""
    log = tmp_path / "metrics.jsonl"
    odd = {"step": 1, "kind": "train", "problem": "a\u2028b\x85c"}
    good, strange = (
        json.dumps(odd, ensure_ascii=False).encode(),
        [b"[1]", b"{", b'{"step": "x"}', b"\xff", b"[" * 99999],
    )
    log.write_bytes(b"\n".join([good, b"", *strange, good + b"\r", b'{"step": 2, "ki']))
    read = list(folder.log_lines(log))
    assert [line for _, line in read if line is not None] == [odd, odd]
    assert [text for text, _ in read] == [good, *strange, good, b'{"step": 2, "ki']
    assert list(folder.log_lines(tmp_path / "none")) == []
