"""How answers are made: the source read once, then the target stage by stage, each by its slot's own generator."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
import torch

from ofasys.generalist import GeneralistModel
from ofasys.generator.check import check_hypotheses, check_labels, check_scores, check_values
from ofasys.generator.constraint import Constraint
from ofasys.generator.decoder import Rounds
from ofasys.generator.flock import Member
from ofasys.generator.generator import RANK, SEARCH, Generator
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.on_demand import OnDemand
from ofasys.generator.options import SearchOptions
from ofasys.modality import plugin
from ofasys.planner.slot import items_of
from ofasys.program.answer import Answer, Part, SoFar
from ofasys.program.batch import (
    rows_of,
    side_batch,
    source_targets,
    sources,
    target_side,
    to_device,
    token_features,
)
from ofasys.program.program import Program, Stage, TokenStage, ValueStage
from ofasys.program.steps import Opening, StepDecoder, ValueContinuation
from ofasys.program.together import JoiningDecoder, Together, TurnDecoder, Work
from ofasys.seeds import key_of
from ofasys.types import Fixed, Hidden, OneOf, Sample, SlotFeatures, SlotTargets, States, Stream, TokenSpan, ValueSpan

AnySide = TypeVar("AnySide", Stream | None, Hidden | None)


class Generation:
    """The answers of a batch of samples, while they are made.

    before: per sample the features that stand in its target so far. parts: what its stages became; numbers: which these
    are, and the one that is next. rounds: how many it has begun of the repetition it is in. rows: the samples that are
    gone on with now. together: what else goes on in turns with it; None: it has the model for itself.
    """

    def __init__(
        self,
        model: GeneralistModel,
        program: Program,
        samples: Sequence[Sample],
        options: SearchOptions,
        seeds: Sequence[int],
        together: Together | None = None,
    ) -> None:
        self.model, self.program, self.samples, self.together = model, program, samples, together
        self.options, self.seeds = options, seeds
        self.source: Stream | None = None
        self.memory: Hidden | None = None
        self.decoder: StepDecoder | None = None
        self.last: list[dict[int, Any]] | None = None  # what of each answer is of the source, while the end is searched
        self.before: list[list[tuple[str, SlotFeatures]]] = [[] for _ in samples]
        self.parts: list[list[Part]] = [[] for _ in samples]
        self.numbers = [[0] for _ in samples]
        self.rounds = [0] * len(samples)
        self.rows: Sequence[int] = range(len(samples))

    def read(self, memory: Hidden | None = None) -> None:
        """The source, once. memory: its states, where they are known."""
        samples, program = self.samples, self.program
        self.source = self.stream(sources(samples)) if program.plan.source and self._unread(memory) else None
        self.memory = self.states(self.source) if memory is None and self._asked() else memory

    def answers(self) -> list[Sequence[Answer]]:
        """Per sample its answers, best first: several where only the target's last stage is made, of tokens; else
        one.
        """
        scores, extras = self.of_source()
        stages = self.program.stages
        only_last = bool(stages) and not any(stage.chosen for stage in stages[:-1])
        while (number := min(self.next)) < len(stages):
            stage = stages[number]
            if isinstance(stage, TokenStage) and only_last and number == len(stages) - 1:
                self.last = extras
                return [
                    answers_of(parts, hypotheses, found)
                    for parts, hypotheses, found in zip(
                        self.parts, self.search(number, self.options), extras, strict=True
                    )
                ]
            self.rows = [i for i, following in enumerate(self.next) if following == number]
            self.take(number, stage)
        for i, parts in enumerate(self.parts):
            scores[i] += sum(part.score for part in parts if isinstance(part, Hypothesis))
        return [
            [Answer(tuple(parts), score, found, tuple(numbers[:-1]))]
            for parts, score, found, numbers in zip(self.parts, scores, extras, self.numbers, strict=True)
        ]

    @property
    def next(self) -> list[int]:
        """Of each sample the number of the stage it is at, one past the last where it is done.

        The first of them goes on: so samples that are in a repetition go through its rounds together, and those that
        have left it wait for the others.
        """
        return [numbers[-1] for numbers in self.numbers]

    def take(self, number: int, stage: Stage) -> None:
        """One stage of the target, of the samples that are at it."""
        if isinstance(stage, TokenStage):
            self.take_tokens(number, stage)
        else:
            self.take_value(number, stage)

    def became(self, i: int, part: Part, key: str, features: SlotFeatures, following: int) -> None:
        """What the stage that sample i is at became, how it stands in the target, and which stage comes after it."""
        stage = self.program.stages[self.numbers[i][-1]]
        self.parts[i].append(part)
        self.before[i].append((key, features))
        self.numbers[i].append(following)
        if len(stage.exits) > 1:  # a round may have begun
            again = stage.inside and following == stage.exits[0]
            self.rounds[i] = self.rounds[i] + 1 if again else int(following in stage.exits[:-1])

    def stream(self, features: Sequence[Sequence[tuple[str, SlotFeatures]]]) -> Stream:
        """Source features -> their stream."""
        return self.model.streams([to_device(side_batch(self.program, features), self.model.device)])[0]

    def states(self, source: Stream | None) -> Hidden | None:
        """What the engine makes of a source."""
        return None if source is None else self.model.read(source)

    def opening(self, source: Stream | None, states: Hidden | None, prefix: Stream | None) -> Opening:
        """What sessions begin with: the states of the source, or its stream, as the engine asks for."""
        engine = self.model.engine
        source, states = (None, states) if engine.reads_states else (source, None)
        return Opening(engine, self.of_rows(source), self.of_rows(states), len(self.rows), prefix)

    def of_rows(self, side: AnySide) -> AnySide:
        """What a side's streams or states are of the samples that are gone on with now."""
        if side is None or len(self.rows) == side.layout.batch:
            return side
        chosen: Any = side.chosen(self.rows, *rows_of(side.layout, self.rows))
        found: AnySide = chosen
        return found

    def _unread(self, memory: Hidden | None) -> bool:
        """Whether the source's stream is needed."""
        return memory is None or not self.model.engine.reads_states

    def _asked(self) -> bool:
        """Whether the source's states are needed: an engine that opens on streams reads it again in each session."""
        learned = any(slot.kind is not None for slot in self.program.plan.on("source"))
        return self.model.engine.reads_states or learned or self.program.plan.views is not None

    def of_source(self) -> tuple[list[float], list[dict[int, Any]]]:
        """(score, slot -> what it is answered with) of each sample, for label columns and views."""
        plan, scores = self.program.plan, [0.0] * len(self.samples)
        found: list[dict[int, Any]] = [{} for _ in self.samples]
        answered = {slot.index for slot in plan.answered}
        for targets in source_targets(self.program, self.samples):
            if not {targets.slot, targets.label_slot} & answered:
                continue
            seen = self.model.values_at(self.program, States(self.memory, None), to_device(targets, self.model.device))
            criterion: Any = self.model.criterion_for(plan.slots[targets.slot])
            if targets.label_slot is None:
                for answer, vector in zip(found, criterion.embed(seen).float().cpu().numpy(), strict=True):
                    answer[targets.slot] = vector
                continue
            slot = plan.slots[targets.label_slot]
            assert slot.made_by is not None
            decode = slot.made_by.resolve()
            options = {**plan.slots[targets.slot].values, **self.options.draw}
            lo, hi = self.program.span(slot)
            made = decode(criterion.log_probs(seen), targets.lengths.tolist(), options)
            for i, (tokens, logprob) in enumerate(check_labels(slot.made_by, made, len(targets.lengths), hi - lo)):
                found[i][slot.index] = np.asarray(tokens, dtype=np.int64) + lo
                scores[i] += logprob
        if plan.views is not None:
            scores = [float(answer[plan.views.left] @ answer[plan.views.right]) for answer in found]
        return scores, found

    def search(self, number: int, options: SearchOptions) -> Sequence[Sequence[Hypothesis]]:
        """The hypotheses of a stage of tokens, per sample."""
        model, program = self.model, self.program
        constraint = program.constraint_of(number)
        prefixes = [self.prefix(i, number) for i in self.rows]
        past = self.past()
        opening = self.opening(self.source, self.memory, past)
        given = opening, model.table, model.head, model.output()
        decoder = StepDecoder(*given) if self.together is None else self.together.decoder(*given)
        record = program.plan.generator
        begun = np.array([len(prefix) for prefix in prefixes]) + decoder.order.cpu().numpy()
        rooms = model.engine.max_positions - begun - int(constraint.reserve.max()) - program.reserved(number)
        if constraint.gates:
            decoder.rounds, rooms = self.rounds_of(number, rooms)
        decoder.rooms = rooms
        room = int(rooms.max() if record.apart else rooms.min())
        options = replace(options, max_length=max(1, min(options.max_length, room)))
        self.decoder = decoder
        try:
            return self.searched(record, decoder, constraint, prefixes, options)
        finally:
            decoder.end()

    def searched(
        self,
        record: Generator,
        decoder: StepDecoder,
        constraint: Constraint,
        prefixes: Sequence[np.ndarray],
        options: SearchOptions,
    ) -> Sequence[Sequence[Hypothesis]]:
        """What a generator of tokens finds, per sample."""
        program = self.program
        if (record.ranks or options.scores) and constraint.start != constraint.accept:
            record = record if record.ranks else RANK
            ranked = record.resolve()(decoder, constraint, prefixes, normalise=options.normalise)
            scores = check_scores(record, ranked, len(prefixes), _labels(program))
            return [labels_by(row, program, constraint, options.n_best) for row in scores]
        record = SEARCH if record.ranks else record
        found = record.resolve()(decoder, constraint, prefixes, options, sources=self.draws)
        return check_hypotheses(record, found, len(prefixes))

    def past(self) -> Stream | None:
        """What stands in the targets so far."""
        before = [self.before[i] for i in self.rows]
        if not any(before):
            return None
        side = to_device(target_side(self.program, before), self.model.device)
        return self.model.streams([side])[0]

    def prefix(self, i: int, number: int) -> np.ndarray:
        """The tokens with which a stage of sample i begins."""
        run = next(run for run in self.samples[i].target if run.stage == number)
        assert isinstance(run, TokenSpan)
        return run.prefix

    def rounds_of(self, number: int, rooms: np.ndarray) -> tuple[Rounds, np.ndarray]:
        """(how far the samples are in a repetition of which a round may begin in a stage, the places (n,) each has
        left with room for that round). rooms (n,): without.

        No further round begins where there is no room for it, and none after `max_length` tokens.
        """
        written = [sum(len(part.tokens) for part in self.parts[i] if isinstance(part, Hypothesis)) for i in self.rows]
        takes = self.program.round(number)
        last = (rooms <= takes) | (np.array(written) >= self.options.max_length)
        begun = np.array([self.rounds[i] for i in self.rows])
        return Rounds(begun, last), np.where(last, rooms, rooms - takes)

    def take_tokens(self, number: int, stage: TokenStage) -> None:
        """A stage of tokens: the best hypothesis of each sample."""
        for i, hypotheses in zip(self.rows, self.search(number, replace(self.options, n_best=1)), strict=True):
            best = hypotheses[0]
            features = token_features(self.program, number, self.prefix(i, number), best.tokens, best.states)
            self.became(i, best, "tokens", features, stage.onward(best.states, best.tokens))

    def take_value(self, number: int, stage: ValueStage) -> None:
        """A value that is no tokens: as it was given, or drawn by its slot's generator, all samples at once."""
        slot = self.program.plan.slots[stage.slot]
        if not stage.chosen:
            for i in self.rows:
                whole = next(run for run in self.samples[i].target if run.stage == number)
                assert isinstance(whole, ValueSpan)
                assert whole.features is not None
                self.became(i, None, slot.key, whole.features, stage.next)
            return
        assert slot.made_by is not None
        past = self.past()
        assert past is not None
        kept = self.program.reserved(number)
        onward, negative = self.continuation(self.opening(self.source, self.memory, past), kept), None
        negatives = [self.samples[i].negative for i in self.rows]
        options = {**slot.values, **self.options.draw}
        if all(stream is not None for stream in negatives) and options.get("guidance_weight", 1.0) != 1.0:
            away = self.stream([stream for stream in negatives if stream is not None])
            states = self.states(away) if self.model.engine.reads_states else None
            negative = self.continuation(self.opening(away, states, past), kept)
        draw = slot.made_by.resolve()
        try:
            values = draw(
                plugin.Watched(slot.name, self.model.adaptors[slot.key]),
                onward,
                options,
                [self.seed(n, number) for n in self.draws],
                negative,
            )
        finally:
            for one in (onward, negative):
                if one is not None:
                    one.end()
        for i, frames in zip(self.rows, check_values(slot.made_by, values, len(self.rows)), strict=True):
            stands = self.program.preprocessors[slot.index].from_frames
            features = plugin.called(slot.name, stands, frames)
            plugin.check_features(slot.name, stands, features, frames, self.program.symbols.vocabulary.size)
            self.became(i, frames, slot.key, features, stage.next)

    def continuation(self, opening: Opening, kept: int) -> ValueContinuation:
        """What came before a value."""
        return ValueContinuation(opening, kept) if self.together is None else self.together.continuation(opening, kept)

    @property
    def draws(self) -> list[int]:
        """The number of each sample by which draws are made; others at each stage of each round of a repetition."""
        return [
            key_of("round", self.seeds[i], self.rounds[i], self.numbers[i][-1]) if self.rounds[i] else self.seeds[i]
            for i in self.rows
        ]

    def seed(self, number: int, stage: int) -> int:
        """What the draws of one value of a sample are a function of."""
        return ((self.options.seed * 1_000_003 + number) * 1_009 + stage) % 2**63


