"""What the flow relies on of a criterion, checked on a small model: its sum, its parts, its figures, its manners."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ofasys import flow
from ofasys.criterion import Criterion
from ofasys.criterion.check import check_tokens
from ofasys.errors import ConfigError
from ofasys.hub import OFASys
from ofasys.modality import Registry, default_registry
from ofasys.testing.promise import LEFT_OUT, Report, check_about, check_options, kept
from ofasys.testing.questions import questions
from ofasys.testing.trial import Trial, attributes_of, line_of
from ofasys.train.optimizer import adamw
from ofasys.types import Batch, Loss, Prediction, Sample, SlotPrediction

CLOSE = 1e-3  # of the largest number: sums in another order, in float32
STEPS, LEARNING_RATE = 40, 3e-3


def check_criterion(
    record: Criterion,
    *,
    instruction: str | None = None,
    rows: Sequence[Mapping[str, Any]] | None = None,
    labels: Mapping[str, Sequence[str]] | None = None,
    registry: Registry | None = None,
) -> Report:
    """Check everything a criterion promises, on a small model and a few rows. Takes seconds.

    instruction: one with a slot that it learns, such as `[TEXT:a] -> [TEXT:b,criterion=focal,gamma=3]`; None: the first
    of a few built-in ones that it fits, of which the rows are made up. rows: two or more, with all of its columns.
    labels: closed sets by column. registry: what else is known; the built-in and installed records if None.

    Errors: AssertionError for the first promise that is not kept, in a sentence that names the criterion and the check.
    ConfigError for what is no record, and under `python -O`, which takes assertions out.
    """
    if not isinstance(record, Criterion):
        raise ConfigError(f"{record!r:.60} is no Criterion; give the record of a criterion")
    known = registry or default_registry()
    case = _Case(record, instruction, rows, labels, known)
    return kept(f"criterion {record.name}", _checks(case))


@dataclass(frozen=True)
class _Judged:
    """What a criterion said of a batch: its predictions, whose states have a gradient, and the loss."""

    predictions: Sequence[Prediction | SlotPrediction]
    loss: Loss


class _Case:
    """A criterion under check. Arguments as of `check_criterion`."""

    def __init__(
        self,
        record: Criterion,
        instruction: str | None,
        rows: Sequence[Mapping[str, Any]] | None,
        labels: Mapping[str, Sequence[str]] | None,
        known: Registry,
    ) -> None:
        self.record, self.instruction, self.rows, self.labels, self.known = record, instruction, rows, labels, known

    def registry(self) -> Registry:
        """What is known, with the criterion. Errors: ConfigError where it cannot be registered."""
        return self.known if self.record in self.known.criteria else self.known.with_(self.record)

    def begin(self) -> str:
        """Make the small model."""
        registry = self.registry()
        line = self.instruction or line_of(
            registry, [attributes_of(self.record)], lambda slot: slot.learned_by == self.record
        )
        assert line is not None, "none of the built-in instructions takes it; give instruction= and rows= of its own"
        self.trial = Trial(self.record, line, self.rows, self.labels, registry)
        assert self.trial.slot.learned_by == self.record, f"{line} has no slot that is learned by it"
        return line

    def batch(self, samples: Sequence[Sample] | None = None) -> Batch:
        """Samples as a batch; all of them if None."""
        return flow.collate(self.trial.program, self.trial.samples if samples is None else samples)

    def judged(self, batch: Batch, scale: Tensor | None = None, smoothing: float = 0.0) -> _Judged:
        """What the model and the criterion make of a batch; torch draws as from seed 0."""
        model, program = self.trial.model, self.trial.program
        torch.manual_seed(0)
        with model.computing():
            predictions = flow.emit(model, program, flow.compute(model, flow.adapt(model, batch)), batch)
            return _Judged(predictions, flow.criterion(model, program, predictions, batch, scale, smoothing))

    @property
    def place(self) -> int:
        """The number of its slot."""
        return self.trial.slot.index

    @property
    def own(self) -> Callable[[Prediction | SlotPrediction], bool]:
        """Whether a prediction is of what it learns."""
        plans = self.trial.program.plan.slots
        return lambda one: plans[one.targets.slot].learned_by == self.record

    def tokens(self) -> list[Prediction]:
        """The predictions of tokens that it learns from."""
        with torch.no_grad():
            found = self.judged(self.batch()).predictions
        return [one for one in found if isinstance(one, Prediction) and self.own(one)]

    def called(self, prediction: Prediction, **changed: Any) -> tuple[Tensor, Tensor]:
        """(the sum, the loss of each token) as its function gives them. changed: arguments instead of the batch's."""
        targets, values = prediction.targets, self.trial.program.plan.slots[prediction.targets.slot].values
        given: dict[str, Any] = {
            "hidden": prediction.hidden,
            "candidates": prediction.candidates,
            "weights": torch.ones(len(targets.labels)),
            "allowed": targets.allowed,
            "smoothing": 0.0,
        } | changed
        if self.record.keyed:
            given["options"] = {name: values[name] for name in self.record.keyed}
        hidden, candidates = given.pop("hidden"), given.pop("candidates")
        found = self.record.resolve()(hidden, candidates, targets.labels, **given)
        return check_tokens(self.record, found, len(targets.labels))


