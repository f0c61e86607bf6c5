"""What the endpoints do, without HTTP: lines read and explained, rows made ready and handed to the one session."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from threading import Lock
from typing import Any

import numpy as np

from ofasys.errors import ConfigError, DataError, InstructionError, OfasysError, nearest
from ofasys.generator.options import SearchOptions, drawing_options
from ofasys.hub import AnswerSession, OFASys, Output, Pending
from ofasys.hub.output import WORDS
from ofasys.language import Instruction
from ofasys.modality import Modality, Part, Registry, lexicon, plugin
from ofasys.model.sizes import SIZES
from ofasys.planner import Plan, SlotPlan, explain, to_json
from ofasys.program.program import Program
from ofasys.program.sample import elements
from ofasys.serve.decoders import Decoders
from ofasys.serve.fetch import Fetcher
from ofasys.serve.limits import Limits
from ofasys.serve.media import Files, holds_file
from ofasys.serve.refusal import Refusal, refusal_of
from ofasys.serve.values import candidates, number, values_of
from ofasys.serve.wire import Ask, Line
from ofasys.types import SlotFeatures

LISTED = 200  # labels of a closed set that are told
Row = Mapping[str, Any]


class Service:
    """A model that answers requests of strangers.

    name: what it is called. allowed: hosts from which files are fetched. rows, waiting: of the session. examples: rows
    to try, by task.
    """

    def __init__(
        self,
        answerer: OFASys,
        *,
        limits: Limits | None = None,
        name: str = "",
        allowed: Sequence[str] = (),
        rows: int = 64,
        waiting: int = 256,
        examples: Mapping[str, Sequence[Row]] | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.answerer, self.limits, self.name = answerer, limits or Limits(), name or answerer.origin
        self.registry: Registry = answerer.model.modalities
        self.lexicon = lexicon(self.registry)
        self.fetcher = fetcher or Fetcher(allowed, self.limits)
        self.examples = dict(examples or {})
        self.session = AnswerSession(answerer, rows=rows, waiting=waiting)
        self.decoders = Decoders(self.limits, self.registry)
        self.drawn = drawing_options(self.registry.generators)
        self.embedding = Lock()

    def close(self, drain: bool = True, timeout: float | None = None) -> None:
        """End the session and the processes that read files. drain: answer what was asked first."""
        self.session.close(drain=drain, timeout=timeout)
        self.decoders.close()

    def line(self, asked: Line) -> Instruction:
        """The line that is asked. Errors: Refusal, InstructionError; for attributes no stranger may give too."""
        if (asked.instruction is None) == (asked.task is None):
            both = "both" if asked.task is not None else "neither"
            raise Refusal(
                422, "a request has an instruction or a task", place="instruction, task", value=both, next="give one"
            )
        if asked.instruction is None:
            return Instruction(self._line_of_task(str(asked.task)), self.lexicon)
        if len(asked.instruction) > self.limits.characters:
            raise Refusal(
                413,
                f"an instruction of {len(asked.instruction):,} characters",
                place="instruction",
                value=asked.instruction[:40],
                next=f"at most {self.limits.characters:,} are taken",
            )
        made = Instruction(asked.instruction, self.lexicon)
        if str(made) not in self.answerer.programs.by_line:
            self._check_attributes(made, asked.instruction)
        return made

    def _line_of_task(self, name: str) -> str:
        """The line of a task. Errors: Refusal for no such task."""
        try:
            return self.answerer.line_of_task(name)
        except ConfigError as error:
            said, _, step = str(error).partition("; ")
            raise Refusal(404, said, place="task", value=name, next=step) from None

    def _check_attributes(self, line: Instruction, text: str) -> None:
        """Errors: InstructionError for an attribute that names a file of this machine, or asks for too much."""
        most = {"seconds": self.limits.seconds, "steps": self.limits.steps, "beams": self.limits.beams}
        most |= dict.fromkeys(("max_length", "max_positions", "length"), self.limits.tokens)
        for slot in line.slots:
            word = self.lexicon.word(slot.modality)
            for name, value in slot.attributes:
                foreign = name == "adaptor" and ":" in str(value)
                if foreign and str(value).partition(":")[2] not in self.answerer.model.places:
                    why = f"{name}={value} names a place, which no request may but those the model was trained with"
                elif word is not None and name in word.options and word.options[name].place:
                    why = f"{name}= names a place on the server's machine, which no request may"
                elif name in most and isinstance(value, (int, float)) and value > most[name]:
                    why = f"{name}={value} is more than this server gives, {most[name]:g}"
                else:
                    continue
                raise InstructionError(why, text, *slot.span, hint=f"leave {name} out, or give less of it")

    def plan(self, line: Instruction) -> Plan:
        """The plan of a line, as it is answered."""
        return self.answerer.programs.planned(line)[0]

    def explain(self, line: Instruction, size: str | None) -> dict[str, Any]:
        """The plan of a line as `/v1/explain` tells it, and whether this model can answer it."""
        if size is not None and size not in SIZES:
            known = f"{nearest(size, SIZES)}there are {', '.join(SIZES)}"
            raise Refusal(422, f"unknown size {size!r}", place="size", value=size, next=known)
        planned, problem = self.plan(line), None
        labels: Mapping[int, Sequence[str]] = {}
        try:
            labels = self.answerer.programs.of(line)[0].labels
        except OfasysError as error:
            found = refusal_of(error)
            problem = None if found is None else found.to_dict()
            if found is None:
                raise
        return {
            "instruction": str(line),
            "text": explain(planned, size, self.registry),
            "plan": to_json(planned, size, self.registry),
            "slots": [self._told(planned, slot, labels) for slot in planned.slots],
            "answerable": problem is None,
            "why_not": problem,
        }

    def _told(self, plan: Plan, slot: SlotPlan, labels: Mapping[int, Sequence[str]]) -> dict[str, Any]:
        spec = self.registry.spec(slot.modality)
        known = labels.get(slot.index)
        return {
            "column": slot.column,
            "name": slot.name,
            "modality": slot.modality,
            "side": slot.side,
            "value": slot.value,
            "about": spec.says(slot.values) if spec.says else spec.about,
            "given": is_given(slot),
            "repeated": slot.group is not None,
            "optional": slot.optional,
            "refers_to": None if slot.refers_to is None else plan.slots[slot.refers_to].column,
            "labels": None if known is None else list(known[:LISTED]),
            "widget": "label" if slot.closed_set else spec.widget_of(slot.values),
            "options": {name: value for name, value in slot.values.items() if value is not None},
        }

    def tasks(self) -> dict[str, Any]:
        """The tasks of the model, and the words of its language."""
        cards = [
            {
                "name": card.name,
                "instructions": list(card.instructions),
                "labels": {column: list(names)[:LISTED] for column, names in card.labels.items()},
                "metrics": list(card.metrics),
                "examples": list(self.examples.get(card.name, ())),
            }
            for card in self.answerer.cards
        ]
        return {
            "model": self.name,
            "tasks": cards,
            "modalities": self._words(),
            "url_hosts": sorted(self.fetcher.allowed),
        }

    def _words(self) -> list[dict[str, Any]]:
        found = []
        for spec in self.registry.modalities:
            word = self.registry.word(spec)
            attributes = [
                {"name": o.name, "expects": o.expects, "example": o.example, "about": o.about, "side": o.side}
                for o in word.options.values()
                if not o.place
            ]
            found.append(
                {
                    "tag": spec.tag,
                    "aliases": list(spec.aliases),
                    "about": spec.about,
                    "source": spec.source is not None,
                    "target": spec.target is not None,
                    "attributes": attributes,
                }
            )
        return found

    def options(self, asked: Ask) -> dict[str, Any]:
        """The options of a request, each of which a stranger may give. Errors: Refusal."""
        known = {entry.name for entry in fields(SearchOptions)} - {"draw"} | self.drawn.keys()
        known |= {"closed_set", "negative_prompt"}
        most = {"beam_size": self.limits.beams, "n_best": self.limits.beams, "steps": self.limits.steps}
        most |= dict.fromkeys(("max_length", "max_positions", "min_length", "length"), self.limits.tokens)
        for name, value in asked.options.items():
            place = f"options.{name}"
            if name in ("root", "first", "settings", "draw", "batch_size", "on_bad", "deadline", "task", "data"):
                raise Refusal(422, f"no option {name!r}", place=place, value=str(value)[:40], next="leave it out")
            if name in known - {"closed_set", "negative_prompt"} and not _is_plain(value):
                step = "give a number, true or false, or a text"
                raise Refusal(422, f"{name} is {value!r:.40}", place=place, value=str(value)[:40], next=step)
            if name in most and isinstance(value, (int, float)) and value > most[name]:
                step = f"at most {most[name]:g}"
                raise Refusal(422, f"{name} is {value}, more than is given", place=place, value=str(value), next=step)
        self._check_labels(asked.options.get("closed_set"))
        return dict(asked.options)

    def _check_labels(self, given: Any) -> None:
        sets = list(given.values()) if isinstance(given, Mapping) else [] if given is None else [given]
        good = all(isinstance(one, list) and all(_is_plain(label) for label in one) for one in sets)
        if not good:
            step = "give a list of labels, or an object: column and labels"
            raise Refusal(422, "closed_set is no list", place="options.closed_set", value=str(given)[:40], next=step)
        if (count := sum(map(len, sets))) > self.limits.labels:
            step = f"at most {self.limits.labels:,}"
            raise Refusal(422, f"{count:,} labels", place="options.closed_set", value=str(count), next=step)

    def submit(self, line: Instruction, row: Row, options: Row, files: Files, number: int, end: float) -> Pending:
        """Hand one row to the session. end: by the monotonic clock. Errors: as of `refusal_of`."""
        asked = dict(options)
        program = self.answerer.programs.of(line, asked.get("closed_set"))[0]
        place = f"data[{number}]"
        ready = self.ready(program, row, files, place, end)
        if (prompt := asked.get("negative_prompt")) is not None:
            asked["negative_prompt"] = self._negative(program, prompt, files, end)
        return self.session.submit(line, ready, first=number, deadline=_left(end), **asked)

    def check(self, line: Instruction, options: Row) -> None:
        """Errors: what is wrong with a line and its options, whatever the rows are."""
        program = self.answerer.programs.of(line, options.get("closed_set"))[0]
        if str(line) in self.answerer.programs.by_line:
            return
        for slot in filter(_is_laid_out, program.plan.slots):
            most = self.limits.positions if is_given(slot) else self.limits.tokens
            if slot.expected > most:
                what = f"a value of {slot.name} takes {slot.expected:,} positions"
                raise Refusal(422, what, place=f"instruction, slot {slot.name}", next=f"at most {most:,} are given")

    def specs(self, asked: Line) -> dict[str, Modality]:
        """Column -> modality of what an answer holds."""
        return {slot.column: self.registry.spec(slot.modality) for slot in self.plan(self.line(asked)).answered}

    def _negative(self, program: Program, prompt: Any, files: Files, end: float) -> Any:
        columns = sorted({slot.column for slot in program.plan.on("source")})
        if isinstance(prompt, str) and len(columns) == 1:
            prompt = {columns[0]: prompt}
        if not isinstance(prompt, Mapping):
            step = "give an object: source column and value"
            raise Refusal(
                422, "negative_prompt is no row", place="options.negative_prompt", value=str(prompt)[:40], next=step
            )
        return self.ready(program, prompt, files, "options.negative_prompt", end)

    def ready(self, program: Program, row: Row, files: Files, place: str, end: float) -> dict[str, Any]:
        """The values of a row that the line reads: texts and numbers as they are, of files what was read of them.

        Errors: Refusal, DataError.
        """
        slots = [slot for slot in program.plan.slots if is_given(slot)]
        texts = {slot.column for slot in program.plan.slots if slot.value in WORDS}
        named = {name: files.value(value, f"{place}.{name}", name in texts) for name, value in row.items()}
        spread = program.plan.spread(named)
        found: dict[str, Any] = {}
        room = self.limits.positions
        for slot in slots:
            if slot.column not in spread or spread[slot.column] is None:
                continue
            read = self._values(program, slot, spread[slot.column], end)
            several = slot.group is not None and isinstance(read, list)
            room -= sum(_positions(slot, one) for one in (read if several else [read]))
            if room < 0:
                step = f"give smaller files, or a smaller size=; a row may take {self.limits.positions:,} positions"
                raise Refusal(422, "the files take too many positions", place=f"{place}.{slot.column}", next=step)
            if slot.column in found and holds_file(spread[slot.column]):
                step = "give each slot a column of its own"
                raise Refusal(422, "two slots read this file", place=f"{place}.{slot.column}", next=step)
            found[slot.column] = read
        known = {slot.column for slot in program.plan.slots}
        return found | {name: None for name in spread if name not in known}  # named where a column is missing

    def _values(self, program: Program, slot: SlotPlan, value: Any, end: float) -> Any:
        """The value of a slot, or of a repetition a list of them."""
        if slot.group is None:
            return self._value(program, slot, value, end)
        listed = elements(value)
        return value if listed is None else [self._value(program, slot, one, end) for one in listed]

    def _value(self, program: Program, slot: SlotPlan, value: Any, end: float) -> Any:
        outside: Part = self.registry.spec(slot.modality).outside
        try:
            if not holds_file(value):
                return plugin.called(slot.name, outside.resolve(), value)
            reader, ids = program.preprocessors[slot.index], program.symbols.vocabulary.size
            return self.decoders.features(slot.name, reader, outside, value, ids, _left(end))
        except DataError as error:
            if "a path" in error.expected:  # none is taken
                error.expected = f"a file that is whole, or a value, of {self.registry.spec(slot.modality).about}"
            raise error.at(slot=slot.name, column=slot.column) from error.__cause__

    def embed(self, line: Instruction, rows: Sequence[Row], files: Files, end: float) -> dict[str, np.ndarray]:
        """Column -> embeddings of rows. Errors: as of `OFASys.embed`."""
        self.check(line, {})
        program = self.answerer.programs.of(line)[0]
        ready = [self.ready(program, row, files, f"data[{number}]", end) for number, row in enumerate(rows)]
        with self.embedding:
            return self.answerer.embed(line, ready)

    def answered(self, outputs: Sequence[Output | None], several: bool) -> dict[str, Any]:
        """Answers as they are sent; None where a row has none. several: all answers of each row too."""
        there = [
            (None, None, None)
            if out is None
            else (values_of(out, self.registry), number(out.score), dict(out.probabilities) or None)
            for out in outputs
        ]
        answers, scores, probabilities = ([one[i] for one in there] for i in range(3))
        every = [[] if out is None else candidates(out.nbest, self.registry) for out in outputs] if several else None
        return {"answers": answers, "scores": scores, "probabilities": probabilities, "nbest": every}


def is_given(slot: SlotPlan) -> bool:
    """Whether a row gives the value of a slot when it is answered."""
    return slot.side == "source" or slot.no_loss


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _is_laid_out(slot: SlotPlan) -> bool:
    """Whether its value takes few places of a sentence and many positions, which no limit of a model's counts."""
    return slot.positions != "1-D"


def _positions(slot: SlotPlan, value: Any) -> int:
    """What a value takes of the positions a row may have: exactly if it was read, else as planned."""
    if isinstance(value, SlotFeatures):
        return value.length
    return slot.expected if _is_laid_out(slot) else 0


def _left(end: float) -> float:
    """Seconds until `end`, by the monotonic clock; a little where it has passed, so that it is told as late."""
    return max(1e-3, end - time.monotonic())
