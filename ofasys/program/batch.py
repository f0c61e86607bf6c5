"""Samples -> Batch: streams laid end to end, and the tokens to predict, grouped by what may stand there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ofasys.criterion import Criterion
from ofasys.modality import plugin
from ofasys.modality.modality import Concatenate
from ofasys.planner.slot import SlotPlan
from ofasys.program.program import Program
from ofasys.types import (
    AdaptorInput,
    Batch,
    Layout,
    Sample,
    SideBatch,
    SlotFeatures,
    SlotTargets,
    TokenSpan,
    TokenTargets,
    ValueSpan,
)

if TYPE_CHECKING:
    from typing import Annotated as Int

Stream = Sequence[tuple[str, SlotFeatures]]


def collate(program: Program, samples: Sequence[Sample]) -> Batch:
    """Samples of one program as one batch. The order of samples is kept; no number depends on a sample's neighbours."""
    source = side_batch(program, sources(samples)) if program.plan.source else None
    target = None
    targets: list[TokenTargets | SlotTargets] = []
    if program.plan.target:
        streams = [_decoder_input(program, sample) for sample in samples]
        target = target_side(program, streams)
        known = list(_spans(samples, streams))
        targets += _token_targets(program, samples, known)
        targets += _value_targets(program, samples, known)
    targets += [one for one in source_targets(program, samples) if _known(one, samples)]
    sides = [side for side in (source, target) if side is not None]
    counts = _counts(program, targets)
    return Batch(
        size=len(samples),
        source=source,
        target=target,
        targets=tuple(targets),
        counts=tuple(counts.tolist()),
        units=torch.from_numpy(counts.astype(np.float32)),
        weights=torch.tensor([slot.weight for slot in program.plan.slots], dtype=torch.float32),
        positions=sum(int(side.layout.padded_index.numel()) for side in sides),
        padded=sum(side.layout.batch * side.layout.length for side in sides),
        origins=tuple(sample.origin for sample in samples),
        samples=tuple(samples) if program.plan.rewarded else (),
    )


def sources(samples: Sequence[Sample]) -> Sequence[Stream]:
    """The source streams of a batch; of a contrast the left views of all samples, then the right ones."""
    return [sample.source for sample in samples] + [sample.right for sample in samples if sample.right is not None]


def side_batch(program: Program, streams: Sequence[Stream]) -> SideBatch:
    """One side: per adaptor what it embeds, and where each position lies."""
    lengths = np.array([sum(features.length for _, features in stream) for stream in streams], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.full((int(starts[-1]), 3), -1, dtype=np.int64)
    by_key: dict[str, list[SlotFeatures]] = {}
    rows: dict[str, list[np.ndarray]] = {}
    for start, stream in zip(starts, streams, strict=False):
        order = 0
        for key, features in stream:
            stop = start + features.length
            if features.orders is None:
                positions[start:stop, 0] = np.arange(order, order + features.length)
                order += features.length
            else:
                positions[start:stop, 0] = order + np.arange(features.length) * features.orders // max(
                    features.length, 1
                )
                order += features.orders
            if features.grid is not None:
                positions[start:stop, 1:] = features.grid
            by_key.setdefault(key, []).append(features)
            rows.setdefault(key, []).append(np.arange(start, stop))
            start = stop
    slots = {slot.key: slot for slot in program.plan.slots}
    inputs = tuple(
        AdaptorInput(key, _joined(program, slots.get(key), parts), torch.from_numpy(np.concatenate(rows[key])))
        for key, parts in by_key.items()
    )
    return SideBatch(inputs, layout(lengths, positions))


def _joined(program: Program, slot: SlotPlan | None, parts: Sequence[SlotFeatures]) -> dict[str, Tensor]:
    """The tensors that an adaptor reads. Errors: PluginError where the slot's preprocessor cannot join them."""
    collate = Concatenate().collate if slot is None else program.preprocessors[slot.index].collate
    where = "plain text" if slot is None else slot.name
    found = plugin.called(where, collate, parts)
    plugin.check_collated(where, collate, found, parts)
    return {name: torch.from_numpy(_forward(array)) for name, array in found.items()}


def _forward(array: np.ndarray) -> np.ndarray:
    """The array, or a copy where it is laid out as no tensor can be; one row turned round is contiguous to numpy."""
    return array.copy() if min(array.strides, default=0) < 0 else np.ascontiguousarray(array)


def layout(lengths: np.ndarray, positions: np.ndarray) -> Layout:
    """Where the positions of streams of these lengths lie."""
    longest = int(lengths.max(initial=0))
    row = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Layout(
        batch=len(lengths),
        length=longest,
        padded_index=torch.from_numpy(row * longest + within),
        positions=torch.from_numpy(positions),
        lengths=torch.from_numpy(lengths),
        full=bool((lengths == longest).all()),
        top=tuple(positions.max(0, initial=-1).tolist()),
        counted=bool((positions[:, 0] == within).all()),
    )


