"""Every criterion keeps its contract: the built-in ones and the docs' own. One that breaks a promise is found out."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ofasys.criterion import CRITERIA, Criterion
from ofasys.criterion.cross_entropy import cross_entropy
from ofasys.errors import ConfigError
from ofasys.language import option
from ofasys.modality import BUILT_IN
from ofasys.testing import check_criterion
from ofasys.types import LossOutput

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TOKENS = Criterion(name="mine", about="mine", kind="tokens", load=f"{__name__}:plain", generator="search")
NUMBER = replace(CRITERIA["mse"], name="mine", about="mine", load=f"{__name__}:Squares", generator="regress")


@pytest.mark.parametrize("name", CRITERIA)
def test_the_built_in_ones_keep_it(name):
    report = check_criterion(CRITERIA[name], registry=BUILT_IN)
    assert {"units", "sum", "repeated", "device", "learns", "save, load"} <= {what for what, _ in report.checked}


def test_a_line_and_rows_of_ones_own(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from focal import FOCAL

    line = "[TEXT:q] -> [TEXT:a,criterion=focal,gamma=0.5] and [TEXT:b]"
    rows = [{"q": f"{i}", "a": "x" * i, "b": "y"} for i in range(1, 4)]
    report = check_criterion(FOCAL, instruction=line, rows=rows, registry=BUILT_IN)
    assert dict(report.checked)["plan"] == line
    assert str(report).startswith("criterion focal keeps its contract\n  record      focal:focal, of targets that are")
    with pytest.raises(AssertionError, match=r"plan: .* has no slot that it stands for"):
        check_criterion(FOCAL, instruction="[TEXT:q] -> [TEXT:a]", rows=rows, registry=BUILT_IN)
    with pytest.raises(AssertionError, match="plan: give two rows or more"):
        check_criterion(FOCAL, instruction=line, rows=rows[:1], registry=BUILT_IN)


# --- of tokens -------------------------------------------------------------------------------------------------------


def plain(hidden, candidates, labels, *, weights, allowed, smoothing, more=0.0):
    scores = (hidden @ candidates.t()).float()
    scores = scores if allowed is None else scores.masked_fill(~allowed, -torch.inf)
    losses = -scores.log_softmax(1).gather(1, labels[:, None])[:, 0] + more
    return (losses * weights).sum(), losses.detach()


def test_the_twin_of_all_that_break_it_keeps_it():
    assert ("tokens", "44 tokens weighed, masked and smoothed") in check_criterion(TOKENS, registry=BUILT_IN).checked
    assert check_criterion(NUMBER, registry=BUILT_IN).left_out[0] == ("tokens", "it learns no tokens")


def nan(*args, **named):
    return plain(*args, **named, more=torch.nan)


def detached(*args, **named):
    loss, each = plain(*args, **named)
    return loss.detach(), each


def constant(hidden, candidates, labels, *, weights, allowed, smoothing):
    each = (hidden * 0).sum(1) + 1
    return (each * weights).sum(), each.detach()


def unweighted(*args, weights, **named):
    return plain(*args, weights=torch.ones_like(weights), **named)


def same_for_all(*args, weights, **named):
    return plain(*args, weights=torch.full_like(weights, weights.mean().detach()), **named)


def unmasked(*args, allowed, **named):
    return plain(*args, allowed=None, **named)


def unsmoothed(*args, smoothing, **named):
    if smoothing:
        raise NotImplementedError("no smoothing")
    return plain(*args, smoothing=smoothing, **named)


def by_the_batch(hidden, *args, **named):
    return plain(hidden, *args, **named, more=float(len(hidden) > 30))


CALLS = itertools.count()


def drawn(*args, **named):
    return plain(*args, **named, more=float(next(CALLS)))


def asking(hidden, *args, **named):
    return plain(hidden, *args, **named, more=hidden[0, 0].item() * 0)


def masking(hidden, candidates, labels, *, weights, **named):
    loss, each = plain(hidden, candidates, labels, weights=weights, **named)
    return (each[weights > 0] * 0).sum() + loss, each


def halved(hidden, candidates, *args, **named):
    half = (hidden @ candidates.t()).dtype == torch.bfloat16
    return plain(hidden, candidates, *args, **named, more=torch.inf if half else 0.0)


def upwards(*args, **named):
    loss, each = plain(*args, **named)
    return 2 * loss.detach() - loss, each


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("nan", "mine, sum: the sum is nan"),
        ("detached", "mine, sum: the sum depends on no weight"),
        ("constant", "mine, sum: no gradient reaches the states"),
        ("unweighted", "mine, sum: what is minimised with a scale of 0.5 is .*; half the sum is"),
        ("same_for_all", "mine, tokens: with weights the sum is .*; of each token's loss by its weight it is"),
        ("unmasked", "mine, tokens: a token's loss is .* where `allowed` leaves a candidate out, and .* where it is"),
        ("unsmoothed", r"mine, tokens: NotImplementedError: no smoothing, in unsmoothed \(test_criteria.py, line"),
        ("by_the_batch", "mine, parts: of 2 parts the sums add up to .*, and the whole has"),
        ("drawn", "mine, figures: of every row twice the sum is .*, and twice that of every row"),
        ("asking", "mine, device: it asks its device for numbers: aten::_local_scalar_dense 1 times, item 1 times"),
        ("masking", "mine, device: it asks its device for numbers: aten::index"),
        ("halved", "mine, bfloat16: in bfloat16 the sum is inf; compute it in float32"),
        ("upwards", "mine, learns: after 40 steps on one batch the sum is .*, and was"),
        ("nowhere", "mine, record: criterion 'mine': load='.*' is not there"),
        ("three", "mine, sum: criterion 'mine' .* gave a float for 44 tokens"),
    ],
)
def test_a_broken_function_of_tokens(load, said):
    with pytest.raises(AssertionError, match=said):
        check_criterion(replace(TOKENS, load=f"{__name__}:{load}"), registry=BUILT_IN)


def three(*args, **named):
    return 3.0


# --- records ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Unexplained:
    sharpness: float = option(1.0, side="target")


@dataclass(frozen=True, kw_only=True)
class OutOfRange:
    sharpness: float = option(9.0, low=0, high=1, side="target", about="how sharp")


@dataclass(frozen=True, kw_only=True)
class OfAList:
    sharpness: list = ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cost": lambda options, width: 0}, "mine, record: it cannot be sent to a data worker: "),
        ({"about": ""}, "mine, record: about is ''; it is one line"),
        ({"name": "Mine!"}, "Mine!, record: ConfigError: criterion 'Mine!': a name is small letters"),
        ({"options": Unexplained}, "mine, options: option sharpness has no about="),
        ({"options": OutOfRange}, "mine, options: option sharpness has the default 9.0, but is a number from 0"),
        (
            {"options": OfAList},
            "mine, record: ConfigError: criterion 'mine': OfAList.sharpness is .*: an option is bool",
        ),
        ({"modalities": ("BOX",)}, "mine, plan: none of the built-in instructions takes it; give instruction="),
    ],
)
def test_a_broken_record(change, said):
    with pytest.raises(AssertionError, match=said):
        check_criterion(replace(TOKENS, **change), registry=BUILT_IN)


# --- of values -------------------------------------------------------------------------------------------------------


class Squares(nn.Module):
    """Sum of squared errors."""

    def __init__(self, options, width):
        super().__init__()

    def errors(self, seen):
        made = seen.made["frames"].float()
        return (made - seen.targets.tensors["frames"].float().reshape(made.shape)) ** 2

    def forward(self, seen):
        errors = self.errors(seen)
        return LossOutput(errors.sum(), {"l2": errors.mean().detach()})


class Mean(Squares):
    def forward(self, seen):
        return LossOutput(self.errors(seen).mean())


class SummedFigure(Squares):
    def forward(self, seen):
        errors = self.errors(seen)
        return LossOutput(errors.sum(), {"l2": errors.sum().detach()})


class NoFigure(Squares):
    def forward(self, seen):
        errors = self.errors(seen)
        return LossOutput(errors.sum(), {"l2": errors.new_tensor(torch.nan)})


class AlwaysOne(Squares):
    def forward(self, seen):
        return LossOutput(self.errors(seen).sum(), {}, {"odd": torch.ones((), dtype=torch.int64)})


class Forgetful(Squares):
    def __init__(self, options, width):
        super().__init__(options, width)
        self.factor = float(np.random.default_rng().random()) + 0.5

    def forward(self, seen):
        return LossOutput(self.errors(seen).sum() * self.factor)


class Noisy(Squares):
    def forward(self, seen):
        return LossOutput(self.errors(seen).sum() * (1 + 1e-4 * float(np.random.default_rng().random())))


def none(lengths, arrays):
    return 0


def batches(lengths, arrays):
    return 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"load": "Mean"}, "mine, figures: of every row twice the sum is .*; a sum is no mean"),
        ({"load": "SummedFigure"}, "mine, figures: of every row twice figure 'l2' is .*; give a mean over the batch"),
        ({"load": "NoFigure"}, "mine, figures: figure 'l2' is nan"),
        ({"load": "AlwaysOne"}, "mine, figures: left_out 'odd' is no number of values"),
        ({"load": "Noisy"}, "mine, repeated: the same batch under the same seed gives .*; draw with torch"),
        ({"load": "Forgetful"}, "mine, save, load: once it was saved and loaded the sum is .*, and was"),
        ({"units": "none"}, "mine, units: units gives 0 for 4 rows"),
        ({"units": "batches"}, r"mine, units: units gives \[1, 1, 1, 1\] for rows apart and 1 for all of them"),
    ],
)
def test_a_broken_module(change, said):
    with pytest.raises(AssertionError, match=said):
        check_criterion(
            replace(NUMBER, **{what: f"{__name__}:{name}" for what, name in change.items()}), registry=BUILT_IN
        )


def test_what_is_no_record():
    with pytest.raises(ConfigError, match="'ctc' is no Criterion; give the record of a criterion"):
        check_criterion("ctc")


def test_it_says_so_without_a_test_framework():
    assert "pytest" not in {name.partition(".")[0] for name in vars(sys.modules["ofasys.testing.criteria"])}
    assert cross_entropy is CRITERIA["cross_entropy"].resolve()
