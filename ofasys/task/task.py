"""A Task: a name, one or more instructions, data, metrics, and how it takes part in a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from ofasys.arguments import TASK_CALLED, arguments
from ofasys.errors import ConfigError, DataError, OfasysError, PluginError, nearest
from ofasys.generator.options import SearchOptions, check_use, reaching
from ofasys.language import Instruction
from ofasys.metric import Metric, find, larger_is_better
from ofasys.modality import Context, Preprocessor, Registry, default_registry, lexicon, plugin
from ofasys.modality.shared.label import label_text
from ofasys.modality.symbols import check_text, is_text
from ofasys.planner import Plan, SlotPlan, plan
from ofasys.program.program import Labels, Program, staged
from ofasys.program.sample import elements
from ofasys.task.schedule import Entry
from ofasys.task.source import Row, Source, open_source
from ofasys.task.survey import Survey
from ofasys.task.when import NEVER, Condition, condition

SPLITS = ("train", "valid", "test")
BATCHES = ("rows", "tokens")
MOST_TEXTS = 20_000  # rows whose text trains the tokenizer, where columns are at hand
MOST_READ = 1_000  # the same where each row has to be read, pictures and all
OFTEN = 100  # prompts and labels come with every row, so they weigh as text that is seen often,
MOST_OFTEN = 100_000  # but the labels of a large set as no more than so many texts
BAD_LIMIT = 100  # bad rows that are skipped before training stops
MOST_WEIGHT = 1e6  # of a loss, in float32 and below its sums
MOST_EXAMPLES = 5_000  # rows that a preprocessor learns from before training

Scorer = Callable[..., Mapping[str, float] | float]  # (predictions, references) -> figures


@arguments("task", TASK_CALLED)
class Task:
    """What to learn, from what, and how it is judged.

    instruction: one, or several of which each micro-batch samples one.
    train, valid, test: rows, see `open_source`.
    metrics: one or several: names, `Metric`s, or functions (predictions, references) -> dict.
    weight: its share in the schedule.
    join, leave: the steps between which it takes part; each may be a condition instead, as "3 epochs", "accuracy >=
        0.95" of its valid rows, "OTHER.loss <= 0.5", or "no better accuracy in 4" evaluations.
    closed_set: column -> labels, or the labels of the only column that has a set; without it the labels are gathered
        from the training rows.
    settings: defaults for the plan, such as {"IMAGE.size": 64}.
    generate: search options used in evaluation.
    references: target column -> the column that holds the list of its right answers; evaluation scores against all of
        them, and a training row without a value in the target column is learned with one of them, drawn anew each
        epoch.
    on_bad: "skip" bad training rows (each counted once and written to quarantine.jsonl, at most bad_limit of them) or
        "stop".
    smoothing: label smoothing.
    loss_weight: factor of its loss (a slot's is `weight=`).
    shuffle: an order of its own in each epoch; False is the order of the rows.
    batch_by: "rows": each micro-batch has micro_batch_size of them. "tokens": it has as many as make up the tokens of
        so many average rows, many short ones or few long ones, by the lengths of their texts.
    buckets: batches of like length where text lengths are known; None: where rows are shuffled, for else it would undo
        their order.
    origin, licence: of its data, in words: where it is from, as "Flickr30k" or an address, and under what terms it may
        be used, as "cc-by-4.0". The card of a saved model says both.
    """

    def __init__(
        self,
        name: str,
        instruction: str | Instruction | Sequence[str | Instruction],
        train: Any = None,
        valid: Any = None,
        test: Any = None,
        *,
        metrics: str | Metric | Scorer | Sequence[str | Metric | Scorer] = (),
        micro_batch_size: int = 16,
        weight: float = 1.0,
        join: int | str = 0,
        leave: int | str | None = None,
        closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        generate: Mapping[str, Any] | None = None,
        references: Mapping[str, str] | None = None,
        on_bad: str = "skip",
        bad_limit: int | None = None,
        smoothing: float = 0.0,
        loss_weight: float = 1.0,
        shuffle: bool = True,
        buckets: bool | None = None,
        batch_by: str = "rows",
        origin: str = "",
        licence: str = "",
        modalities: Registry | None = None,
    ) -> None:
        self.name, self.modalities = name, modalities or default_registry()
        self.micro_batch_size, self.weight, self.join, self.leave = micro_batch_size, weight, join, leave
        self.on_bad, self.bad_limit = on_bad, BAD_LIMIT if bad_limit is None else bad_limit
        self.smoothing, self.loss_weight, self.batch_by = smoothing, loss_weight, batch_by
        self.shuffle, self.buckets = shuffle, shuffle if buckets is None else buckets
        self.origin, self.licence = origin, licence
        self._check_numbers()
        self._check_rows(bad_limit is not None)
        self.instructions = _instructions(name, instruction, self.modalities)
        self.settings = dict(settings or {})
        self.plans: tuple[Plan, ...] = tuple(
            plan(i, modalities=self.modalities, settings=self.settings) for i in self.instructions
        )
        self._check_learned()
        self.metrics = tuple(find(metric) for metric in several(metrics))
        for metric in self.metrics:
            metric_columns(metric, self.plan)
        self.generate = self._searched(generate or {})
        self.sources: dict[str, Source] = {}
        self.references = self._referred(references or {})
        self.closed_set = self._named(closed_set)
        self.known_labels: dict[str, tuple[str, ...]] | None = None
        self._lengths: np.ndarray | None = None
        self.conditions = self._conditions()
        self.entry()  # a weight, join or leave that cannot be is an error now
        for split, rows in zip(SPLITS, (train, valid, test), strict=True):
            if rows is not None:
                self.add_dataset(rows, split)

    def _check_numbers(self) -> None:
        """Errors: ConfigError for a name that is none, and for a factor that cannot be."""
        name, smoothing, weight = self.name, self.smoothing, self.loss_weight
        if not name or not all(c.isalnum() or c in "_-." for c in name):
            raise ConfigError(f"a task is named {name!r}; a name is letters, digits, '_', '-' and '.'")
        if not 0 <= smoothing < 1:
            raise ConfigError(f"task {name!r} has smoothing={smoothing}; it is 0 or more and less than 1")
        if not 0 < weight <= MOST_WEIGHT:
            raise ConfigError(f"task {name!r} has loss_weight={weight}; it is more than 0, and at most {MOST_WEIGHT:g}")

    def _check_rows(self, limited: bool) -> None:
        """Errors: ConfigError for ways with rows that are none, or do not go together. limited: bad_limit was given."""
        name, limit = self.name, self.bad_limit
        if self.on_bad not in ("skip", "stop"):
            raise ConfigError(f"task {name!r} has on_bad={self.on_bad!r}; it is 'skip' or 'stop'")
        if limited and (limit < 0 or self.on_bad == "stop"):
            why = "on_bad='stop' stops at the first, leave one out" if limit >= 0 else "it is 0 or more"
            raise ConfigError(f"task {name!r} has bad_limit={limit}; {why}")
        if self.buckets and not self.shuffle:
            raise ConfigError(
                f"task {name!r} has shuffle=False and buckets=True; rows sorted by length are not in their order, "
                "leave one out"
            )
        if self.batch_by not in BATCHES:
            near = nearest(str(self.batch_by), BATCHES)
            raise ConfigError(f"task {name!r} has batch_by={self.batch_by!r}; {near}it is 'rows' or 'tokens'")

    def _check_learned(self) -> None:
        """Errors: ConfigError for a setting that its kinds of target do not take."""
        kinds = [slot.made_as for p in self.plans for slot in p.slots]
        if self.smoothing and not any(kind.tokens for kind in kinds):
            raise ConfigError(
                f"task {self.name!r} has smoothing={self.smoothing}, and no slot that is learned as tokens; leave it "
                "out"
            )
        if self.by_tokens and any(kind.embedded for kind in kinds):
            raise ConfigError(
                f"task {self.name!r} has batch_by='tokens', and a contrast, which tells apart as many rows as come "
                "together; leave it out"
            )

    def _conditions(self) -> dict[str, Condition]:
        """Of `join` and `leave` those that are conditions. Errors: ConfigError for two that do not go together."""
        given = {"join": self.join, "leave": self.leave}
        found = {field: condition(said, self.name, field) for field, said in given.items() if isinstance(said, str)}
        if "join" in found and isinstance(self.leave, int):
            raise ConfigError(
                f"task {self.name!r} joins on a condition and leaves at step {self.leave}, which may be before; give "
                "leave a condition too, or none"
            )
        return found

    def __repr__(self) -> str:
        data = ", ".join(f"{split}: {len(source)}" for split, source in self.sources.items()) or "no data"
        return f"Task({self.name!r}, {str(self.instructions[0])!r}, {data})"

    @property
    def plan(self) -> Plan:
        """The plan of the first instruction."""
        return self.plans[0]

    @property
    def by_tokens(self) -> bool:
        """Whether micro-batches are of as many tokens, and not of as many rows."""
        return self.batch_by == "tokens"

    def add_dataset(self, rows: Any, split: str = "train", *, max_rows: int | None = None) -> Task:
        """Give the rows of a split. max_rows: how many are read of a stream (an `IterableDataset`).

        Errors: ConfigError for an unknown split or kind of rows, DataError for no rows.
        """
        if split not in SPLITS:
            raise ConfigError(
                f"task {self.name!r}: no split {split!r}; {nearest(split, SPLITS)}there are {', '.join(SPLITS)}"
            )
        try:
            self.sources[split] = open_source(rows, max_rows)
        except DataError as error:
            raise error.at(task=self.name) from error.__cause__
        except ConfigError as error:
            raise ConfigError(f"task {self.name!r}, {split}: {error}") from error
        if split == "train":
            self.known_labels = self._lengths = None
        self._check_classes(self.sources[split])
        return self

    def _check_classes(self, source: Source) -> None:
        """Errors: ConfigError for a closed set of numbers where the data names its classes, so that rows hold names."""
        for column, labels in self.closed_set.items():
            names = getattr(source, "classes", {}).get(column)
            if (
                isinstance(names, tuple)
                and set(labels).isdisjoint(names)
                and all(label.isdecimal() for label in labels)
            ):
                raise ConfigError(
                    f"task {self.name!r}: the closed set of {column!r} is {', '.join(labels[:8])}, but the data names "
                    "its "
                    f"classes: {', '.join(names[:8])}; give the names, or no closed set"
                )

    def source(self, split: str) -> Source:
        """The rows of a split. Errors: ConfigError when it has none."""
        if split not in self.sources:
            have = ", ".join(self.sources) or "none"
            if split not in SPLITS:
                raise ConfigError(f"task {self.name!r}: no split {split!r}; {nearest(str(split), SPLITS)}it has {have}")
            raise ConfigError(
                f"task {self.name!r} has no {split} rows (it has: {have}); give {split}= or add_dataset(rows, "
                f"{split!r})"
            )
        return self.sources[split]

    def learned(self, row: Row, random: np.random.Generator) -> Row:
        """The row as it is learned: a target column without a value gets one of its references, drawn by `random`.

        Errors: DataError for references that are no list of values.
        """
        if not self.references:
            return row
        filled = dict(row)
        for column, other in self.references.items():
            if row.get(other) is not None:
                ways = _ways(row[other], other)
                if row.get(column) is None:
                    filled[column] = ways[int(random.integers(len(ways)))]
        return filled

    def right_answers(self, program: Program, row: Row, root: str | Path | None = None) -> dict[str, list[Any]]:
        """Target column -> all its references in this row, as an answer would hold them; of those that have some.

        root: where relative paths start. Errors: DataError for a reference that is no answer.
        """
        found = {}
        for slot in program.plan.answered:
            ways = elements(row.get(self.references.get(slot.column, "")))
            if ways is not None:
                canonical = program.preprocessors[slot.index].canonical
                found[slot.column] = [canonical(way, Context(root=root)) for way in ways]
        return found

    def entry(self) -> Entry:
        """The task as a schedule sees it, before any condition of its own is met."""
        size = len(self.sources["train"]) if "train" in self.sources else None
        join = NEVER if isinstance(self.join, str) else self.join
        leave = None if isinstance(self.leave, str) else self.leave
        return Entry(self.name, self.weight, join, leave, size, self.micro_batch_size)

    @property
    def labels(self) -> Labels:
        """Column -> closed set: as given, else the distinct values of the training rows, sorted."""
        known = dict(self.closed_set) if self.known_labels is None else self.known_labels
        unknown = {s.column: (p, s) for p, s in self.closed_slots() if s.column not in known}
        self.known_labels = known | self._gathered(list(unknown.values())) if unknown else known
        return self.known_labels

    def restore_labels(self, labels: Labels) -> None:
        """Take the closed sets of a saved run instead of gathering them anew; those it lacks are gathered."""
        self.known_labels = {**{name: tuple(values) for name, values in labels.items()}, **self.closed_set}

    def closed_slots(self) -> list[tuple[Plan, SlotPlan]]:
        """Slots whose values come from a closed set, each with its plan."""
        return [(p, slot) for p in self.plans for slot in p.slots if slot.closed_set]

    def texts(self) -> Iterator[str]:
        """The task's own text: prompts, labels and text of the training rows; what a tokenizer is trained on."""
        often = [text for p in self.plans for text in p.prompts]
        for texts in (often, *self.labels.values()):
            times = min(OFTEN, max(1, MOST_OFTEN // max(1, len(texts))))
            for text in filter(is_text, texts):
                yield from repeat(text, times)
        if "train" not in self.sources:
            return
        columns = {s.column: (p, s) for p in self.plans for s in p.slots if any(name == "text" for name, _ in s.ranges)}
        for p, slot in columns.values():
            if not slot.closed_set:
                preprocessor = self.modalities.spec(slot.modality).preprocess[slot.preprocess.name].resolve()
                for value in self._survey().values((p, slot), MOST_TEXTS, MOST_READ):
                    yield from self._texts_of(preprocessor, value, slot)

    def _texts_of(self, preprocessor: type[Preprocessor], value: Any, slot: SlotPlan) -> list[str]:
        """The text in a value that can be learned from; a row that holds anything else is dealt with when it is
        drawn.
        """
        root = self.sources["train"].root
        try:
            return [t for t in plugin.called(slot.name, preprocessor.texts, value, slot.values, root) if is_text(t)]
        except PluginError as error:
            if isinstance(error.__cause__, (ValueError, OSError)):
                return []
            raise
        except OfasysError:
            return []

    def examples(self, p: Plan, slot: SlotPlan) -> Iterator[tuple[Any, Context]]:
        """Training values of a slot, for a preprocessor that fits; bad ones are its to leave out."""
        if "train" in self.sources:
            root = self.sources["train"].root
            for value in self._survey().values((p, slot), MOST_EXAMPLES, MOST_EXAMPLES):
                if value is not None or not slot.optional:
                    yield value, Context(root=root)

    def lengths(self) -> np.ndarray | None:
        """A length per training row for bucketing: characters of its text columns; None where they are not at hand."""
        texts = self._measured()
        if not texts:
            return None
        if self._lengths is None:
            survey = self._survey()
            lengths = survey.labels_and_lengths([], texts)[1]
            if not survey.in_one_pass(texts):
                return lengths  # rows in memory may be others the next time
            self._lengths = lengths
        return self._lengths

    def _measured(self) -> list[tuple[Plan, SlotPlan]]:
        """A slot of each text column, whose values make a row long or short; none where nobody asks."""
        columns = {s.column: (p, s) for p in self.plans for s in p.slots if s.value == "text" and not s.closed_set}
        return list(columns.values()) if self.buckets or self.by_tokens else []

    def _survey(self) -> Survey:
        return Survey(self.name, self.source("train"), self.references)

    def _gathered(self, closed: Sequence[tuple[Plan, SlotPlan]]) -> dict[str, tuple[str, ...]]:
        """The labels of slots, each of its own column; the lengths as well, where the same pass gives them."""
        if "train" not in self.sources:
            slot = closed[0][1]
            raise ConfigError(
                f"task {self.name!r}: the closed set of {slot.name} is not known; give closed_set={{{slot.column!r}: "
                f"[...]}} or training rows"
            )
        survey, texts = self._survey(), self._measured()
        found, lengths = survey.labels_and_lengths(closed, texts if survey.in_one_pass([*closed, *texts]) else [])
        for _, slot in closed:
            if not found[slot.column]:
                raise DataError(
                    "no training row holds a label",
                    expected="a str or an integer, True or False; or the labels as "
                    f"closed_set={{{slot.column!r}: [...]}} of the task",
                    task=self.name,
                    slot=slot.name,
                    column=slot.column,
                )
        self._lengths = lengths
        return {column: tuple(sorted(labels)) for column, labels in found.items()}

    def _searched(self, asked: Mapping[str, Any]) -> SearchOptions:
        """Errors: ConfigError for an option that no target of the task takes, or that would change nothing."""
        where = f"task {self.name!r}"
        generators = [generator for p in self.plans for generator in p.generators]
        given = reaching(asked, generators, where)
        if (
            any(generator.ranks for generator in generators)
            and "beam_size" not in given
            and isinstance(given.get("n_best"), int)
        ):
            given["beam_size"] = max(1, given["n_best"])  # of a ranking it is how many are shown
        options = SearchOptions.from_dict(given, generators)
        rewarded = any(slot.learned_by and slot.learned_by.rewarded for p in self.plans for slot in p.slots)
        free = any(p.free for p in self.plans)
        repeats = any(p.loops for p in self.plans)
        check_use(asked, options, generators, where, free=free, repeats=repeats, drawn=rewarded)
        if options.n_best > 1 and all(len(staged(p)) != 1 for p in self.plans):
            raise ConfigError(f"n_best is {options.n_best}, but {where} has one answer a row; leave it out")
        return options

    def _referred(self, references: Mapping[str, str]) -> dict[str, str]:
        """Errors: ConfigError for references of what is no target, or in no column of their own."""
        answered = [slot for p in self.plans for slot in p.answered if slot.side != "source"]
        able = sorted({slot.column for slot in answered if slot.group is None})
        slots = {slot.column for p in self.plans for slot in p.slots}
        for column, other in references.items():
            if column not in able:
                raise ConfigError(
                    f"task {self.name!r}: references names {column!r}, which is no target; {nearest(str(column), able)}"
                    f"targets that may have several answers: {', '.join(able) or 'none'}"
                )
            if not isinstance(other, str) or not other or other in slots:
                raise ConfigError(
                    f"task {self.name!r}: the references of {column!r} are {other!r}; give the name of a column that "
                    "holds a list of answers and is no slot of its own"
                )
        return dict(references)

    def _named(self, closed_set: Mapping[str, Sequence[str]] | Sequence[str] | None) -> dict[str, tuple[str, ...]]:
        if closed_set is None:
            return {}
        columns = sorted({slot.column for _, slot in self.closed_slots()})
        if not isinstance(closed_set, Mapping):
            if len(columns) != 1:
                raise ConfigError(
                    f"task {self.name!r}: closed_set={{column: labels}} is needed; columns with a set: "
                    f"{columns or 'none'}"
                )
            closed_set = {columns[0]: closed_set}
        for column, given in closed_set.items():
            values = elements(given)
            if not values:
                raise ConfigError(
                    f"task {self.name!r}: the closed set of {column!r} is {given!r:.80}; give a list of labels"
                )
            if column not in columns:
                raise ConfigError(
                    f"task {self.name!r}: closed_set names {column!r}, which has none; {nearest(column, columns)}"
                    f"columns with a set: {columns or 'none'} (write closed_set in the slot, or use CATEGORY)"
                )
        return {column: self._spelled(column, elements(values) or ()) for column, values in closed_set.items()}

    def larger_is_better(self, figure: str) -> bool | None:
        """Whether a larger value of a figure of its evaluation is the better one; None where neither is, or it is not
        known.
        """
        return True if figure in self.plan.ways else larger_is_better(figure, self.metrics)

    def _spelled(self, column: str, values: Sequence[Any]) -> tuple[str, ...]:
        """Errors: ConfigError for a label that is none."""
        try:
            labels = tuple(dict.fromkeys(map(label_text, values)))
            for label in labels:
                check_text(label)
        except DataError as error:
            raise ConfigError(f"task {self.name!r}: the closed set of {column!r}: {error}") from None
        return labels


def _instructions(name: str, given: Any, modalities: Registry) -> tuple[Instruction, ...]:
    """One instruction or several, as they were given. Errors: ConfigError for none, or something else."""
    one = isinstance(given, (str, Instruction)) or not isinstance(given, Iterable)
    texts = [given] if one else list(given)
    if not texts:
        raise ConfigError(f"task {name!r} has no instruction; give at least one")
    if odd := [t for t in texts if not isinstance(t, (str, Instruction))]:
        raise ConfigError(f"task {name!r} has an instruction of {type(odd[0]).__name__}; give a str or an Instruction")
    words = lexicon(modalities)
    return tuple(Instruction(t, words) if isinstance(t, str) else t for t in texts)


def several(metrics: str | Metric | Scorer | Sequence[str | Metric | Scorer]) -> Sequence[str | Metric | Scorer]:
    """One metric alone as a list of it."""
    if isinstance(metrics, (str, Metric)):
        return [metrics]
    return metrics if isinstance(metrics, Sequence) else [metrics]


def metric_columns(metric: Metric, plan: Plan) -> tuple[str, ...]:
    """The columns whose values a metric reads. Errors: ConfigError when the target has none of that kind."""
    free = list(plan.scored)
    chosen = []
    for kind in metric.takes:
        able = [s for s in free if kind in ("any", s.answer) or (kind == "text" and s.answer == "label")]
        if not able:
            kinds = ", ".join(slot.answer for slot in plan.scored)
            raise ConfigError(
                f"metric {metric.name!r} reads {' and '.join(metric.takes)}; the target of {plan.instruction} has "
                f"{kinds}"
            )
        chosen.append(able[0].column)
        free.remove(able[0])
    return tuple(chosen)


def _ways(value: Any, column: str) -> Sequence[Any]:
    """The references in a row. Errors: DataError when these are no list of at least one value."""
    ways = elements(value)
    if not ways or any(way is None or (isinstance(way, str) and not way.strip()) for way in ways):
        raise DataError(
            f"the references are {value!r:.80}",
            expected="a list of answers, at least one and none empty",
            column=column,
        )
    return ways
