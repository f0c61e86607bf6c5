"""Training on mixed tasks on a GPU: tokens a second, model FLOPs over what the card can do, peak memory, and what the
trainer takes beside the same passes without it: `python -m benchmarks.gpu` (`make gpu` runs the tests first).

Three tasks in turn: captions of pictures, texts to be filled in, boxes of objects. Rows are made up. A run of the
trainer is timed from the end of its warm-up; then its very batches, on the device already, pass through the same model
and the same optimizer in a bare loop.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofasys import Callback, GeneralistModel, Task, Trainer
from ofasys.model import flops
from ofasys.program.program import Program
from ofasys.train.callback import RunView
from ofasys.train.engine_modes import compiling
from ofasys.train.groups import groups_of
from ofasys.train.optimizer import gradient_norm, step_clipped
from ofasys.train.optimizers import ADAMW
from ofasys.types import Batch, TokenTargets

CLOCK = time.perf_counter
Work = list[tuple[Program, Batch, Tensor, float]]  # what a step's forward is given

# Dense products in bfloat16 a second, of NVIDIA's data sheets, by a word of the card's name. The first that fits.
PEAKS = {
    "H200": 989.4e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989.4e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
}


@dataclass(frozen=True)
class Amount:
    """How much is done. rows: of a task, of which a micro-batch has `batch`. words: of the longest text."""

    rows: int = 2048
    batch: int = 64
    words: int = 220
    picture: int = 224
    patch: int = 16
    warm: int = 20
    steps: int = 60


TINY = Amount(rows=12, batch=3, words=12, picture=32, patch=16, warm=3, steps=6)


def texts(amount: Amount, seed: int) -> list[str]:
    """Made-up texts whose lengths are spread as those of paragraphs are."""
    random = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnoprstuvw"))
    words = ["".join(random.choice(letters, int(random.integers(2, 9)))) for _ in range(3000)]
    lengths = np.clip(random.lognormal(3.6, 0.9, amount.rows), 4, amount.words).astype(int)
    return [" ".join(random.choice(words, n)) for n in lengths]


def tasks(amount: Amount) -> list[Task]:
    """The three."""
    random, size = np.random.default_rng(0), amount.picture
    pictures = [random.integers(0, 256, (size, size, 3), dtype=np.uint8) for _ in range(16)]
    words, image = texts(amount, 1), {"IMAGE.size": size, "IMAGE.patch": amount.patch}
    rows: list[dict[str, Any]] = []
    for i, text in enumerate(words):
        boxes = [[0, 0, size // (j + 2), size // 2] for j in range(1 + i % 4)]
        names = text.split()[: len(boxes)]
        caption = " ".join(text.split()[:30])
        rows.append({"img": pictures[i % 16], "cap": caption, "text": text, "box": boxes[: len(names)], "name": names})
    lines = {
        "caption": "[IMAGE:img] what does the image describe? -> [TEXT:cap]",
        "infill": 'what is the complete text of " [TEXT:text,mask_ratio=0.3] "? -> [TEXT:text]',
        "detect": "[IMAGE:img] detect the objects. -> ([BOX:box] [TEXT:name])*",
    }
    return [
        Task(name, line, train=rows, micro_batch_size=amount.batch, settings=image if "IMAGE" in line else {})
        for name, line in lines.items()
    ]


def work(model: GeneralistModel, program: Program, batch: Batch) -> float:
    """FLOPs of a step: three times forward, with the vocabulary's product where tokens are predicted. Adaptors of
    pictures are not counted.
    """
    none = [0] * batch.size
    sides = [none if side is None else side.layout.lengths.tolist() for side in (batch.source, batch.target)]
    total = sum(flops(model.config, source, target) for source, target in zip(*sides, strict=True))
    for targets in batch.targets:
        if isinstance(targets, TokenTargets):
            group = program.constraint_of(targets.stage).classes[targets.group]
            total += 2 * len(targets.at) * model.config.width * len(group.candidates)
    return 3.0 * total


@dataclass
class Clock(Callback):
    """Times the steps after the warm-up, and keeps what their forwards were given."""

    device: torch.device
    warm: int
    work: Work = field(default_factory=list)
    seconds: float = 0.0
    began: float = 0.0
    name = "clock"

    def before_fit(self, run: RunView) -> None:
        self.hook = run.model.register_forward_pre_hook(lambda module, given: self.work.append(given))

    def after_step(self, run: RunView) -> None:
        if run.step == self.warm:
            self.work.clear()
            reset_memory(self.device)
            self.began = now(self.device)
        if run.step == run.max_steps:
            self.seconds = now(self.device) - self.began
            self.hook.remove()


def now(device: torch.device) -> float:
    """The time at which all that was begun is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return CLOCK()


