"""Backbones: a forward and backward pass through our flow against the library's bare one, what loading takes, and one
mix of instructions on our engine and on backbones of like size; `python -m benchmarks.backbones`.

CPU time of one process with one thread, by turns, the median of the ratios. Batches of equal lengths, which the library
needs no padding for, and of mixed ones, which it pads. Tokens are those that are no padding.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ofasys import GeneralistModel, Task, flow
from ofasys.gallery.pages import MAIN
from ofasys.gallery.pages.page import Asked
from ofasys.model import SIZES

ROUNDS = 9
BATCH = 8
VOCABULARY = 8000
SHAPES: dict[str, dict[str, Any]] = {
    "t5": {"d_model": 256, "d_kv": 64, "d_ff": 1024, "num_layers": 4, "num_heads": 4, "dropout_rate": 0.0},
    "qwen3": {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
    },
}
MARKS = ["<pad>", "</s>", "<unk>"]
OURS = replace(SIZES["small"], dropout=0.0)  # of as many layers as the T5, and as wide


def words() -> Tokenizer:
    """Of words W0, W1, ..."""
    known = {word: i for i, word in enumerate([*MARKS, *(f"W{i}" for i in range(VOCABULARY - 3))])}
    made = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.WhitespaceSplit(), decoders.Fuse()
    made.add_special_tokens(MARKS)
    return made


def write(family: str, folder: Path, made: Tokenizer | None = None, **changes: Any) -> Any:
    """A folder of a backbone with random weights and a tokenizer, that of `words` if None -> the library's model."""
    import transformers

    made = words() if made is None else made
    ids = {"vocab_size": VOCABULARY, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    if family == "t5":
        ids["decoder_start_token_id"] = 0
    shape = transformers.AutoConfig.for_model(family, **{**SHAPES[family], **changes}, **ids)
    kind = "AutoModelForSeq2SeqLM" if shape.is_encoder_decoder else "AutoModelForCausalLM"
    torch.manual_seed(0)
    model = getattr(transformers, kind).from_config(shape, dtype=torch.float32)
    model.save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))
    return model


