"""`ofasys infer --ray`: what one process answers is answered by workers of Ray, to the byte."""

import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import islice
from types import ModuleType, SimpleNamespace

import pytest

from ofasys.cli import over_ray
from ofasys.cli.answering import Answering
from ofasys.cli.answers import AnswerFile
from ofasys.cli.infer import Columns, Spread
from ofasys.cli.over_ray import Worker
from ofasys.cli.rows import of_path, of_pattern
from ofasys.errors import LoadingError
from ofasys.hub import OFASys
from ofasys.language import Instruction
from ofasys.modality import lexicon
from ofasys.planner import plan
from tests.cli.conftest import CAPTION

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
PATIENCE = 120  # seconds for a process that ends
PROCESSES = ("gcs_server", "raylet", "ray::")


def captions(trained, tmp_path, bad=(4, 9), count=13):
    """A file of rows, some without the picture they speak of."""
    rows = [{"img": "none.png" if i in bad else str(trained.folder / "data" / "red.png"), "n": i} for i in range(count)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def spread(trained, path, size=3, **changes):
    """What the command asks for, without its options."""
    answerer = OFASys.from_pretrained(trained.folder / "runs" / "run")
    line = Instruction(CAPTION, lexicon(answerer.model.modalities))
    rows = of_path(path, line.needed)
    given = Columns(line, plan(line, modalities=answerer.model.modalities)).here({}, rows.root)
    folder = trained.folder / "runs" / "run" / "checkpoints" / "best"
    if not folder.is_dir():
        folder = trained.folder / "runs" / "run"
    asked = {"batch_size": size, "max_length": 4, "sampling": True, "seed": 5}
    told = {"answerer": answerer, "instruction": line, "given": given, "rows": rows, "asked": asked}
    return Spread(**(told | {"folder": folder, "workers": 2} | changes))


def shown(found):
    return [(number, row, str(answer), getattr(answer, "score", None)) for number, row, answer in found]


def test_a_worker_answers_what_one_process_does(trained, tmp_path):
    asked = spread(trained, captions(trained, tmp_path))
    worker = Worker(pickle.loads(pickle.dumps(asked.work)))
    answers = [one for part in ([4, 0], [3, 1, 2]) for one in worker({"item": part})["answers"]]
    answers = [one for number in (1, 3, 4, 2, 0) for one in answers[number]]
    assert [number for number, *_ in answers] == list(range(13))
    assert shown(answers) == shown(super(Spread, asked).answers(True))
    assert "row 4 of" in str(answers[4][2])


def test_a_worker_that_finds_other_rows_says_so_and_dies_not(trained, tmp_path):
    path = captions(trained, tmp_path)
    worker = Worker(spread(trained, path).work)
    path.write_text(path.read_text().replace('"n": 3', '"n": 7'))
    (found,) = worker({"item": [1]})["answers"]
    assert isinstance(found, LoadingError)
    assert "rows.jsonl holds other rows on the machine of a worker" in str(found)


def test_paths_of_a_pattern_are_those_of_the_command(trained, monkeypatch):
    monkeypatch.chdir(trained.folder)
    rows = of_pattern("data/*.png", "img")
    again = pickle.loads(pickle.dumps(rows.again))()
    assert list(again.read(1)) == list(rows.read(1)) == [{"img": f"data/{name}.png"} for name in ("green", "red")]
    assert (again.told, again.total, again.name) == (rows.told, 3, "data/*.png")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["img=data/red.png", "--ray", "2"], "--ray is for many rows"),
        (["--data", "data/captions.jsonl", "--ray", "0"], "--ray is 0; it is 1 or more"),
        (["--data", "-", "--ray", "2"], "standard input comes but once; write it to a file"),
    ],
)
def test_what_cannot_be_spread(trained, words, said):
    assert said in trained.wrong("infer", "runs/run", "caption", *words)


