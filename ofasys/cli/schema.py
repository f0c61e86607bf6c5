"""The fields of a run file's sections, taken from the signatures they fill; and what is wrong with one, as
sentences.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Strict, ValidationError, create_model

from ofasys.arguments import MODEL_CALLED, TASK_CALLED, TRAINER_CALLED, meant
from ofasys.cli.document import Document
from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.task.task import Task
from ofasys.train import Trainer

Labels = list[str | int | float]
Rows = str | dict[Literal["sql", "url"], str] | None

# What YAML can say of a field whose own type is wider.
_IN_YAML: dict[str, dict[str, Any]] = {
    "task": {
        "instruction": str | list[str],
        "train": Rows,
        "valid": Rows,
        "test": Rows,
        "metrics": str | list[str],
        "closed_set": Labels | dict[str, Labels] | None,
        "references": dict[str, str] | None,
        "settings": dict[str, Any] | None,
        "generate": dict[str, Any] | None,
        "on_bad": Literal["skip", "stop"],
        "batch_by": Literal["rows", "tokens"],
    },
    "model": {
        "config": dict[str, Any] | None,
        "engine": str,
        "tokenizer": str | None,
        "vocabulary": dict[str, Any] | None,
    },
    "trainer": {
        "track": str | list[str],
        "schedule": str,
        "out": str | None,
        "betas": Annotated[tuple[float, float], Strict(False)],
    },
}
_MAKES: dict[str, Any] = {"task": Task, "model": GeneralistModel, "trainer": Trainer}
_CALLED = {"task": TASK_CALLED, "model": MODEL_CALLED, "trainer": TRAINER_CALLED}

_NOT_IN_YAML = ("name", "modalities", "callbacks")
_ROWS = "a path or a URL, in quotes if need be; or sql: QUERY and url: DATABASE"
_EXPECTED = {
    "instruction": "an instruction in quotes, or a list of them",
    "metrics": "the name of a metric, or a list of them",
    "closed_set": "a list of labels, or column: list of labels (quote true and false)",
    "settings": "a mapping such as IMAGE.size: 64",
    "generate": "a mapping of search options such as beam_size: 5",
    "references": "a mapping, target column: the column that holds the list of its right answers",
    "config": "a mapping such as width: 128",
    "vocabulary": "a mapping such as size: 50265, text: [4, 50264], end: 2",
    "track": "the name of a tracker, or a list of them",
    "betas": "two numbers, as [0.9, 0.98]",
    "train": _ROWS,
    "valid": _ROWS,
    "test": _ROWS,
}
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


def makes(section: str) -> Any:
    """The class that the fields of a section are the arguments of."""
    return _MAKES[section]


@cache
def schema(section: str) -> type[BaseModel]:
    """The pydantic model of a section: "task", "model" or "trainer"."""
    makes = _MAKES[section]
    hints = get_type_hints(makes.__init__)
    fields: dict[str, Any] = {
        name: (_IN_YAML[section].get(name, hints[name]), ... if p.default is inspect.Parameter.empty else p.default)
        for name, p in inspect.signature(makes).parameters.items()
        if name not in _NOT_IN_YAML
    }
    return create_model(section, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def fields(section: str) -> list[str]:
    """Names of the fields of a section."""
    return list(schema(section).model_fields)


def checked(
    section: str, values: Any, document: Document, path: tuple[str, ...], needed: bool = True
) -> dict[str, Any]:
    """The fields given, typed. path: where the section stands in the document. needed: whether none may be missing.

    Errors: ConfigError with a sentence for each field that is wrong.
    """
    said = f"task {path[1]!r}" if section == "task" else section
    if not isinstance(values, Mapping):
        what = "is empty" if values is None else f"is {values!r:.80}"
        raise ConfigError(f"{document.place(*path)}: {said} {what}; expected {_some(fields(section))}")
    try:
        made = schema(section).model_validate(dict(values))
    except ValidationError as error:
        wrong: dict[str, dict[str, Any]] = {}
        for problem in error.errors(include_url=False):
            if len(problem["loc"]) > 1:
                problem["type"] = "wrong inside"
            if needed or problem["type"] != "missing":
                wrong.setdefault(str(problem["loc"][0]), dict(problem))
        if not wrong:
            return dict(values)
        raise ConfigError(
            "\n".join(
                f"{document.place(*path, name)}: {_sentence(section, said, name, problem['type'], values)}"
                for name, problem in wrong.items()
            )
        ) from None
    return {name: getattr(made, name) for name in values}


def _sentence(section: str, said: str, name: str, kind: str, values: Mapping[str, Any]) -> str:
    known = fields(section)
    if kind == "extra_forbidden":
        return f"{said} has no field {name!r}; {meant(name, known, _CALLED[section]).replace('there are', 'fields:')}"
    expected = _EXPECTED.get(name) or _words(schema(section).model_fields[name].annotation)
    if kind == "missing":
        return f"{said} has no {name}; expected {expected}"
    return f"{name} of {said} is {values[name]!r:.120}; expected {expected}"


def _words(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(repr(value) for value in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_words(inner) for inner in get_args(kind))
    if get_origin(kind) is list:
        return "a list"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def _some(names: list[str]) -> str:
    return f"fields such as {', '.join(f'{name}:' for name in names[:3])}"
