"""WebDataset tars: rows by number, in place; what is torn, missing or doubled is named by file and member."""

import contextlib
import io
import json
import multiprocessing
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from ofasys import DataError, Task
from ofasys.errors import LoadingError
from ofasys.task.source import open_source, tar


def write(path, members, form=tarfile.PAX_FORMAT):
    """A tar of (name, bytes or text) in this order."""
    with tarfile.open(path, "w", format=form) as file:
        for name, value in members.items() if isinstance(members, dict) else members:
            data = value if isinstance(value, bytes) else value.encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def png(shade=0):
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def sample(i):
    fields = {"width": 16 + i, "tags": ["a", "b"], "score": None}
    return {
        f"{i:04}.png": png(i),
        f"{i:04}.txt": f"caption {i}\n",
        f"{i:04}.json": json.dumps(fields),
        f"{i:04}.cls": f"{i}\n",
    }


def row(i):
    fields = {"width": 16 + i, "tags": ["a", "b"], "score": None}
    return {"__key__": f"{i:04}", "png": png(i), "txt": f"caption {i}", "json": fields, "cls": i, **fields}


def shard(path, n=12, **changes):
    members = {name: value for i in range(n) for name, value in sample(i).items()} | changes
    return write(path, {name: value for name, value in members.items() if value is not None})


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_gives_its_samples_by_number(tmp_path, form):
    long = "d" * 120 + "/é"
    members = {name: value for i in range(12) for name, value in sample(i).items()}
    path = write(tmp_path / "s.tar", members, form)
    source = open_source(path)
    assert len(source) == 12
    assert [source[i] for i in range(12)] == [row(i) for i in range(12)]
    assert [source[i] for i in (11, 0, np.int64(7))] == [row(11), row(0), row(7)]
    assert (source.describe(), source.root) == ("s.tar", tmp_path)
    with pytest.raises(IndexError, match="rows 0 to 11"):
        source[12]
    if form != tarfile.USTAR_FORMAT:
        assert open_source(write(tmp_path / "l.tar", {f"{long}.txt": "x"}, form))[0] == {"__key__": long, "txt": "x"}


def test_columns_of_a_tar(tmp_path):
    source = open_source(shard(tmp_path / "s.tar", 3, **{"0001.txt": b"\xff", "0002.json": "{"}))
    assert source.column("cls") == [0, 1, 2]
    assert source.column("txt") == ["caption 0", None, "caption 2"]
    assert source.column("width") == [16, 17, None]
    assert source.column("__key__") == ["0000", "0001", "0002"]
    assert source.column("json")[:2] == [row(0)["json"], row(1)["json"]]
    assert source.column("png") is None
    with pytest.raises(DataError, match=r"s.tar has no column 'text'; .*its columns: __key__, cls, json, png, score, "):
        source.column("text")
    with pytest.raises(DataError, match=r"has no column 'width'; its columns: __key__, txt"):
        open_source(write(tmp_path / "t.tar", {"a.txt": "x"})).column("width")


def test_members_of_a_sample_are_found_wherever_they_stand(tmp_path):
    names = [
        "x/b.txt",
        "x/a.txt",
        "./x/a.PNG",
        "x/b.seg.png",
        "x/b.png",
        "x/a.seg.png",
        "y/a.png",
        "y/a.txt",
        "y/a.seg.png",
    ]
    source = open_source(write(tmp_path / "s.tar", {name: name for name in names}))
    assert [source[i]["__key__"] for i in range(3)] == ["x/b", "x/a", "y/a"]
    assert source[1] == {"__key__": "x/a", "txt": "x/a.txt", "png": b"./x/a.PNG", "seg.png": b"x/a.seg.png"}


def test_what_is_no_member_of_a_sample_does_not_count(tmp_path):
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as file:
        folder = tarfile.TarInfo("a.dir")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name in ("README", "._a.txt", "x/.hidden", "a.txt"):
            file.addfile(tarfile.TarInfo(name))
    source = open_source(path)
    assert [source[i] for i in range(len(source))] == [{"__key__": "a", "txt": ""}]


def test_values_by_extension(tmp_path):
    array = io.BytesIO()
    np.save(array, np.arange(6).reshape(2, 3))
    members = {
        "a.txt": "\ufeffé\r\n",
        "a.cls": " 7 ",
        "a.en.txt": "two\n\n",
        "a.json": "[1]",
        "a.npy": array.getvalue(),
        "a.pkl": b"cos\nsystem\n",
        "a.bin": b"",
    }
    found = open_source(write(tmp_path / "s.tar", members))[0]
    assert found.pop("npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found == {
        "__key__": "a", "txt": "é", "cls": 7, "en.txt": "two\n", "json": [1], "pkl": b"cos\nsystem\n", "bin": b"",
    }  # fmt: skip
    for text, value in (("cat\n", "cat"), ("-3", -3), ("1.5", "1.5"), ("", "")):
        assert open_source(write(tmp_path / "c.tar", {"a.cls": text}))[0]["cls"] == value


