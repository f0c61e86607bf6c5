"""The way data takes, a verb per stage. Read this first.

    text --parse--> Instruction --plan--> Plan --bind--> Program
    row --preprocess--> Sample --collate--> Batch --adapt--> Stream --compute--> Hidden --emit--> Prediction --criterion--> Loss
                          |                            '-- generate: adapt, compute, emit, step by step --> Hypothesis
                          '------------------------------------------------------------- postprocess --> value

Training, evaluation, inference, the command line and the server call these verbs and own no second path.
`Program` is a plan bound to the symbols of one model: prompts tokenised, closed sets made into tries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ofasys.criterion.cross_entropy import cross_entropy
from ofasys.errors import DataError
from ofasys.generalist import GeneralistModel
from ofasys.generator.options import SearchOptions
from ofasys.generator.search import Hypothesis, search
from ofasys.language import Instruction
from ofasys.modality import Context, Registry, lexicon
from ofasys.planner import Plan, plan
from ofasys.program.answer import split
from ofasys.program.batch import collate, half, to_device
from ofasys.program.program import Labels, Program
from ofasys.program.ranked import ranked
from ofasys.program.sample import Reader, Row
from ofasys.program.steps import StepDecoder
from ofasys.types import Batch, Hidden, Loss, Prediction, Sample, Stream

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
) -> Sample:
    """Row -> Sample. target: whether the row holds the answer. random: for masking, noise and augmentation.

    Errors: DataError naming slot and column, and what was expected.
    """
    try:
        return Reader(program, row, training=training, random=random, root=root).sample(target=target, origin=origin)
    except DataError as error:
        raise error.at(sample=origin or None) from error.__cause__


def adapt(model: GeneralistModel, batch: Batch) -> Streams:
    """Batch -> the embedding stream of each side."""
    sides = [side for side in (batch.source, batch.target) if side is not None]
    embedded = model.embed([stretch for side in sides for stretch in side.stretches])
    streams = []
    for side in sides:
        joined = torch.cat([next(embedded).to(model.table.dtype) for _ in side.stretches])
        if len(side.stretches) > 1:
            rows = torch.cat([stretch.rows for stretch in side.stretches])
            joined = torch.empty_like(joined).index_copy(0, rows, joined)
        streams.append(Stream(joined, side.layout))
    source = streams.pop(0) if batch.source is not None else None
    return source, streams.pop(0) if streams else None


def compute(model: GeneralistModel, streams: Streams) -> Hidden:
    """Streams -> hidden states of the target; of the source where there is no target."""
    source, target = streams
    memory = model.universal.encode(source) if source is not None else None
    hidden = model.universal.decode(target, memory) if target is not None else memory
    assert hidden is not None
    return hidden


def emit(model: GeneralistModel, program: Program, hidden: Hidden, batch: Batch) -> list[Prediction]:
    """Hidden states -> per goal, the states that predict, and the rows of the shared embedding they choose from."""
    found = []
    for goal in batch.goals:
        group = program.constraint.classes[goal.group]
        if group.contiguous:
            rows = model.table[group.lo : group.hi]
        else:
            rows = model.table.index_select(0, torch.from_numpy(group.candidates).to(model.device))
        found.append(Prediction(hidden.states.index_select(0, goal.at), rows, goal))
    return found


def criterion(predictions: Sequence[Prediction], smoothing: float = 0.0) -> Loss:
    """Predictions -> Loss: per slot the mean over its tokens, times its weight, summed."""
    total = None
    slots: dict[int, tuple[float, int]] = {}
    for p in predictions:
        loss, each, _ = cross_entropy(
            p.hidden, p.candidates, p.goal.labels, weights=p.goal.weights, allowed=p.goal.allowed, smoothing=smoothing
        )
        total = loss if total is None else total + loss
        for slot in p.goal.slots.unique().tolist():
            mine = p.goal.slots == slot
            before, count = slots.get(slot, (0.0, 0))
            slots[slot] = (before + float(each[mine].sum()), count + int(mine.sum()))
    if total is None:
        raise DataError(
            "the batch holds no token with a choice, so there is nothing to learn", expected="a slot to predict"
        )
    return Loss(total, slots)


@torch.inference_mode()
def generate(
    model: GeneralistModel, program: Program, samples: Sequence[Sample], options: SearchOptions
) -> list[list[Hypothesis]]:
    """Samples -> per sample its best hypotheses, best first; of `rank` all labels. No dropout: as in evaluation."""
    was_training = model.training
    model.eval()
    try:
        memory = None
        if program.plan.source:
            source = to_device(half(program, [sample.source for sample in samples]), model.device)
            stream, _ = adapt(model, Batch(len(samples), source, None, (), 0, 0))
            assert stream is not None
            memory = model.universal.encode(stream)
        decoder = StepDecoder(model.universal, model.table, memory, len(samples), model.transposed(len(samples)))
        prefixes = [sample.prefix for sample in samples]
        room = model.config.max_positions - max(map(len, prefixes)) - int(program.constraint.reserve.max())
        options = replace(options, max_length=max(1, min(options.max_length, room)))
        if program.generator == "rank":
            return ranked(decoder, program, prefixes, options)
        return search(decoder, program.constraint, prefixes, options)
    finally:
        model.train(was_training)


def postprocess(program: Program, sample: Sample, hypothesis: Hypothesis) -> dict[str, Any]:
    """What was generated -> column -> value; columns of a repetition hold lists."""
    runs = split(program, hypothesis.tokens)
    values: dict[str, Any] = {}
    for slot in program.plan.on("target"):
        if slot.no_loss:
            continue
        context = Context(frame=sample.frames.get(slot.index), labels=program.labels.get(slot.index))
        made = [program.preprocessors[slot.index].postprocess(run, context) for run in runs[slot.index]]
        values[slot.column] = made if slot.group is not None else (made[0] if made else None)
    return values


__all__ = [
    "adapt",
    "bind",
    "collate",
    "compute",
    "criterion",
    "emit",
    "generate",
    "parse",
    "plan",
    "postprocess",
    "preprocess",
]