def rows(mixed: bool) -> list[dict[str, str]]:
    """Texts of words drawn by a seed: 96 and 48 words, or 4 to 96 and half of that."""
    drawn = np.random.default_rng(0)
    lengths = drawn.integers(4, 97, BATCH) if mixed else np.full(BATCH, 96)
    return [
        {name: " ".join(f"W{i}" for i in drawn.integers(0, VOCABULARY - 3, n)) for name, n in (("q", n), ("a", n // 2))}
        for n in lengths
    ]


def library_inputs(model: GeneralistModel, samples: list[Any], pair: bool) -> dict[str, torch.Tensor]:
    """What the library is given of the same samples, padded as it pads."""
    marks = model.config
    sources = [[*marks.before, *s.source[0][1].tensors["tokens"].tolist(), *marks.after] for s in samples]
    answers = [s.run.tokens.tolist() for s in samples]
    if not pair:
        begun = [s + list(sample.run.prefix) for s, sample in zip(sources, samples, strict=True)]
        labels = [[-100] * len(s) + a for s, a in zip(begun, answers, strict=True)]
        sources = [s + a for s, a in zip(begun, answers, strict=True)]
    else:
        labels = answers
    seen = [[1] * len(s) for s in sources]
    return {"input_ids": padded(sources, 0), "attention_mask": padded(seen, 0), "labels": padded(labels, -100)}


def padded(lists: list[list[int]], value: int) -> torch.Tensor:
    """Lists side by side, filled up to the longest."""
    wide = max(map(len, lists))
    return torch.tensor([own + [value] * (wide - len(own)) for own in lists])


def measure(family: str, mixed: bool) -> tuple[float, float, float, float, int]:
    """(median ratio of CPU times, ours and the library's in seconds, difference of the losses, tokens)."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = write(family, Path(folder)).train()
        model = GeneralistModel(engine=f"hf:{folder}").train()
    task = Task("t", "[TEXT:q] -> [TEXT:a]", train=rows(mixed))
    model.grow([(plan, task.labels) for plan in task.plans], lambda: [])
    program = flow.bind(model, task.plans[0], task.labels)
    samples = [flow.preprocess(program, row) for row in rows(mixed)]
    given, batch = library_inputs(model, samples, family == "t5"), flow.collate(program, samples)
    scale = torch.ones(len(program.plan.slots)) / max(1.0, float(batch.units.sum()))

    def ours() -> float:
        model.zero_grad(set_to_none=True)
        loss = model(program, batch, scale).total
        loss.backward()
        return float(loss.detach())

    def bare() -> float:
        theirs.zero_grad(set_to_none=True)
        loss = theirs(**given).loss
        loss.backward()
        return float(loss.detach())

    times = [(spent(ours), spent(bare)) for _ in range(ROUNDS + 2)][2:]
    ratio = median(mine / own for mine, own in times)
    apart, tokens = abs(ours() - bare()), int(given["attention_mask"].sum()) + int((given["labels"] >= 0).sum())
    tokens -= 0 if family == "t5" else int((given["labels"] >= 0).sum())  # of one stream they are among the others
    return ratio, median(mine for mine, _ in times), median(own for _, own in times), apart, tokens


def spent(call: Any) -> float:
    """Seconds of CPU time."""
    start = time.process_time()
    call()
    return time.process_time() - start


# --- a mix of instructions -------------------------------------------------------------------------------------------


def mix(engine: str, folder: Path) -> tuple[GeneralistModel, list[tuple[Any, Any, Any]]]:
    """(a model, a batch of each task of the demo's main page with its program and scale)."""
    tasks = list(MAIN.tasks(Asked(folder, seed=0)))
    made, trainer = Tokenizer(models.BPE()), trainers.BpeTrainer(vocab_size=2000, special_tokens=MARKS)
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.train_from_iterator((text for task in tasks for text in written(task)), trainer)
    if engine == "ours":
        made.save(str(folder / "own.json"))
        model = GeneralistModel(config=OURS, tokenizer=str(folder / "own.json"))
    else:
        write(engine, folder, made)
        model = GeneralistModel(engine=f"hf:{folder}")
    model.grow([(plan, task.labels) for task in tasks for plan in task.plans], lambda: [])
    batches = []
    for task in tasks:
        program = flow.bind(model, task.plans[0], task.labels)
        train = task.source("train")
        assert train is not None
        samples = [flow.preprocess(program, train[i], random=np.random.default_rng(i)) for i in range(BATCH)]
        batch = flow.collate(program, samples)
        batches.append((program, batch, torch.ones(len(program.plan.slots)) / max(1.0, float(batch.units.sum()))))
    return model.train(), batches


def written(task: Task) -> list[str]:
    """The texts of a task's first rows, and its instruction."""
    train = task.source("train")
    assert train is not None
    values = [value for i in range(500) for value in train[i].values()]
    lists = [value if isinstance(value, list) else [value] for value in values]
    return [str(task.plans[0].instruction), *(one for found in lists for one in found if isinstance(one, str))]


def updates(model: GeneralistModel, batches: list[tuple[Any, Any, Any]]) -> Any:
    """A call that makes an update of each batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        for program, batch, scale in batches:
            optimizer.zero_grad(set_to_none=True)
            model(program, batch, scale).total.backward()
            optimizer.step()

    return step


def mixes() -> dict[str, tuple[int, int, float, float]]:
    """Of each engine: (numbers of the model, tokens, median CPU seconds of an update of each task, MiB at the peak)."""
    with tempfile.TemporaryDirectory() as place:
        made = {}
        for engine in ("ours", *SHAPES):
            (folder := Path(place) / engine).mkdir()
            made[engine] = mix(engine, folder)
    calls = {engine: updates(*own) for engine, own in made.items()}
    times = [{engine: spent(call) for engine, call in calls.items()} for _ in range(ROUNDS + 1)][1:]
    return {
        engine: (
            model.parameters_count,
            sum(batch.positions for _, batch, _ in batches),
            median(one[engine] for one in times),
            told("mix", engine),
        )
        for engine, (model, batches) in made.items()
    }


def told(*asked: str) -> float:
    """The number that this script prints in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.backbones", *asked], capture_output=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def resident(name: str) -> float:
    """MiB of memory of this process: VmRSS now, VmHWM at its peak."""
    status = Path("/proc/self/status").read_text(encoding="utf8")
    return int(status.split(f"{name}:")[1].split()[0]) / 2**10


def mixed_memory(engine: str) -> float:
    """MiB that a model, its batches and two updates of each take at the peak, with the libraries imported before."""
    import transformers

    torch.set_num_threads(1)
    assert transformers.AutoModelForCausalLM
    before = resident("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        step = updates(*mix(engine, Path(folder)))
    step()
    step()
    return resident("VmHWM") - before


# --- loading ---------------------------------------------------------------------------------------------------------


def loading() -> dict[str, float]:
    """Megabytes of the weights, and the most that a process grew by while it made a model of them."""
    wide = {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 16, "num_attention_heads": 8}
    with tempfile.TemporaryDirectory() as folder:
        write("qwen3", Path(folder), **wide)
        size = (Path(folder) / "model.safetensors").stat().st_size / 2**20
        return {"weights": size, "grown": told("load", folder)}


def grown(folder: str) -> float:
    """MiB of resident memory that making a model adds at its peak, with the library imported before."""
    import transformers.models.qwen3.modeling_qwen3

    import ofasys.engine.huggingface.backbone  # noqa: F401

    assert transformers.AutoModelForCausalLM  # imported before it is measured
    before = resident("VmRSS")
    GeneralistModel(engine=f"hf:{folder}")
    return resident("VmHWM") - before


def main() -> None:
    """The tables of backbones.md."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print("| backbone | lengths | tokens | ours, ms | library, ms | ratio | tokens/s, times | losses differ by |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for family in SHAPES:
        for mixed in (False, True):
            ratio, mine, own, apart, tokens = measure(family, mixed)
            lengths = "4 to 96" if mixed else "96"
            figures = f"{tokens} | {1e3 * mine:.0f} | {1e3 * own:.0f} | {ratio:.2f} | {1 / ratio:.2f} | {apart:.0e}"
            print(f"| {family} | {lengths} | {figures} |", flush=True)
    print("\n| engine | parameters | tokens | six updates, s | tokens/s | memory, MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for engine, (count, tokens, seconds, memory) in mixes().items():
        print(f"| {engine} | {count:,} | {tokens} | {seconds:.2f} | {tokens / seconds:.0f} | {memory:.0f} |")
    found = loading()
    print(f"\nloading: weights of {found['weights']:.0f} MiB, {found['grown']:.0f} MiB of memory at the peak")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({"load": grown, "mix": mixed_memory}[sys.argv[1]](sys.argv[2])))
    else:
        main()