class Running:
    """The answers of one program's samples, which go on together with others."""

    def __init__(self, generation: Generation, work: Work[list[Sequence[Answer]]]) -> None:
        self.generation, self.work = generation, work

    @property
    def over(self) -> bool:
        """Whether they are there, or never will be."""
        return self.work.over

    @property
    def found(self) -> list[Sequence[Answer]]:
        """Per sample its answers, best first. Raises what went wrong, if anything did."""
        return self.work.found

    @property
    def ended(self) -> dict[int, Sequence[Answer]]:
        """Number -> answers of those samples that have them while others are searched for."""
        if (member := self._member) is None or self.generation.last is None:
            return {}
        made = self.generation
        assert made.last is not None
        return {
            i: answers_of(made.parts[i], check_hypotheses(SEARCH, [found], 1)[0], made.last[i])
            for i, found in enumerate(member.found)
            if found is not None
        }

    def leave(self, number: int) -> bool:
        """One of the samples is given up -> whether it can leave alone."""
        if (member := self._member) is None or self.generation.last is None:
            return False
        member.leave(number)
        return True

    @property
    def _member(self) -> Member | None:
        decoder = self.generation.decoder
        return decoder.member if isinstance(decoder, JoiningDecoder) else None

    def so_far(self, number: int = 0) -> SoFar | None:
        """What of the answer to a sample is there while it is made; None where several ways are followed, and of a
        batch that is not made row by row.
        """
        generation = self.generation
        parts, decoder = generation.parts[number], generation.decoder
        if not isinstance(decoder, TurnDecoder) or (len(generation.samples) != 1 and decoder.member is None):
            return None
        numbers, stages = generation.numbers[number], generation.program.stages
        stage = stages[numbers[-1]] if numbers[-1] < len(stages) else None
        tokens = np.zeros(0, dtype=np.int64)
        if isinstance(stage, TokenStage) and decoder.member is not None and number in generation.rows:
            if (written := decoder.member.written(generation.rows.index(number))) is None:
                return None
            tokens = written
        elif isinstance(stage, TokenStage) and decoder.inside:
            if decoder.group > 1:
                return None
            tokens = decoder.fed()[len(generation.prefix(0, numbers[-1])) :]
        return SoFar(tuple(parts), tokens, tuple(numbers))


