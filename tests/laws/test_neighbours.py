"""What a sample learns and is learned from does not depend on the samples it comes together with.

Samples of a batch lie end to end in one stream; attention, positions and losses of neighbours are kept apart.
"""

import numpy as np
import pytest
import torch

from ofasys import Task, flow
from ofasys.task.loader import read
from tests.train import tiny

NOISE = np.random.default_rng(0)
FEW = [{"text": "a b", "name": ["x"] * n, "what": ["y z"] * n} for n in (0, 1, 3, 2)]
SOUNDS = [{"text": "hm " * i, "wav": (NOISE.normal(size=1600 * i).astype(np.float32) / 9, 16000)} for i in (1, 2, 3, 1)]
NUMBERS = [{"text": "n" * (1 + i % 5), "n": i * 1.5} for i in range(8)]
KINDS = {
    "closed set": tiny.label_task,
    "text": lambda: Task("t", "[TEXT:label] -> [TEXT:text]", tiny.label_rows(8)),
    "masked": tiny.fill_task,
    "picture and box": tiny.box_task,
    "repetition": lambda: Task("r", "[TEXT:text] -> ([TEXT:name] [TEXT:what])*", FEW),
    "number": lambda: Task("n", "[TEXT:text] -> [NUMBER:n]", NUMBERS),
    "frames": lambda: Task("f", "[TEXT:text] -> [AUDIO:wav]", SOUNDS),
    "label of the source": lambda: Task(
        "s", "[TEXT:text,criterion=classify,classify_target=label] ->", tiny.label_rows(8)
    ),
}


def learned(model, program, samples):
    """The sums and counts of a batch's losses, and the gradients of all sums together."""
    model.zero_grad()
    loss = model(program, flow.collate(program, samples), torch.ones(len(program.plan.slots)))
    loss.total.backward()
    return loss.sums, loss.counts, [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_those_of_each_sample_alone(kind):
    task, model = KINDS[kind](), tiny.model()
    model.grow([(p, task.labels) for p in task.plans], task.texts, task.examples)
    program = model.bind(task.plan, task.labels)
    rows = range(len(task.source("train")))
    samples = [read(task, program, "train", i, np.random.default_rng(i), training=True)[1] for i in rows]
    model.eval()  # no dropout
    alone = [learned(model, program, [sample]) for sample in samples]
    sums, counts = sum(one[0] for one in alone), sum(one[1] for one in alone)
    gradients = [sum(each) for each in zip(*(one[2] for one in alone), strict=True)]
    assert sums.abs().sum() > 0
    assert any(gradient.any() for gradient in gradients)
    for order in (samples, samples[::-1]):
        together = learned(model, program, order)
        torch.testing.assert_close(together[0], sums, rtol=1e-4, atol=1e-4)
        assert together[1].tolist() == counts.tolist()
        for one, other in zip(together[2], gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
