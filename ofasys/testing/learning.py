"""A model learns from a modality, and answers the same when it was saved and loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ofasys import flow
from ofasys.errors import OfasysError
from ofasys.hub import OFASys
from ofasys.modality import plugin
from ofasys.program.batch import to_device
from ofasys.testing import embedding
from ofasys.testing.case import Case, shown
from ofasys.testing.values import alike
from ofasys.train.optimizer import adamw
from ofasys.types import Prediction, SlotPrediction, TokenSpan

SHORT = 12  # tokens an untrained model may answer


def check_step(case: Case, side: str) -> str:
    """One step: the loss is finite, a gradient reaches what embeds the slot, and the step leaves finite weights."""
    if side not in case.sides:
        return "left out: it does not stand there"
    model, program, slot = case.model, case.programs[side], case.slot(side)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    try:
        batch = to_device(flow.collate(program, case.samples(side, training=True)), model.device)
        optimizer = adamw(model, 1e-3, 0.01, (0.9, 0.98))
        optimizer.zero_grad()
        states = flow.compute(model, flow.adapt(model, batch))
        predictions = flow.emit(model, program, states, batch)
        _check_finite(case, side, predictions)
        loss = flow.criterion(model, program, predictions, batch)
        assert torch.isfinite(loss.total), f"the loss is {loss.total.detach().item()}"
        assert loss.total.requires_grad, "the loss depends on no weight"
        loss.total.backward()
        if side == "target" and not slot.no_loss:
            assert batch.counts[slot.index], f"the loss has no part for {slot.name}"
        about = _check_gradient(case, side)
        optimizer.step()
        for name, weight in model.named_parameters():
            assert torch.isfinite(weight).all(), f"after one step {name} holds NaN or infinity"
    finally:
        model.load_state_dict(kept)
        model.zero_grad(set_to_none=True)
        model.eval()
    return f"loss {loss.total.detach().item():.2f}, gradient into {about}"


def _check_finite(case: Case, side: str, predictions: Sequence[Prediction | SlotPrediction]) -> None:
    """What the adaptor predicts holds no NaN."""
    adaptor = case.model.adaptors[case.slot(side).key]
    for prediction in predictions:
        if isinstance(prediction, SlotPrediction) and prediction.targets.slot == case.slot(side).index:
            for name, made in prediction.made.items():
                assert torch.isfinite(made).all(), (
                    f"{plugin.named(adaptor.predict)} gave {name} {plugin.kind(made)} with NaN or infinity; "  # type: ignore[arg-type]
                    "expected finite numbers"
                )


def _check_gradient(case: Case, side: str) -> str:
    model, slot = case.model, case.slot(side)
    for name, weight in model.named_parameters():
        assert weight.grad is None or torch.isfinite(weight.grad).all(), f"the gradient of {name} holds NaN or infinity"
    if slot.key != "tokens":
        own = dict(model.adaptors[slot.key].named_parameters())
        learned = [name for name, weight in own.items() if weight.grad is not None and bool((weight.grad != 0).any())]
        assert not own or learned, f"no gradient reaches adaptor {slot.key}"
        return f"{len(learned)} of {len(own)} weights of {slot.key}"
    assert model.tokens.weight.grad is not None, "no gradient reaches the token table"
    rows = sorted(_tokens(case, side))
    reached = int((model.tokens.weight.grad[rows] != 0).any(1).sum())
    assert reached, f"no gradient reaches the {len(rows)} tokens of {slot.name}"
    return f"{reached} of {len(rows)} tokens"


def _tokens(case: Case, side: str) -> set[int]:
    """The tokens that the good values are made of."""
    found: set[int] = set()
    for sample in case.samples(side):
        if side == "target":
            runs = [part.tokens for part in sample.target if isinstance(part, TokenSpan) and part.tokens is not None]
        else:
            runs = [features.tensors["tokens"] for key, features in sample.source if key == "tokens"]
        found |= {int(token) for run in runs for token in run}
    spans = [case.programs[side].symbols.vocabulary.spans.get(name) for name, _ in case.slot(side).ranges]
    own = {token for token in found for span in spans if span and span[0] <= token < span[1]}
    return own or found


@torch.no_grad()
def check_saved(case: Case, folder: Path) -> str:
    """Saved and loaded, the model makes the same of every good value, and gives the same answers."""
    OFASys(case.model).save_pretrained(folder)
    loaded = OFASys.from_pretrained(folder, modalities=case.registry)
    embedding.check_kept(case, loaded.model)
    answers = 0
    for side in case.sides:
        before, after = (_answers(case, model, side) for model in (OFASys(case.model), loaded))
        for value, one, other in zip(case.values, before, after, strict=True):
            assert alike(one, other), (
                f"as a {side}, {shown(value)} is answered {shown(one)} before and {shown(other)} after it was saved"
            )
            answers += 1
    return f"{answers} answers are the same"


def _answers(case: Case, model: OFASys, side: str) -> list[dict[str, Any]]:
    program = case.programs[side]
    columns = {slot.column: program.labels[slot.index] for slot in program.plan.slots if slot.closed_set}
    generators = program.plan.generators
    limit: dict[str, Any] = (
        {"max_length": SHORT} if any(generator.lengthless is None for generator in generators) else {}
    )
    try:
        outputs = model.inference(
            case.instructions[side],
            data=case.rows,
            closed_set=columns or None,
            settings=case.settings_of(side),
            **limit,
        )
    except OfasysError as error:
        raise AssertionError(f"an untrained model cannot answer as a {side}: {error}") from error
    return [output.values for output in outputs]
