"""YAML run files as plain values, with the place of every key: read, include, lay one over the other.

Scalars follow YAML 1.2: `yes`, `no` and `on` are words, `1e-3` is a number.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ofasys.errors import ConfigError, nearest

KeyPath = tuple[str, ...]

MOST_BYTES = 16 << 20  # of a run file
MOST_VALUES = 100_000  # in one, with those that its references stand for
DEEPEST = 100  # levels of lists and mappings

BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    "int": re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    "float": re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))\Z"),
    "null": re.compile(r"(?:~|null|Null|NULL|)\Z"),
}


@dataclass(frozen=True)
class Place:
    """Where something was written. folder: where relative paths written there start."""

    name: str
    """What a person calls it: a file, or the command line."""
    folder: Path
    line: int | None = None
    """Counted from 1; None: the whole of it."""

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}, line {self.line}"


@dataclass
class Document:
    """Values, and the place of each key. `values` may hold objects where a Python file gave them."""

    values: dict[str, Any]
    origin: Place
    """Of the values that have no place of their own."""
    places: dict[KeyPath, Place] = field(default_factory=dict)

    def place(self, *path: str) -> Place:
        """The place of a key; where it has none, of the key around it."""
        while path:
            if path in self.places:
                return self.places[path]
            path = path[:-1]
        return self.origin

    def under(self, other: Document) -> Document:
        """This document with `other` laid over it: mappings join, everything else is replaced, a null task is
        dropped.
        """
        values = _joined(self.values, other.values)
        tasks = values.get("tasks")
        if isinstance(tasks, dict):
            before = self.values.get("tasks") or {}
            values["tasks"] = {name: task for name, task in tasks.items() if task is not None or name not in before}
        return Document(values, other.origin, self.places | other.places)


def _joined(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        old = both.get(key)
        both[key] = _joined(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return both


def read_document(path: Path, within: tuple[Path, ...] = ()) -> Document:
    """A YAML file with what it includes laid under it. within: the files that include it.

    Errors: ConfigError for a file that is not there or not YAML, a key given twice, or files that include each other.
    """
    name = shown(path)
    real = path.resolve()
    if real in within:
        chain = " includes ".join(shown(file) for file in (*within[within.index(real) :], real))
        raise ConfigError(f"files include each other: {chain}; take one of these includes out")
    own = parsed(_text(path), Place(name, real.parent))
    names = own.values.pop("include", [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise ConfigError(f"{own.place('include')}: include is {names!r}; expected a file name, or a list of them")
    below = Document({}, own.origin)
    for each in names:
        below = below.under(
            read_document(existing(real.parent / Path(each).expanduser(), own.place("include")), (*within, real))
        )
    return below.under(own)


def shown(path: Path) -> str:
    """A path as a person would say it: within the current folder, relative to it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def parse_scalar(text: str) -> Any:
    """What a value on the command line says, read as YAML; text that is not YAML is itself."""
    if text.endswith(":"):  # to YAML a key without its value
        return text
    try:
        node = yaml.compose(text, Loader=_Loader)
        return "" if node is None else _Reader(Place("the command line", Path.cwd())).value(node, ())
    except (yaml.YAMLError, ConfigError, RecursionError):
        return text


def by_name(tasks: Any, document: Document) -> Any:
    """A list of tasks, each with its `name`, as the mapping name -> fields; a mapping as it is."""
    if isinstance(tasks, dict):
        for key, task in tasks.items():
            if isinstance(task, dict) and "name" in task and task.pop("name") != key:
                raise ConfigError(
                    f"{document.place('tasks', key, 'name')}: task {key!r} has another name inside; leave name out"
                )
        return tasks
    if not isinstance(tasks, (list, tuple)):
        return tasks
    found: dict[str, Any] = {}
    for number, task in enumerate(tasks):
        place = document.place("tasks", str(number))
        name = task.get("name") if isinstance(task, dict) else getattr(task, "name", None)
        if not isinstance(name, str):
            raise ConfigError(f"{place}: item {number + 1} of tasks has no name; give name: and its fields")
        if name in found:
            raise ConfigError(f"{place}: two tasks are named {name!r}; give each a name of its own")
        found[name] = {key: value for key, value in task.items() if key != "name"} if isinstance(task, dict) else task
        moved = {k: p for k, p in document.places.items() if k[:2] == ("tasks", str(number))}
        document.places |= {("tasks", name, *k[2:]): p for k, p in moved.items()}
    return found