def rows_of(laid: Layout, rows: Sequence[int]) -> tuple[Layout, Int[Tensor, "n"]]:
    """(the layout of some samples of one, which of its positions they have)."""
    lengths, device = laid.lengths.cpu().numpy(), laid.positions.device
    starts = np.cumsum(lengths) - lengths
    at = torch.from_numpy(np.concatenate([np.arange(starts[row], starts[row] + lengths[row]) for row in rows]))
    made = layout(lengths[list(rows)], laid.positions.cpu()[at].numpy())
    blocks = None if laid.blocks is None else laid.blocks.cpu()[at]
    return to_device(replace(made, blocks=blocks), device), at.to(device)


def target_side(program: Program, streams: Sequence[Stream]) -> SideBatch:
    """The target's side: as any, and values whose positions see each other are marked as blocks."""
    together = {s.key for s in program.plan.on("target") if s.learned_by and s.learned_by.together}
    made = side_batch(program, streams)
    if not together:
        return made
    blocks = [
        np.full(features.length, number * (key in together))
        for number, (key, features) in enumerate(((key, features) for stream in streams for key, features in stream), 1)
    ]
    return replace(made, layout=replace(made.layout, blocks=torch.from_numpy(np.concatenate(blocks).astype(np.int64))))


def token_features(
    program: Program, stage: int, prefix: np.ndarray, tokens: np.ndarray, states: np.ndarray
) -> SlotFeatures:
    """Tokens of a stage as they stand in the stream: prefix, then what was chosen, with places in a grid where it has
    some.
    """
    constraint = program.constraint_of(stage)
    both = np.concatenate([prefix, tokens])
    grid = None
    if constraint.grid is not None:
        grid = np.concatenate([np.full((len(prefix), 2), -1), constraint.grid[states]])
    return SlotFeatures({"tokens": both}, len(both), grid)


def _decoder_input(program: Program, sample: Sample) -> list[tuple[str, SlotFeatures]]:
    """The target as far as it is known, without its last token: each position predicts the token after it."""
    stream: list[tuple[str, SlotFeatures]] = []
    for part in sample.target:
        if isinstance(part, ValueSpan):
            if part.features is None:
                break
            stream.append((part.key, part.features))
        elif part.tokens is None or part.states is None:
            stream.append(("tokens", SlotFeatures({"tokens": part.prefix}, len(part.prefix))))
            break
        else:
            most = len(part.tokens) - (part is sample.target[-1])
            tokens, states = part.tokens[: max(most, 0)], part.states[: max(most, 0)]
            stream.append(("tokens", token_features(program, part.stage, part.prefix, tokens, states)))
    return stream


Known = tuple[int, TokenSpan | ValueSpan, int]  # number of the sample, span, its first row of the target's states


def _spans(samples: Sequence[Sample], streams: Sequence[Stream]) -> Iterator[Known]:
    """Every span of the samples' targets that is known."""
    row = 0
    for number, (sample, stream) in enumerate(zip(samples, streams, strict=True)):
        for span, (_, features) in zip(sample.target, stream, strict=False):
            yield number, span, row
            row += features.length


def _token_targets(program: Program, samples: Sequence[Sample], spans: Sequence[Known]) -> list[TokenTargets]:
    """The tokens that carry loss: those the automata leave a choice about."""
    if any(isinstance(part, TokenSpan) and part.tokens is None for sample in samples for part in sample.target):
        return []
    runs: dict[int, list[tuple[TokenSpan, int]]] = {}
    for _, span, row in spans:
        if isinstance(span, TokenSpan):
            runs.setdefault(span.stage, []).append((span, row))
    targets = []
    for stage, members in runs.items():
        targets += _stage_targets(program, stage, members)
    return targets


def _stage_targets(program: Program, stage: int, runs: Sequence[tuple[TokenSpan, int]]) -> list[TokenTargets]:
    constraint = program.constraint_of(stage)
    states = np.concatenate([run.states for run, _ in runs if run.states is not None])
    tokens = np.concatenate([run.tokens for run, _ in runs if run.tokens is not None])
    where = np.concatenate(
        [np.arange(len(run.tokens)) + row + len(run.prefix) - 1 for run, row in runs if run.tokens is not None]
    )
    slots = constraint.loss_of[states]
    chosen = (constraint.single[states] < 0) & (constraint.class_of[states] >= 0) & (slots >= 0)
    slot_of, first_of = np.maximum(slots, 0), _alike(program)
    pairs = constraint.class_of[states] * len(first_of) + first_of[slot_of]
    targets = []
    for pair in np.unique(pairs[chosen]):
        group, first = divmod(int(pair), len(first_of))
        mine = np.flatnonzero(chosen & (pairs == pair))
        emission = constraint.classes[group]
        labels = np.searchsorted(emission.candidates, tokens[mine])
        allowed = torch.from_numpy(constraint.allowed(states[mine])) if emission.masked else None
        targets.append(
            TokenTargets(
                stage=stage,
                group=group,
                at=torch.from_numpy(where[mine]),
                labels=torch.from_numpy(labels),
                slots=torch.from_numpy(slots[mine]),
                slot=first,
                allowed=allowed,
            )
        )
    return targets