def reset_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: of tensors on a GPU; on a CPU of the process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_flops(device: torch.device, dtype: torch.dtype, size: int) -> tuple[float, str]:
    """What the card can do, and how that is known: of its data sheet, or the best of some products."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    if dtype == torch.bfloat16:
        for word, most in PEAKS.items():
            if word in name:
                return most, f"{name}, by its data sheet"
    a = torch.randn(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(5):
        began = now(device)
        torch.mm(a, a)
        best = min(best, now(device) - began)
    return 2 * size**3 / best, f"{name}, by a product of {size} x {size}"


def bare(model: GeneralistModel, given: Work, device: torch.device, warm: int) -> float:
    """Seconds for the same passes without a trainer, after `warm` of them."""
    optimizer = ADAMW.optimizer(model, groups_of(model, 0.01), 1e-5, (0.9, 0.98))
    model.train()
    began = 0.0
    for number, (program, batch, scale, smoothing) in enumerate([*given[:warm], *given]):
        if number == warm:
            began = now(device)
        optimizer.zero_grad(set_to_none=True)
        model(program, batch, scale, smoothing).total.backward()
        step_clipped(optimizer, gradient_norm(optimizer), 1.0)
    return now(device) - began


def measure(size: str, device: torch.device, amount: Amount, settings: dict[str, Any]) -> dict[str, float]:
    """One row of the table."""
    clock = Clock(device, amount.warm)
    model = GeneralistModel(size)
    steps = amount.warm + amount.steps
    trainer = Trainer(
        max_steps=steps, lr=1e-5, log_every=steps, live=False, device=device.type, callbacks=[clock], **settings
    )
    trainer.fit(model=model, tasks=tasks(amount))
    memory = peak_memory(device)
    tokens = sum(batch.positions for _, batch, *_ in clock.work)
    done = sum(work(model, program, batch) for program, batch, *_ in clock.work)
    with compiling(model, settings["compile"]):
        alone = bare(model, clock.work, device, min(amount.warm, len(clock.work)))
    return {
        "parameters": model.parameters_count,
        "tokens_per_second": tokens / clock.seconds,
        "flops_per_second": done / clock.seconds,
        "memory": memory,
        "bare_tokens_per_second": tokens / alone,
        "overhead": clock.seconds / alone - 1,
    }


def row(size: str, found: dict[str, float], peak: float) -> str:
    """A line of the table."""
    cells = [
        size,
        f"{found['parameters'] / 1e6:,.0f} M",
        f"{found['tokens_per_second']:,.0f}",
        f"{found['flops_per_second'] / 1e12:,.4g}",
        f"{found['flops_per_second'] / peak:.1%}",
        f"{found['memory'] / 2**30:,.2f}",
        f"{found['overhead']:.1%}",
    ]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Print a table, a line a size of model; what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--sizes", nargs="+", default=["base", "large"])
    parser.add_argument("--precision", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--tiny", action="store_true", help="little enough for a CPU: to see whether it runs")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch finds no GPU here; --device cpu --tiny shows whether the benchmark runs")
    amount, sizes = (TINY, ["tiny"]) if options.tiny else (Amount(), options.sizes)
    device, dtype = torch.device(options.device), getattr(torch, options.precision)
    peak, how = peak_flops(device, dtype, 256 if options.tiny else 8192)
    settings = {"precision": options.precision, "compile": options.compile}
    settings["workers"] = 0 if options.tiny else options.workers
    print(
        f"torch {torch.__version__}; {peak / 1e12:,.4g} TFLOP/s in {options.precision}: {how}; {json.dumps(settings)}"
    )
    print("| size | parameters | tokens/s | TFLOP/s | MFU | peak memory, GiB | trainer over bare loop |")
    print("|---|---|---|---|---|---|---|")
    found = []
    for size in sizes:
        found.append(measure(size, device, amount, settings))
        print(row(size, found[-1], peak), flush=True)
    return found


if __name__ == "__main__":
    main()
