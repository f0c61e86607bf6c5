"""Micro-batches of one update are parts of one batch: its gradient is that of the whole, for every kind of target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ofasys import GeneralistModel, Task, Trainer
from ofasys.criterion import CRITERIA
from ofasys.flow import adapt, collate, compute, criterion, emit, preprocess
from ofasys.modality.audio import adaptor as audio_adaptor
from ofasys.model.sizes import ModelConfig
from ofasys.train import steps as room

CONFIG = ModelConfig(
    width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, max_positions=256, max_grid=16, dropout=0.0
)
TEXTS = ("x", "y", "one two three " * 9, "four five " * 12)  # parts of two differ by far in what they count


def sound(seconds: float) -> tuple[np.ndarray, int]:
    return np.sin(np.arange(int(8000 * seconds)) / 9).astype(np.float32), 8000


def motion(frames: int) -> np.ndarray:
    rest = np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0.5]], dtype=np.float64)
    return rest + 0.3 * np.sin(np.arange(frames)[:, None, None] / 4 + np.arange(3)[None, :, None])


ROWS = [
    {
        "q": f"question {i}",
        "a": text,
        "b": "ab"[i % 2] * (1 + 5 * (i > 2)),
        "kind": ("big", "small", "odd")[i % 3],
        "img": np.full((16, 16, 3), 60 * i, dtype=np.uint8),
        "box": [[0, 0, 4 + j, 8] for j in range(1 + 3 * (i > 1))],
        "name": ["cat", "dog", "bird", "a fish"][: 1 + 3 * (i > 1)],
        "wav": sound(0.1 + 0.3 * (i > 1)),
        "m": motion(4 + 8 * (i > 1)),
        "n": 10.0**i,
    }
    for i, text in enumerate(TEXTS)
]
LINES = {
    "cross_entropy": "[TEXT:q] -> [TEXT:a]",
    "two slots": "[TEXT:q] -> [TEXT:b,weight=0.3] and [TEXT:a]",
    "repetition": "[IMAGE:img,size=16,patch=8] -> ([BOX:box,bins=8] [TEXT:name])*",
    "frames": "[TEXT:q] -> [AUDIO:wav,rate=8000,mels=16,reduction=2]",
    "diffusion": "[TEXT:q] -> [MOTION:m,fps=10,frames=12]",
    "gaussian": "[TEXT:q] -> [NUMBER:n] [TEXT:a]",
    "mse": "[NUMBER:n] -> [NUMBER:n,criterion=mse,weight=0.3]",
    "huber": "-> [TEXT:a] [NUMBER:n,criterion=huber]",
    "ctc": "[AUDIO:wav,rate=8000,mels=16,criterion=ctc,ctc_target=kind] ->",
    "both sides": "[AUDIO:wav,rate=8000,mels=16,criterion=ctc,ctc_target=b,weight=0.5] -> [TEXT:a]",
    "classify": "[TEXT:q,criterion=classify,classify_target=kind] ->",
}


def task(line: str | list[str], size: int, rows: list[dict] = ROWS, **settings: object) -> Task:
    return Task("t", line, train=rows, micro_batch_size=size, shuffle=False, buckets=False, **settings)  # type: ignore[arg-type]


def gradient(monkeypatch: pytest.MonkeyPatch, tasks: Task | list[Task], **settings: object) -> torch.Tensor:
    """The gradient of the only update of a run, as one vector."""
    found: list[torch.Tensor] = []

    def kept(optimizer: torch.optim.Optimizer) -> torch.Tensor:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        found.append(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]))
        return torch.ones(())

    monkeypatch.setattr(room, "gradient_norm", kept)
    monkeypatch.setattr(audio_adaptor, "DROPOUT", 0.0)
    torch.set_num_threads(1)
    trainer = Trainer(max_steps=1, live=False, **settings)  # type: ignore[arg-type]
    trainer.fit(model=GeneralistModel(config=CONFIG, text_pieces=300), tasks=tasks)
    (only,) = found
    assert only.abs().max() > 0
    return only


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-5 * float(one.abs().max()))


@pytest.mark.parametrize("name", LINES)
def test_parts_add_up_to_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gradient(monkeypatch, task(LINES[name], 4))
    for size in (2, 1):
        parts = gradient(monkeypatch, task(LINES[name], size), accumulate=4 // size)
        assert alike(whole, parts), (size, float(torch.cosine_similarity(whole, parts, 0)))


def test_a_bad_row_takes_no_share_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**ROWS[0], "a": None}, {**ROWS[1], "a": None}, *ROWS[2:]]
    whole = gradient(monkeypatch, task(LINES["cross_entropy"], 4, rows))
    assert alike(whole, gradient(monkeypatch, task(LINES["cross_entropy"], 2, rows), accumulate=2))


def test_tasks_keep_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two tasks and eight micro-batches each has half, whatever its texts' lengths are."""

    def tasks(size: int) -> list[Task]:
        short = Task("short", "[TEXT:q] -> [TEXT:b]", train=ROWS, micro_batch_size=size, shuffle=False, buckets=False)
        return [task(LINES["cross_entropy"], size), short]

    whole = gradient(monkeypatch, tasks(4), schedule="accumulate")
    assert alike(whole, gradient(monkeypatch, tasks(1), schedule="accumulate", accumulate=4))