def _alike(program: Program) -> np.ndarray:
    """(S,): of each slot the first that is learned by the same function with the same options."""
    found: dict[tuple[Any, ...], int] = {}
    first = []
    for slot in program.plan.slots:
        record = slot.learned_by
        key = () if record is None else (record.load, *(slot.values[name] for name in record.keyed))
        first.append(found.setdefault(key, slot.index))
    return np.array(first, dtype=np.int64)


def _value_targets(program: Program, samples: Sequence[Sample], spans: Sequence[Known]) -> list[SlotTargets]:
    """The values of the target that are learned whole."""
    found: dict[int, list[tuple[ValueSpan, int]]] = {}  # slot -> (value, its first row)
    for _, span, row in spans:
        if isinstance(span, ValueSpan) and span.features is not None and span.learned is not None:
            found.setdefault(span.slot, []).append((span, row - _criterion(program, span.slot).before))
    return [
        _slot_targets(
            program,
            slot,
            [(row, span.features.length) for span, row in values if span.features is not None],
            [span.learned for span, _ in values],
        )
        for slot, values in found.items()
    ]


def source_targets(program: Program, samples: Sequence[Sample]) -> list[SlotTargets]:
    """The values of the source that have a criterion: to learn from where `Sample.supervision` has them, and to answer
    from.
    """
    slots = [slot.index for slot in program.plan.on("source") if slot.kind is not None]
    if not slots:
        return []
    lengths = [sum(features.length for _, features in stream) for stream in sources(samples)]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    views = program.plan.views
    targets = []
    for slot in slots:
        first = len(samples) if views and slot == views.right else 0
        places = [
            (int(starts[first + number]) + sample.spans[slot][0], sample.spans[slot][1])
            for number, sample in enumerate(samples)
        ]
        targets.append(_slot_targets(program, slot, places, [sample.supervision.get(slot) for sample in samples]))
    return targets


def _slot_targets(
    program: Program,
    index: int,
    places: Sequence[tuple[int, int]],
    given: Sequence[Mapping[str, np.ndarray] | None],
) -> SlotTargets:
    """places: of each value its first row and how many it has. given: what each is learned from, if that is known."""
    slot = program.plan.slots[index]
    record = _criterion(program, index)
    lengths = np.array([rows for _, rows in places], dtype=np.int64)
    learned = [one for one in given if one is not None]
    known = len(learned) == len(given)
    names = sorted(learned[0]) if known and all(learned) else []
    arrays = {name: np.concatenate([one[name] for one in learned]) for name in names}
    if known:
        arrays = record.joined(lengths, arrays)
    sizes = {name: tuple(array.tolist()) for name, array in arrays.items() if name.endswith("lengths")}
    return SlotTargets(
        slot=index,
        side=slot.side,
        criterion=record.name,
        at=torch.from_numpy(np.concatenate([np.arange(first, first + rows) for first, rows in places])),
        lengths=torch.from_numpy(lengths),
        tensors={name: torch.from_numpy(array) for name, array in arrays.items()},
        sizes=sizes | {"lengths": tuple(lengths.tolist())},
        count=record.counted(lengths, arrays) if known else 0,
        label_slot=slot.label_slot,
    )


def _known(targets: SlotTargets, samples: Sequence[Sample]) -> bool:
    """Whether there is something to learn from: a column where it needs one."""
    return all(targets.slot in sample.supervision for sample in samples)


def _counts(program: Program, targets: Sequence[TokenTargets | SlotTargets]) -> np.ndarray:
    """(S,): units of each slot's loss."""
    found = np.zeros(len(program.plan.slots), dtype=np.int64)
    together: set[str] = set()  # criteria that see several slots at once: the first stands for all
    for target in targets:
        if isinstance(target, TokenTargets):
            found += np.bincount(target.slots.numpy(), minlength=len(found))
        elif target.criterion not in together:
            found[target.slot] += target.count
            together |= {target.criterion} if _criterion(program, target.slot).view == "all" else set()
    return found


def _criterion(program: Program, slot: int) -> Criterion:
    chosen = program.plan.slots[slot].learned_by
    assert chosen is not None
    return chosen


def to_device(value: Any, device: torch.device) -> Any:
    """The same value with every tensor inside it on `device`. A GPU is not waited for: it reads pages that stay."""
    if isinstance(value, Tensor):
        pinned = device.type == "cuda" and value.device.type == "cpu"
        return (value.pin_memory() if pinned else value).to(device, non_blocking=True)
    if isinstance(value, tuple):
        return tuple(to_device(inner, device) for inner in value)
    if isinstance(value, dict):
        return {name: to_device(inner, device) for name, inner in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: to_device(getattr(value, f.name), device) for f in fields(value)})
    return value