def _checks(case: _Case) -> Iterator[tuple[str, Callable[[], str]]]:
    """The checks in order: what is cheap and tells most comes first."""
    yield "record", lambda: _check_record(case)
    yield "options", lambda: check_options(case.record.options)
    yield "plan", case.begin
    yield "units", lambda: _check_units(case)
    yield "sum", lambda: _check_sum(case)
    yield "figures", lambda: _check_figures(case)
    yield "tokens", lambda: _check_tokens(case)
    yield "parts", lambda: _check_parts(case)
    yield "repeated", lambda: _check_repeated(case)
    yield "device", lambda: _check_device(case)
    yield "bfloat16", lambda: _check_half(case)
    yield "learns", lambda: _check_learns(case)
    yield "save, load", lambda: _check_saved(case)


def _check_record(case: _Case) -> str:
    """It can be registered, loads, says what it is, and can be sent to a data worker."""
    record = case.record
    check_about(record.about)
    case.registry()
    record.resolve()
    try:
        ForkingPickler.dumps(record)
    except Exception as error:
        raise AssertionError(f"it cannot be sent to a data worker: {error}") from error
    assert copy(record) == record, "a copy of it is another record"
    return f"{record.load}, of targets that are {record.of.about}"


def _check_units(case: _Case) -> str:
    """What its loss is a sum over is known of a batch before the model runs, and parts add up to the whole."""
    whole = case.batch().counts[case.place]
    assert whole > 0, f"units gives {whole} for {len(case.trial.samples)} rows, so the loss is a sum over nothing"
    if case.record.view == "all":
        return f"{whole} of a batch"
    parts = [case.batch([one]).counts[case.place] for one in case.trial.samples]
    assert sum(parts) == whole, f"units gives {parts} for rows apart and {whole} for all of them; expected {sum(parts)}"
    return f"{whole} of {len(parts)} rows"


def _check_sum(case: _Case) -> str:
    """The sum is finite, what is minimised is it by its scale, and finite gradients reach what it was made of."""
    batch = case.batch()
    seen = case.judged(batch, torch.ones_like(batch.units))
    said = seen.loss.sums[case.place]
    assert torch.isfinite(said), f"the sum is {said.item()}"
    given = [
        tensor
        for one in filter(case.own, seen.predictions)
        for tensor in (one.hidden, *(one.made.values() if isinstance(one, SlotPrediction) else ()))
    ]
    assert seen.loss.total.requires_grad, "the sum depends on no weight: it has no gradient"
    gradients = torch.autograd.grad(seen.loss.total, given, allow_unused=True)
    assert all(one is None or torch.isfinite(one).all() for one in gradients), "the gradient holds NaN or infinity"
    assert any(one is not None and bool((one != 0).any()) for one in gradients), (
        "no gradient reaches the states, nor what is made of them"
    )
    scaled = case.judged(batch, torch.full_like(batch.units, 0.5)).loss
    _near(scaled.total, 0.5 * scaled.sums.sum(), "what is minimised with a scale of 0.5 is {0}; half the sum is {1}")
    return f"{float(said):.4g}, {float(said) / batch.counts[case.place]:.4g} a unit"


