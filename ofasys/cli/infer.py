"""`ofasys infer`: the same line, given data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ofasys.cli.answering import Answering, from_here
from ofasys.cli.answers import KINDS, AnswerFile, check_out
from ofasys.cli.document import lines_of, parse_scalar
from ofasys.cli.over_ray import Spread
from ofasys.cli.progress import Progress
from ofasys.cli.record import Recorder, check_columns
from ofasys.cli.rows import STANDARD_INPUT, Rows, of_path, of_pattern, of_standard_input
from ofasys.cli.show import note, say
from ofasys.errors import ConfigError, DataError, nearest
from ofasys.hub import OFASys, Output
from ofasys.hub.ofa.open import model_place
from ofasys.hub.output import WORDS, jsonable
from ofasys.hub.remote import place_of
from ofasys.hub.store import MANIFEST, standing
from ofasys.language import Instruction
from ofasys.modality import lexicon
from ofasys.planner import Plan, plan
from ofasys.seeds import key_of

ON_BAD = ("skip", "stop")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a file of answers holds of each row. n_best: answers. every: the probabilities of all labels.

    columns: those of the input to keep; None: all. on_bad: "skip" writes what is wrong into the row and goes on, "stop"
    stops; None: skip where rows have a column for it.
    """

    n_best: int = 1
    every: bool = False
    columns: Sequence[str] | None = None
    on_bad: str | None = None


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
    shape: Shape | None = None,
    workers: int | None = None,
    precision: str | None = None,
) -> int:
    """Answer one row given as `col=value`, or each row of a file; `col=value` then holds for every row.

    text: an instruction, or the name of a task of the run. workers: of Ray, which answer; None: this process.
    precision: as of `OFASys.from_pretrained`. Gives the number of rows that could not be answered.
    """
    shape, given = shape or Shape(), Given.of(values, data)
    _check_asked(shape, out, batch_size, given.many)
    if out is not None:
        _check_not_read(out, given.paths)
    labels = closed_set_of(closed_set)
    folder = Path(place_of(folder)[0])
    answerer = OFASys.from_pretrained(folder, which=which, precision=precision)
    if answerer.decoding.measured:
        note(f"tokens are found in {answerer.decoding}")
    instruction = instruction_of(text, answerer)
    planned = plan(instruction, modalities=answerer.model.modalities)
    columns = Columns(instruction, planned)
    given = given.found(columns.is_pattern)
    _check_asked(shape, out, batch_size, given.many)
    rows = _rows(columns, given)
    row = columns.row([word for word in given.words if word not in given.patterns])
    asked: dict[str, Any] = {"closed_set": labels, "batch_size": batch_size, **(search or {})}
    asked |= _by_shape(shape, planned)
    if negative_prompt is not None:
        asked["negative_prompt"] = _prompt(negative_prompt)
    if rows is None:
        _check_alone(row, instruction, workers)
        if out is None or not _is_table(out, planned, answerer):
            _one(answerer.inference(instruction, data=row, **asked), out, as_json)
            return 0
        rows = Rows(lambda first: iter([row][first:]), "the row", 1)
    told = answerer, instruction, columns.here(row, rows.root), rows, asked
    answers = Answering(*told) if workers is None else Spread(*told, model_place(folder, which), workers, precision)
    if out is None:
        return _print(answers, as_json, shape)
    recorder = Recorder(planned, answerer.model.modalities, out, shape.n_best, shape.every, shape.columns)
    same = _told(answers, model_place(folder, which), shape, precision)
    file = AnswerFile(out, same, batch_size, answerer.decoding.precision)
    if precision == "auto":
        _as_begun(answerer, file)
    return _write(answers, recorder, shape, file)


@dataclass(frozen=True)
class Given:
    """What a command names to be answered."""

    words: Sequence[str]
    """`col=value`."""
    patterns: Sequence[str]
    """Those of them that stand for many values: at most one."""
    files: Sequence[Path]
    """Of rows: at most one, and then no pattern."""

    def __post_init__(self) -> None:
        """Errors: ConfigError where rows come from several files, patterns, or standard input besides."""
        if (count := len(self.files) + len(self.patterns)) > 1:
            raise ConfigError(f"rows come from {count} {'places' if self.patterns else 'files'}; give one")

    @classmethod
    def of(cls, values: Sequence[str], data: Path | None) -> Given:
        """Words, `@FILE` among them, and the file `data`. Errors: ConfigError where rows come from several places."""
        words = [value for value in values if not value.startswith("@")]
        files = [Path(value[1:]) for value in values if value.startswith("@")] + ([data] if data else [])
        return cls(words, [word for word in words if word.partition("=")[2] == STANDARD_INPUT], files)

    def found(self, is_pattern: Callable[[str], bool]) -> Given:
        """With the words that stand for all paths that fit among its patterns. Errors: as of `of`."""
        return replace(self, patterns=[word for word in self.words if word in self.patterns or is_pattern(word)])

    @property
    def many(self) -> bool:
        """Whether there may be many rows."""
        return bool(self.files or self.patterns)

    @property
    def paths(self) -> list[Path]:
        """All that may be the name of something to read."""
        return [*self.files, *(Path(word.partition("=")[2]) for word in self.words)]


