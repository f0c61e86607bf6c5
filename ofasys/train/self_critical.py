"""Learning from a reward: the batch of a task becomes the batch of the model's own answers to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ofasys import flow
from ofasys.generalist import GeneralistModel
from ofasys.generator.options import SearchOptions
from ofasys.metric import find
from ofasys.program.program import Program
from ofasys.types import Batch, TokenTargets


def self_critical(
    model: GeneralistModel, program: Program, batch: Batch, options: SearchOptions, seeds: Sequence[int] | None = None
) -> tuple[Batch, dict[str, float]]:
    """A batch -> the batch of answers drawn to it, weighted by how much better each is than the greedy one; mean
    rewards.

    Self-critical sequence training (Rennie et al., 2017): an answer is drawn and one is made greedily, the slot's
    metric scores both against the truth, and the tokens of the drawn one are weighted by the difference. seeds: as of
    `flow.generate`.
    """
    slot = program.plan.rewarded
    assert slot is not None
    metric = find(slot.values["reward"])
    bare = [replace(s, target=(replace(s.run, tokens=None, states=None),)) for s in batch.samples]
    greedy = replace(options, sampling=False, beam_size=1, n_best=1)
    drawn, best = (
        [found[0] for found in flow.generate(model, program, bare, o, seeds)]
        for o in (replace(greedy, sampling=True), greedy)
    )
    rewards = np.empty((2, len(bare)), dtype=np.float32)
    for i, sample in enumerate(bare):
        truth = (sample.truth or {})[slot.column]
        for which, answer in enumerate((drawn[i], best[i])):
            value = flow.postprocess(program, sample, answer)[slot.column]
            rewards[which, i] = metric([value], [truth])[metric.main]
    own = [
        replace(sample, target=(replace(sample.run, tokens=answer.tokens, states=answer.states),))
        for sample, answer in zip(bare, drawn, strict=True)
    ]
    made = flow.collate(program, own)
    assert made.target is not None
    owner = torch.repeat_interleave(torch.arange(len(own)), made.target.layout.lengths)
    better = rewards[0] - rewards[1]
    gain = torch.from_numpy(better if metric.higher_is_better else -better)
    targets = tuple(replace(t, weights=gain[owner[t.at]]) if isinstance(t, TokenTargets) else t for t in made.targets)
    return replace(made, targets=targets), {"reward": float(rewards[0].mean()), "greedy": float(rewards[1].mean())}