class Generations:
    """Answers of one model that are made together, of any programs: each joins and leaves between two steps.

    A context manager for one thread: within it the model is answering, and all that is made with it is made by this
    thread. kept: the states of sources asked for last. apart: few batches of many rows are asked for, which go on
    together only where their rows join and leave one search.
    """

    def __init__(self, model: GeneralistModel, kept: KeptStates | None = None, *, apart: bool = False) -> None:
        self.model, self.kept, self.apart = model, kept, apart
        self._within, self._mode = ExitStack(), ExitStack()

    def __enter__(self) -> Generations:
        with ExitStack() as within:
            within.enter_context(self.model.answering())
            within.callback(lambda: self._mode.close())
            self._compute()
            self._within = within.pop_all()
        self.together = Together(self.model.engine, self.apart)
        self.weights = [] if self.kept is None else list(self.model.parameters())
        return self

    def __exit__(self, *raised: Any) -> None:
        try:
            self.together.stop()
        finally:
            self._within.close()

    def _compute(self) -> None:
        """From now on what is computed is of the model."""
        self._mode.enter_context(torch.inference_mode())
        self._mode.enter_context(self.model.computing())

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within it what is computed is as outside: rows are read, say, and answers made into values."""
        self._mode.close()
        try:
            yield
        finally:
            self._compute()

    @property
    def rows(self) -> int:
        """Hypotheses that hold a place in the model now; of an engine whose sessions do not join none."""
        return 0 if self.together.joined is None else self.together.joined.rows

    def begin(
        self,
        program: Program,
        samples: Sequence[Sample],
        options: SearchOptions,
        seeds: Sequence[int],
        memory: Hidden | None = None,
    ) -> Running:
        """Answers as of `flow.generate`, made from now on."""
        made = Generation(self.model, program, samples, options, seeds, self.together)

        def run() -> list[Sequence[Answer]]:
            known = None if self.model.reduced else memory  # as it is read where nothing was judged before
            if known is None and self.kept is not None:
                now = self.model.weights_now(self.weights)
                known = self.kept.of(made, now, lambda source: self.together.reading(source, made.states))
            made.read(known)
            return made.answers()

        return Running(made, self.together.begin(run))

    def turn(self) -> None:
        """All go on by a step."""
        self.together.turn()

    def stop(self, running: Running) -> None:
        """These are given up; their rows are free."""
        running.work.stop()


class KeptStates:
    """States of sources by their content: a source that was read is not read again while it is held and the weights
    are the same. size: bytes of states that are held at most, but for those of the last source.
    """

    def __init__(self, size: int = 2**26) -> None:
        self.size, self.held = size, 0
        self.states: OrderedDict[bytes, Hidden] = OrderedDict()
        self.weights: tuple[Any, ...] = ()

    def of(self, generation: Generation, weights: tuple[Any, ...], read: Callable[[Stream], Hidden]) -> Hidden | None:
        """The states of a generation's source; None where it has none, or its engine reads streams. weights: what
        changes when they do. read: what makes states of a source.
        """
        model, program = generation.model, generation.program
        if not program.plan.source or not model.engine.reads_states:
            return None
        if weights != self.weights:
            self.states.clear()
            self.weights, self.held = weights, 0
        key = _content(sources(generation.samples))
        found = self.states.get(key)
        if found is None:
            found = read(generation.stream(sources(generation.samples)))
            if key not in self.states:  # two may have asked for it at once
                self.states[key] = found
                self.held += found.states.nbytes
        self.states.move_to_end(key)
        while self.held > self.size and len(self.states) > 1:
            self.held -= self.states.popitem(last=False)[1].states.nbytes
        return found


def _content(streams: Sequence[Sequence[tuple[str, SlotFeatures]]]) -> bytes:
    """What streams say, as a key."""
    made = sha256()
    for stream in streams:
        made.update(f"stream {len(stream)}".encode())
        for key, features in stream:
            made.update(f"|{key}|{features.length}|{features.orders}|".encode())
            arrays = {**features.tensors, "": features.grid if features.grid is not None else np.zeros(0)}
            for name, array in arrays.items():
                made.update(f"{name}|{array.dtype}|{array.shape}|".encode())
                made.update(np.ascontiguousarray(array).tobytes())
    return made.digest()


def _labels(program: Program) -> int:
    """How many labels a target has that ends in one closed set."""
    last = program.stages[-1]
    assert isinstance(last, TokenStage)
    (item,) = items_of(last.steps)
    assert isinstance(item, (OneOf, Fixed))
    return len(program.labels[item.slot])


def answers_of(parts: Sequence[Part], hypotheses: Sequence[Hypothesis], found: Mapping[int, Any]) -> Sequence[Answer]:
    """The hypotheses of the last stage, after what stands before it, as answers; made as they are read."""

    def answer(place: int) -> Answer:
        return Answer((*parts, hypotheses[place]), hypotheses[place].score, found)

    return OnDemand(len(hypotheses), answer)


def labels_by(scores: np.ndarray, program: Program, constraint: Constraint, most: int) -> Sequence[Hypothesis]:
    """All labels of a target that is one closed set, the likeliest first, or the `most` of them if that is above 1.

    scores (L,): their log-probabilities, in the order of the set. constraint: of its stage.
    """
    order = np.argsort(-scores, kind="stable")

    def hypothesis(place: int) -> Hypothesis:
        label = int(order[place])
        tokens = program.label_tokens(label)
        logprob = float(scores[label])
        return Hypothesis(tokens, constraint.walk(tokens), logprob, logprob, True)

    return OnDemand(min(most, len(order)) if most > 1 else len(order), hypothesis)


def embedded_view(
    model: GeneralistModel,
    program: Program,
    view: int,
    streams: Sequence[Sequence[tuple[str, SlotFeatures]]],
    places: Sequence[tuple[int, int]],
) -> np.ndarray:
    """Source streams, each with one view at (first position, positions) -> embeddings (rows, E)."""
    side = to_device(side_batch(program, streams), model.device)
    memory = model.compute(model.streams([side])[0], None).source
    starts = np.cumsum([0, *(sum(features.length for _, features in stream) for stream in streams)])
    at = np.concatenate([np.arange(n) + start + first for start, (first, n) in zip(starts, places, strict=False)])
    lengths = torch.tensor([n for _, n in places])
    slot = program.plan.slots[view]
    assert slot.criterion is not None
    sizes = {"lengths": tuple(lengths.tolist())}
    targets = SlotTargets(view, slot.side, slot.criterion.name, torch.from_numpy(at), lengths, {}, sizes)
    seen = model.values_at(program, States(memory, None), to_device(targets, model.device))
    criterion: Any = model.criterion_for(slot)
    found: np.ndarray = criterion.embed(seen).float().cpu().numpy()
    return found
