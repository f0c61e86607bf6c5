"""What answers rely on of a generator, checked on a small model: kinds, draws, lengths, that nothing is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from ofasys import flow
from ofasys.errors import ConfigError, OfasysError
from ofasys.generator import Generator, SearchOptions
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.options import reaching
from ofasys.modality import Registry, default_registry
from ofasys.program.answer import Answer
from ofasys.program.program import TokenStage
from ofasys.testing.case import shown
from ofasys.testing.draws import draws_of, seed
from ofasys.testing.promise import LEFT_OUT, Report, check_about, check_options, kept
from ofasys.testing.trial import Trial, attributes_of, line_of

LONGEST = 8  # tokens or positions an untrained model may answer
CLOSE = 1e-3  # of the largest number: sums in another order, in float32


def check_generator(
    record: Generator,
    *,
    instruction: str | None = None,
    rows: Sequence[Mapping[str, Any]] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    registry: Registry | None = None,
) -> Report:
    """Check everything a generator promises, on a small model and a few rows. Takes seconds.

    instruction: one with a slot whose value it makes, such as `[TEXT:a] -> [TEXT:b,generator=least_risk]`; None: the
    first of a few built-in ones that it fits, of which the rows are made up. rows: two or more, with all of its
    columns. labels: closed sets by column. registry: what else is known; the built-in and installed records if None.

    Errors: AssertionError for the first promise that is not kept, in a sentence that names the generator and the check.
    ConfigError for what is no record, and under `python -O`, which takes assertions out.
    """
    if not isinstance(record, Generator):
        raise ConfigError(f"{record!r:.60} is no Generator; give the record of a generator")
    case = _Case(record, instruction, rows, labels, registry or default_registry())
    return kept(f"generator {record.name}", _checks(case))


class _Case:
    """A generator under check. Arguments as of `check_generator`."""

    def __init__(
        self,
        record: Generator,
        instruction: str | None,
        rows: Sequence[Mapping[str, Any]] | None,
        labels: Mapping[str, Sequence[str]] | None,
        known: Registry,
    ) -> None:
        self.record, self.instruction, self.rows, self.labels, self.known = record, instruction, rows, labels, known

    def registry(self) -> Registry:
        """What is known, with the generator. Errors: ConfigError where it cannot be registered."""
        return self.known if self.record in self.known.generators else self.known.with_(self.record)

    def begin(self) -> str:
        """Make the small model."""
        registry, made = self.registry(), f",generator={self.record.name}"
        learners = [attributes_of(one) + made for one in registry.criteria if one.kind == self.record.kind]
        line = self.instruction or line_of(registry, learners, lambda slot: slot.made_by == self.record)
        assert line is not None, "none of the built-in instructions takes it; give instruction= and rows= of its own"
        self.trial = Trial(self.record, line, self.rows, self.labels, registry)
        assert self.trial.slot.made_by == self.record, f"{line} has no slot that it makes"
        self.rounds = 0
        return line

    def answers(self, samples: slice = slice(None), **options: Any) -> list[list[Answer]]:
        """As `made`; what a program draws is other each time."""
        self.rounds += 1
        seed(self.rounds)
        return self.made(samples, **options)

    def made(self, samples: slice = slice(None), **options: Any) -> list[list[Answer]]:
        """Per sample its answers; each sample draws by its own number. options: of the search."""
        trial = self.trial
        asked = reaching({"max_length": LONGEST} | options, [self.record], trial.instruction)
        search = SearchOptions.from_dict(asked, [self.record])
        numbers = list(range(100, 100 + len(trial.questions)))[samples]
        found = flow.generate(trial.model, trial.program, trial.questions[samples], search, numbers)
        return [list(several) for several in found]


def _checks(case: _Case) -> Iterator[tuple[str, Callable[[], str]]]:
    """The checks in order: what is cheap and tells most comes first."""
    yield "record", lambda: _check_record(case)
    yield "options", lambda: check_options(case.record.options)
    yield "plan", case.begin
    yield "answers", lambda: _check_answers(case)
    yield "several", lambda: _check_several(case)
    yield "length", lambda: _check_length(case)
    yield "repeated", lambda: _check_repeated(case)
    yield "alone", lambda: _check_alone(case)
    yield "untouched", lambda: _check_untouched(case)


def _check_record(case: _Case) -> str:
    """It can be registered, loads, and says what it is."""
    record = case.record
    check_about(record.about)
    case.registry()
    record.resolve()
    assert not (record.ranks and record.searches), "it ranks and searches; a ranking takes no options of a search"
    return f"{record.load}, of {record.kind}"


def _check_answers(case: _Case) -> str:
    """An answer a sample: its tokens are sentences of the target, its numbers finite; each becomes a value."""
    trial, column = case.trial, _column(case)
    values = []
    for sample, several in zip(trial.questions, case.answers(), strict=True):
        for answer in several:
            assert np.isfinite(answer.score), f"an answer's score is {answer.score}"
            for stage, part in answer.staged(trial.program):
                if isinstance(part, Hypothesis) and isinstance(stage, TokenStage):
                    _check_tokens(part, stage.constraint)
                elif isinstance(part, np.ndarray):
                    assert np.isfinite(part).all(), f"a value {part.dtype} {part.shape} holds NaN or infinity"
        try:
            values.append(flow.postprocess(trial.program, sample, several[0])[column])
        except OfasysError as error:
            raise AssertionError(f"an answer becomes no value: {error}") from error
    return f"{len(values)} values, as {shown(values[0])}"


def _check_tokens(part: Hypothesis, constraint: Any) -> None:
    """Its tokens lead through the automaton to its end, its states are those before each, its score is a likelihood."""
    tokens = part.tokens.tolist()
    try:
        states = constraint.walk(part.tokens)
    except ValueError as error:
        raise AssertionError(f"tokens {tokens} are no sentence of the target: {error}") from error
    assert part.states.tolist() == states.tolist(), (
        f"states of tokens {tokens} are {part.states.tolist()}; the automaton's before each are {states.tolist()}"
    )
    last = constraint.advance(states[-1:], part.tokens[-1:])[0] if len(tokens) else constraint.start
    assert last == constraint.accept, f"tokens {tokens} end before the target does"
    assert part.logprob <= 1e-6, f"the log-probability of tokens {tokens} is {part.logprob}, above 0"


def _check_several(case: _Case) -> str:
    """A search gives as many answers as are asked for at most; a ranking probabilities, which sum to one."""
    if case.record.ranks:
        for several in case.answers():
            total = float(np.exp([answer.score for answer in several]).sum())
            assert abs(total - 1) < CLOSE, f"probabilities of all labels sum to {total:.4g}; expected 1"
        return f"{len(several)} labels of each sample"
    if not case.record.searches:
        return f"{LEFT_OUT}it gives one answer"
    counts = [len(several) for several in case.answers(beam_size=3, n_best=3)]
    assert max(counts) <= 3, f"of n_best=3 it gave {max(counts)} answers"
    return f"{max(counts)} answers of a sample at most"


def _check_length(case: _Case) -> str:
    """`max_length` holds; where it does not the record says why."""
    if case.record.lengthless is not None:
        return f"{LEFT_OUT}{case.record.lengthless}"
    slot, limited = case.trial.slot, 0
    if slot.closed_set or slot.side != "target":
        return f"{LEFT_OUT}it makes a label"
    for most in (2, LONGEST):
        for several in case.answers(max_length=most):
            for stage, part in several[0].staged(case.trial.program):
                if isinstance(part, Hypothesis) and isinstance(stage, TokenStage):
                    limit = max(most, int(stage.constraint.reserve[stage.constraint.start])) + 1  # and the end mark
                    assert len(part.tokens) <= limit, f"of max_length={most} it made {len(part.tokens)} tokens"
                elif part is not None and not isinstance(part, Hypothesis) and not slot.made_as.planned:
                    length = case.trial.program.preprocessors[slot.index].from_frames(part).length
                    assert length <= most, (
                        f"of max_length={most} it made {length} positions; say why as lengthless= if it does nothing"
                    )
                limited += part is not None
    return f"{limited} values of 2 and {LONGEST} at most" if limited else f"{LEFT_OUT}as long as it is planned"


def _check_repeated(case: _Case) -> str:
    """The same samples with the same numbers have the same answers, whatever is drawn elsewhere."""
    for options in _drawings(case):
        one, other = case.answers(**options), case.answers(**options)
        for number, (mine, again) in enumerate(zip(one, other, strict=True)):
            assert _same(mine[0], again[0], 0), (
                f"sample {number} is answered {_told(mine[0])}, then {_told(again[0])}, by the same number; its draws "
                "are a function of that number alone"
            )
    return "the same by the same numbers"


def _check_alone(case: _Case) -> str:
    """A sample has the answer it has in a batch, whoever is beside it."""
    count = len(case.trial.questions)
    for options in _drawings(case):
        together = case.answers(**options)
        alone = [case.answers(slice(i, i + 1), **options)[0] for i in range(count)]
        for number, (mine, own) in enumerate(zip(together, alone, strict=True)):
            assert _same(mine[0], own[0], CLOSE), (
                f"sample {number} is answered {_told(mine[0])} in a batch and {_told(own[0])} alone; neighbours, and "
                "the place in a batch, change nothing"
            )
    return f"{count} answers in a batch and alone"


def _check_untouched(case: _Case) -> str:
    """The model is as it was: weights, mode and gradients; and so is what the program draws elsewhere."""
    model = case.trial.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for options in _drawings(case):
        drawn = draws_of(partial(case.made, **options))
        assert not drawn, f"it draws by the state that {drawn[0]} shares; draw by a generator made of the seeds given"
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert not changed, f"it changes weight {changed[0]}"
    assert not any(part.training for part in model.modules()), "it leaves a part of the model in training mode"
    return "weights, mode and random states"


def _drawings(case: _Case) -> list[dict[str, Any]]:
    """Options of the search under which answers are compared: greedy, and drawn where it can be."""
    return [{}, {"sampling": True}] if case.record.searches else [{}]


def _column(case: _Case) -> str:
    """Where its values stand in an answer."""
    slot = case.trial.slot
    label = slot.label_slot
    return case.trial.task.plan.slots[label].column if label is not None else slot.column


def _same(one: Answer, other: Answer, close: float) -> bool:
    pairs = list(zip((*one.parts, *one.extras.values()), (*other.parts, *other.extras.values()), strict=True))
    return all(_alike(mine, theirs, close) for mine, theirs in pairs)


def _alike(one: Any, other: Any, close: float) -> bool:
    if isinstance(one, Hypothesis):
        return isinstance(other, Hypothesis) and one.tokens.tolist() == other.tokens.tolist()
    if one is None or other is None:
        return one is other
    mine, theirs = np.asarray(one), np.asarray(other)
    if mine.shape != theirs.shape:
        return False
    return bool(np.abs(mine - theirs).max(initial=0) <= close * max(float(np.abs(mine).max(initial=0)), 1e-6))


def _told(answer: Answer) -> str:
    parts = [part.tokens.tolist() if isinstance(part, Hypothesis) else part for part in answer.parts]
    told = [shown(part) for part in (*parts, *answer.extras.values()) if part is not None and len(part)]
    return ", ".join(told) or "nothing"
