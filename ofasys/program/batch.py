"""Samples -> Batch: streams laid end to end, and the tokens to predict, grouped by what may stand there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofasys.modality.modality import Concatenate
from ofasys.program.program import Program
from ofasys.types import Batch, Goal, Half, Layout, Piece, Sample, Stretch

Stream = Sequence[tuple[str, Piece]]


def collate(program: Program, samples: Sequence[Sample]) -> Batch:
    """Samples of one program as one batch. The order of samples is kept; no number depends on a sample's neighbours."""
    source = half(program, [sample.source for sample in samples]) if program.plan.source else None
    target = goals = None
    if program.plan.target:
        target = half(program, [_decoder_input(sample) for sample in samples])
        goals = _goals(program, samples)
    halves = [side for side in (source, target) if side is not None]
    return Batch(
        size=len(samples),
        source=source,
        target=target,
        goals=goals or (),
        positions=sum(int(side.layout.place.numel()) for side in halves),
        padded=sum(side.layout.batch * side.layout.length for side in halves),
        origins=tuple(sample.origin for sample in samples),
    )


def half(program: Program, streams: Sequence[Stream]) -> Half:
    """One side: per adaptor the pieces it embeds, and where each position lies."""
    lengths = np.array([sum(piece.length for _, piece in stream) for stream in streams], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    positions = np.full((int(starts[-1]), 3), -1, dtype=np.int64)
    by_key: dict[str, list[Piece]] = {}
    rows: dict[str, list[np.ndarray]] = {}
    for start, stream in zip(starts, streams, strict=False):
        order = 0
        for key, piece in stream:
            stop = start + piece.length
            if piece.orders is None:
                positions[start:stop, 0] = np.arange(order, order + piece.length)
                order += piece.length
            else:
                positions[start:stop, 0] = order + np.arange(piece.length) * piece.orders // max(piece.length, 1)
                order += piece.orders
            if piece.grid is not None:
                positions[start:stop, 1:] = piece.grid
            by_key.setdefault(key, []).append(piece)
            rows.setdefault(key, []).append(np.arange(start, stop))
            start = stop
    joins = {slot.key: program.preprocessors[slot.index] for slot in program.plan.slots}
    stretches = tuple(
        Stretch(
            key,
            {n: torch.from_numpy(t) for n, t in joins.get(key, Concatenate()).collate(pieces).items()},
            torch.from_numpy(np.concatenate(rows[key])),
        )
        for key, pieces in by_key.items()
    )
    return Half(stretches, layout(lengths, positions))


def layout(lengths: np.ndarray, positions: np.ndarray) -> Layout:
    """Where the positions of streams of these lengths lie."""
    longest = int(lengths.max(initial=0))
    row = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Layout(
        batch=len(lengths),
        length=longest,
        place=torch.from_numpy(row * longest + within),
        positions=torch.from_numpy(positions),
        lengths=torch.from_numpy(lengths),
        full=bool((lengths == longest).all()),
    )


def _decoder_input(sample: Sample) -> Stream:
    """The prefix and the answer without its last token: each position predicts the token after it."""
    tokens = sample.prefix if sample.tokens is None else np.concatenate([sample.prefix, sample.tokens[:-1]])
    return [("tokens", Piece({"tokens": tokens}, len(tokens)))]


def _goals(program: Program, samples: Sequence[Sample]) -> tuple[Goal, ...]:
    """The tokens that carry loss: those the automaton leaves a choice about."""
    if any(sample.states is None for sample in samples):
        return ()
    constraint = program.constraint
    states = np.concatenate([sample.states for sample in samples if sample.states is not None])
    tokens = np.concatenate([sample.tokens for sample in samples if sample.tokens is not None])
    at, start = [], 0
    for sample in samples:
        assert sample.tokens is not None
        first = start + len(sample.prefix) - 1
        at.append(np.arange(first, first + len(sample.tokens)))
        start = first + len(sample.tokens)
    where = np.concatenate(at)
    slots = constraint.slot_of[states]
    chosen = (constraint.single[states] < 0) & (constraint.class_of[states] >= 0) & (slots >= 0)
    counts = np.bincount(slots[chosen], minlength=len(program.plan.slots))
    weight = np.array([slot.weight for slot in program.plan.slots], dtype=np.float32)
    goals = []
    for group in np.unique(constraint.class_of[states[chosen]]):
        mine = np.flatnonzero(chosen & (constraint.class_of[states] == group))
        emission = constraint.classes[group]
        slot = slots[mine]
        labels = np.searchsorted(emission.candidates, tokens[mine])
        allowed = torch.from_numpy(constraint.allowed(states[mine])) if emission.masked else None
        goals.append(
            Goal(
                group=int(group),
                at=torch.from_numpy(where[mine]),
                labels=torch.from_numpy(labels),
                slots=torch.from_numpy(slot),
                weights=torch.from_numpy((weight[slot] / counts[slot]).astype(np.float32)),
                allowed=allowed,
            )
        )
    return tuple(goals)


def to_device(value: Any, device: torch.device) -> Any:
    """The same value with every tensor inside it on `device`."""
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple):
        return tuple(to_device(inner, device) for inner in value)
    if isinstance(value, dict):
        return {name: to_device(inner, device) for name, inner in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: to_device(getattr(value, f.name), device) for f in fields(value)})
    return value
