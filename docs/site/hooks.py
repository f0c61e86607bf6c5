"""The site of `make docs`: the pages of the repository, each at the place it has there, so that a link that leads
somewhere in the one leads there in the other.

Beside them stand what pages link to (files of code, folders), the reference made of the docstrings, and on the pages
of the gallery rows and answers of what was fetched and trained here.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from ofasys.errors import OfasysError
from ofasys.gallery.tasks import TASKS
from ofasys.gallery.tasks.page import ANSWERS, EXAMPLES, by_modality
from ofasys.gallery.tasks.shown import shown_answers, shown_rows

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/**/*.md", "benchmarks/*.md", "findings/*.md")
PICTURES = (".png", ".jpg", ".svg", ".gif")
LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "bash", ".c": "c", ".yaml": "yaml", ".yml": "yaml", ".js": "js"}
GALLERY, EXAMPLE_FILES = "docs/gallery/", "docs/examples"
FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
CODE_OR_LINK = re.compile(r"(`[^`\n]+`)|(?<=\]\()([^)#:\s]+)(?=(?:#[^)\s]*)?\))")
TABLE_ROW, CODE = re.compile(r"^\|.*\|$", re.MULTILINE), re.compile("`[^`]+`")

# Page of the reference -> what it is about, and the names of it, from the root of the package. `plan` by the file it
# stands in: mkdocstrings, which runs nothing, takes `ofasys.plan` for the file planner/plan.py.
REFERENCE: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "tasks": ("Instructions, plans and tasks", ("Instruction", "planner.choose.plan", "Plan", "Task")),
    "training": ("Training", ("GeneralistModel", "Trainer", "Callback")),
    "answers": ("Answers", ("OFASys", "Output", "AnswerSession")),
    "errors": (
        "Errors",
        ("OfasysError", "InstructionError", "PlanError", "ConfigError", "DataError", "CheckpointError", "LoadingError"),
    ),
    "flow": ("The verbs of the way", ("flow",)),
    "client": ("The client of a server", ("client",)),
    "testing": ("Checks of what is your own", ("testing",)),
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill in what the navigation cannot list by hand: `FOLDER/*` stands for its pages, and `gallery` for its tasks."""
    config.nav = _navigation(config.nav or [])
    return config


def _navigation(entries: list[Any]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            ((title, inner),) = entry.items()
            found.append({title: _navigation(inner) if isinstance(inner, list) else inner})
        elif entry == "gallery":
            tasks = by_modality(TASKS)
            found += [{tag: [f"{GALLERY}{task.name}.md" for task in some]} for tag, some in tasks.items()]
        elif entry == "reference":
            found += [{title: f"reference/{name}.md"} for name, (title, _) in REFERENCE.items()]
        elif entry.endswith("/*"):
            found += sorted(str(path.relative_to(ROOT)) for path in (ROOT / entry).parent.glob("[!R]*.md"))
        else:
            found.append(entry)
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put the pages where they are in the repository, then all that they link to."""
    linked = {ROOT / EXAMPLE_FILES}
    pages = {path for pattern in PAGES for path in ROOT.glob(pattern)}
    for path in sorted(pages):
        _add(files, config, str(path.relative_to(ROOT)), _prepared(path, linked))
    folders = [path for path in linked if path.is_dir()]
    for folder in folders:  # it grows
        listed = _listed(folder)
        folders += [path for path in listed if path.is_dir() and path not in folders]
        linked |= set(listed)
        _add(files, config, f"{folder.relative_to(ROOT)}/index.md", _folder(folder, listed), beside=True)
    for path in sorted(path for path in linked - pages if path.is_file()):
        place = str(path.relative_to(ROOT))
        if path.suffix == ".md":
            _add(files, config, place, _prepared(path, set()), beside=True)
        elif path.suffix in PICTURES:
            files.append(File.generated(config, place, abs_src_path=str(path)))
        else:
            _add(files, config, f"{place}.md", _code(path), beside=True)
    for name, (title, names) in REFERENCE.items():
        _add(files, config, f"reference/{name}.md", _reference(title, names))
    return files


def _add(files: Files, config: MkDocsConfig, place: str, content: str, *, beside: bool = False) -> None:
    """beside: no topic of the navigation has it."""
    inclusion = InclusionLevel.NOT_IN_NAV if beside else InclusionLevel.INCLUDED
    files.append(File.generated(config, place, content=content, inclusion=inclusion))


def _prepared(page: Path, linked: set[Path]) -> str:
    """A page whose links to code and to folders lead to their pages. linked: what else it links to is added.

    In a table a repository shows `a\\|b` as a|b, and Python-Markdown as it stands.
    """

    def place(found: re.Match[str]) -> str:
        link = found[2]
        if link is None:
            return found[0]
        path = Path(os.path.normpath(page.parent / link))
        if not path.exists() or ROOT not in path.parents:
            return link  # mkdocs says so
        linked.add(path / "README.md" if (path / "README.md").exists() else path)
        return _page_of(path, link)

    def plain(row: re.Match[str]) -> str:
        return CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0])

    parts = FENCE.split(page.read_text(encoding="utf8"))  # each second one is a fence
    parts[::2] = [TABLE_ROW.sub(plain, CODE_OR_LINK.sub(place, part)) for part in parts[::2]]
    return "".join(parts)


def _listed(folder: Path) -> list[Path]:
    """What the page of a folder links to."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix == ".md" or path.suffix in LANGUAGES or (path.is_dir() and any(path.glob("*.py")))
    )


def _folder(folder: Path, listed: list[Path]) -> str:
    lines = [f"- [{_title(path)}]({_page_of(path, path.name)})" for path in listed]
    return "\n".join([f"# {folder.relative_to(ROOT)}", "", *lines, ""])


def _page_of(path: Path, link: str) -> str:
    """The page that a link to a file or a folder of the repository leads to."""
    if path.is_dir():
        return posixpath.join(link, "README.md" if (path / "README.md").exists() else "index.md")
    return link if path.suffix in (".md", *PICTURES) else f"{link}.md"


def _title(path: Path) -> str:
    """The heading of a page; of code the name of its file."""
    if path.suffix != ".md":
        return f"`{path.name}`"
    return next(
        line.removeprefix("# ") for line in path.read_text(encoding="utf8").splitlines() if line.startswith("# ")
    )


def _code(path: Path) -> str:
    """A page of a file as it stands; searching leaves it out."""
    text = path.read_text(encoding="utf8")
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    name = path.relative_to(ROOT)
    body = f"{fence}{LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"
    return f"---\ntitle: {name}\nsearch:\n  exclude: true\n---\n\n# `{name}`\n\n{body}"


def _reference(title: str, names: tuple[str, ...]) -> str:
    return "\n\n".join([f"# {title}", *(f"::: ofasys.{name}" for name in names)]) + "\n"


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rows and answers on the page of a task."""
    own = {f"{GALLERY}{task.name}.md": task for task in TASKS}.get(page.file.src_uri)
    if own is None:
        return html
    runs = Path(os.environ.get("OFASYS_RUNS", ROOT / "runs"))
    try:
        made = {EXAMPLES: shown_rows(own), ANSWERS: shown_answers(own, runs)}
    except OfasysError as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from error
    for mark, shown in made.items():
        assert mark in html, f"{page.file.src_uri} has no {mark}"
        html = html.replace(mark, f"<div class='shown'>{shown}</div>")
    return html