def test_the_logged_loss_is_that_of_the_whole() -> None:
    losses = []
    for size in (4, 2, 1):
        trainer = Trainer(max_steps=1, accumulate=4 // size, live=False)
        model = GeneralistModel(config=CONFIG, text_pieces=300)
        trainer.fit(model=model, tasks=task(LINES["two slots"], size))
        losses.append([trainer.history[0][name] for name in ("loss", "loss/a", "loss/b")])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-5)


@pytest.mark.parametrize("name", LINES)
def test_units_are_known_before_the_model_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted from the batch alone is what the criteria say they judged."""
    monkeypatch.setattr(audio_adaptor, "DROPOUT", 0.0)
    made = task(LINES[name], 4)
    model = GeneralistModel(config=CONFIG, text_pieces=300)
    model.grow([(p, made.labels) for p in made.plans], made.texts, made.examples)
    program = model.bind(made.plan, made.labels)
    batch = collate(program, [preprocess(program, row) for row in ROWS])
    loss = model(program, batch)
    learned = [slot.index for slot in program.plan.slots if slot.criterion is not None]
    assert loss.counts.tolist() == list(batch.counts)
    assert [slot for slot, count in enumerate(batch.counts) if count] == learned
    apart = criterion(model, program, emit(model, program, compute(model, adapt(model, batch)), batch), batch)
    assert torch.equal(loss.total, apart.total)
    assert torch.equal(loss.sums, apart.sums)


@pytest.mark.parametrize("name", LINES)
def test_sums_of_parts_are_the_sums_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`model(program, batch)` divides nothing: with one scale, losses and gradients of parts add up."""
    monkeypatch.setattr(audio_adaptor, "DROPOUT", 0.0)
    made = task(LINES[name], 4)
    model = GeneralistModel(config=CONFIG, text_pieces=300).eval()
    model.grow([(p, made.labels) for p in made.plans], made.texts, made.examples)
    program = model.bind(made.plan, made.labels)
    samples = [preprocess(program, row, random=np.random.default_rng(i)) for i, row in enumerate(ROWS)]
    whole = collate(program, samples)
    scale = whole.weights / whole.units.clamp(min=1)

    def learned(*parts: list) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        model.zero_grad()
        found = [model(program, collate(program, part), scale) for part in parts]
        sum(loss.total for loss in found).backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        return sum(loss.sums for loss in found), sum(loss.counts for loss in found), gradient

    sums, counts, gradient = learned(samples)
    for parts in ([samples[:1], samples[1:]], [[one] for one in samples]):
        own = learned(*parts)
        torch.testing.assert_close(own[0], sums, rtol=1e-4, atol=1e-5)
        assert torch.equal(own[1], counts)
        assert alike(gradient, own[2])


def test_every_criterion_is_under_law() -> None:
    """A contrast tells each sample from its neighbours, and a reward draws answers of its own: no parts of a whole."""
    judged = {"cross_entropy", "frames", "diffusion", "ctc", "classify", "gaussian", "mse", "huber"}
    assert judged | {"contrast", "reward"} == set(CRITERIA)


def too_small(monkeypatch: pytest.MonkeyPatch, rows: int) -> list[int]:
    """A memory that holds batches of so many rows; the sizes that were tried."""
    forward, tried = GeneralistModel.forward, list[int]()

    def limited(self: GeneralistModel, program: Any, batch: Any, *rest: Any) -> Any:
        nonlocal tried
        tried += [batch.size] if self.training else []  # and not where it is asked what it has learned
        if batch.size > rows:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {batch.size} GiB.")
        return forward(self, program, batch, *rest)

    monkeypatch.setattr(GeneralistModel, "forward", limited)
    return tried


@pytest.mark.parametrize("name", LINES)
def test_pieces_for_a_small_memory_add_up_to_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gradient(monkeypatch, task(LINES[name], 4))
    for rows, sizes in ((2, [4, 2, 2]), (1, [4, 2, 1, 1, 1, 1])):
        with monkeypatch.context() as patched:
            tried = too_small(patched, rows)
            assert alike(whole, gradient(patched, task(LINES[name], 4)))
            assert tried == sizes


def test_what_was_added_up_before_the_memory_was_full_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first micro-batch fits, and the second does not: it alone is halved, and both count once."""

    def tasks() -> list[Task]:
        short = Task("short", LINES["cross_entropy"], train=ROWS, micro_batch_size=2, shuffle=False, buckets=False)
        return [short, task(LINES["two slots"], 4)]

    whole = gradient(monkeypatch, tasks(), schedule="accumulate")
    tried = too_small(monkeypatch, 2)
    assert alike(whole, gradient(monkeypatch, tasks(), schedule="accumulate"))
    assert tried == [2, 4, 2, 2, 2]