def _by_shape(shape: Shape, planned: Plan) -> dict[str, Any]:
    """What is asked for so that a file of answers can hold what it should."""
    if shape.every:
        return {"settings": {f"{_ranked(planned)}.generator": "rank"}}
    return {"n_best": shape.n_best} if shape.n_best > 1 else {}


def _check_alone(row: Mapping[str, Any], instruction: Instruction, workers: int | None) -> None:
    """Errors: ConfigError where one row is to be answered, and workers are asked for, or it is none."""
    if workers is not None:
        raise ConfigError("--ray is for many rows; give --data rows.jsonl, or leave it out")
    if not row and instruction.needed:
        raise ConfigError(f"nothing is asked about; give {_some(instruction)}, or many rows by --data FILE")


def _is_table(out: Path, planned: Plan, answerer: OFASys) -> bool:
    """Whether a file is one of answers, and not itself the value of the only one."""
    savers = [answerer.model.modalities.spec(slot.modality).save for slot in planned.answered]
    return out.suffix in KINDS and not any(part and out.suffix in part.suffixes for part in savers)


def _told(answers: Answering, place: Path, shape: Shape, precision: str | None) -> str | None:
    """What tells this question from another, in a few digits; None where its rows cannot be told."""
    if answers.rows.told is None:
        return None
    manifest = standing(place) / MANIFEST
    model = manifest.read_text(encoding="utf8") if manifest.is_file() else _files_of(place)
    start = str((answers.rows.root or Path.cwd()).resolve())  # the same rows name other files elsewhere
    asked = answers.asked | {"root": start}
    how = [] if precision is None else [precision]
    said = json.dumps([asked, answers.given, vars(shape), *how], default=str, sort_keys=True, ensure_ascii=False)
    return f"{key_of('infer', model, str(answers.instruction), said, answers.rows.told):x}"


def _as_begun(answerer: OFASys, file: AnswerFile) -> None:
    """What is fastest may be another today: a part that was left behind is gone on with as it was begun.

    Errors: ConfigError where this machine cannot.
    """
    begun = file.begun
    if begun is None or begun == file.decoding:
        return
    try:
        answerer.model.decode_in(begun)
    except ConfigError as error:
        raise ConfigError(
            f"{file.part} was begun with tokens found in {begun}, which cannot be gone on with here: {error}; "
            "or remove it to begin anew"
        ) from None
    note(f"{file.part} was begun with tokens found in {begun}, so that the rest is found in it too")
    file.decoding = begun


def _files_of(place: Path) -> str:
    """What tells a checkpoint of OFA or OFASys, a file or a folder, from another."""
    stats = {path.name: path.stat() for path in ([place] if place.is_file() else sorted(place.iterdir()))}
    return json.dumps({name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()})


def _check_not_read(out: Path, read: Sequence[Path]) -> None:
    """Errors: ConfigError where the answers would be written over what is asked about."""
    for path in read:
        same = False
        with suppress(OSError, ValueError):  # not there, or a text and no path
            same = out.samefile(path)
        if same:
            raise ConfigError(f"--out {out} is the file that is read, and would be lost; give another name")


def _check_asked(shape: Shape, out: Path | None, batch_size: int, many: bool) -> None:
    """Errors: ConfigError for what cannot be. many: whether several rows are asked about, as far as that is known."""
    if batch_size < 1:
        raise ConfigError(f"--batch-size is {batch_size}; it is 1 or more")
    if shape.n_best < 1:
        raise ConfigError(f"--n-best is {shape.n_best}; it is 1 or more")
    if shape.on_bad not in (None, "skip", "stop"):
        raise ConfigError(f"--on-bad is {shape.on_bad!r}; {nearest(str(shape.on_bad), ON_BAD)}it is skip or stop")
    if out is not None and (many or out.suffix in KINDS):
        check_out(out, (*KINDS, ".txt"), "answers to many rows are written")
    elif out is not None and out.is_dir():
        raise ConfigError(f"--out {out} is a folder; give the name of a file in it")
    if out is None or out.suffix not in KINDS:
        for name, given in (
            ("--n-best", shape.n_best > 1),
            ("--probabilities", shape.every),
            ("--columns", shape.columns),
        ):
            if given:
                raise ConfigError(f"{name} is of a file of answers; give --out answers.csv ({', '.join(KINDS)})")