def test_the_library_is_named_where_it_is_missing(trained, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    asked = "infer", "runs/run", "caption", "--data", "data/captions.jsonl", "--ray", "2"
    assert 'pip install "ofasys[ray]"' in trained.wrong(*asked)


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:PORT", "ray://127.0.0.1:PORT", "nowhere.invalid:6379", "nowhere"])
def test_a_cluster_that_is_not_there_is_not_waited_for(trained, monkeypatch, address):
    import ray

    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = address.replace("PORT", str(closed.getsockname()[1]))
    monkeypatch.setenv("RAY_ADDRESS", address)
    if address != "nowhere":  # Ray itself tells an address that has no port
        monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("Ray asks it for minutes"))
    said = trained.wrong("infer", "runs/run", "caption", "--data", "data/captions.jsonl", "--ray", "1")
    assert f"RAY_ADDRESS is {address!r}, give that of its head as host:6379" in said


def test_no_more_workers_are_begun_than_there_are_tasks(trained, tmp_path):
    asked, begun = spread(trained, captions(trained, tmp_path), size=20), []
    data = SimpleNamespace(ActorPoolStrategy=lambda size: begun.append(size))
    data.from_items = lambda *_, **__: SimpleNamespace(
        map_batches=lambda *_, **__: SimpleNamespace(iter_rows=lambda: iter(()))
    )
    ray = SimpleNamespace(data=data, exceptions=SimpleNamespace(RayError=RuntimeError))
    assert list(over_ray._packed(ray, asked.work, 0, 2, "cpu")) == []
    assert begun == [1]


def processes():
    """The numbers of those of Ray that this user has."""
    lines = subprocess.run(["ps", "-u", str(os.getuid()), "-o", "pid=,args="], capture_output=True, text=True).stdout
    return {int(line.split()[0]) for line in lines.splitlines() if any(name in line for name in PROCESSES)}


def ends(process):
    """Whether a process ends by itself, for which it is waited."""
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], PATIENCE)[0])
    finally:
        os.close(handle)


@needs_ray
@pytest.mark.slow
def test_a_local_ray_answers_goes_on_and_ends(trained, tmp_path, monkeypatch):
    """The whole way: from the command to a file that is the same, of which a part was there already."""
    import ray

    path, begun = captions(trained, tmp_path), processes()
    asked = ["infer", "runs/run", "caption", "--data", str(path), "--search", "sampling=true", "--batch-size", "3"]
    alone, together, part = (tmp_path / name for name in ("alone.jsonl", "together.jsonl", "together.jsonl.part"))
    assert trained(*asked, "--out", str(alone)).exit_code == 3
    answers = Answering.answers
    monkeypatch.setattr(Answering, "answers", lambda self, skip, first: islice(answers(self, skip, first), 7))
    monkeypatch.setattr(AnswerFile, "__exit__", lambda file, *_: file.file.close())  # as where it is killed
    trained(*asked, "--out", str(together))
    monkeypatch.undo()
    assert part.read_text().count("\n") == 7
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 * 2**20, log_to_driver=False)
    try:
        said = trained(*asked, "--out", str(together), "--ray", "3")
        assert "--ray is 3, and the cluster has 2 CPUs" in said.stderr
        done = trained(*asked, "--out", str(together), "--ray", "2")
        monkeypatch.setattr(over_ray, "RETRIES", 1)
        deadly = replace(spread(trained, path).work, rows=partial(os._exit, 3))
        with pytest.raises(LoadingError, match="a worker of Ray failed after row 0"):
            next(over_ray._packed(ray, deadly, 0, 1, "cpu"))
        ours = processes() - begun
        assert len(ours) > 2
    finally:
        ray.shutdown()
    assert done.exit_code == 3, done.output
    assert together.read_text() == alone.read_text()
    assert "2 of 13 rows could not be answered" in done.stderr
    assert "going on after 6 answers" in done.stderr
    assert not part.exists()
    assert all(map(ends, ours))


def test_what_ends_a_process_ends_it_after_ray_too(monkeypatch):
    """Ray takes SIGTERM when it begins."""
    context = SimpleNamespace(execution_options=SimpleNamespace(preserve_order=False), enable_progress_bars=True)
    ray, data = ModuleType("ray"), ModuleType("ray.data")
    ray.data, ray.exceptions = data, SimpleNamespace(RayError=RuntimeError)
    data.DataContext = SimpleNamespace(get_current=lambda: context)
    ray.is_initialized, ray.shutdown = (lambda: False), (lambda: None)
    ray.init = lambda **settings: signal.signal(signal.SIGTERM, lambda number, frame: None)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", data)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    before = signal.getsignal(signal.SIGTERM)
    with over_ray._cluster():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
