"""Files that change, vanish or cannot be read while their task lives, and workers that die."""

import multiprocessing
import os
import pickle
import re
import signal
import sys
import threading
from multiprocessing import connection

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ofasys import DataError, Task, Trainer, flow
from ofasys.errors import LoadingError
from ofasys.task import loader
from ofasys.task.loader import Assembler, deliveries
from ofasys.task.source import fingerprint, open_source
from ofasys.task.survey import Survey
from ofasys.task.ticket import Ticket
from tests.train import tiny

LINE = "say [TEXT:a] -> [TEXT:b]"
ROWS = [{"a": f"zero {i}", "b": str(i)} for i in range(100, 200)]


def _table(rows):
    return pa.Table.from_pylist(rows)


def _stream(rows, path):
    with pa.ipc.new_stream(str(path), _table(rows).schema) as writer:
        writer.write_table(_table(rows), max_chunksize=10)


def _file(rows, path):
    with pa.ipc.new_file(str(path), _table(rows).schema) as writer:
        writer.write_table(_table(rows), max_chunksize=10)


def _lines(rows, path):
    import json

    text = [json.dumps(row) for row in rows]
    path.write_text("\n".join(text) + "\n" if path.suffix == ".jsonl" else f"[{','.join(text)}]")


def _cells(rows, path):
    mark = "," if path.suffix == ".csv" else "\t"
    path.write_text(f"a{mark}b\n" + "".join(f"{row['a']}{mark}{row['b']}\n" for row in rows))


def _tar(rows, path):
    import io
    import json
    import tarfile

    with tarfile.open(path, "w") as file:
        for i, row in enumerate(rows):
            data = json.dumps(row).encode()
            info = tarfile.TarInfo(f"{i:04}.json")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


FORMS = {
    "r.csv": _cells,
    "r.tsv": _cells,
    "r.jsonl": _lines,
    "r.json": _lines,
    "r.parquet": lambda rows, path: pq.write_table(_table(rows), path, row_group_size=10),
    "file.arrow": _file,
    "stream.arrow": _stream,
    "r.feather": lambda rows, path: feather.write_feather(_table(rows), path, compression="zstd", chunksize=10),
    "old.feather": lambda rows, path: feather.write_feather(_table(rows), path, compression="uncompressed"),
    "r.tar": _tar,
}


def _shorter(path, write):
    write([{**ROWS[0], "a": "zero 10"}, *ROWS[1:]], path)