def instruction_of(text: str, answerer: OFASys) -> Instruction:
    """An instruction as it is written, or that of the task named. Errors: ConfigError for a name of none."""
    return Instruction(answerer.line_of(text), lexicon(answerer.model.modalities))


def _ranked(planned: Plan) -> str:
    """The column whose labels all get a probability. Errors: ConfigError where the answer is not one label."""
    slots = planned.answered
    if len(slots) != 1 or not slots[0].closed_set or slots[0].group is not None or slots[0].side != "target":
        raise ConfigError(
            f"--probabilities goes with an answer that is one label of a closed set; {planned.instruction} has another"
        )
    return slots[0].column


def _rows(columns: Columns, given: Given) -> Rows | None:
    """The rows there are to answer; None where there is one, of words."""
    needed = columns.instruction.asked
    if given.files:
        (file,) = given.files
        if str(file) == STANDARD_INPUT:
            return of_standard_input(needed, None, columns.value)
        return of_path(file, needed)
    for word in given.patterns:
        name, _, value = word.partition("=")
        columns.check(name)
        if value == STANDARD_INPUT:
            return of_standard_input(needed, name, columns.value)
        return of_pattern(value, name)
    return None


def _print(answers: Answering, as_json: bool, shape: Shape) -> int:
    """A line an answer, on standard output; of a bad row that is skipped an empty one, or its error as JSON."""
    bad = 0
    for _, _, answer in answers.answers(shape.on_bad == "skip"):
        if isinstance(answer, Output):
            say(_line(answer, as_json))
            continue
        bad += 1
        note(str(answer))
        say(json.dumps({"error": str(answer)}, ensure_ascii=False) if as_json else "")
    return bad


def _write(answers: Answering, recorder: Recorder, shape: Shape, file: AnswerFile) -> int:
    """A record or a line an answer, into a file; what became of it is said at the end.

    Rows that a part of the same question holds already are not answered again.

    Errors: DataError where a bad row stops, or where no row could be answered.
    """
    out, lines = recorder.out, recorder.out.suffix == ".txt"
    skip = shape.on_bad == "skip" or (shape.on_bad is None and not lines)
    first = ""
    known = [*answers.rows.columns(), *answers.given] if shape.columns and answers.rows.again is not None else []
    if known:
        check_columns(shape.columns, known, answers.rows.name)
    try:
        with file, Progress(answers.rows.total) as progress:
            if file.put_aside is not None:
                note(f"{file.part} held answers to another question; they are in {file.put_aside}")
            if file.count:
                note(f"going on after {_answers(file.count)} in {file.part}")
                progress.take_up(file.count, file.bad("" if lines else recorder.ours["error"]))
            for number, row, answer in answers.answers(skip, file.count):
                good = isinstance(answer, Output)
                if good and not known:
                    known = list(row)
                    check_columns(shape.columns, known, answers.rows.name)
                if not good and not first:
                    first = str(answer)
                progress.add(good)
                if lines:
                    file.line(str(answer) if good else "")
                elif isinstance(answer, Output):
                    file.add(recorder.record(number, row, answer, None))
                else:
                    file.add(recorder.record(number, row, None, str(answer)))
    except BaseException:
        if file.count:
            next_step = "; the same command goes on from there" if file.asked is not None else ""
            note(f"stopped; {_answers(file.count)} so far are in {file.part}{next_step}")
        raise
    if progress.bad:
        where = "their lines are empty" if lines else f"why is in column {recorder.ours['error']!r}"
        told = f"; the first: {first}" if first else ""
        note(f"{progress.bad} of {_rows_of(progress.done)} could not be answered, {where}{told}")
    note(f"wrote {_answers(file.count - progress.bad)} to {out}")
    if not progress.done:
        raise DataError(f"{answers.rows.name} holds no row, so {out} is empty", expected="at least one row")
    if progress.bad == progress.done:
        raise DataError(f"no row of {answers.rows.name} could be answered", expected=f"rows with {columns_of(answers)}")
    return progress.bad