def test_a_member_that_few_samples_have_may_be_missing(tmp_path):
    source = open_source(shard(tmp_path / "s.tar", 5, **{"0003.de.txt": "selten"}))
    assert [source[i]["de.txt"] for i in (2, 3)] == [None, "selten"]
    assert source.column("de.txt") == [None, None, None, "selten", None]
    filled = open_source(shard(tmp_path / "f.tar", 5, **{"0000.alt.txt": "own", "0003.json": '{"alt.txt": "field"}'}))
    assert [filled[i]["alt.txt"] for i in (0, 1, 3)] == ["own", None, "field"]
    assert filled.column("alt.txt") == ["own", None, None, "field", None]


def test_a_row_that_lacks_a_member_is_named(tmp_path):
    source = open_source(shard(tmp_path / "s.tar", 3, **{"0001.txt": None}))
    assert source[0] == row(0)
    with pytest.raises(
        DataError, match=r"s.tar: the sample has no member '0001.txt'; expected .*: .png .txt .json .cls"
    ):
        source[1]
    task = Task("t", "[IMAGE:png] -> [TEXT:txt]", tmp_path / "s.tar", settings={"IMAGE.size": 16})
    assert list(task.lengths()) == [9, 4, 9]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a.txt", b"\xff", r"member 'a.txt' cannot be read: .*utf-8.*expected UTF-8 text"),
        ("a.json", "{", r"member 'a.json' cannot be read: .*expected JSON"),
        ("a.json", "[" * 100_000, r"member 'a.json' cannot be read: "),
        ("a.cls", b"\xff", r"member 'a.cls' cannot be read"),
        ("a.npy", b"\x93NUMPY", r"member 'a.npy' cannot be read: .*as numpy.save writes it"),
    ],
)
def test_a_member_that_cannot_be_read_is_named(tmp_path, name, value, message):
    source = open_source(
        write(tmp_path / "s.tar", {name: value, name.replace("a", "b", 1): "1" if "cls" in name else "{}"})
    )
    with pytest.raises(DataError, match=f"s.tar: {message}"):
        source[0]


def test_pickled_arrays_are_refused(tmp_path):
    array = io.BytesIO()
    np.save(array, np.array([{}], dtype=object), allow_pickle=True)
    source = open_source(write(tmp_path / "s.tar", {"a.npy": array.getvalue()}))
    with pytest.raises(DataError, match=r"member 'a.npy' cannot be read: .*allow_pickle"):
        source[0]


def test_a_field_and_a_member_of_one_name(tmp_path):
    same = open_source(write(tmp_path / "s.tar", {"a.txt": "x", "a.json": '{"txt": "x", "json": 1, "__key__": "b"}'}))
    assert (same[0]["txt"], same[0]["__key__"]) == ("x", "a")
    other = open_source(write(tmp_path / "o.tar", {"a.txt": "x", "a.json": '{"txt": "y"}'}))
    with pytest.raises(DataError, match=r"o.tar: 'a.json' has a field 'txt', and there is a member of that name"):
        other[0]


