"""Files that are elsewhere: the rows of the same file here; fetched once; what cannot be had is said before a run."""

import functools
import json
import sys
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ofasys import ConfigError, DataError, Task
from ofasys.hub.asked import asked_for
from ofasys.modality import default_registry
from ofasys.task.source import open_source, remote

fsspec = pytest.importorskip("fsspec")

ROWS = [{"text": f"row {i}", "label": f"k{i % 3}"} for i in range(20)]
CONTENT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
LINE = "[TEXT:text] -> [CATEGORY:label]"


@pytest.fixture(autouse=True)
def _caches(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pipe("/data/rows.jsonl", CONTENT)
    yield system
    system.store.clear()


@pytest.fixture
def fetches(monkeypatch):
    """The files that are fetched."""
    found = []
    real = remote._copy

    def copy(system, name, *rest):
        found.append(name)
        return real(system, name, *rest)

    monkeypatch.setattr(remote, "_copy", copy)
    return found


def rows(source):
    return [source[i] for i in range(len(source))]


def test_a_file_in_memory_is_fetched_once(memory, fetches):
    for _ in range(2):
        task = Task("one", LINE, "memory://data/rows.jsonl")
        assert rows(task.source("train")) == ROWS
        assert task.source("train").describe() == "rows.jsonl"
    assert fetches == ["/data/rows.jsonl"]


def test_another_version_is_fetched_and_the_old_one_stays(memory, fetches):
    first = open_source("memory://data/rows.jsonl")
    memory.pipe("/data/rows.jsonl", b'{"text": "new"}\n')
    assert rows(open_source("memory://data/rows.jsonl")) == [{"text": "new"}]
    assert rows(first) == ROWS
    assert len(fetches) == 2


def test_a_system_that_tells_no_version_is_asked_anew(memory, fetches, monkeypatch):
    monkeypatch.setattr(remote, "_VERSIONS", ())
    paths = {remote.fetched("memory://data/rows.jsonl") for _ in range(2)}
    assert len(paths) == 1, "the same content lies in the same place"
    memory.pipe("/data/rows.jsonl", CONTENT.replace(b"row", b"col"))
    assert open_source("memory://data/rows.jsonl")[0]["text"] == "col 0"
    assert len(fetches) == 3


def test_a_folder(memory, tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    for name in ("cats/a.png", "dogs/b.png"):
        memory.pipe(f"/pictures/{name}", (tmp_path / "red.png").read_bytes())
    source = open_source("memory://pictures")
    assert [(row["path"], row["label"]) for row in rows(source)] == [("cats/a.png", "cats"), ("dogs/b.png", "dogs")]


def test_a_file_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("inner/rows.jsonl", CONTENT)
    assert rows(open_source(f"zip://inner/rows.jsonl::{tmp_path}/all.zip")) == ROWS
    with pytest.raises(DataError, match=r"there is no file 'zip://gone.jsonl::"):
        open_source(f"zip://gone.jsonl::{tmp_path}/all.zip")


def test_a_file_here_is_read_where_it_lies(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(CONTENT)
    source = open_source(f"file://{path}")
    assert source.path == path
    assert not (tmp_path / "cache").exists()


def test_what_fsspec_itself_keeps_is_no_file_here(memory, tmp_path):
    assert rows(open_source("filecache::memory://data/rows.jsonl")) == ROWS


@pytest.fixture
def served(tmp_path):
    """The URL of a folder on this machine's own loopback, and the folder; the server ends with the test."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_of_a_web_server(served):
    pytest.importorskip("aiohttp")
    url, folder = served
    (folder / "rows.jsonl").write_bytes(CONTENT)
    source = open_source(f"{url}/rows.jsonl?key=secret")
    assert rows(source) == ROWS
    (folder / "rows.jsonl").write_bytes(CONTENT * 2)
    assert len(open_source(f"{url}/rows.jsonl")) == 40
    with pytest.raises(DataError, match=r"there is no file 'http://127.0.0.1:\d+/gone.jsonl'"):
        open_source(f"{url}/gone.jsonl?key=secret")


def test_a_server_that_does_not_answer():
    pytest.importorskip("aiohttp")
    with pytest.raises(DataError, match=r"or what should give it does not answer") as caught:
        open_source("http://me:secret@127.0.0.1:1/rows.jsonl")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_cut_short_is_not_taken(memory, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "info", lambda path: {"name": path, "type": "file", "size": 10_000, "mtime": 1})
    monkeypatch.setattr(type(memory), "info", lambda self, path: {"name": path, "type": "file", "size": 10_000})
    with pytest.raises(DataError, match=rf"gave {len(CONTENT):,} bytes of 10,000; expected a file that is whole"):
        open_source("memory://data/rows.jsonl")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_a_name_that_leads_elsewhere_is_refused(memory, tmp_path):
    memory.store["/data/../../../evil.jsonl"] = memory.store["/data/rows.jsonl"]
    with pytest.raises(DataError, match=r"holds a file that would lie outside its folder"):
        open_source("memory://data")
    assert not list(tmp_path.rglob("evil.jsonl"))


def test_a_full_disk(memory, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(remote, "_copy", full)
    with pytest.raises(DataError, match=r"No space left on device; expected room .* XDG_CACHE_HOME"):
        open_source("memory://data/rows.jsonl")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nosuch://bucket/rows.jsonl", r"nosuch://bucket/rows.jsonl is no URL that fsspec knows: Protocol not known"),
        ("none://me:secret@bucket/rows.jsonl", r"none://bucket/rows.jsonl needs a library.*: Install nonefs.*fsspec\]"),
    ],
)
def test_what_is_missing_is_named_before_the_first_step(url, message):
    from fsspec.registry import known_implementations

    known_implementations["none"] = {"class": "nonefs.NoneFileSystem", "err": "Install nonefs to access None"}
    try:
        with pytest.raises(ConfigError, match=f"task 'one', train: {message}") as caught:
            Task("one", LINE, url)
    finally:
        del known_implementations["none"]
    assert "secret" not in str(caught.value)


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(
        ConfigError, match=r"s3://bucket/rows.jsonl is read by .*`fsspec`: pip install \"ofasys\[fsspec"
    ):
        open_source("s3://bucket/rows.jsonl")


def test_rows_to_be_answered(memory):
    asked = asked_for("[TEXT:text] -> [TEXT:label]", "memory://data/rows.jsonl", default_registry())
    assert [row for _, row in asked.rows] == ROWS


def test_a_suffix_that_is_not_read_here(memory):
    memory.pipe("/data/rows.xlsx", b"")
    with pytest.raises(DataError, match=r"rows.xlsx: files .xlsx are not read here"):
        open_source("memory://data/rows.xlsx")


@pytest.mark.parametrize("text", ["rows.jsonl", "/data/rows.jsonl", "C:\\rows.jsonl", "a://", "://x", "what is a::b"])
def test_what_is_no_url(text):
    assert remote.is_remote(text) is False
