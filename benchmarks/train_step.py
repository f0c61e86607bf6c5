# ruff: noqa: E402 - malloc reads its settings when a process starts, so they are set before torch is there
"""Training step against Hugging Face BART of equal shape, interleaved in one process:
`python -m benchmarks.train_step`.

Both sides: width 256, 4+4 layers, 4 heads, ffn 1024, vocabulary 50,265, batch 8 of about 62+64 tokens (11% padding),
dropout 0.1, fused AdamW, gradients clipped at 1.0, the same malloc settings. Tokens are those that are no padding.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

MALLOC = {
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}
if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in MALLOC.items()):
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.train_step", *sys.argv[1:]])

import torch
from torch import Tensor, nn

from ofasys.criterion.cross_entropy import cross_entropy
from ofasys.model import SIZES, UniversalModel, flops
from ofasys.model.rows import looked_up_beside
from ofasys.train.optimizer import gradient_norm, step_clipped
from ofasys.train.precision import faster
from ofasys.types import Layout, Stream

CLOCK = time.perf_counter
VOCABULARY, PAD = 50_265, 1
CONFIG = replace(SIZES["small"], max_positions=1024)  # as many positions as BART has


@dataclass(frozen=True)
class Batch:
    """Ids (B, S) and (B, T), padded, the masks of what is real, and the same as flat streams."""

    source: Tensor
    target: Tensor
    source_mask: Tensor
    target_mask: Tensor
    source_layout: Layout
    target_layout: Layout

    @property
    def tokens(self) -> int:
        return int(self.source_mask.sum() + self.target_mask.sum())


def layout(lengths: Tensor, mask: Tensor) -> Layout:
    order = torch.cat([torch.arange(int(n)) for n in lengths])
    positions = torch.stack([order, *[torch.full_like(order, -1)] * 2], 1)
    place = mask.flatten().nonzero()[:, 0]
    return Layout(mask.shape[0], mask.shape[1], place, positions, lengths, bool(mask.all()))


def make_batch(seed: int, size: int = 8) -> Batch:
    g = torch.Generator().manual_seed(seed)
    sides = []
    for longest in (62, 64):
        lengths = torch.randint(int(longest * 0.75), longest + 1, (size,), generator=g)
        lengths[int(torch.randint(0, size, (), generator=g))] = longest
        mask = torch.arange(longest) < lengths[:, None]
        ids = torch.where(mask, torch.randint(4, VOCABULARY, mask.shape, generator=g), PAD)
        sides.append((ids, mask, layout(lengths, mask)))
    (s, sm, sl), (t, tm, tl) = sides
    return Batch(s, t, sm, tm, sl, tl)


def adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-5, weight_decay=0.01, fused=True)


def ours(half: bool) -> Callable[[Batch], float]:
    torch.manual_seed(0)
    model = UniversalModel(CONFIG).train()
    table = nn.Parameter(0.02 * torch.randn(VOCABULARY, CONFIG.width))
    parameters = [table, *model.parameters()]
    optimizer = adamw(parameters)

    def run(batch: Batch) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            labels = batch.target[batch.target_mask]
            shifted = batch.target.roll(1, 1)
            shifted[:, 0] = 2
            ids = [batch.source[batch.source_mask], shifted[batch.target_mask]]
            rows, output = looked_up_beside(table, torch.cat(ids))  # one look-up for both sides, as a run has it
            sides = rows.split([len(i) for i in ids])
            memory = model.encode(Stream(sides[0], batch.source_layout))
            states = model.decode(Stream(sides[1], batch.target_layout), memory).states
            weights = torch.full((labels.shape[0],), 1.0 / labels.shape[0])
            loss = cross_entropy(states, output, labels, weights=weights).loss
        loss.backward()
        step_clipped(optimizer, gradient_norm(optimizer), 1.0)
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return run


def bart(vocabulary: int, **more: Any) -> Any:
    """Hugging Face BART of the same shape."""
    from transformers import BartConfig, BartForConditionalGeneration

    shape = BartConfig(
        vocab_size=vocabulary,
        d_model=CONFIG.width,
        encoder_layers=CONFIG.encoder_layers,
        decoder_layers=CONFIG.decoder_layers,
        encoder_attention_heads=CONFIG.heads,
        decoder_attention_heads=CONFIG.heads,
        encoder_ffn_dim=CONFIG.ffn,
        decoder_ffn_dim=CONFIG.ffn,
        max_position_embeddings=CONFIG.max_positions,
        dropout=CONFIG.dropout,
        attn_implementation="sdpa",
        **more,
    )
    return BartForConditionalGeneration(shape)


def theirs(half: bool) -> Callable[[Batch], float]:
    torch.manual_seed(0)
    model = bart(VOCABULARY).train()
    parameters = list(model.parameters())
    optimizer = adamw(parameters)

    def run(batch: Batch) -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = model(
                input_ids=batch.source,
                attention_mask=batch.source_mask.long(),
                labels=batch.target.masked_fill(~batch.target_mask, -100),
                use_cache=False,
            ).loss
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return run


SIDES: dict[str, Callable[[bool], Callable[[Batch], float]]] = {"ofasys": ours, "bart": theirs}


def work(batch: Batch, padded: bool) -> float:
    """FLOPs of a step: three times forward, with the vocabulary head at every target position."""
    total = 0
    sources, targets = batch.source_layout.lengths.tolist(), batch.target_layout.lengths.tolist()
    for s, t in zip(sources, targets, strict=True):
        s, t = (batch.source.shape[1], batch.target.shape[1]) if padded else (s, t)
        total += flops(CONFIG, s, t) + 2 * t * CONFIG.width * VOCABULARY
    return 3.0 * total


def peak(half: bool, repeats: int = 4) -> float:
    """Best FLOP/s of a 2048 x 2048 x 2048 product now."""
    a = torch.randn(2048, 2048, dtype=torch.bfloat16 if half else torch.float32)
    best = float("inf")
    for _ in range(repeats):
        begin = CLOCK()
        torch.mm(a, a)
        best = min(best, CLOCK() - begin)
    return 2 * 2048**3 / best


def timed(half: bool, rounds: int, steps: int) -> dict[str, float]:
    """Medians over rounds; in each, `steps` steps of one side, then of the other, then the peak."""
    runs = {name: make(half) for name, make in SIDES.items()}
    for run in runs.values():
        for seed in range(3):
            run(make_batch(seed))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    shares: dict[str, list[float]] = {name: [] for name in runs}
    tokens: list[int] = []
    peaks = []
    for r in range(rounds):
        batches = [make_batch(1000 + r * steps + i) for i in range(steps)]
        tokens.append(sum(b.tokens for b in batches))
        now = peak(half)
        for name in list(runs) if r % 2 else list(runs)[::-1]:
            begin = CLOCK()
            for batch in batches:
                runs[name](batch)
            seconds[name].append(CLOCK() - begin)
        peaks.append(max(now, peak(half)))
        for name in runs:
            done = sum(work(b, padded=name == "bart") for b in batches)
            shares[name].append(done / seconds[name][-1] / peaks[-1])
    speed = {name: [n / s for n, s in zip(tokens, seconds[name], strict=True)] for name in runs}
    out = {f"{name}_tokens_per_second": statistics.median(speed[name]) for name in runs}
    out |= {f"{name}_share_of_peak": statistics.median(shares[name]) for name in runs}
    ratios = [a / b for a, b in zip(speed["ofasys"], speed["bart"], strict=True)]
    return out | {
        "ratio": statistics.median(ratios),
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
        "peak_gflops": statistics.median(peaks) / 1e9,
    }


def resident() -> int:
    """Most memory this process ever held, bytes. (getrusage would tell the most of its parent, too.)"""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def memory(side: str, half: bool) -> None:
    """In a process of its own: what six steps add to what imports took."""
    if side == "bart":
        from transformers import BartForConditionalGeneration  # noqa: F401
    before = resident()
    run = SIDES[side](half)
    for seed in range(6):
        run(make_batch(seed))
    print(json.dumps((resident() - before) / 2**20))


def measured_memory(side: str, half: bool) -> float:
    command = [sys.executable, "-m", "benchmarks.train_step", "--memory", side, *(["--half"] if half else [])]
    return float(
        json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true", help="one thread, its own time: for a machine that is busy")
    parser.add_argument("--float32-only", action="store_true")
    parser.add_argument("--memory", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--half", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cpu_time:
        global CLOCK
        CLOCK, options.threads = time.process_time, 1
    torch.set_num_threads(options.threads)
    if options.memory:
        memory(options.memory, options.half)
        return
    print(f"torch {torch.__version__}, {platform.machine()}, {options.threads} threads", flush=True)
    precisions = [False] if options.float32_only or not faster(CONFIG.width) else [False, True]
    for half in precisions:
        figures = timed(half, options.rounds, options.steps)
        for side in SIDES:
            figures[f"{side}_peak_memory_mib"] = measured_memory(side, half)
        print(json.dumps({"precision": "bfloat16 autocast" if half else "float32"} | figures, indent=2), flush=True)


if __name__ == "__main__":
    main()