def columns_of(answers: Answering) -> str:
    """The columns that rows must have, in words."""
    needed = [name for name in answers.instruction.needed if name not in answers.given]
    ways = [f"columns of {parts.alternatives}" for parts in answers.instruction.source_parts]
    return ", ".join([*needed, *ways]) or "nothing wrong"


def _answers(count: int) -> str:
    return f"{count} answer{'' if count == 1 else 's'}"


def _rows_of(count: int) -> str:
    return f"{count} row{'' if count == 1 else 's'}"


def _one(answer: Output, out: Path | None, as_json: bool) -> None:
    if out is not None:
        note(f"wrote {answer.save(out)}")
    say(_json(answer) if as_json else str(answer))


def _line(answer: Output, as_json: bool) -> str:
    """One line an answer, whatever is in it."""
    return _json(answer) if as_json else " ".join(str(answer).splitlines())


def _json(answer: Output) -> str:
    return json.dumps(answer.written(), ensure_ascii=False, default=jsonable)


class Columns:
    """The columns of an instruction, and how a word is read as a value of one."""

    def __init__(self, instruction: Instruction, planned: Plan) -> None:
        self.instruction = instruction
        groups = {group.column: None for group in instruction.groups if group.column is not None}
        self.slots = {slot.column: slot for slot in planned.slots}
        self.known = dict.fromkeys([*instruction.needed, *groups, *instruction.columns])
        self.files = {slot.column for slot in planned.slots if slot.value not in WORDS}

    def check(self, name: str) -> None:
        """Errors: ConfigError for a name that no slot has."""
        if name not in self.known:
            raise ConfigError(
                f"no slot is called {name!r}; {nearest(name, self.known)}this instruction needs "
                f"{_some(self.instruction)}"
            )

    def is_pattern(self, word: str) -> bool:
        """Whether `col=value` stands for all paths that fit, in a column whose values are files."""
        name, _, value = word.partition("=")
        if name not in self.files or not any(c in value for c in "*?[") or value.lstrip().startswith(("[", "{")):
            return False
        try:
            return not Path(value).exists()
        except (OSError, ValueError):  # too long for a path, as base64 is
            return False

    def row(self, values: Sequence[str]) -> dict[str, Any]:
        """`col=value` as a row. Errors: ConfigError."""
        row: dict[str, Any] = {}
        for text in values:
            name, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"{text!r} is not column=value; this instruction needs {_some(self.instruction)}")
            self.check(name)
            if name in row:
                raise ConfigError(f"{name!r} is given twice; give it once")
            row[name] = self.value(name, value)
        return row

    def value(self, name: str, text: str) -> Any:
        """Text where the slot holds text, else JSON where it looks like it (a box, a list), else a path."""
        slot = self.slots.get(name)
        listed = slot is None or slot.group is not None
        words = slot is not None and slot.value in WORDS
        if not listed and (words or text.lstrip()[:1] not in ("[", "{")):
            return text
        try:
            return json.loads(text)
        except ValueError as error:
            what = "a JSON list, one value a round" if listed else "JSON, as [10, 20, 110, 90]"
            raise ConfigError(f"{name}={text!r:.80} is not JSON ({error}); expected {what}") from None

    def here(self, row: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
        """A row of words beside rows of a file in `root`: its paths start where we are."""
        if root is None:
            return dict(row)
        return {name: from_here(value, root) if name in self.files else value for name, value in row.items()}


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
    """The values that a row is asked for, as they would be given."""
    needed = [f"{name}=..." for name in instruction.needed]
    ways = [f"columns of {parts.alternatives}" for parts in instruction.source_parts]
    return " ".join([*needed, *ways]) or "no value"


def closed_set_of(text: str | None) -> Any:
    """A closed set: `a,b`, a JSON list, JSON column -> list, or @FILE with a label a line."""
    if text is None:
        return None
    if text.startswith("@"):
        return lines_of(Path(text[1:]), "file of labels")
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigError(f"--closed-set {text!r:.80} is not JSON ({error}); expected a,b or a JSON list") from None
    return [label.strip() for label in text.split(",") if label.strip()]


def search_options(pairs: Sequence[str], **given: Any) -> dict[str, Any]:
    """Search options as `key=value`, with those that have a flag of their own. Errors: ConfigError, also for one that
    is given twice.
    """
    found = {name: value for name, value in given.items() if value is not None}
    for text in pairs:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--search {text!r} is not option=value, as --search no_repeat_ngram_size=3")
        if name in found:
            raise ConfigError(f"{name} is {found[name]!r} and, by --search {text}, another; give it once")
        found[name] = parse_scalar(value)
    return found
