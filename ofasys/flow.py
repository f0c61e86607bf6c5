"""The way data takes, a verb per stage. Read this first.

    text --parse--> Instruction --plan--> Plan --bind--> Program

    row --preprocess--> Sample --collate--> Batch --adapt--> Streams --compute--> States --emit--> predictions
                          |                                                                            |
                          |                                                                        criterion --> Loss
                          |
                          '-- generate: adapt, compute, emit, stage by stage --> Answer --postprocess--> value

Training, evaluation, inference and the command line call these verbs and own no second path; training calls four of
them at once, `model(program, batch)`.
`Program` is a plan bound to the symbols of one model: prompts tokenised, closed sets made into tries.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ofasys.criterion.losses import losses
from ofasys.errors import DataError
from ofasys.generalist import GeneralistModel
from ofasys.generation import Generations, KeptStates, Running, embedded_view
from ofasys.generator.options import SearchOptions
from ofasys.language import Instruction
from ofasys.modality import Context, Registry, lexicon, plugin
from ofasys.planner import Plan, plan
from ofasys.planner.slot import SlotPlan
from ofasys.program.answer import Answer, Runs, SoFar, runs, runs_so_far
from ofasys.program.batch import collate
from ofasys.program.program import Labels, Program
from ofasys.program.sample import Reader, Row
from ofasys.types import Batch, Hidden, Loss, Prediction, Sample, SlotPrediction, States, Stream

if TYPE_CHECKING:
    from typing import Annotated as Float

Streams = tuple[Stream | None, Stream | None]


def parse(text: str, modalities: Registry | None = None) -> Instruction:
    """Text -> Instruction. Errors: InstructionError with place, value and next step."""
    return Instruction(text, lexicon(modalities))


def bind(model: GeneralistModel, plan: Plan, labels: Labels | None = None) -> Program:
    """Plan -> Program, for the symbols of a model. labels: the closed set of each column that has one."""
    return model.bind(plan, labels)


def preprocess(
    program: Program,
    row: Row,
    *,
    target: bool = True,
    training: bool = False,
    random: np.random.Generator | None = None,
    root: str | Path | None = None,
    origin: str = "",
    negative: Row | None = None,
) -> Sample:
    """Row -> Sample. target: whether the row holds the answer. random: for masking, noise and augmentation.

    negative: a row whose source guidance leads away from. Errors: DataError naming slot and column, and what was
    expected.
    """
    try:
        reader = Reader(program, row, training=training, random=random, root=root, negative=negative)
        return reader.sample(target=target, origin=origin)
    except DataError as error:
        raise error.at(sample=origin or None) from error.__cause__


def adapt(model: GeneralistModel, batch: Batch) -> Streams:
    """Batch -> the embedding stream of each side, by each modality's adaptor."""
    return model.adapt(batch)


def compute(model: GeneralistModel, streams: Streams) -> States:
    """Streams -> hidden states of both sides."""
    return model.compute(*streams)


def emit(model: GeneralistModel, program: Program, states: States, batch: Batch) -> list[Prediction | SlotPrediction]:
    """Hidden states -> what is predicted for each of its targets: tokens, out of those that may come; or a slot's
    values.
    """
    return model.emit(program, states, batch)


def criterion(
    model: GeneralistModel,
    program: Program,
    predictions: Sequence[Prediction | SlotPrediction],
    batch: Batch,
    scale: Float[Tensor, "S"] | None = None,
    smoothing: float = 0.0,
) -> Loss:
    """Predictions -> Loss: of each slot the sum over its tokens, or whatever its criterion counts, and how many they
    are.

    scale: factor of each slot's sum in the total; None: its weight divided by its units. Parts of a batch with
    the scale of the whole add up to the whole. `model(program, batch, scale, smoothing)` is adapt, compute, emit and
    this in one.
    """
    return losses(predictions, model.criteria_of(program), batch, scale, smoothing)


def generate(
    model: GeneralistModel,
    program: Program,
    samples: Sequence[Sample],
    options: SearchOptions,
    seeds: Sequence[int] | None = None,
    memory: Hidden | None = None,
) -> list[Sequence[Answer]]:
    """Samples -> per sample its best answers, best first; of `rank` all labels. No dropout: as in evaluation.

    A target of several stages is made stage by stage, each decided before the next begins, so it has one answer.
    seeds: what draws are a function of, one a sample; 0, 1, ... if None. memory: the states of these samples' source,
    where they are known; a model that decodes in fewer bits reads them anew. Any number of threads may ask at once.
    Errors: ConfigError while another thread trains the model.
    """
    with Generations(model, apart=True) as together:
        numbers = range(len(samples)) if seeds is None else seeds
        running = together.begin(program, samples, options, numbers, memory)
        while not running.over:
            together.turn()
        return running.found


@torch.inference_mode()
def embed(
    model: GeneralistModel, program: Program, view: int, rows: Sequence[Row], root: str | Path | None = None
) -> np.ndarray:
    """One view of rows of a contrast -> embeddings (rows, E) of length one.

    Errors: DataError for a bad row, ConfigError while another thread trains the model.
    """
    readers = [Reader(program, row, root=root) for row in rows]
    read = [reader.source(view) for reader in readers]
    streams, places = [stream for stream, _ in read], [spans[view] for _, spans in read]
    with model.answering(), model.computing():
        return embedded_view(model, program, view, streams, places)


def postprocess(program: Program, sample: Sample, answer: Answer) -> dict[str, Any]:
    """What was generated -> column -> value; columns of a repetition hold lists. None for what the answer leaves out,
    and for what refers to a part that the row lacks.
    """
    return _values(program, sample, runs(program, answer), program.plan.answered)


def values_so_far(program: Program, sample: Sample, made: SoFar) -> tuple[dict[str, Any], tuple[str, Any] | None]:
    """What of an answer is there while it is made: (column -> value of those slots that are whole, and (column, value)
    of the slot that is being written, as far as it is; None: none is, or nothing of it is there).

    A repetition is there when it is done, and a slot that may be left out when all is.
    """
    found, writing = runs_so_far(program, made)
    there = [slot for slot in program.plan.answered if found[slot.index]]
    whole = _values(program, sample, found, [slot for slot in there if slot.index != writing])
    begun = [slot for slot in there if slot.index == writing and slot.group is None]
    if not begun:
        return whole, None
    ((column, value),) = _values(program, sample, found, begun).items()
    return whole, (column, value)


def _values(program: Program, sample: Sample, made: Runs, slots: Sequence[SlotPlan]) -> dict[str, Any]:
    """Column -> value of some slots."""
    values: dict[str, Any] = {}
    for slot in slots:
        context = Context(referred=sample.referred.get(slot.index), labels=program.labels.get(slot.index))
        if slot.made_as.embedded:
            values[slot.column] = made[slot.index][0]
            continue
        back = program.preprocessors[slot.index].postprocess
        lost = slot.refers_to is not None and program.plan.slots[slot.refers_to].optional and context.referred is None
        own = [None if lost else plugin.called(slot.name, back, run, context) for run in made[slot.index]]
        values[slot.column] = own if slot.group is not None else (own[0] if own else None)
    return values


__all__ = [
    "Generations",
    "KeptStates",
    "Running",
    "adapt",
    "bind",
    "collate",
    "compute",
    "criterion",
    "embed",
    "emit",
    "generate",
    "parse",
    "plan",
    "postprocess",
    "preprocess",
    "values_so_far",
]
