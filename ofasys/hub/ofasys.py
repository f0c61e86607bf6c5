"""OFASys: a trained model that answers instructions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch

from ofasys import flow
from ofasys.errors import CheckpointError, ConfigError, DataError, LoadingError, nearest
from ofasys.generalist import PRECISIONS, GeneralistModel
from ofasys.generator.on_demand import OnDemand
from ofasys.generator.options import SearchOptions, check_use, reaching
from ofasys.hub.asked import Asked, asked_for, parsed
from ofasys.hub.card import CARD, model_card
from ofasys.hub.device import as_device
from ofasys.hub.facts import FACTS, Facts, facts_of
from ofasys.hub.folder import as_path, checkpoint_in, origin_of
from ofasys.hub.lacking import told_lacking
from ofasys.hub.model import load_model, model_files, model_of
from ofasys.hub.ofa.open import is_original, opened
from ofasys.hub.output import Output
from ofasys.hub.programs import Programs
from ofasys.hub.remote import place_of, push
from ofasys.hub.store import encoded, write_model
from ofasys.hub.turns import Turns
from ofasys.language import Filled, Instruction
from ofasys.modality import Registry, default_registry
from ofasys.program.answer import Answer
from ofasys.program.decoding import Decoding
from ofasys.program.program import Program
from ofasys.program.room import check_room
from ofasys.types import Sample, TaskCard

_log = logging.getLogger("ofasys")


@dataclass(frozen=True, eq=False)
class Way:
    """How rows are answered. See `OFASys.inference`."""

    batch_size: int
    """Rows answered at once."""
    closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None
    """Labels of the only slot with a set, or column -> labels; None: those of training."""
    settings: Mapping[str, Any] | None
    """Defaults for the plan."""
    root: str | Path | None
    """The folder that relative paths in rows start from; None: that of the file the rows are of."""
    negative_prompt: str | Mapping[str, Any] | None
    """What guidance leads away from: source columns, or the text of the only one."""
    first: int
    """The number of the first row, 0 or more."""
    on_bad: str
    """ "stop" or "skip", of a row that cannot be used."""
    options: Mapping[str, Any]
    """Of the search and of other generators, by name."""

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size!r}; it is a whole number, at least 1")
        if isinstance(self.first, bool) or not isinstance(self.first, int) or self.first < 0:
            raise ConfigError(f"first is {self.first!r}; it is a whole number, 0 or more")
        if self.on_bad not in ("stop", "skip"):
            hint = nearest(str(self.on_bad), ("stop", "skip"))
            raise ConfigError(f"on_bad is {self.on_bad!r}; {hint}it is 'stop' or 'skip'")


Given = Mapping[str, Any] | DataError  # a row, or why it is none


@dataclass(frozen=True, eq=False)
class _Ready:
    """A row that is read."""

    number: int
    row: Mapping[str, Any]
    sample: Sample
    program: Program
    options: SearchOptions


class _Ahead:
    """Rows as they are read, taken by those that go into one batch. over: whether all are taken."""

    def __init__(self, rows: Iterator[_Ready | tuple[int, Output]]) -> None:
        self.rows, self.next, self.over = rows, list[_Ready](), False

    def alike(self, most: int, made: dict[int, Output]) -> list[_Ready]:
        """The next rows of one line, `most` of them or fewer. made: answers to those that cannot be used go there."""
        batch, self.next = self.next, []
        while len(batch) < most:
            if (one := next(self.rows, None)) is None:
                self.over = True
                break
            if not isinstance(one, _Ready):
                made[one[0]] = one[1]
            elif batch and one.program is not batch[0].program:
                self.next = [one]
                break
            else:
                batch.append(one)
        return batch


DECODED = ("int8", "auto")  # precisions of finding tokens alone
Line = tuple[Program, SearchOptions, Mapping[str, Any] | None]  # bound; how to search; the row guidance leads away from


class OFASys:
    """A model with the cards of the tasks it was trained on: closed sets, settings, search options.

    It is a value: it can be pickled and copied, moved to a device, given to `Trainer.fit`. origin: where it was loaded
    from, in words; empty where it was not.
    """

    def __init__(self, model: GeneralistModel, cards: Sequence[TaskCard] | None = None) -> None:
        self.model, self.cards = model, tuple(model.cards if cards is None else cards)
        self.programs = Programs(model, self.cards)
        self.origin, self.facts = "", Facts()

    @property
    def facts(self) -> Facts:
        """How its weights were trained and how well they do; nothing once they are trained further."""
        known, learned = self._known
        return known if learned == self.model.learned else Facts()

    @facts.setter
    def facts(self, known: Facts) -> None:
        self._known = known, self.model.learned

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        *,
        which: str | None = None,
        device: str | torch.device | None = None,
        modalities: Registry | None = None,
        precision: str | None = None,
        revision: str | None = None,
        merge: bool = True,
        backbone: str | Path | None = None,
    ) -> OFASys:
        """Load a saved model, or a run: its best checkpoint, else its last; or the one named by `which`. Or a
        checkpoint of OFASys, a `.pt` file with GPT-2's `encoder.json` and `vocab.bpe` beside it. Or a model of the
        Hugging Face hub, ours or one of OFA's, "OWNER/NAME" or "OWNER/NAME@REVISION", where no folder has that name.
        Or "gallery", the small generalist that comes with the package.

        revision: of the hub, a branch, a tag or a commit. merge: changes of low rank become part of their matrices;
        else they stay apart, and are saved so. backbone: the folder of a backbone whose weights were not saved; where
        it was if None.
        device: where its weights go, as "cuda"; the CPU if None. precision: what it computes in, "float32" or
        "bfloat16"; None: what it was trained in. "int8": that too, but for tokens, which are found by products in few
        bits; "auto": tokens are found in what is fastest on this machine, as `decoding` says then. Of a run the
        optimizer's file is not read. Errors: CheckpointError when the folder is torn, of another version, or not ours;
        ConfigError for no such device or precision.
        """
        if precision is not None and precision not in (*PRECISIONS, *DECODED):
            raise ConfigError(
                f"precision is {precision!r}; it is 'float32', 'bfloat16' or 'float16', 'int8' or 'auto' for tokens "
                "alone, or None for that of training"
            )
        place = as_device("cpu" if device is None else device)
        folder, brought = place_of(folder, revision)
        path = as_path(folder)
        if which is None and is_original(path):
            original = opened(path, modalities)
            return cls._placed(original.model, original.cards, brought or str(path), place, precision)
        found = checkpoint_in(folder, which)
        try:
            model, cards, _ = load_model(found, modalities, merged=merge, backbone=backbone)
        except CheckpointError:
            later = checkpoint_in(folder, which)
            if later == found:
                raise
            found = later  # the run went on, and put another checkpoint in its place, while it was read
            model, cards, _ = load_model(found, modalities, merged=merge, backbone=backbone)
        if patterns := [one for one in model.lacks if one.startswith("pattern ")]:
            _log.warning(
                f"{folder} was trained with {', '.join(patterns)}, which is not installed here: lines are read "
                "without, their characters as prose, and ask another question; install it, or give modalities="
            )
        made = cls._placed(model, cards, brought or origin_of(folder, found), place, precision)
        made.facts = facts_of(path, found)
        return made

    @classmethod
    def _placed(
        cls,
        model: GeneralistModel,
        cards: Sequence[TaskCard],
        origin: str,
        place: torch.device,
        precision: str | None,
    ) -> OFASys:
        made = cls(model.eval(), cards)
        made.origin = origin
        decoded = precision if precision in DECODED else None
        model.precision = model.precision if decoded else precision or model.precision
        made.to(place)
        if decoded:
            model.decode_in(decoded)
        return made

    from_pretrain = from_pretrained

    def save_pretrained(self, folder: str | Path, *, merge: bool = False, name: str = "", licence: str = "") -> Path:
        """Write the model, the cards of its tasks and a page about it; `from_pretrained` reads them back. A crash
        leaves what was there, or the new.

        merge: changes of low rank become part of their matrices, and all weights are written, so that no folder of a
        backbone is needed. name: OWNER/NAME on the hub, for the page. licence: of the weights, as "apache-2.0". Errors:
        ConfigError where the folder holds what is not of a saved model, a run or a checkpoint of one, say;
        CheckpointError where it cannot be written.
        """
        folder = as_path(folder)
        write_model(folder, self._files(merge, name, licence))
        return folder

    def export(
        self,
        folder: str | Path,
        instruction: str | Instruction,
        *,
        closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write an instruction as graphs that run without this package -> what `export.json` beside them says.

        There are two, in ONNX (`.onnx`) and of torch.export (`.pt2`): `source` reads the source once, `step` gives the
        scores of what comes after the next tokens, with a cache; a target without a source has `step` alone. Samples,
        lengths and positions of the cache are left open. They compute in float32. closed_set, settings: as of
        `inference`. The folder is replaced whole, when what was written has given what the model gives; errors leave it
        as it was. Errors: PlanError for an instruction that no graph can hold, ConfigError where the folder holds
        something else, a library is missing, or the model is on another device than the CPU.
        """
        from ofasys.hub.export.write import export

        with told_lacking(self.model):
            line = parsed(self.line_of(instruction), self.model.modalities)
        program, card = self.programs.of(line, closed_set, settings)
        return export(self.model, program, as_path(folder), _search_options(card, {}, program).max_length)

    def _files(self, merge: bool, name: str, licence: str) -> dict[str, Any]:
        told = {CARD: self.card(name=name, licence=licence), FACTS: self.facts.to_dict()}
        return {**model_files(self.model, self.cards, merge), **told}

    def card(self, *, name: str = "", licence: str = "") -> str:
        """The page about the model, in Markdown with a head of YAML, as the hub shows it: its tasks, their data and
        scores, how to ask it, what it cannot do.

        name: OWNER/NAME on the hub. licence: of the weights.
        """
        return model_card(self.model, self.cards, self.facts, name=name, licence=licence)

    def push_to_hub(
        self,
        name: str,
        *,
        revision: str | None = None,
        private: bool = False,
        merge: bool = False,
        licence: str = "",
        message: str = "",
    ) -> str:
        """Put the model on the Hugging Face hub, as `save_pretrained` writes it -> the address of the commit.

        name: OWNER/NAME; the repository is made where it is not there, `private` if that is asked for. revision: the
        branch. merge, licence: as of `save_pretrained`. message: of the commit. Errors: ConfigError for weights that
        are left to a folder of this machine, and where huggingface_hub is not installed; CheckpointError where the hub
        refuses, or cannot be reached.
        """
        with TemporaryDirectory() as place:
            folder = Path(place) / "model"
            files = self._files(merge, name, licence)
            files["model.json"] = _for_others(files["model.json"])
            write_model(folder, files)
            return push(folder, name, revision=revision, private=private, message=message)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def decoding(self) -> Decoding:
        """In what tokens of a large vocabulary are found, and what was measured to choose it."""
        return self.model.decoding

    def to(self, device: str | torch.device) -> OFASys:
        """Move the weights -> itself. Errors: ConfigError for no such device."""
        place = as_device(device)
        if place != self.device:
            self.model.to(place)
        return self

    @property
    def tasks(self) -> dict[str, TaskCard]:
        """Name -> card of each task it was trained on: its lines, closed sets, settings and metrics."""
        return {card.name: card for card in self.cards}

    def line_of_task(self, name: str) -> str:
        """The first line of a task. Errors: ConfigError for no such task, with the nearest name and all there are."""
        known = self.tasks
        if name not in known:
            there = ", ".join(known) or "none"
            raise ConfigError(f"no task {name!r} in this run; {nearest(name, known)}there are {there}")
        return known[name].instructions[0]

    def line_of(self, asked: Any) -> Any:
        """The first line of the task that is named; what else is asked as it is.

        Errors: ConfigError for words that are neither a line nor the name of a task.
        """
        if not isinstance(asked, str) or any(mark in asked for mark in ("->", "[", "]")):
            return asked
        try:
            return self.line_of_task(asked)
        except ConfigError as error:
            step = 'give an instruction, as "[TEXT:question] -> [TEXT:answer]"'
            raise ConfigError(f"{error}; or {step}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        registry = None if self.model.modalities is default_registry() else self.model.modalities
        files = {name: encoded(name, value) for name, value in model_files(self.model, self.cards).items()}
        files[FACTS] = encoded(FACTS, self.facts.to_dict())
        return _again, (files, registry, str(self.device), self.model.training, self.origin, self.decoding)

    def __repr__(self) -> str:
        count = self.model.parameters_count
        known = f"{count / 1e6:.1f}M" if count >= 1e6 else f"{count:,}"
        where = f", from {self.origin}" if self.origin else ""
        lines = [f"OFASys({self.model.size}, {known} parameters, on {self.device}{where})"]
        for card in self.cards:
            sets = "".join(f"; {column}: {len(labels)} labels" for column, labels in card.labels.items())
            lines.append(f"  {card.name}: {' | '.join(card.instructions)}{sets}")
        return "\n".join(lines)

    def inference(
        self,
        instruction: str | Instruction | Filled | Sequence[Filled],
        data: Any = None,
        *,
        batch_size: int = 8,
        closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        root: str | Path | None = None,
        negative_prompt: str | Mapping[str, Any] | None = None,
        first: int = 0,
        on_bad: Literal["stop", "skip"] = "stop",
        **options: Any,
    ) -> Any:
        """Answer an instruction, or the task of that name, for one row (an Output) or several (a list of them, in
        order).

        data: a row (a dict), or several: a list or anything that gives them one by one, a frame, a data set, the path
        of a file of rows or of a folder of pictures. Of a line that needs one column also its value alone, or a list of
        values. closed_set: labels of the only slot with a set, or column -> labels; without it, those of training.
        settings: defaults for the plan. root: the folder that relative paths in rows start from; without it that of the
        file the rows are of. negative_prompt: what guidance leads away from: source columns, or the text of the only
        one. first: the number of the first row; what is drawn at random is a function of `seed` and a row's number, so
        that rows asked in parts are answered as rows asked at once. on_bad: "skip" gives an Output with `error` for a
        row that cannot be used, and warns at the end; "stop" raises. options: of the search, see `SearchOptions`, and
        of other generators by name (`guidance_weight`, `steps`); n_best=3 alone means three beams. Errors: DataError
        for a row that is not what the slots expect; ConfigError for an unknown option.
        """
        with told_lacking(self.model):
            asked = asked_for(self.line_of(instruction), data, self.model.modalities)
        way = Way(batch_size, closed_set, settings, root, negative_prompt, first, on_bad, options)
        outputs = self._joining(asked, way, self._lines(asked, way))
        if bad := [output.error for output in outputs if output.error is not None]:
            _log.warning(f"{len(bad)} of {len(outputs)} rows could not be used and have no answer; first: {bad[0]}")
        return outputs[0] if asked.single else outputs

    def answers(
        self,
        instruction: str | Instruction | Filled | Sequence[Filled],
        data: Any = None,
        *,
        batch_size: int = 8,
        closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        root: str | Path | None = None,
        negative_prompt: str | Mapping[str, Any] | None = None,
        first: int = 0,
        on_bad: Literal["stop", "skip"] = "stop",
        **options: Any,
    ) -> Iterator[Output]:
        """The answers of `inference` one after the other, an Output a row: a batch of rows is read when its answers are
        asked for, so that a million rows take no more memory than one batch.

        Arguments and errors as of `inference`; those of the call are raised at once, those of a row at its turn.
        Nothing is warned of: an answer whose `error` is not None says so itself.
        """
        with told_lacking(self.model):
            asked = asked_for(self.line_of(instruction), data, self.model.modalities)
        way = Way(batch_size, closed_set, settings, root, negative_prompt, first, on_bad, options)
        return self._answered(asked, way, self._lines(asked, way))

    def embed(
        self,
        instruction: str | Instruction,
        data: Any,
        *,
        batch_size: int = 32,
        root: str | Path | None = None,
    ) -> dict[str, np.ndarray]:
        """The views of a contrast as embeddings: column -> (rows, E), or (E,) of one row; of each column the rows have.
        data, root: as of `inference`.

        Embeddings have length one, so their products are cosines. Errors: ConfigError for an instruction without a
        contrast, DataError for no rows, for rows that lack both columns, or some of which lack one.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it is at least 1")
        with told_lacking(self.model):
            asked = parsed(self.line_of(instruction), self.model.modalities)
        program, _ = self.programs.of(asked)
        views = program.plan.views
        if views is None:
            raise ConfigError(f"{asked}: no contrast to embed by; write [A|B] ->")
        both = [program.plan.slots[i] for i in (views.left, views.right)]
        columns = " or ".join(repr(slot.column) for slot in both)
        given = asked_for(asked, data, self.model.modalities, columns)
        rows, root = _all_rows(given), root if root is not None else given.root
        if not rows:
            raise DataError("there are no rows to embed", expected="a dict, or a list of at least one")
        found = {}
        for slot in both:
            if slot.column in rows[0]:
                parts = [
                    flow.embed(self.model, program, slot.index, rows[i : i + batch_size], root)
                    for i in range(0, len(rows), batch_size)
                ]
                found[slot.column] = parts[0][0] if given.single else np.concatenate(parts)
        if not found:
            raise DataError("the rows hold no view", expected=f"a column {' or '.join(repr(s.column) for s in both)}")
        return found

    def program(self, instruction: Instruction) -> Program:
        """The program of an instruction, as `inference` takes it: with the closed sets and settings of its task."""
        return self.programs.of(instruction)[0]

    def settings_of(self, instruction: str | Instruction) -> dict[str, Any]:
        """The settings that its tasks have for such a line: what a new `Task` needs to go on with their adaptors."""
        return dict(self.programs.settings_of(parsed(instruction, self.model.modalities)))

    def _lines(self, asked: Asked, way: Way) -> dict[Instruction, Line]:
        """What the lines met so far are bound to; of data with one line that one, so that its errors come at once."""
        return {} if asked.instruction is None else {asked.instruction: self.line(asked.instruction, way)}

    def line(self, instruction: Instruction, way: Way) -> Line:
        """What a line is bound to, and how it is searched. Errors: ConfigError for an option that does nothing."""
        program, card = self.programs.of(instruction, way.closed_set, way.settings)
        search = _search_options(card, way.options, program)
        return program, search, _negative(program, way.negative_prompt, search)

    def _answered(self, asked: Asked, way: Way, lines: dict[Instruction, Line]) -> Iterator[Output]:
        """The answers in the order of the rows, a batch at a time; all at once where lines may differ, which batches
        do not.
        """
        number = way.first
        while rows := list(islice(asked.rows, way.batch_size if asked.instruction is not None else None)):
            part = replace(asked, rows=iter(rows))
            yield from self._joining(part, replace(way, first=number), lines)
            number += len(rows)

    def _joining(self, asked: Asked, way: Way, lines: dict[Instruction, Line]) -> list[Output]:
        """The answers in the order of the rows, which are read as there is room for them: where half of a batch is
        done the next rows take its place.
        """
        rows: Iterator[tuple[int, tuple[Instruction, Given]]] = enumerate(asked.rows, way.first)
        if asked.instruction is None:
            rows = iter(_by_line(list(rows)))
        ready, made = _Ahead(self._read(rows, asked, way, lines)), dict[int, Output]()
        root = way.root if way.root is not None else asked.root
        with flow.Generations(self.model, apart=True) as together:
            turns: Turns[_Ready] = Turns(together)
            while True:
                free = way.batch_size - len(turns.rows)
                if not ready.over and 2 * free >= way.batch_size:
                    with together.paused():
                        batch = ready.alike(free, made)
                    if batch:
                        samples, numbers = [one.sample for one in batch], [one.number for one in batch]
                        turns.begin(batch[0].program, samples, batch[0].options, numbers, batch)
                if not turns.live:
                    break
                turns.turn()
                for _, error in turns.failed():
                    raise error
                if answered := turns.answered():
                    with together.paused():
                        made |= {r.number: self.output(r.program, r.sample, a, r.row, root) for r, a in answered}
        return [made[number] for number in sorted(made)]

    def _read(
        self,
        rows: Iterator[tuple[int, tuple[Instruction, Given]]],
        asked: Asked,
        way: Way,
        lines: dict[Instruction, Line],
    ) -> Iterator[_Ready | tuple[int, Output]]:
        """Numbered rows, ready to be answered; or the answer to one that cannot be used."""
        root = way.root if way.root is not None else asked.root
        for number, (instruction, row) in rows:
            if instruction not in lines:
                lines[instruction] = self.line(instruction, way)
            program, search, negative = lines[instruction]
            try:
                if isinstance(row, DataError):
                    raise row
                sample = flow.preprocess(program, row, target=False, root=root, negative=negative)
                yield _Ready(number, row, sample, program, search)
            except DataError as error:
                found = error.at(sample=f"row {number} of {asked.where}" if asked.where else f"row {number}")
                if way.on_bad == "stop" or isinstance(error, LoadingError):
                    raise found from error.__cause__
                given = {} if isinstance(row, DataError) else row
                yield number, Output(program.plan, {}, float("nan"), given, self.model.modalities, root, found)

    def output(
        self,
        program: Program,
        sample: Sample,
        found: Sequence[Answer],
        row: Mapping[str, Any],
        root: str | Path | None,
    ) -> Output:
        """The best answer, with all of them: the rest are made as they are read."""

        def made(place: int) -> Output:
            values = flow.postprocess(program, sample, found[place])
            return Output(program.plan, values, found[place].score, row, self.model.modalities, root)

        best = made(0)
        best.nbest = OnDemand(len(found), made, [best])
        return best


def _by_line(rows: list[tuple[int, tuple[Instruction, Given]]]) -> list[tuple[int, tuple[Instruction, Given]]]:
    """Rows with those of one line together, lines in the order they come first."""
    groups: dict[Instruction, list[tuple[int, tuple[Instruction, Given]]]] = {}
    for one in rows:
        groups.setdefault(one[1][0], []).append(one)
    return [one for group in groups.values() for one in group]


def _for_others(about: dict[str, Any]) -> dict[str, Any]:
    """What `model.json` says, without what is of this machine. Errors: ConfigError where it needs that."""
    config = about["config"]
    if fronts := [name for name in about["reference"] if not name.startswith("engine.")]:
        raise ConfigError(
            f"{len(fronts)} weights of the model are those of a front in a folder of this machine, which others do not "
            "have; give merge=True (--merge), which writes all weights"
        )
    if "folder" not in config:
        return about
    if about["reference"] and not config["source"]:
        raise ConfigError(
            f"{len(about['reference'])} weights of the model are those of its backbone in {config['folder']}, which "
            "others do not have; give merge=True (--merge), which writes all weights, or train on a backbone named "
            "hf:OWNER/NAME"
        )
    return {**about, "config": {**config, "folder": ""}}


def _again(
    files: Mapping[str, bytes], registry: Registry | None, device: str, training: bool, origin: str, decoding: Decoding
) -> OFASys:
    """What was pickled or copied. On a machine that cannot decode as it did, a warning says so."""
    model, cards = model_of(files, "the pickled model", registry, merged=False)  # what was apart stays so
    made = OFASys(model.train(training), cards)
    made.origin, made.facts = origin, Facts.of(files[FACTS])
    made.to(device)
    try:
        if model.decode_in(decoding.precision) == replace(decoding, measured={}):
            model.decoding = decoding
    except ConfigError as error:
        _log.warning(f"the pickled model is decoded in {model.decoding.precision} here: {error}")
    return made


def _all_rows(asked: Asked) -> list[Mapping[str, Any]]:
    """The rows. Errors: DataError at the first that is none."""
    rows = []
    for number, (_, row) in enumerate(asked.rows):
        if isinstance(row, DataError):
            raise row.at(sample=f"row {number}")
        rows.append(row)
    return rows


def _search_options(card: TaskCard | None, asked: Mapping[str, Any], program: Program) -> SearchOptions:
    """The options asked for, over those of the task; a kind of search asked for puts the task's own kind aside.

    Errors: ConfigError for an option that no slot of the instruction takes, or that would change nothing.
    """
    there, generators = program.plan.instruction, program.plan.generators
    asked = reaching(asked, generators, there)
    known = dict(card.generate) if card else {}
    if {"sampling", "beam_size"} & asked.keys():
        known = {name: value for name, value in known.items() if name not in ("sampling", "beam_size", "n_best")}
    options = {**known, **asked}
    if "n_best" in asked and "beam_size" not in asked and not options.get("sampling"):
        beams, wanted = options.get("beam_size", 1), asked["n_best"]
        options["beam_size"] = max(beams, wanted) if isinstance(wanted, int) else beams
    search = SearchOptions.from_dict(options, generators)
    check_use(asked, search, generators, str(there), free=program.plan.free, repeats=program.plan.loops)
    check_room(program, search.max_length, str(there))
    if search.scores and not program.ranked:
        raise ConfigError(f"scores=True goes with an answer that is one label of a closed set, which {there} has not")
    if asked.get("n_best", 1) > 1 and len(program.stages) != 1:
        why = "its target is made in several stages" if program.stages else "nothing is searched for"
        raise ConfigError(f"n_best is {search.n_best}, but {there} has one answer: {why}; leave it out")
    return search


def _negative(
    program: Program, prompt: str | Mapping[str, Any] | None, search: SearchOptions
) -> Mapping[str, Any] | None:
    """The row guidance leads away from. Errors: ConfigError where there is no guidance, or no one column for a text."""
    if prompt is None:
        return None
    if program.plan.dropped is None:
        raise ConfigError(f"negative_prompt reaches no slot of {program.plan.instruction}; leave it out")
    options = [{**slot.values, **search.draw} for slot in program.plan.on("target") if slot.made_as.dropped]
    if all(values["guidance_weight"] == 1.0 for values in options):
        raise ConfigError("negative_prompt does nothing while guidance_weight is 1; give guidance_weight=2.5, say")
    if isinstance(prompt, Mapping):
        return prompt
    columns = sorted({slot.column for slot in program.plan.on("source")})
    if len(columns) != 1:
        raise ConfigError(f"negative_prompt={{column: value}} is needed; source columns: {', '.join(columns)}")
    return {columns[0]: prompt}
