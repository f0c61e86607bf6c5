"""Contrast: the loss by hand, values of any length, and one batch over several processes."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from ofasys import GeneralistModel, OFASys, PlanError, Task, Trainer, plan
from ofasys.criterion import CRITERIA
from ofasys.criterion.contrast import Contrast, mean_of
from ofasys.language import option
from ofasys.modality import BUILT_IN
from ofasys.parallel.join import joined
from ofasys.parallel.sharing import sharing
from ofasys.testing import check_criterion
from ofasys.types import LossOutput, SlotPrediction, SlotTargets
from tests.laws.test_accumulate import CONFIG
from tests.parallel.processes import on_ranks

D = 8
LENGTHS = ((2, 1, 3, 1), (1, 1, 2, 4))


def module():
    torch.manual_seed(0)
    return Contrast({}, D)


def view(states, lengths, slot):
    at = torch.arange(len(states))
    return SlotPrediction(
        SlotTargets(
            slot, "source", "contrast", at, torch.tensor(lengths), {}, {"lengths": tuple(lengths)}, len(lengths)
        ),
        states,
        {},
        None,
    )


def states():
    g = torch.Generator().manual_seed(1)
    return [torch.randn(sum(lengths), D, generator=g) for lengths in LENGTHS]


def test_the_loss_by_hand():
    made, (left, right) = module(), states()
    verdict = made([view(left, LENGTHS[0], 0), view(right, LENGTHS[1], 1)])
    a, b = (made.embed(view(s, n, 0)) for s, n in zip((left, right), LENGTHS, strict=True))
    scores = (a @ b.T / 0.07).detach().numpy().astype(np.float64)
    by_row = -np.log(np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).diagonal().mean()
    by_column = -np.log(np.exp(scores) / np.exp(scores).sum(0, keepdims=True)).diagonal().mean()
    assert float(verdict.sum.detach()) == pytest.approx(4 * (by_row + by_column) / 2, rel=1e-5)
    assert verdict.figures["accuracy"] == (scores.argmax(1) == np.arange(4)).mean()
    torch.testing.assert_close(a.norm(dim=1), torch.ones(4))


def test_means_are_of_each_value_alone():
    left = states()[0]
    want = torch.stack([part.mean(0) for part in left.split(LENGTHS[0])])
    torch.testing.assert_close(mean_of(left, torch.tensor(LENGTHS[0])), want)


def test_the_factor_stays_in_bounds():
    made, (left, right) = module(), states()
    with torch.no_grad():
        made.scale.fill_(50.0)
    assert torch.isfinite(made([view(left, LENGTHS[0], 0), view(right, LENGTHS[1], 1)]).sum)


def share(rank, cut):
    """The loss and gradient that all processes have. cut: how many of the four samples the first has."""
    made = module()
    mine = slice(0, cut) if rank == 0 else slice(cut, 4)
    own = [torch.cat(s.split(lengths)[mine] or [s[:0]]) for s, lengths in zip(states(), LENGTHS, strict=True)]
    with joined() as ranks:
        with sharing(ranks, [cut, 4 - cut]):
            if len(own[0]):
                loss = made([view(s, n[mine], i) for i, (s, n) in enumerate(zip(own, LENGTHS, strict=True))]).sum / 4
                loss.backward()
            else:
                loss = torch.zeros(())
                made.absent()
        ranks.sum_gradients(list(made.parameters()))
        return ranks.sum_rows(loss.detach()).numpy(), made.project.weight.grad.numpy()


@pytest.mark.parametrize("cut", [2, 1, 4])
def test_two_processes_share_one_batch(cut):
    made = module()
    whole = made([view(s, n, i) for i, (s, n) in enumerate(zip(states(), LENGTHS, strict=True))]).sum / 4
    whole.backward()
    for ended in on_ranks(2, share, cut):
        assert ended.error == ""
        loss, grad = ended.value
        assert float(loss) == pytest.approx(float(whole.detach()), rel=1e-5)
        np.testing.assert_allclose(grad, made.project.weight.grad.numpy(), atol=1e-5)


@dataclass(frozen=True, kw_only=True)
class MarginOptions:
    margin: float = option(0.5, low=0, about="how far apart others are to be")


class Margin(nn.Module):
    """Hinge on the cosine of each left view and the right view beside its own."""

    def __init__(self, options, width):
        super().__init__()
        self.margin = options["margin"]
        self.project = nn.Linear(width, width)

    def embed(self, seen):
        return nn.functional.normalize(self.project(mean_of(seen.hidden, seen.targets.lengths)), dim=-1)

    def forward(self, seen):
        left, right = map(self.embed, seen)
        own, other = (left * right).sum(1), (left * right.roll(1, 0)).sum(1)
        return LossOutput((self.margin - own + other).clamp(min=0).sum())


def weights_of(options, width):
    return width * width + width


MARGIN = replace(
    CRITERIA["contrast"],
    name="margin",
    about="a margin between the own other view and one beside it",
    load=f"{__name__}:Margin",
    options=MarginOptions,
    keyed=("margin",),
    cost=weights_of,
)


def test_a_contrast_from_outside():
    registry = BUILT_IN.with_(MARGIN)
    line = "[IMAGE:img,size=16,patch=8,criterion=margin,margin=0.3|TEXT:cap,margin=0.3] ->"
    made = plan(line, modalities=registry)
    assert [slot.learned_by for slot in made.slots] == [MARGIN, MARGIN]
    check_criterion(MARGIN, registry=registry)
    rows = [{"img": np.full((16, 16, 3), 60 * i, np.uint8), "cap": "abcd"[i]} for i in range(4)]
    task = Task("t", line, train=rows, modalities=registry, micro_batch_size=4)
    model = GeneralistModel(config=CONFIG, text_pieces=300, modalities=registry)
    Trainer(max_steps=2, live=False).fit(model=model, tasks=task)
    found = OFASys(model).embed(line, rows)
    assert {name: vectors.shape for name, vectors in found.items()} == {"img": (4, 32), "cap": (4, 32)}
    assert list(model.criteria) == ["margin_0%2E3"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("[IMAGE:i,criterion=margin|TEXT:t,margin=0.3] ->", "TEXT:t: both views .* the same margin; write margin=0.5"),
        ("[IMAGE:i|TEXT:t,criterion=margin] ->", "both views of a contrast have one criterion, contrast at its first"),
        ("[IMAGE:i,criterion=ctc|TEXT:t] ->", "leave out criterion=ctc, or name one of contrast, margin"),
    ],
)
def test_views_that_would_be_learned_apart(line, said):
    with pytest.raises(PlanError, match=said):
        plan(line, modalities=BUILT_IN.with_(MARGIN))
    with pytest.raises(PlanError, match=r"a view is learned by contrast; leave out criterion=ctc$"):
        plan("[IMAGE:i,criterion=ctc|TEXT:t] ->", modalities=BUILT_IN)