def dumped(values: Any) -> str:
    """Plain values as YAML that reads back the same here and in YAML 1.1."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _text(path: Path) -> str:
    try:
        if (size := path.stat().st_size) > MOST_BYTES:
            raise ConfigError(
                f"{shown(path)} has {size:,} bytes; a run file has {MOST_BYTES:,} at most: give the paths of its data"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{shown(path)} is not UTF-8 text; a run file is YAML, or a .py file") from None
    except OSError as error:
        raise ConfigError(f"{shown(path)} cannot be read: {error.strerror or error}") from None


def existing(path: Path, place: Place | None = None, what: str = "run file") -> Path:
    """The path, if a file is there. place: where it was written. Errors: ConfigError with the nearest name beside."""
    if path.is_file():
        return path
    beside = os.listdir(path.parent) if path.parent.is_dir() else []
    where = f"{place}: " if place else ""
    state = "is a folder, not a file" if path.is_dir() else "is not there"
    hint = nearest(path.name, beside).strip() if not path.is_dir() else "give a file in it"
    raise ConfigError(f"{where}the {what} {shown(path)} {state}; {hint or 'give the path of one that is'}")


def check_replaceable(out: Path, example: str, *, like: Sequence[str], what: str) -> None:
    """Whether a page may be written there. like: suffixes of what it may take the place of.

    Errors: ConfigError for a folder, and for a file of another kind, which would be lost.
    """
    if out.is_dir():
        raise ConfigError(f"--out {shown(out)} is a folder; give the name of a file in it, as {example}")
    if out.exists() and out.suffix.lower() not in like:
        raise ConfigError(f"--out {shown(out)} is there and is no {what}; give another name, as {example}")


def lines_of(path: Path, what: str) -> list[str]:
    """The lines of a file that are not blank, without blanks around them. Errors: ConfigError where it is not there, or
    not text.
    """
    try:
        text = existing(path, what=what).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"the {what} {shown(path)} is not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8"
        ) from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def parsed(text: str, origin: Place) -> Document:
    """The text of one YAML file, its includes not yet read. Errors: ConfigError with the line."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        hint = "; quote a value that holds brackets, as an instruction does" if "[" in _line(text, mark) else ""
        if not hint and "mapping values" in str(error.problem):
            hint = "; quote a value that ends with a colon, or has a blank after one"
        raise ConfigError(f"{origin}{line}: not YAML: {error.problem or error.context}{hint}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin}: not YAML: {error}") from None
    except RecursionError:
        raise ConfigError(
            f"{origin}: lists and mappings are more than {DEEPEST} levels deep; write it flatter"
        ) from None
    reader = _Reader(origin)
    values = {} if node is None else reader.value(node, ())
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{origin} holds a {type(values).__name__}; expected tasks:, model:, trainer:, include:")
    document = Document(values, origin, reader.places)
    if "tasks" in values:
        values["tasks"] = by_name(values["tasks"], document)
    return document


def _line(text: str, mark: yaml.Mark | None) -> str:
    lines = text.splitlines()
    return lines[mark.line] if mark is not None and mark.line < len(lines) else ""


class _Reader:
    """Composed YAML nodes -> values, keeping the line of every key."""

    def __init__(self, origin: Place) -> None:
        self.origin = origin
        self.places: dict[KeyPath, Place] = {}
        self.open: list[yaml.Node] = []
        self.read = 0

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        if node in self.open:
            raise ConfigError(f"{self.at(node)}: an anchor holds itself; take the reference out of it")
        self.read += 1
        if self.read > MOST_VALUES:
            raise ConfigError(
                f"{self.at(node)}: with what its references (*) stand for the file holds more than {MOST_VALUES:,} "
                "values; "
                "use fewer references, or put data into a file of rows"
            )
        if len(self.open) >= DEEPEST:
            raise ConfigError(
                f"{self.at(node)}: lists and mappings are more than {DEEPEST} levels deep; write it flatter"
            )
        self.open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.item(inner, (*path, str(i))) for i, inner in enumerate(node.value)]
            return self.scalar(node)
        finally:
            self.open.pop()

    def item(self, node: yaml.Node, path: KeyPath) -> Any:
        self.places[path] = self.at(node)
        return self.value(node, path)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, inner in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{self.at(key)}: a key is one word, not a list or a mapping")
            if key.value == "<<" and key.style is None:
                for below in inner.value if isinstance(inner, yaml.SequenceNode) else [inner]:
                    value = self.value(below, path)
                    merged = {**value, **merged} if isinstance(value, dict) else merged
                continue
            if key.value in found:
                raise ConfigError(f"{self.at(key)}: {key.value!r} is given twice; keep one")
            self.places[(*path, key.value)] = self.at(key)
            found[key.value] = self.value(inner, (*path, key.value))
        return {**merged, **found}

    def scalar(self, node: yaml.Node) -> Any:
        kind, text = node.tag.removeprefix(_TAG), str(node.value)
        if kind == "str":
            return text
        if kind not in _SCALARS or not _SCALARS[kind].match(text):
            raise ConfigError(f"{self.at(node)}: the tag {node.tag!r} is not read here; write the value plainly")
        if kind == "int":
            try:
                return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
            except ValueError:  # more digits than Python reads
                raise ConfigError(
                    f"{self.at(node)}: a number of {len(text):,} digits; quote it if it is text"
                ) from None
        if kind == "float":
            return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf"))
        return BOOLEANS[text] if kind == "bool" else None

    def at(self, node: yaml.Node) -> Place:
        return Place(self.origin.name, self.origin.folder, node.start_mark.line + 1)


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _resolve(starts: Mapping[str, Sequence[str]]) -> None:
    for kind, first in starts.items():
        _Loader.add_implicit_resolver(_TAG + kind, _SCALARS[kind], list(first))
        _Dumper.add_implicit_resolver(_TAG + kind, _SCALARS[kind], list(first))


_resolve({"bool": "tTfF", "int": "-+0123456789", "float": "-+0123456789.", "null": ["~", "n", "N", ""]})