def _cut(path, write):
    os.truncate(path, path.stat().st_size // 2)


def _emptied(path, write):
    os.truncate(path, 0)


def _replaced(path, write):
    stamp = path.stat()
    other = path.with_name("other" + path.suffix)
    write(ROWS, other)
    os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    os.replace(other, path)


def _touched(path, write):
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def _restored(path, write):
    stamp = path.stat()
    with open(path, "ab") as file:
        file.write(b" ")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def _gone(path, write):
    path.unlink()


@pytest.mark.parametrize("change", [_shorter, _cut, _emptied, _replaced, _touched, _restored, _gone])
@pytest.mark.parametrize("name", FORMS)
def test_a_file_that_changes_is_refused(name, change, tmp_path):
    path = tmp_path / name
    FORMS[name](ROWS, path)
    source = open_source(path)
    assert source[50]["b"] == "150"
    assert source.column("b")[99] == "199"
    change(path, FORMS[name])
    said = "is gone since" if change is _gone else "has changed since"
    for read in (lambda: source[50], lambda: source[99], lambda: source.column("b"), lambda: fingerprint(source)):
        with pytest.raises(LoadingError, match=rf"{name} {said} it was opened.*expected a file that stays"):
            read()
    if hasattr(source, "in_pieces"):
        with pytest.raises(LoadingError):
            list(source.in_pieces(["a"], 3))


def test_it_is_told_what_has_changed(tmp_path):
    path = tmp_path / "r.csv"
    for change, message in (
        (_shorter, r"it held 1,304 bytes and holds 1,303 \(/"),
        (_touched, r"of 1,304 bytes, written at .* and again at "),
        (_replaced, "another file of its name, size and time was put in its place"),
    ):
        _cells(ROWS, path)
        source = open_source(path)
        change(path, _cells)
        with pytest.raises(LoadingError, match=message):
            source[3]


def test_labels_and_shards_that_change(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved", num_shards=3)
    for change in (_touched, _cut, _gone):
        datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / change.__name__, num_shards=3)
        source = open_source(tmp_path / change.__name__)
        assert [source[i]["b"] for i in (0, 50, 99)] == ["100", "150", "199"]
        change(sorted((tmp_path / change.__name__).glob("data-*.arrow"))[1], None)
        assert source[0]["b"] == "100"
        for read in (lambda s=source: s[50], lambda s=source: s.column("b")):
            with pytest.raises(LoadingError, match=r"data-00001-of-00003.arrow"):
                read()


def test_labels_of_a_yolo_folder_that_change(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for i in range(3):
        Image.new("RGB", (10, 10)).save(tmp_path / f"images/{i}.png")
    for i in range(2):
        (tmp_path / f"labels/{i}.txt").write_text("0 .5 .5 1 1\n")
    source = open_source(tmp_path)
    assert source[0]["label"] == ["0"]
    assert source[2]["label"] == []
    first = fingerprint(source)
    (tmp_path / "labels/0.txt").unlink()
    (tmp_path / "labels/1.txt").write_text("0 .5 .5 1 1\n0 .5 .5 1 1\n")
    (tmp_path / "labels/2.txt").write_text("0 .5 .5 1 1\n")
    for i, message in enumerate(("0.txt is gone", "1.txt has changed", "2.txt has come")):
        with pytest.raises(LoadingError, match=message):
            source[i]
    with pytest.raises(LoadingError):
        source.column("label")
    assert fingerprint(open_source(tmp_path)) != first


def test_a_folder_left_behind_is_read_on(tmp_path, monkeypatch):
    _cells(ROWS, tmp_path / "r.csv")
    monkeypatch.chdir(tmp_path)
    source = open_source("r.csv")
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(source))[1] == ROWS[1]


def test_survey_and_rows_of_a_user_do_not_swallow_it(tmp_path):
    path = tmp_path / "r.csv"
    for name in ("r.csv", "r.parquet"):
        path = tmp_path / name
        FORMS[name](ROWS, path)
        task = Task("t", LINE, path)
        _touched(path, None)
        for read in (task.lengths, lambda task=task: list(task.texts())):
            with pytest.raises(LoadingError, match="task 't'"):
                read()

    class Mine:
        root = None

        def __len__(self):
            return 9

        def __getitem__(self, i):
            raise LoadingError("the line is cut")

        def describe(self):
            return "mine"

        def column(self, name):
            return None

    task = Task("t", LINE, Mine())
    slot = next(slot for slot in task.plan.slots if slot.column == "a")
    with pytest.raises(LoadingError, match="the line is cut"):
        list(Survey("t", task.source("train"), {}).values((task.plan, slot), 9, 9))


# --- in a run ---------------------------------------------------------------------------------------------------------


def assembled(task):
    model = tiny.model()
    model.grow(
        [(p, task.labels) for p in task.plans],
        lambda: iter(["zero one two"]),
        lambda p, slot: task.examples(p, slot),
    )
    return Assembler([task], {task.name: [flow.bind(model, task.plan, task.labels)]}, seed=0)


def _tickets(count):
    return (Ticket(k, "t", k) for k in range(count))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ["r.csv", "r.parquet", "file.arrow"])
def test_a_change_ends_a_run_in_the_middle_of_an_epoch(name, workers, tmp_path):
    path = tmp_path / name
    FORMS[name](ROWS, path)
    task = Task("t", LINE, path, micro_batch_size=4, on_bad="skip")
    made = deliveries(assembled(task), _tickets(100), workers)
    next(made)
    _shorter(path, FORMS[name])
    with pytest.raises(LoadingError, match=f"{name} has changed since it was opened.*task 't'"):
        list(made)


class Rows:
    """A data set that does something at row 7."""

    def __init__(self, deed):
        self.deed = deed

    def __len__(self):
        return 12

    def __getitem__(self, i):
        if i == 7:
            self.deed()
        return ROWS[i]


def _raise(error):
    raise error


class MuteError(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "error", [OSError("odd"), SystemExit(3), StopIteration(), RecursionError(), MemoryError(), MuteError()]
)
def test_whatever_a_data_set_raises_is_a_bad_row(error, workers):
    task = Task("t", LINE, Rows(lambda: _raise(error)), micro_batch_size=12, shuffle=False)
    (made,) = deliveries(assembled(task), _tickets(1), workers)
    (bad,) = made.bad
    assert bad.row == 7
    assert type(error).__name__ in str(bad.error)
    assert len(made.batch.origins) == 11


def test_too_many_open_files_end_a_run():
    import errno

    task = Task("t", LINE, Rows(lambda: _raise(OSError(errno.EMFILE, "Too many open files"))), shuffle=False)
    with pytest.raises(LoadingError, match=r"Too many open files.*expected fewer open files .*ulimit -n"):
        list(deliveries(assembled(task), _tickets(1), 0))


