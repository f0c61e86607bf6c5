"""A value means the same whatever stands beside it in a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ofasys import flow
from ofasys.generalist import GeneralistModel
from ofasys.modality import plugin
from ofasys.program.program import Program
from ofasys.testing.case import Case, shown
from ofasys.types import Layout, Sample

CLOSE = 2e-5  # of the largest number: float32 sums in another order


@torch.no_grad()
def check_batch(case: Case) -> str:
    """Alone and in a batch, in this order and the other, a value gives the same embeddings and the same hidden
    states.
    """
    for side in case.sides:
        model, program, samples = case.model, case.programs[side], case.samples(side)
        _check_finite(case, side, samples)
        alone = [streams(model, program, [sample])[0] for sample in samples]
        together = streams(model, program, samples)
        turned = streams(model, program, samples[::-1])[::-1]
        for value, one, *others in zip(case.values, alone, together, turned, strict=True):
            for other in others:
                for what in one:
                    _check_close(one[what], other[what], f"as a {side}, the {what} of {shown(value)}", "in a batch")
    return f"{len(case.values)} values alone and together"


def _check_finite(case: Case, side: str, samples: Sequence[Sample]) -> None:
    """What the slot's adaptor embeds holds no NaN."""
    slot, embed = case.slot(side), case.model.adaptors[case.slot(side).key].embed
    for value, sample in zip(case.values, samples, strict=True):
        batch = flow.collate(case.programs[side], [sample])
        of_side = batch.source if side == "source" else batch.target
        for entry in () if of_side is None else of_side.inputs:
            if entry.adaptor == slot.key:
                (made,) = case.model.embed([entry])
                assert torch.isfinite(made).all(), (
                    f"as a {side}, {plugin.named(embed)} gave embeddings "  # type: ignore[arg-type]
                    f"{plugin.kind(made)} of {shown(value)} that hold NaN or infinity; expected finite numbers"
                )


@torch.no_grad()
def check_kept(case: Case, loaded: GeneralistModel) -> None:
    """A model that was saved and loaded makes the same of the good values."""
    for side in case.sides:
        program = flow.bind(loaded, case.plans[side], case.tasks[side].labels)
        before = streams(case.model, case.programs[side], case.samples(side))
        after = streams(loaded, program, case.samples(side, program=program))
        for value, one, other in zip(case.values, before, after, strict=True):
            for what in one:
                place = f"as a {side}, the {what} of {shown(value)}"
                _check_close(one[what], other[what], place, "after the model was saved and loaded")


def streams(model: GeneralistModel, program: Program, samples: Sequence[Sample]) -> list[dict[str, Tensor]]:
    """Per sample: what adaptors and model made of it."""
    batch = flow.collate(program, samples)
    embedded = flow.adapt(model, batch)
    states = flow.compute(model, embedded)
    found: list[dict[str, Tensor]] = [{} for _ in samples]
    for name, stream, hidden in zip(("source", "target"), embedded, (states.source, states.target), strict=True):
        if stream is None or hidden is None:
            continue
        for what, rows in (("embedding", stream.embedding), ("hidden states", hidden.states)):
            for one, part in zip(found, _cut(rows, stream.layout), strict=True):
                one[f"{name}'s {what}"] = part
    return found


def _cut(rows: Tensor, layout: Layout) -> list[Tensor]:
    """The rows (N, D) of each sample."""
    return list(rows.split(layout.lengths.tolist()))


def _check_close(one: Tensor, other: Tensor, what: str, when: str) -> None:
    assert one.shape == other.shape, f"{what} are {tuple(one.shape)}, and {tuple(other.shape)} {when}"
    assert torch.isfinite(one).all(), f"{what} hold NaN or infinity"
    apart = float((one - other).abs().max()) if one.numel() else 0.0
    most = CLOSE * max(1.0, float(one.abs().max()) if one.numel() else 0.0)
    assert apart <= most, f"{what} differ by {apart:.2g} {when}"