def _check_figures(case: _Case) -> str:
    """Figures are means over the batch, finite: those of every row twice are the same. Sums are twice as large."""
    once = case.judged(case.batch()).loss
    figures, names = once.figures.get(case.place, {}), once.left_out.get(case.place, {})
    for name, value in figures.items():
        assert torch.isfinite(value), f"figure {name!r} is {value.item()}"
    if case.record.view == "all":
        return ", ".join(figures) or "none"
    twice = case.judged(case.batch([*case.trial.samples, *case.trial.samples])).loss
    what = "of every row twice the sum is {0}, and twice that of every row {1}; a sum is no mean"
    _near(twice.sums[case.place], 2 * once.sums[case.place], what)
    for name, value in figures.items():
        what = f"of every row twice figure {name!r} is {{0}}, and {{1}} of every row once; give a mean over the batch"
        _near(twice.figures[case.place][name], value, what)
    for name, count in names.items():
        assert int(twice.left_out[case.place][name]) == 2 * int(count), f"left_out {name!r} is no number of values"
    return ", ".join((*figures, *names)) or "none"


def _check_tokens(case: _Case) -> str:
    """Of a criterion over tokens: weights are factors, what may not come has no part, smoothing is taken."""
    predictions = case.tokens()
    if not predictions:
        return f"{LEFT_OUT}it learns no tokens"
    for one in predictions:
        n = len(one.targets.labels)
        weights = torch.linspace(0, 2, n)
        loss, each = case.called(one, weights=weights)
        assert torch.isfinite(each).all(), "the loss of a token is NaN or infinity"
        _near(loss, (weights * each).sum(), "with weights the sum is {0}; of each token's loss by its weight it is {1}")
        banned = torch.ones(n, len(one.candidates), dtype=torch.bool)
        banned[torch.arange(n), (one.targets.labels + 1) % len(one.candidates)] = False
        allowed = banned if one.targets.allowed is None else banned & one.targets.allowed
        if len(one.candidates) > 2:
            _check_allowed(case, one, allowed)
        smoothed, _ = case.called(one, smoothing=0.1)
        assert torch.isfinite(smoothed), f"with smoothing=0.1 the sum is {smoothed.item()}"
    return f"{sum(len(one.targets.labels) for one in predictions)} tokens weighed, masked and smoothed"


def _check_allowed(case: _Case, prediction: Prediction, allowed: Tensor) -> None:
    """A candidate that may not come is, to each token, as one that is not there. allowed (n, U)."""
    for row in range(min(3, len(allowed))):
        one = _token(prediction, row)
        _, masked = case.called(one, allowed=allowed[row : row + 1])
        assert torch.isfinite(masked).all(), "the loss is NaN or infinity where a candidate may not come"
        left = allowed[row].nonzero()[:, 0]
        label = (left == one.targets.labels).nonzero()[0]
        alone = replace(one, candidates=one.candidates[left], targets=replace(one.targets, labels=label, allowed=None))
        _, without = case.called(alone)
        what = "a token's loss is {0} where `allowed` leaves a candidate out, and {1} where it is not there"
        _near(masked.sum(), without.sum(), what)


def _token(prediction: Prediction, row: int) -> Prediction:
    """One of its tokens alone."""
    targets, at = prediction.targets, slice(row, row + 1)
    alone = replace(
        targets, at=targets.at[at], labels=targets.labels[at], slots=targets.slots[at], allowed=None, weights=None
    )
    return replace(prediction, targets=alone, hidden=prediction.hidden[at])