@pytest.mark.parametrize(
    ("deed", "message"),
    [
        (
            lambda: os.kill(os.getpid(), signal.SIGKILL),
            "has ended: .*(Killed|SIGKILL).*expected memory for all workers",
        ),
        (lambda: os.kill(os.getpid(), signal.SIGBUS), "has ended: .*(Bus error|SIGBUS).*/dev/shm"),
        (lambda: os._exit(3), "has ended: .*exit code 3.*workers=0"),
    ],
)
def test_a_worker_that_dies_ends_a_run(deed, message):
    task = Task("t", LINE, Rows(deed), micro_batch_size=2, shuffle=False)
    with pytest.raises(LoadingError, match=message):
        list(deliveries(assembled(task), _tickets(100), 2))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("where", ["main", "thread"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_worker_that_is_killed_while_it_hands_over_a_batch_ends_a_run(monkeypatch, share, where):
    """It leaves some of its message in the queue, and the queue locked for the other worker."""
    here, sent, send = os.getpid(), [], connection.Connection._send

    def killed(self, sending, write=os.write):
        if os.getpid() != here:
            sent.append(sending)
            if len(sent) == 3:
                os.write(self.fileno(), bytes(sending)[: int(share * len(sending))])
                os.kill(os.getpid(), signal.SIGKILL)
        return send(self, sending, write)

    def run():
        try:
            list(deliveries(assembled(task), _tickets(100), 2))
        except LoadingError as error:
            told.append(str(error))

    monkeypatch.setattr(connection.Connection, "_send", killed)
    task, told = Task("t", LINE, ROWS, micro_batch_size=2, shuffle=False), []
    if where == "main":
        run()
    else:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(60)
        assert not thread.is_alive(), "it waits for what will not come"
    (said,) = told
    assert re.search(r"has ended: .*(Killed|SIGKILL).*\(task 't'\); expected memory for all workers .*workers=0", said)
    assert not multiprocessing.active_children()


def test_the_tasks_of_a_worker_that_dies_are_named():
    tasks = [Task(name, LINE, Rows(lambda: os._exit(3)), micro_batch_size=2, shuffle=False) for name in ("a", "b")]
    programs = {task.name: assembled(task).programs[task.name] for task in tasks}
    tickets = [Ticket(i, "ab"[i % 2], i // 2) for i in range(100)]
    with pytest.raises(
        LoadingError, match=r"prepares data \(with micro-batches of tasks 'a', 'b'\) has ended: .*code 3"
    ):
        list(deliveries(Assembler(tasks, programs, 0), tickets, 1))


def test_full_shared_memory_is_told_with_the_task(monkeypatch):
    def full(size):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2>: No space left on device (28)")

    monkeypatch.setattr("ofasys.task.message.IN_THE_MESSAGE", 0)
    monkeypatch.setattr("ofasys.task.message._shared", full)
    task = Task("t", LINE, ROWS, micro_batch_size=2)
    with pytest.raises(
        LoadingError, match=r"No space left .*\(task 't'\); expected room for shared memory \(/dev/shm\)"
    ):
        list(deliveries(assembled(task), _tickets(3), 2))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(28, "No space left on device"), r"room for shared memory \(/dev/shm\)"),
        (OSError(12, "Cannot allocate memory"), "memory for the workers"),
        (BlockingIOError(11, "Resource temporarily unavailable"), "fewer workers, or workers=0"),
    ],
)
def test_workers_for_which_there_is_no_room_are_told(monkeypatch, error, expected):
    monkeypatch.setattr(loader.DataLoader, "__iter__", lambda self: _raise(error))
    task = Task("t", LINE, ROWS, micro_batch_size=2)
    with pytest.raises(
        LoadingError, match=f"the 2 workers that prepare data cannot be started: .*; expected {expected}"
    ):
        list(deliveries(assembled(task), _tickets(3), 2))


def test_what_cannot_be_sent_from_a_worker_is_told(tiny, monkeypatch):
    task = Task("t", LINE, ROWS, micro_batch_size=2)
    monkeypatch.setattr(loader.flow, "collate", lambda program, samples: lambda: None)
    with pytest.raises(LoadingError, match=r"cannot be sent from its worker.*workers=0"):
        list(deliveries(assembled(task), _tickets(3), 1))
    monkeypatch.setattr(loader.flow, "collate", lambda program, samples: {}["x"])
    for workers in (0, 1):
        with pytest.raises(LoadingError, match=r"the samples of rows \d+, \d+ make no batch: KeyError: 'x'"):
            list(deliveries(assembled(task), _tickets(3), workers))


def test_a_run_ends_with_the_error_and_skips_nothing(tmp_path):
    path = tmp_path / "r.csv"
    _cells(ROWS, path)
    task = Task("t", LINE, path, micro_batch_size=2)
    task.lengths()
    tiny_rows = task.source("train")
    assert tiny_rows[0]
    _shorter(path, _cells)
    with pytest.raises(LoadingError, match="has changed since it was opened"):
        Trainer(max_steps=2, out=tmp_path / "run", live=False).fit(model=tiny.model(), tasks=task)


# --- errors of the system, and damage ---------------------------------------------------------------------------------


def test_a_damaged_row_group_is_bad_rows_and_the_others_are_read(tmp_path):
    path = tmp_path / "r.parquet"
    pq.write_table(_table(ROWS), path, row_group_size=10, compression="zstd", use_dictionary=False)
    chunk = pq.read_metadata(path).row_group(7).column(0)
    data = bytearray(path.read_bytes())
    middle = chunk.data_page_offset + chunk.total_compressed_size // 2
    data[middle : middle + 20] = b"\xff" * 20
    path.write_bytes(data)
    source = open_source(path)
    assert [source[i] for i in (0, 69, 80, 99)] == [ROWS[i] for i in (0, 69, 80, 99)]
    for i in (70, 79, 71):
        with pytest.raises(DataError, match="row group 7 is damaged, and with it 10 rows") as caught:
            source[i]
        assert not isinstance(caught.value, LoadingError)
    assert source.column("a")[69:81] == ["zero 169", *[None] * 10, "zero 180"]


def test_what_is_no_plain_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "r.csv")
    with pytest.raises(DataError, match=r"r.csv is no plain file"):
        open_source(tmp_path / "r.csv")
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        open_source("x" * 300 + ".csv")


