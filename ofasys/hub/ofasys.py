"""OFASys: a trained model that answers instructions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofasys import flow
from ofasys.errors import CheckpointError, ConfigError, DataError
from ofasys.generalist import GeneralistModel
from ofasys.generator.on_demand import OnDemand
from ofasys.generator.options import SearchOptions, check_use, reaching
from ofasys.hub.model import load_model, model_files
from ofasys.hub.output import Output
from ofasys.hub.programs import Programs
from ofasys.hub.store import MANIFEST, standing, write_folder
from ofasys.language import Filled, Instruction
from ofasys.modality import Registry, lexicon
from ofasys.program.answer import Answer
from ofasys.program.program import Program
from ofasys.types import Sample, TaskCard


class OFASys:
    """A model with the cards of the tasks it was trained on: closed sets, settings, search options."""

    def __init__(self, model: GeneralistModel, cards: Sequence[TaskCard] | None = None) -> None:
        self.model, self.cards = model, tuple(model.cards if cards is None else cards)
        self.programs = Programs(model, self.cards)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, which: str | None = None, modalities: Registry | None = None
    ) -> OFASys:
        """Load a saved model, or a run: its best checkpoint, else its last; or the one named by `which`.

        Errors: CheckpointError when the folder is torn, of another version, or not ours.
        """
        model, cards, _ = load_model(checkpoint_in(folder, which), modalities)
        return cls(model.eval(), cards)

    from_pretrain = from_pretrained

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the model and its cards; `from_pretrained` reads them back."""
        write_folder(folder, model_files(self.model, self.cards))
        return Path(folder)

    def inference(
        self,
        instruction: str | Instruction | Filled | Sequence[Filled],
        data: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        batch_size: int = 8,
        closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        root: str | Path | None = None,
        negative_prompt: str | Mapping[str, Any] | None = None,
        first: int = 0,
        **options: Any,
    ) -> Any:
        """Answer an instruction for one row (an Output) or several (a list of them, in order).

        closed_set: labels of the only slot with a set, or column -> labels; without it, those of training. settings:
        defaults for the plan. root: the folder that relative paths in rows start from. negative_prompt: what guidance
        leads away from: source columns, or the text of the only one. first: the number of the first row; what is drawn
        at random is a function of `seed` and a row's number, so that rows asked in parts are answered as rows asked at
        once. options: of the search, see `SearchOptions`, and of other generators by name (`guidance_weight`, `steps`);
        n_best=3 alone means three beams. Errors: DataError for a row that is not what the slots expect; ConfigError for
        an unknown option.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it is at least 1")
        if isinstance(first, bool) or not isinstance(first, int) or first < 0:
            raise ConfigError(f"first is {first!r}; it is a whole number, 0 or more")
        requests, single = _requests(instruction, data, self.model.modalities, first)
        answers: list[Output | None] = [None] * len(requests)
        groups: dict[Instruction, list[int]] = {}
        for i, (asked, _) in enumerate(requests):
            groups.setdefault(asked, []).append(i)
        for asked, members in groups.items():
            program, card = self.programs.of(asked, closed_set, settings)
            search = _search_options(card, options, program)
            negative = _negative(program, negative_prompt, search)
            for start in range(0, len(members), batch_size):
                part = members[start : start + batch_size]
                rows, numbers = [requests[i][1] for i in part], [first + i for i in part]
                made = self._answer(program, rows, numbers, search, root, negative)
                for i, output in zip(part, made, strict=True):
                    answers[i] = output
        return answers[0] if single else answers

    def embed(
        self,
        instruction: str | Instruction,
        data: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        batch_size: int = 32,
        root: str | Path | None = None,
    ) -> dict[str, np.ndarray]:
        """The views of a contrast as embeddings: column -> (rows, E), or (E,) of one row; of each column the rows have.

        Embeddings have length one, so their products are cosines. Errors: ConfigError for an instruction without a
        contrast, DataError for no rows, for rows that lack both columns, or some of which lack one.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it is at least 1")
        asked = (
            Instruction(instruction, lexicon(self.model.modalities)) if isinstance(instruction, str) else instruction
        )
        program, _ = self.programs.of(asked)
        views = program.plan.views
        if views is None:
            raise ConfigError(f"{asked}: no contrast to embed by; write [A|B] ->")
        both = [program.plan.slots[i] for i in (views.left, views.right)]
        rows = _rows(data, " or ".join(repr(slot.column) for slot in both))
        if not rows:
            raise DataError("there are no rows to embed", expected="a dict, or a list of at least one")
        found = {}
        for slot in both:
            if slot.column in rows[0]:
                parts = [
                    flow.embed(self.model, program, slot.index, rows[i : i + batch_size], root)
                    for i in range(0, len(rows), batch_size)
                ]
                found[slot.column] = np.concatenate(parts) if not isinstance(data, Mapping) else parts[0][0]
        if not found:
            raise DataError("the rows hold no view", expected=f"a column {' or '.join(repr(s.column) for s in both)}")
        return found

    def program(self, instruction: Instruction) -> Program:
        """The program of an instruction, as `inference` takes it: with the closed sets and settings of its task."""
        return self.programs.of(instruction)[0]

    def _answer(
        self,
        program: Program,
        rows: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        search: SearchOptions,
        root: str | Path | None,
        negative: Mapping[str, Any] | None,
    ) -> list[Output]:
        samples = []
        for number, row in zip(numbers, rows, strict=True):
            try:
                samples.append(flow.preprocess(program, row, target=False, root=root, negative=negative))
            except DataError as error:
                raise error.at(sample=f"row {number}") from error.__cause__
        answers = flow.generate(self.model, program, samples, search, numbers)
        return [
            self._output(program, sample, found, row, root)
            for sample, row, found in zip(samples, rows, answers, strict=True)
        ]

    def _output(
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
    search = SearchOptions.from_dict(options)
    check_use(asked, search, generators, str(there), free=program.plan.free)
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
    if program.dropped is None:
        raise ConfigError(f"negative_prompt reaches no slot of {program.plan.instruction}; leave it out")
    options = [{**slot.values, **search.draw} for slot in program.plan.on("target") if slot.kind == "noise"]
    if all(values["guidance_weight"] == 1.0 for values in options):
        raise ConfigError("negative_prompt does nothing while guidance_weight is 1; give guidance_weight=2.5, say")
    if isinstance(prompt, Mapping):
        return prompt
    columns = sorted({slot.column for slot in program.plan.on("source")})
    if len(columns) != 1:
        raise ConfigError(f"negative_prompt={{column: value}} is needed; source columns: {', '.join(columns)}")
    return {columns[0]: prompt}


def checkpoint_in(folder: str | Path, which: str | None = None) -> Path:
    """The folder that holds the model: the folder itself, or a checkpoint of a run.

    Errors: CheckpointError when there is none.
    """
    folder = Path(folder)
    if (standing(folder) / MANIFEST).is_file() and which is None:
        return folder
    for name in (which,) if which else ("best", "last"):
        pointer = folder / "checkpoints" / f"{name}.json"
        if pointer.is_file():
            try:
                return folder / "checkpoints" / str(json.loads(pointer.read_text())["folder"])
            except (ValueError, KeyError) as error:
                raise CheckpointError(f"{pointer} cannot be read: {error}") from None
    kind = f"no {which!r} checkpoint" if which else "no saved model and no run with a checkpoint"
    raise CheckpointError(f"{folder}: {kind} here; give the folder of a run, or of save_pretrained")


def _requests(
    instruction: str | Instruction | Filled | Sequence[Filled],
    data: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    registry: Registry,
    first: int = 0,
) -> tuple[list[tuple[Instruction, Mapping[str, Any]]], bool]:
    if isinstance(instruction, (Filled, list, tuple)):
        filled = [instruction] if isinstance(instruction, Filled) else list(instruction)
        if data is not None:
            raise ConfigError("data was given twice: in format(...) and as data=; give it once")
        if bad := [f for f in filled if not isinstance(f, Filled)]:
            raise ConfigError(
                f"a list of instructions holds {type(bad[0]).__name__}; use instruction.format(...) for each"
            )
        return [(f.instruction, f.data) for f in filled], isinstance(instruction, Filled)
    asked = Instruction(instruction, lexicon(registry)) if isinstance(instruction, str) else instruction
    if not isinstance(asked, Instruction):
        raise ConfigError(
            f"an instruction is a str, an Instruction, or one that was formatted; not {type(asked).__name__}"
        )
    if data is None:
        data = {}
    rows = _rows(data, ", ".join(asked.needed), first)
    return [(asked, row) for row in rows], isinstance(data, Mapping)


def _rows(data: Any, columns: str, first: int = 0) -> list[Mapping[str, Any]]:
    """One row, or several, as a list. Errors: DataError for what is no row."""
    if isinstance(data, Mapping):
        return [data]
    if isinstance(data, (str, bytes)) or not isinstance(data, Iterable):
        raise DataError(f"data is a {type(data).__name__}", expected=f"a dict with {columns}, or a list of them")
    rows = list(data)
    for number, row in enumerate(rows, start=first):
        if not isinstance(row, Mapping):
            shown = f"{type(row).__name__} {str(row)[:40]!r}"
            raise DataError(f"a row is a {shown}", expected=f"a dict with {columns}", sample=f"row {number}")
    return rows
