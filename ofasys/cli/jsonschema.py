"""`ofasys schema`: the JSON Schema of a run file, for an editor that completes and checks it."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

from pydantic import TypeAdapter

from ofasys.cli.document import check_replaceable
from ofasys.cli.schema import makes, schema
from ofasys.cli.show import note, say
from ofasys.generator.options import SearchOptions
from ofasys.metric import known_metrics
from ofasys.modality.symbols import LEAST_PIECES
from ofasys.modality.vocabulary import ForeignVocabulary
from ofasys.model.sizes import SIZES, ModelConfig
from ofasys.task.schedule import known_schedules
from ofasys.train.balance import BALANCERS
from ofasys.train.groups import GroupRule
from ofasys.train.optimizers import known_optimizers
from ofasys.train.track import TRACKERS

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ENUMS: dict[str, dict[str, Any]] = {
    "task": {"on_bad": ["skip", "stop"]},
    "model": {"size": list(SIZES)},
    "trainer": {
        "decay": ["cosine", "linear", "constant"],
        "precision": ["auto", "float32", "bfloat16", "float16"],
    },
}
_LEAST: dict[str, dict[str, int]] = {
    "task": {"micro_batch_size": 1, "join": 0, "leave": 0, "bad_limit": 0, "smoothing": 0},
    "model": {"text_pieces": LEAST_PIECES},
    "trainer": dict.fromkeys(("max_steps", "accumulate", "log_every", "eval_batch_size", "eval_samples"), 1)
    | dict.fromkeys(
        ("workers", "eval_every", "save_every", "save_minutes", "patience", "weight_decay", "warmup", "skip_limit"), 0
    )
    | {"keep_checkpoints": 2},
}
_MORE: dict[str, dict[str, int]] = {
    "task": {"weight": 0, "loss_weight": 0},
    "trainer": {"lr": 0, "clip": 0, "epochs": 0},
}


def print_schema(out: Path | None = None) -> None:
    """Print it, or write it to a file. Errors: ConfigError as of `check_replaceable`."""
    text = json.dumps(run_schema(), ensure_ascii=False, indent=1)
    if out is None:
        say(text)
        return
    check_replaceable(out, "run.schema.json", like=(".json",), what="schema")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text + "\n", encoding="utf8")
    note(f"wrote {out}; put this on top of a run file: # yaml-language-server: $schema={out}")


def run_schema() -> dict[str, Any]:
    """The JSON Schema of a run file."""
    task, model, trainer = (_section(name) for name in ("task", "model", "trainer"))
    trainer["properties"]["optimizer"]["enum"] = list(known_optimizers())
    task["properties"]["metrics"] = _named(task["properties"]["metrics"], known_metrics())
    task["properties"]["generate"] = _some(task["properties"]["generate"], _options())
    trainer["properties"]["schedule"] = _recorded(trainer["properties"]["schedule"], known_schedules())
    trainer["properties"]["balance"] = _recorded(trainer["properties"]["balance"], BALANCERS)
    trainer["properties"]["track"] = _named(trainer["properties"]["track"], TRACKERS)
    model["properties"] |= {
        "from": {"type": "string", "description": "The folder of a run or of a saved model to go on with."},
        "which": {"enum": ["best", "last"], "description": "Its checkpoint; without it the best, else the last."},
    }
    rule = {"type": "object", "additionalProperties": False, "properties": _plain(GroupRule), "required": ["match"]}
    trainer["properties"]["groups"]["items"] = rule
    model["properties"]["config"] = _some(model["properties"]["config"], _config())
    model["properties"]["vocabulary"] = _some(model["properties"]["vocabulary"], _plain(ForeignVocabulary))
    named = {**task, "properties": {"name": {"type": "string", "description": "Its name."}, **task["properties"]}}
    named["required"] = [*task.get("required", []), "name"]
    return {
        "$schema": DRAFT,
        "title": "A run file of ofasys",
        "description": "What to train: tasks, a model, a trainer.",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "include": {
                "description": "Run files that are laid under this one, in order.",
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            },
            "tasks": {
                "description": "Name to fields, or a list of tasks with a name each.",
                "anyOf": [
                    {"type": "object", "additionalProperties": {"anyOf": [{"$ref": "#/$defs/task"}, {"type": "null"}]}},
                    {"type": "array", "items": {"$ref": "#/$defs/named_task"}},
                ],
            },
            "model": {"anyOf": [{"$ref": "#/$defs/model"}, {"enum": list(SIZES)}]},
            "trainer": {"$ref": "#/$defs/trainer"},
        },
        "$defs": {"task": task, "named_task": named, "model": model, "trainer": trainer},
    }


def _section(name: str) -> dict[str, Any]:
    """The schema of a section's fields. None of them is required of one file: another may be laid under it."""
    found = schema(name).model_json_schema()
    about = _descriptions(makes(name))
    for field, kind in found["properties"].items():
        kind.pop("title", None)
        if field in about:
            kind["description"] = about[field]
        if field in _ENUMS[name]:
            kind.pop("type", None)
            kind["enum"] = _ENUMS[name][field]
        if field in _LEAST.get(name, {}):
            _bounded(kind, "minimum", _LEAST[name][field])
        if field in _MORE.get(name, {}):
            _bounded(kind, "exclusiveMinimum", _MORE[name][field])
    return {
        "type": "object",
        "description": " ".join((makes(name).__doc__ or "").partition("\n")[0].split()),
        "additionalProperties": False,
        "properties": found["properties"],
    }


