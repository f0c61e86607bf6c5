"""The documentation as a repository shows it and as a site: every link leads somewhere in both, and both show the same.

The site is built of the package as a newcomer finds it: nothing fetched, nothing trained.
"""

import importlib.util
import inspect
import os
import pydoc
import re
import subprocess
import sys
from collections import Counter
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from lxml import html
from markdown_it import MarkdownIt

import ofasys
from ofasys.caches import user_cache
from ofasys.errors import DataError
from ofasys.gallery.data.store import held

ROOT = Path(__file__).parents[2]
TEXTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md", "findings/*.md", "ofasys/**/*.md")
    for path in ROOT.glob(pattern)
)
COMMONMARK = MarkdownIt("commonmark").enable("table")
SHOWN = (
    "h1",
    "h2",
    "h3",
    "h4",
    "ul",
    "ol",
    "li",
    "pre",
    "code",
    "em",
    "strong",
    "blockquote",
)  # what a page is made of
SHOWN += ("table", "tr", "th", "td", "a", "img")


@cache
def read(page):
    """A page as CommonMark reads it."""
    return html.fromstring(f"<article>{COMMONMARK.render(page.read_text(encoding='utf8'))}</article>")


@cache
def headings(page):
    """The anchors that a repository gives a page's headings: small letters, blanks to dashes, other marks left out."""
    found = []
    for heading in read(page).xpath("//*[self::h1 or self::h2 or self::h3 or self::h4]"):
        plain = re.sub(r"[^\w\- ]", "", heading.text_content().strip().lower()).replace(" ", "-")
        found.append(plain if plain not in found else f"{plain}-{found.count(plain)}")
    return found


def wrong_links(page):
    for link in read(page).xpath("//a/@href | //img/@src"):
        address = urlsplit(link)
        if address.scheme in ("http", "https"):
            continue
        target = (page.parent / unquote(address.path)).resolve() if address.path else page
        if (
            address.scheme
            or address.netloc
            or not target.exists()
            or (address.fragment and (target.suffix != ".md" or address.fragment not in headings(target)))
        ):
            yield link


@pytest.mark.parametrize("page", TEXTS, ids=[str(path.relative_to(ROOT)) for path in TEXTS])
def test_links_of_the_repository_lead_somewhere(page):
    assert list(wrong_links(page)) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path):
    (tmp_path / "there.md").write_text("# There, it is\n\n## `code` & more\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#there-it-is) [c](there.md#code--more) [d](https://there) [e](there.md#here)\n"
        "[f](gone.md) [g](#page) [h](http:gone.md)\n\n![i](gone.png)\n\n# Page\n"
    )
    assert list(wrong_links(page)) == ["there.md#here", "gone.md", "gone.png"]


# The site

needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason='mkdocs is not installed: pip install "ofasys[docs]"'
)


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("site_hooks", ROOT / "docs" / "site" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_mkdocs
def test_every_page_has_a_topic(hooks):
    from mkdocs.utils import yaml_load

    def places(entry):
        if isinstance(entry, str):
            return [entry]
        return [place for inner in (entry.values() if isinstance(entry, dict) else entry) for place in places(inner)]

    config = yaml_load((ROOT / "mkdocs.yml").read_text(encoding="utf8"))
    listed = places(hooks._navigation(config["nav"]))
    assert len(listed) == len(set(listed))
    pages = {str(path.relative_to(ROOT)) for pattern in hooks.PAGES for path in ROOT.glob(pattern)}
    assert pages - set(listed) == set(), "below which topic of mkdocs.yml do these stand?"
    made = {f"reference/{name}.md" for name in hooks.REFERENCE} | {f"{hooks.EXAMPLE_FILES}/index.md"}
    assert set(listed) - pages == made


@needs_mkdocs
def test_the_reference_has_every_public_name(hooks):
    told = [name.rpartition(".")[2] for _, names in hooks.REFERENCE.values() for name in names]
    assert len(told) == len(set(told))
    assert set(ofasys.__all__) <= set(told)


@needs_mkdocs
def test_links_to_code_and_folders_lead_to_their_pages(hooks, tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, "ROOT", tmp_path)
    for name in ("code.py", "folder/other.md", "named/README.md", "picture.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    page = tmp_path / "page.md"
    links = (
        "[a](code.py#L3) [b](folder) [c](named) [d](picture.png) [e](gone.py) [f](https://x.py) [g](folder/other.md)"
    )
    code = "`[a](code.py)`\n\n```\n[a](code.py)\n| `c\\|d` |\n```\n"
    page.write_text(f"{links}\n{code}\n| `a\\|b` \\| c |\n")
    linked = set()
    assert hooks._prepared(page, linked) == (
        "[a](code.py.md#L3) [b](folder/index.md) [c](named/README.md) [d](picture.png) [e](gone.py) [f](https://x.py) "
        f"[g](folder/other.md)\n{code}\n| `a|b` \\| c |\n"
    )
    assert {path.name for path in linked} == {"code.py", "folder", "README.md", "picture.png", "other.md"}


@needs_mkdocs
def test_a_package_that_was_changed_stops_the_site(hooks, monkeypatch):
    from mkdocs.exceptions import PluginError

    def shown(task):
        raise DataError("a file is not what was fetched", expected="it as it came")

    monkeypatch.setattr(hooks, "shown_rows", shown)
    place = f"{hooks.GALLERY}{hooks.TASKS[0].name}.md"
    page = SimpleNamespace(file=SimpleNamespace(src_uri=place))
    with pytest.raises(PluginError, match=f"{place}: a file is not what was fetched; expected it as it came"):
        hooks.on_page_content("", page, None, None)
    page.file.src_uri = "README.md"
    assert hooks.on_page_content("<p>", page, None, None) == "<p>"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, built once as `make docs` does. Fails on every warning, such as a link to nowhere."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "site"
    with held(folder / "lock", wait=True):
        if not (folder / "built").exists():
            build(folder)
            (folder / "built").touch()
    return folder / "site"


def build(folder):
    rows, data = user_cache("data") / "rows", folder / "cache" / "ofasys" / "data"
    for place in (rows, data):
        place.mkdir(parents=True, exist_ok=True)
    (data / "rows").symlink_to(rows)  # what is made by rule is made once; of packages nothing is shown
    own = {"XDG_CACHE_HOME": str(folder / "cache"), "OFASYS_RUNS": str(folder / "runs"), "NO_MKDOCS_2_WARNING": "1"}
    own["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder / "site")]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | own, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def made(site):
    """Page -> what it holds."""
    return {path: html.fromstring(path.read_bytes()) for path in site.rglob("*.html") if path.name != "404.html"}


@pytest.mark.slow
@needs_mkdocs
def test_every_link_of_the_site_leads_somewhere(site, made):
    anchors = {path: {*page.xpath("//@id"), *page.xpath("//a/@name"), ""} for path, page in made.items()}
    wrong = []
    for path, page in made.items():
        for link in page.xpath("//@href | //@src"):
            address = urlsplit(link)
            if address.scheme in ("http", "https", "data"):
                continue
            target = Path(os.path.normpath(path.parent / unquote(address.path))) if address.path else path
            if not target.is_file() or (target in anchors and unquote(address.fragment) not in anchors[target]):
                wrong.append(f"{path.relative_to(site)}: {link}")
    assert wrong == []


@pytest.mark.slow
@needs_mkdocs
def test_the_site_loads_nothing_from_elsewhere(site, made):
    loaded = {link for page in made.values() for link in page.xpath("//script/@src | //img/@src | //link/@href")}
    assert {link for link in loaded if urlsplit(link).scheme not in ("", "data")} == set()
    assert (site / "search" / "search_index.js").is_file()


@pytest.mark.slow
@needs_mkdocs
def test_a_page_of_the_site_shows_what_the_repository_shows(site, made):
    for page in (page for page in TEXTS if not page.is_relative_to(ROOT / "ofasys")):
        place = page.relative_to(ROOT).with_suffix(".html")
        where = site / (place.with_name("index.html") if page.stem == "README" else place)
        own = deepcopy(made[where].xpath("//article")[0])
        for extra in own.xpath(".//a[@class='headerlink'] | .//div[@class='shown']"):
            extra.drop_tree()
        found, expected = (Counter(tag.tag for tag in one.iter(*SHOWN)) for one in (own, read(page)))
        found["a"] -= len(own.xpath(".//a[starts-with(@id, '__codelineno')]"))
        assert found == expected, page
        assert own.text_content().split() == read(page).text_content().split(), page


@pytest.mark.slow
@needs_mkdocs
def test_the_reference_says_what_each_name_is(site, made, hooks):
    told = [name.rpartition(".")[2] for _, names in hooks.REFERENCE.values() for name in names]
    for name, (_, names) in hooks.REFERENCE.items():
        page = made[site / "reference" / f"{name}.html"]
        found = page.xpath("//article/div[contains(@class, 'doc-object')]")
        assert len(found) == len(names)
        for one, section in zip(names, found, strict=True):
            own = getattr(ofasys, one) if one in ofasys.__all__ else pydoc.locate(f"ofasys.{one}")
            first = inspect.getdoc(own).partition("\n\n")[0].replace("`", "").replace("_", "").split()
            assert " ".join(first) in " ".join(section.text_content().replace("_", "").split()), one
            inner = getattr(own, "__all__", ())
            assert {f"ofasys.{one}.{name}" for name in inner if name not in told} <= set(section.xpath(".//@id"))


@pytest.mark.slow
@needs_mkdocs
def test_pages_of_tasks_say_what_is_not_there(site, made):
    from ofasys.gallery.tasks import TASKS

    for task in TASKS:
        text = made[site / "docs" / "gallery" / f"{task.name}.html"].xpath("//article")[0].text_content()
        if task.packages:
            assert f"ofasys data fetch {task.name}." in text
        assert f"no run had learned it where this site was built; ofasys train gallery:{task.name}." in text