def _check_parts(case: _Case) -> str:
    """With one scale, sums and gradients of parts of a batch add up to those of the whole."""
    if case.record.view == "all":
        return f"{LEFT_OUT}it compares the samples of a batch"
    samples, whole = case.trial.samples, case.batch()
    scale = whole.weights / whole.units.clamp(min=1)
    sums, gradient = _learned(case, [whole], scale)
    for parts in ([samples[:1], samples[1:]], [[one] for one in samples]):
        own = _learned(case, [case.batch(part) for part in parts], scale)
        _near(own[0], sums, f"of {len(parts)} parts the sums add up to {{0}}, and the whole has {{1}}")
        worst = float((own[1] - gradient).abs().max()) / max(float(gradient.abs().max()), 1e-12)
        assert worst < CLOSE, f"gradients of {len(parts)} parts are off by {worst:.2g} of the whole's when added up"
    return f"{len(samples)} rows, whole and in parts"


def _learned(case: _Case, batches: Sequence[Batch], scale: Tensor) -> tuple[Tensor, Tensor]:
    """(the criterion's sum, the gradient of all weights as one vector), added up over batches."""
    model = case.trial.model
    model.zero_grad(set_to_none=True)
    total = torch.zeros(())
    for batch in batches:
        loss = case.judged(batch, scale).loss
        loss.total.backward()
        total = total + loss.sums[case.place]
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return total, gradient


def _check_repeated(case: _Case) -> str:
    """The same batch under the same seed gives the same numbers."""
    batch = case.batch()
    one, other = (case.judged(batch).loss for _ in range(2))
    assert torch.equal(one.total, other.total), (
        f"the same batch under the same seed gives {one.total.item()}, then {other.total.item()}; draw with torch, or "
        "prepare draws with the generator that it is given"
    )
    return "the same under the same seed"


def _check_device(case: _Case) -> str:
    """Forward and backward, its device is asked for nothing."""
    batch = case.batch()
    with questions() as asked:
        case.judged(batch).loss.total.backward()
    case.trial.model.zero_grad(set_to_none=True)
    told = ", ".join(f"{name} {count} times" for name, count in sorted(asked.items()))
    assert not asked, f"it asks its device for numbers: {told}; each waits for all that is queued"
    return "asked for nothing"


def _check_half(case: _Case) -> str:
    """In bfloat16 the sum is as finite."""
    model = case.trial.model
    before = model.precision
    model.precision = "bfloat16"
    try:
        with torch.no_grad():
            found = case.judged(case.batch()).loss.sums[case.place]
    finally:
        model.precision = before
    assert torch.isfinite(found), f"in bfloat16 the sum is {found.item()}; compute it in float32: .float()"
    return f"{float(found):.4g}"


def _check_learns(case: _Case) -> str:
    """Some steps on one batch make its sum smaller."""
    model, batch = case.trial.model, case.batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = adamw(model, LEARNING_RATE, 0.0, (0.9, 0.98))
    try:
        losses = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = case.judged(batch).loss
            loss.total.backward()
            optimizer.step()
            losses.append(float(loss.sums[case.place]))
    finally:
        model.load_state_dict(before)
        model.zero_grad(set_to_none=True)
    assert losses[-1] < losses[0], (
        f"after {STEPS} steps on one batch the sum is {losses[-1]:.4g}, and was {losses[0]:.4g}; it should be smaller"
    )
    return f"{losses[0]:.4g}, after {STEPS} steps {losses[-1]:.4g}"


@torch.no_grad()
def _check_saved(case: _Case) -> str:
    """Saved and loaded, a model says the same."""
    batch, trial = case.batch(), case.trial
    with tempfile.TemporaryDirectory() as folder:
        OFASys(trial.model).save_pretrained(Path(folder) / "model")
        loaded = OFASys.from_pretrained(Path(folder) / "model", modalities=trial.registry).model.eval()
    before = case.judged(batch).loss.sums[case.place]
    torch.manual_seed(0)
    after = loaded(flow.bind(loaded, trial.task.plan, trial.task.labels), batch).sums[case.place]
    _near(after, before, "once it was saved and loaded the sum is {0}, and was {1}; keep what it learns as parameters")
    return "the same sum"


def _near(found: Tensor, expected: Tensor, what: str) -> None:
    """AssertionError with `what`, which has a place for each of both, where they are not the same but for rounding."""
    one, other = float(found.detach()), float(expected.detach())
    assert abs(one - other) <= CLOSE * max(abs(one), abs(other), 1e-6), what.format(f"{one:.6g}", f"{other:.6g}")
