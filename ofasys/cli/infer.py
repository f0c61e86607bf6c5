"""`ofasys infer`: the same line, given data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ofasys.cli.document import existing, parse_scalar
from ofasys.cli.show import note, say
from ofasys.errors import ConfigError, DataError, nearest
from ofasys.hub import OFASys, Output
from ofasys.hub.output import jsonable
from ofasys.language import Instruction
from ofasys.modality import lexicon
from ofasys.planner import Plan, plan
from ofasys.task.source import open_source


def infer(
    folder: Path,
    text: str,
    values: Sequence[str],
    *,
    data: Path | None = None,
    closed_set: str | None = None,
    search: Mapping[str, Any] | None = None,
    negative_prompt: str | None = None,
    batch_size: int = 8,
    out: Path | None = None,
    as_json: bool = False,
    which: str | None = None,
) -> None:
    """Answer one row given as `col=value`, or each row of a file; `col=value` then holds for every row."""
    files = [Path(value[1:]) for value in values if value.startswith("@")] + ([data] if data else [])
    if len(files) > 1:
        raise ConfigError(f"rows come from {len(files)} files; give one")
    if batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size}; it is 1 or more")
    answerer = OFASys.from_pretrained(folder, which=which)
    registry = answerer.model.modalities
    instruction = Instruction(text, lexicon(registry))
    planned = plan(instruction, modalities=registry)
    row = _row(instruction, planned, [value for value in values if not value.startswith("@")])
    asked = {"closed_set": _labels(closed_set), "batch_size": batch_size, **(search or {})}
    if negative_prompt is not None:
        asked["negative_prompt"] = _prompt(negative_prompt)
    if not files:
        _one(answerer.inference(instruction, data=row, **asked), out, as_json)
        return
    if out is not None and out.suffix not in (".jsonl", ".txt"):
        raise ConfigError(f"answers to many rows are written as .jsonl or .txt, not {out.name!r}")
    answers = _many(answerer, instruction, planned, files[0], row, asked)
    if out is None:
        for answer in answers:
            say(_line(answer, as_json))
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with out.open("w", encoding="utf8") as file:
        for count, answer in enumerate(answers, start=1):  # noqa: B007
            file.write(_line(answer, out.suffix == ".jsonl") + "\n")
    note(f"wrote {count} answers to {out}")


def _one(answer: Output, out: Path | None, as_json: bool) -> None:
    if out is not None:
        note(f"wrote {answer.save(out)}")
    say(_json(answer) if as_json else str(answer))


def _line(answer: Output, as_json: bool) -> str:
    """One line an answer, whatever is in it."""
    return _json(answer) if as_json else " ".join(str(answer).splitlines())


def _json(answer: Output) -> str:
    return json.dumps(answer.values, ensure_ascii=False, default=jsonable)


def _many(
    answerer: OFASys,
    instruction: Instruction,
    planned: Plan,
    path: Path,
    constant: Mapping[str, Any],
    asked: dict[str, Any],
) -> Iterator[Output]:
    source = open_source(path)
    files = {slot.column for slot in planned.slots if slot.value not in ("text", "label")}
    given = {name: _from_here(value, source.root) if name in files else value for name, value in constant.items()}
    asked = {"root": source.root, **asked}
    if isinstance(asked.get("negative_prompt"), Mapping):
        asked["negative_prompt"] = {
            name: _from_here(value, source.root) for name, value in asked["negative_prompt"].items()
        }
    size = asked["batch_size"]
    for start in range(0, len(source), size):
        rows = [source[number] | given for number in range(start, min(start + size, len(source)))]
        try:
            yield from answerer.inference(instruction, data=rows, first=start, **asked)
        except DataError as error:
            place = str(error.sample or "").removeprefix("row ")
            if place.isdigit():
                error.sample = f"row {place} of {path}"
            raise


def _from_here(value: Any, root: Path | None) -> Any:
    """A relative path that was given as a word starts where we are, and not at `root`, the folder of the rows."""
    if isinstance(value, list):
        return [_from_here(one, root) for one in value]
    if isinstance(value, Mapping):
        return {name: _from_here(one, root) for name, one in value.items()}
    try:
        named = isinstance(value, str) and any(Path(at, value).is_file() for at in (".", root or "."))
    except (OSError, ValueError):  # too long for a file's name, as base64 is
        return value
    return str(Path(value).absolute()) if named else value


def _row(instruction: Instruction, planned: Plan, values: Sequence[str]) -> dict[str, Any]:
    """`col=value` as a row: text where the slot holds text, else JSON where it looks like it (a box, a list), else a
    path.
    """
    groups = {group.column: None for group in instruction.groups if group.column is not None}
    slots = {slot.column: slot for slot in planned.slots}
    known = dict.fromkeys([*instruction.needed, *groups, *instruction.columns])
    row: dict[str, Any] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text!r} is not column=value; this instruction needs {_some(instruction)}")
        if name not in known:
            raise ConfigError(
                f"no slot is called {name!r}; {nearest(name, known)}this instruction needs {_some(instruction)}"
            )
        if name in row:
            raise ConfigError(f"{name!r} is given twice; give it once")
        slot = slots.get(name)
        listed = slot is None or slot.group is not None
        words = slot is not None and slot.value in ("text", "label")
        if listed or (not words and value.lstrip()[:1] in ("[", "{")):
            try:
                row[name] = json.loads(value)
            except ValueError as error:
                what = "a JSON list, one value a round" if listed else "JSON, as [10, 20, 110, 90]"
                raise ConfigError(f"{name}={value!r:.80} is not JSON ({error}); expected {what}") from None
        else:
            row[name] = value
    return row


def _prompt(text: str) -> Any:
    """A text for the only source column, or a JSON object: column -> value."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"--negative-prompt {text!r:.80} is not JSON ({error}); expected a text, or an object: column and value"
        ) from None


def _some(instruction: Instruction) -> str:
    return " ".join(f"{name}=..." for name in instruction.needed) or "no value"


def _labels(text: str | None) -> Any:
    """A closed set: `a,b`, a JSON list, JSON column -> list, or @FILE with a label a line."""
    if text is None:
        return None
    if text.startswith("@"):
        path = existing(Path(text[1:]), what="file of labels")
        return [line.strip() for line in path.read_text(encoding="utf8").splitlines() if line.strip()]
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"--closed-set {text!r:.80} is not JSON ({error}); expected a,b or a JSON list") from None
    return [label.strip() for label in text.split(",") if label.strip()]


def search_options(pairs: Sequence[str], **given: Any) -> dict[str, Any]:
    """Search options as `key=value`, with those that have a flag of their own."""
    found = {name: value for name, value in given.items() if value is not None}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--search {text!r} is not option=value, as --search no_repeat_ngram_size=3")
        found[name] = parse_scalar(value)
    return found
