"""What the README and the pages of docs/ say, runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from ofa_cases import checkpoints, generalist

from ofasys.caches import user_cache

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("pages", Path(__file__).with_name("pages.py"))
assert SPEC is not None
assert SPEC.loader is not None
pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(pages)

ELSEWHERE = {"language.md"}  # tests/language/test_docs.py runs it
BESIDE = {"ofa-checkpoints.md": checkpoints, "backbones.md": generalist}  # what writes the files a page speaks of
SLOW = {
    "README.md",
    "first-task.md",
    "add-a-modality.md",
    "add-a-criterion.md",
    "add-a-generator.md",
    "add-a-page.md",
    "add-a-metric.md",
    "add-a-schedule.md",
    "add-an-attribute.md",
    "add-an-engine.md",
    "add-a-pattern.md",
    "backbones.md",
    "export.md",
    "hub.md",
    "ofa-checkpoints.md",
    "reports.md",
    "serve.md",
    "session.md",
    "train.md",
}  # these train
TRAIN = {"modalities", "criteria"}  # folders of pages that train
FOLDERS = (ROOT / "docs", *(ROOT / "docs" / name for name in ("modalities", "criteria", "generators", "sources")))
PAGES = [
    ROOT / "README.md",
    *sorted(page for folder in FOLDERS for page in folder.glob("*.md") if page.name not in ELSEWHERE),
]
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "design").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            marks=pytest.mark.slow if page.name in SLOW or page.parent.name in TRAIN else (),
            id=f"{page.parent.name}/{page.name}" if page.parent.name != "docs" else page.name,
        )
        for page in PAGES
    ],
)
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    native, caches = user_cache("native"), tmp_path / "caches"
    (caches / "ofasys").mkdir(parents=True)
    (caches / "ofasys" / "native").symlink_to(native)  # C is compiled once, not for each page
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "examples"))
    if page.name in BESIDE:
        BESIDE[page.name](tmp_path)
    pages.run(page)


@pytest.mark.parametrize(
    ("page", "file"),
    [
        ("add-a-criterion.md", "focal.py"),
        ("add-a-generator.md", "bayes.py"),
        ("add-a-metric.md", "overlap.py"),
        ("add-a-schedule.md", "blocks.py"),
        ("add-an-attribute.md", "pinball.py"),
        ("add-an-engine.md", "recurrent.py"),
        ("export.md", "answer_onnx.py"),
    ],
)
def test_a_page_shows_the_file_it_speaks_of(page, file):
    code = (ROOT / "docs" / "examples" / file).read_text().partition("\n\n")[2]
    assert f"```\n{code}```" in (ROOT / "docs" / page).read_text()


def test_first_python_of_the_readme_stands_before_line_35():
    lines = (ROOT / "README.md").read_text(encoding="utf8").splitlines()
    assert lines.index("```python") + 1 < 35


@pytest.mark.parametrize("page", TEXTS, ids=[page.name for page in TEXTS])
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf8")):
        if not link.endswith("report.png"):  # drawn by `make demo`
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_readme_says_which_modality_stands_on_which_side():
    from ofasys.modality import BUILT_IN

    rows = re.findall(r"^\| \[?([A-Z]+)(?:\]\(\S+\))? \|([^|]*)\|([^|]*)\|", PAGES[0].read_text(), re.MULTILINE)
    said = {tag: (bool(source.strip()), bool(target.strip())) for tag, source, target in rows}
    assert said == {m.tag: (m.source is not None, m.target is not None) for m in BUILT_IN.modalities}


def test_first_python_runs_in_twelve_lines():
    kind_and_body = [(kind, body) for _, kind, body in pages.fences(PAGES[0]) if kind == "python"]
    assert len([line for line in kind_and_body[0][1].splitlines() if line.strip()]) <= 12