def test_sources_hold_no_open_file(tmp_path):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    if before is None:
        pytest.skip("no list of open files here")
    sources = []
    for name, write in FORMS.items():
        write(ROWS, tmp_path / name)
        sources.append(open_source(tmp_path / name))
        assert sources[-1][3]["b"] == "103"
        assert sources[-1].column("b")
    assert len(os.listdir("/proc/self/fd")) <= before + 1


# --- fingerprints -----------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_of_the_content(tmp_path):
    (tmp_path / "b").mkdir()
    for name, write in FORMS.items():
        write(ROWS, tmp_path / name)
        here = fingerprint(open_source(tmp_path / name))
        (tmp_path / "b" / name).write_bytes((tmp_path / name).read_bytes())
        os.utime(tmp_path / "b" / name, (1, 1))
        assert here == fingerprint(open_source(tmp_path / "b" / name))
        write([*ROWS[:-1], {**ROWS[-1], "b": "198"}], tmp_path / name)
        assert here != fingerprint(open_source(tmp_path / name)), name


def _value(i):
    picture = Image.new("RGB", (3, 2), (i, 0, 0))
    return {
        "n": i,
        "x": 1.5,
        "p": picture,
        "b": bytes([i]),
        "w": np.arange(i),
        "l": [1, {"p": picture}],
        "s": {"a", "b"},
    }


def _told(queue):
    queue.put(fingerprint(open_source([_value(i) for i in range(9)])))


@pytest.mark.slow
def test_a_fingerprint_of_rows_in_memory_is_the_same_in_another_process():
    queue = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=_told, args=(queue,))
    process.start()
    here = fingerprint(open_source([_value(i) for i in range(9)]))
    assert queue.get(timeout=60) == here
    process.join()
    rows = [_value(i) for i in range(9)]
    rows[4]["p"].putpixel((1, 1), (9, 9, 9))
    assert fingerprint(open_source(rows)) != here
    assert fingerprint(open_source(Rows(lambda: None))) is None


def test_a_large_file_is_told_by_blocks_of_it(tmp_path, monkeypatch):

    module = sys.modules["ofasys.task.source.fingerprint"]
    monkeypatch.setattr(module, "WHOLE_BYTES", 400)
    monkeypatch.setattr(module, "BLOCK_BYTES", 100)
    _cells(ROWS, tmp_path / "r.csv")
    before = fingerprint(open_source(tmp_path / "r.csv"))
    assert before == fingerprint(open_source(tmp_path / "r.csv"))
    _cells([*ROWS[:-1], {**ROWS[-1], "b": "198"}], tmp_path / "r.csv")
    assert before != fingerprint(open_source(tmp_path / "r.csv"))


# --- many blocks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["r.parquet", "file.arrow", "stream.arrow", "r.feather"])
def test_small_blocks_are_decoded_together(name, tmp_path):
    FORMS[name](ROWS, tmp_path / name)
    source = open_source(tmp_path / name)
    assert [source[i] for i in range(100)] == ROWS
    assert len(source._kept) == 1
    assert len(source.starts) == 11
    again = pickle.loads(pickle.dumps(source))
    assert again[99] == ROWS[99]
    assert again.column("a") == [row["a"] for row in ROWS]
