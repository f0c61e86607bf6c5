"""The contract of a pattern, check by check. Each raises AssertionError with a sentence, and needs no framework."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch

from ofasys import flow
from ofasys.errors import DataError, InstructionError
from ofasys.generalist import GeneralistModel
from ofasys.generator.options import SearchOptions
from ofasys.language import Instruction, Pattern
from ofasys.language.pattern import MOST_PARTS
from ofasys.modality import BUILT_IN, Registry, lexicon
from ofasys.planner import Plan, plan
from ofasys.program.answer import split
from ofasys.program.batch import to_device
from ofasys.program.program import Program
from ofasys.task.task import Task
from ofasys.testing.case import CONFIG
from ofasys.testing.promise import Report, kept

MOST = 4  # parts that are tried
WORDS = ("one", "two three", "four five six", "seven")


def check_pattern(pattern: Pattern, *, registry: Registry | None = None) -> Report:
    """Check everything a pattern promises, with slots of TEXT on a small model that has seen no data. Takes seconds.
    registry: what it is added to; the built-in modalities if None.

    Errors: AssertionError for the first promise that is not kept, ConfigError where it clashes with what is there or
    the checks are left out by `python -O`.
    """
    cases = [_Case(pattern, (registry or BUILT_IN).with_(pattern), parts) for parts in _sizes(pattern)]
    checks = ("ways", "text", "mistakes", "plan", "rows", "answers", "learning")

    def check(name: str) -> str:
        return [getattr(case, f"check_{name}")() for case in cases][-1]

    return kept(f"pattern {pattern.name}", [(name, partial(check, name)) for name in checks])


def _sizes(pattern: Pattern) -> range:
    """How many parts are tried."""
    most = min(MOST_PARTS, max(MOST, pattern.least)) if pattern.between else 1
    return range(pattern.least, most + 1)


@dataclass(frozen=True)
class _Case:
    """A pattern with so many parts, of one slot of TEXT each: s0, s1 ... on the source and t0, t1 ... on the target."""

    pattern: Pattern
    registry: Registry
    parts: int

    @cached_property
    def ways(self) -> tuple[tuple[int, ...], ...]:
        return self.pattern.ways_of(self.parts)

    def spelled(self, letter: str, words: str = "") -> str:
        """The pattern as a person would write it. words: prose in each of its parts."""
        if not self.pattern.opens:
            return f"[TEXT:{letter}0]{self.pattern.closes}"
        inner = self.pattern.between.join(f"{words} [TEXT:{letter}{part}]" for part in range(self.parts))
        return f"{self.pattern.opens}{inner}{self.pattern.closes}"

    @property
    def line(self) -> str:
        return f"so [TEXT:q] {self.spelled('s', 'as')} -> {self.spelled('t', 'is')} [TEXT:a]"

    def rows(self) -> Iterator[tuple[dict[str, str], tuple[int, ...], tuple[int, ...]]]:
        """(a row, the way its source stands in, and its target) for each pair of ways."""
        for own in self.ways:
            for other in self.ways:
                row = {"q": "what", "a": "that"}
                row |= {f"s{part}": WORDS[part % len(WORDS)] for part in own}
                yield row | {f"t{part}": WORDS[-1 - part % len(WORDS)] for part in other}, own, other

    @cached_property
    def planned(self) -> Plan:
        return plan(self.line, modalities=self.registry)

    @cached_property
    def model(self) -> GeneralistModel:
        """A small model that has grown for the line. Not trained."""
        task = Task("t", self.line, train=[row for row, *_ in self.rows()], modalities=self.registry)
        model = GeneralistModel(config=CONFIG, modalities=self.registry)
        model.grow([(task.plan, task.labels)], task.texts)
        return model.eval()

    @cached_property
    def program(self) -> Program:
        return flow.bind(self.model, self.planned)

    def check_ways(self) -> str:
        return f"{len(self.ways)} of {self.parts} part{'s' * (self.parts > 1)}"

    def check_text(self) -> str:
        words = lexicon(self.registry)
        marks = "".join(f"\\{mark}" for mark in words.grammar.marks) + "\\|\\[\\]"
        lines = [self.line, f"{marks} {self.line}", f"{self.spelled('s', 'a (b) ' + marks)} -> [TEXT:a]"]
        for line in lines:
            made = Instruction(line, words)
            again = Instruction(str(made), words)
            assert again == made, f"{line!r} prints as {str(made)!r}, which says another"
            assert str(again) == str(made), f"{line!r} prints as {str(made)!r}, and that as {str(again)!r}"
            assert deepcopy(made) == made, f"{line!r} does not survive being copied"
        return f"{str(Instruction(self.line, words))!r} reads back as it prints"

    def check_mistakes(self) -> str:
        words, one = lexicon(self.registry), self.pattern
        wrong = [f"{self.spelled('s')} [TEXT:s0] -> [TEXT:a]", f"({self.spelled('s')})* -> [TEXT:a]"]
        wrong += [f"{self.spelled('s')}* -> [TEXT:a]"]
        if one.opens:
            wrong += [f"{self.spelled('s')[:-1]} -> [TEXT:a]", f"[TEXT:s] {one.closes} -> [TEXT:a]"]
            wrong += [f"{one.opens}{one.closes} -> [TEXT:a]"]
        for line in wrong:
            try:
                Instruction(line, words)
            except InstructionError:
                continue
            raise AssertionError(f"{line!r} is no instruction, and was read as one")
        return f"{len(wrong)} lines that are none are refused, each with its place"

    def check_plan(self) -> str:
        made = self.planned
        again = plan(self.line, modalities=self.registry)
        assert again.fingerprint == made.fingerprint, "two plans of one line differ"
        assert self.pattern.about in str(made), f"print(plan) does not say {self.pattern.about!r}"
        return f"fingerprint {made.fingerprint} twice"

    def check_rows(self) -> str:
        symbols, count = self.program.symbols, 0
        for row, own, other in self.rows():
            sample = flow.preprocess(self.program, row)
            said = " ".join(symbols.decode(piece.tensors["tokens"]) for _, piece in sample.source)
            expected = ["so", "what", *(word for part in own for word in self._words("as", row[f"s{part}"]))]
            assert said == " ".join(expected), f"a row of the way {own} reads {said!r}, not {' '.join(expected)!r}"
            values = split(self.program, np.asarray(sample.run.tokens))
            for slot in self.planned.on("target"):
                true = [row[slot.column]] if slot.column in row else []
                found = [symbols.decode(run) for run in values[slot.index]]
                assert found == true, f"{slot.name} of the way {other} comes back as {found}, not {true}"
            count += 1
        for there in range(2**self.parts):
            part = {at for at in range(self.parts) if there >> at & 1}
            row = {"q": "what", "a": "that"} | {f"s{at}": "x" for at in part}
            if part not in [set(way) for way in self.ways]:
                self._refused(row)
        return f"{count} rows, a way each, are read and come back"

    def _words(self, lead: str, value: str) -> list[str]:
        return [lead, value] if self.pattern.opens else [value]

    def _refused(self, row: dict[str, str]) -> None:
        try:
            flow.preprocess(self.program, row, target=False)
        except DataError:
            return
        raise AssertionError(f"a row with {', '.join(row)} stands in no way, and was read")

    def check_answers(self) -> str:
        made, options = self.program, SearchOptions(max_length=8)
        rows = [row for row, _, other in self.rows() if other == self.ways[0]]
        samples = [flow.preprocess(made, row, target=False) for row in rows]
        for sample, answers in zip(samples, flow.generate(self.model, made, samples, options), strict=True):
            values = flow.postprocess(made, sample, answers[0])
            there = {at for at in range(self.parts) if values[f"t{at}"] is not None}
            assert there in [set(way) for way in self.ways], f"an answer has the parts {sorted(there)}, which is no way"
        return f"{len(rows)} answers of an untrained model, each in one of its ways"

    def check_learning(self) -> str:
        model, made = self.model, self.program
        batch = to_device(flow.collate(made, [flow.preprocess(made, row) for row, *_ in self.rows()]), model.device)
        model.zero_grad(set_to_none=True)
        states = flow.compute(model, flow.adapt(model, batch))
        loss = flow.criterion(model, made, flow.emit(model, made, states, batch), batch)
        loss.total.backward()
        assert torch.isfinite(loss.total), f"the loss is {loss.total.item()}"
        low, high = made.symbols.vocabulary.span(made.plan.choices[-1].range)
        assert model.table.grad is not None, "no gradient reaches the token table"
        reached = int((model.table.grad[low:high] != 0).any(1).sum())
        assert len(self.ways) == 1 or reached == high - low, f"a gradient reaches {reached} of {high - low} ways"
        model.zero_grad(set_to_none=True)
        return f"a gradient into {reached} of {high - low} ways"