def _bounded(kind: dict[str, Any], word: str, bound: int) -> None:
    for one in kind.get("anyOf", [kind]):
        if one.get("type") in ("integer", "number"):
            one[word] = bound


def _named(kind: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """One of these names, or a list of them."""
    one = {"enum": sorted(known)}
    return {"description": kind.get("description", ""), "anyOf": [one, {"type": "array", "items": one}], "default": []}


def _recorded(kind: Mapping[str, Any], records: Mapping[str, Any]) -> dict[str, Any]:
    """A name, or a mapping of it and the options of that record."""
    made = {name: type(one) for name, one in records.items()}
    named = [
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["name"],
            "properties": {"name": {"const": name}, **(_plain(one) if is_dataclass(one) else {})},
        }
        for name, one in made.items()
    ]
    return {
        "description": kind.get("description", ""),
        "anyOf": [{"enum": list(made)}, *named],
        "default": kind["default"],
    }


def _some(kind: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of known keys, or null."""
    inner = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return {"description": kind.get("description", ""), "anyOf": [inner, {"type": "null"}], "default": None}


def _options() -> dict[str, Any]:
    """The options of a search, and of what draws values."""
    from ofasys.generator.options import drawing_options

    own = _plain(SearchOptions)
    return own | {name: {"description": entry.about} for name, entry in drawing_options().items() if name not in own}


def _config() -> dict[str, Any]:
    return _plain(ModelConfig)


def _plain(kind: type) -> dict[str, Any]:
    found = TypeAdapter(kind).json_schema()["properties"]
    about = _descriptions(kind)
    for name, one in found.items():
        one.pop("title", None)
        if name in about:
            one["description"] = about[name]
    return dict(found)


def _descriptions(kind: type) -> dict[str, str]:
    """What is said of each field of a class: below the field, or in the docstring as `name: words.` until the next."""
    (tree,) = ast.parse(dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = _told(ast.get_docstring(tree) or "")
    for field, after in pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            text = after.value.value if isinstance(after.value, ast.Constant) else ""
            found[field.target.id] = " ".join(str(text).split())
    return found


def _told(text: str) -> dict[str, str]:
    whole = " ".join(text.split())
    found: dict[str, str] = {}
    heads = list(re.finditer(r"(?<=\. )((?:[A-Za-z_]\w*)(?:, \w+(?: \([^)]*\))?)*(?: \([^)]*\))?): ", whole))
    for head, after in zip(heads, [*heads[1:], None], strict=False):
        said = whole[head.end() : after.start() if after is not None else len(whole)].strip()
        for name in re.findall(r"\w+", re.sub(r"\([^)]*\)", "", head[1])):
            found[name] = said[:1].upper() + said[1:]
    return found