# --- files that are not whole ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_tar_that_is_cut_off_anywhere_is_an_error_that_names_the_member(tmp_path):
    whole = shard(tmp_path / "s.tar", 3).read_bytes()
    with tarfile.open(tmp_path / "s.tar") as file:
        ends = {m.name: m.offset_data + -(-m.size // 512) * 512 for m in file}
    last = max(ends.values())
    for size in sorted(
        {
            0,
            1,
            511,
            512,
            700,
            *ends.values(),
            *(end - 1 for end in ends.values()),
            *(end + 300 for end in ends.values()),
        }
    ):
        (tmp_path / "t.tar").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"t.tar: (cut off|not a tar file).*expected a whole, uncompressed tar"):
            open_source(tmp_path / "t.tar")
    (tmp_path / "t.tar").write_bytes(whole[: ends["0001.txt"]])
    with pytest.raises(DataError, match=r"cut off after member '0001.txt': the end mark is missing"):
        open_source(tmp_path / "t.tar")
    (tmp_path / "t.tar").write_bytes(whole[: ends["0001.txt"] - 512])
    with pytest.raises(DataError, match=r"cut off or damaged at member '0001.txt'"):
        open_source(tmp_path / "t.tar")
    (tmp_path / "t.tar").write_bytes(whole[: last + 512])  # one block of zeros ends a tar
    assert len(open_source(tmp_path / "t.tar")) == 3


def test_a_damaged_header_does_not_end_the_data_in_silence(tmp_path):
    data = bytearray(shard(tmp_path / "s.tar", 3).read_bytes())
    with tarfile.open(tmp_path / "s.tar") as file:
        place = file.getmember("0001.json").offset
    data[place + 150] ^= 1  # its checksum
    (tmp_path / "s.tar").write_bytes(data)
    with pytest.raises(DataError, match=f"s.tar: damaged after member '0001.txt': no header at byte {place}"):
        open_source(tmp_path / "s.tar")


def test_tars_laid_end_to_end_are_not_read_in_half(tmp_path):
    data = shard(tmp_path / "s.tar", 3).read_bytes()
    (tmp_path / "s.tar").write_bytes(data + data)
    with pytest.raises(
        DataError, match=r"s.tar: it goes on behind its end mark, after member '0002.cls'; expected one tar"
    ):
        open_source(tmp_path / "s.tar")
    (tmp_path / "s.tar").write_bytes(data + bytes(70_000))
    assert len(open_source(tmp_path / "s.tar")) == 3


@pytest.mark.slow
def test_whatever_is_in_the_file_is_a_data_error_or_rows(tmp_path):
    data = shard(tmp_path / "s.tar", 2).read_bytes()
    random = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(data)
        for place in random.integers(0, len(broken), 3):
            broken[place] = int(random.integers(256))
        (tmp_path / "t.tar").write_bytes(broken)
        with contextlib.suppress(DataError):
            source = open_source(tmp_path / "t.tar")
            _ = [source[i] for i in range(len(source))]


def test_a_member_that_is_there_twice(tmp_path):
    twice = [*sample(0).items(), *sample(1).items(), ("0000.TXT", "again")]
    with pytest.raises(
        DataError, match=r"s.tar: two members are named '0000.txt'; expected one member of each extension"
    ):
        open_source(write(tmp_path / "s.tar", twice))
    assert len(open_source(write(tmp_path / "s.tar", twice[:-1]))) == 2


def test_a_link_holds_no_bytes(tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as file:
        file.addfile(tarfile.TarInfo("a.txt"))
        link = tarfile.TarInfo("b.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
        file.addfile(link)
    with pytest.raises(DataError, match=r"s.tar: member 'b.txt' is a link or no plain file"):
        open_source(tmp_path / "s.tar")


def test_names_with_dots_are_told_from_extensions(tmp_path):
    members = {f"photo.{i}.jpg": b"" for i in range(80)}
    with pytest.raises(DataError, match=r"more than 64 extensions, such as '64.jpg' of 'photo.64.jpg'; .*first dot"):
        open_source(write(tmp_path / "s.tar", members))


def test_a_tar_without_samples_is_empty(tmp_path):
    for members in ({}, {"README": "x"}):
        with pytest.raises(DataError, match=r"the data set is empty: s.tar; expected at least one row"):
            open_source(write(tmp_path / "s.tar", members))
    (tmp_path / "s.tar").write_bytes(b"hello" * 200)
    with pytest.raises(DataError, match=r"s.tar: not a tar file"):
        open_source(tmp_path / "s.tar")
    with tarfile.open(tmp_path / "s.tar", "w:gz") as file:
        file.addfile(tarfile.TarInfo("a.txt"))
    with pytest.raises(DataError, match=r"s.tar: not a tar file .*expected a whole, uncompressed tar"):
        open_source(tmp_path / "s.tar")


def test_a_tar_that_shrank_since_it_was_opened(tmp_path):
    path = shard(tmp_path / "s.tar", 3)
    source = open_source(path)
    path.write_bytes(path.read_bytes()[: int(source.places[2, 0, 0]) + 3])
    for read in (lambda: source[0], lambda: source[2], lambda: source.column("txt")):
        with pytest.raises(
            LoadingError, match=r"s.tar has changed since it was opened: it held [\d,]+ bytes and holds"
        ):
            read()


# --- in other processes -----------------------------------------------------------------------------------------------


def _rows_read(source, queue):
    queue.put([source[i] for i in range(len(source))])


def test_a_tar_is_read_by_each_process_on_its_own(tmp_path):
    source = open_source(shard(tmp_path / "s.tar"))
    rows = [row(i) for i in range(12)]
    assert pickle.loads(pickle.dumps(source))[5] == rows[5]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=_rows_read, args=(source, queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=30) for _ in workers] == [rows, rows]
    for worker in workers:
        worker.join()


def test_the_index_holds_a_few_numbers_a_sample(tmp_path):
    sizes = []
    for n in (100, 400):
        source = open_source(write(tmp_path / "s.tar", {f"{i:06}.txt": bytes(2000) for i in range(n)}))
        sizes.append(len(pickle.dumps(source)))
    assert (sizes[1] - sizes[0]) / 300 < 40
    assert tar.MOST_EXTENSIONS == 64


def test_a_task_learns_from_a_tar(tmp_path):
    task = Task(
        "t", "[IMAGE:png] how wide? -> [CATEGORY:cls]", shard(tmp_path / "s.tar", 4), settings={"IMAGE.size": 16}
    )
    assert task.labels == {"cls": ("0", "1", "2", "3")}
    assert repr(task).endswith("train: 4)")
