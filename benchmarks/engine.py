"""A whole run beside Hugging Face `Trainer` and `datasets.interleave_datasets`: `python -m benchmarks.engine`.

Two text tasks of mixed lengths (log-normal, 4 to 240 words), micro-batches of 16, the same tokenizer, a model of the
same shape (width 256, 4+4 layers, 4 heads, ffn 1024), dropout 0.1, fused AdamW, gradients clipped at 1.0, the same
malloc settings. Runs of the sides alternate in one process; tokens are those that are no padding, of both sides of the
model. `--part`: "speed" (the loop's own share is in it), "memory", "start", or "all".

Theirs as it is best here: rows tokenised before the run, padded to the longest of a batch, sdpa attention, no workers
(batches of what is tokenised take 1 ms). Its batches are of rows as `interleave_datasets` gives them, shuffled.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.train_step import CONFIG, MALLOC, bart, resident

if __name__ == "__main__" and any(os.environ.get(name) != value for name, value in MALLOC.items()):
    os.environ.update(MALLOC)
    os.execv(sys.executable, [sys.executable, "-m", "benchmarks.engine", *sys.argv[1:]])

import torch

from ofasys import Callback, GeneralistModel, Task, Trainer
from ofasys.hub.store import MANIFEST
from ofasys.modality.symbols import train_tokenizer
from ofasys.train.callback import RunView
from ofasys.train.optimizer import gradient_norm, step_clipped

CLOCK = time.perf_counter
BATCH, RATE, CLIP = 16, 1e-4, 1.0
ROWS, PIECES = 4000, 8000
PROMPTS = {"rewrite": "rewrite this :", "shorten": "make this short :"}
LONG = 500_000  # rows of each task, where the start of a run is timed
AT = 10_000  # the step at which it is resumed


def words() -> tuple[list[str], list[float]]:
    """3,000 made-up words, and how often each comes (Zipf)."""
    g = random.Random(0)
    made = ["".join(g.choice("abcdefghijklmnoprstuvw") for _ in range(g.randint(2, 9))) for _ in range(3000)]
    return made, [1 / (i + 10) for i in range(len(made))]


def rows(task: str, count: int = ROWS) -> list[dict[str, str]]:
    """x of 4 to 240 words, log-normal as paragraphs are; y of about as many, or of a quarter."""
    g, (known, often) = random.Random(task), words()
    share = {"rewrite": 1.0, "shorten": 0.25}[task]
    made = []
    for _ in range(count):
        n = max(4, min(240, round(g.lognormvariate(3.6, 0.9))))
        m = max(4, min(240, round(n * share * g.uniform(0.8, 1.2))))
        made.append({"x": " ".join(g.choices(known, often, k=n)), "y": " ".join(g.choices(known, often, k=m))})
    return made


def tokenizer_file(folder: Path) -> Path:
    """The tokenizer of both sides, trained on the rows."""
    path = folder / "tokenizer.json"
    if not path.exists():
        texts = [*PROMPTS.values(), *(row[side] for task in PROMPTS for row in rows(task) for side in "xy")]
        train_tokenizer(texts, PIECES).save(str(path))
    return path


@dataclass
class Timed:
    """What a run tells of each of its updates: the seconds, the useful tokens, and the seconds of a bare loop."""

    seconds: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def speed(self, warm: int) -> float:
        """Useful tokens a second, without the first `warm` updates."""
        return sum(self.tokens[warm : len(self.seconds)]) / sum(self.seconds[warm:])

    def overhead(self, warm: int) -> float:
        """What the run takes beyond a bare loop, as a share of it: medians, as one slow stretch outweighs all else."""
        return statistics.median(a / b for a, b in zip(self.seconds[warm:], self.bare[warm:], strict=True)) - 1


class Watch(Callback):
    """Times the updates of a run of ours and, if it is to, after each the same tensors in a bare loop."""

    def __init__(self, bare: bool) -> None:
        self.bare, self.found = bare, Timed()

    def before_fit(self, run: RunView) -> None:
        self.hook = run.model.register_forward_pre_hook(lambda model, given: self.see(given))
        self.mark = CLOCK()

    def see(self, given: tuple[Any, ...]) -> None:
        self.given = given

    def after_step(self, run: RunView) -> None:
        self.found.seconds.append(CLOCK() - self.mark)
        self.found.tokens.append(self.given[1].positions)
        if self.bare:
            given = self.given
            begin = CLOCK()
            run.optimizer.zero_grad(set_to_none=True)
            run.model(*given).total.backward()
            step_clipped(run.optimizer, gradient_norm(run.optimizer), CLIP)
            self.found.bare.append(CLOCK() - begin)
        self.mark = CLOCK()

    def after_fit(self, run: RunView) -> None:
        self.hook.remove()


def ours(folder: Path, half: bool, steps: int, bare: bool = False) -> Timed:
    """A run of ours."""
    model = GeneralistModel(config=CONFIG, tokenizer=tokenizer_file(folder))
    watch = Watch(bare)
    trainer = Trainer(
        max_steps=steps,
        lr=RATE,
        clip=CLIP,
        precision="bfloat16" if half else "float32",
        callbacks=[watch],
        live=False,
    )
    trainer.fit(model=model, tasks=[our_task(name, rows(name)) for name in PROMPTS])
    return watch.found


def our_task(name: str, train: Any) -> Task:
    return Task(name, f"{PROMPTS[name]} [TEXT:x] -> [TEXT:y]", train, micro_batch_size=BATCH)


def their_tokenizer(folder: Path) -> Any:
    from transformers import PreTrainedTokenizerFast

    known = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file(folder)))
    known.add_special_tokens({"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"})
    return known


def their_model(known: Any) -> Any:
    return bart(
        len(known),
        bos_token_id=known.bos_token_id,
        pad_token_id=known.pad_token_id,
        eos_token_id=known.eos_token_id,
        decoder_start_token_id=known.eos_token_id,
        forced_eos_token_id=None,
    )


def their_features(known: Any, task: str, batch: dict[str, list[str]]) -> dict[str, Any]:
    """Texts -> ids, each ended as BART's are."""
    end = known.eos_token
    found = known([f"{PROMPTS[task]} {x}{end}" for x in batch["x"]])
    labels = known([f"{y}{end}" for y in batch["y"]])["input_ids"]
    return {"input_ids": found["input_ids"], "attention_mask": found["attention_mask"], "labels": labels}


def their_arguments(folder: Path, half: bool, steps: int, **more: Any) -> Any:
    from transformers import TrainingArguments

    given: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": BATCH,
        "learning_rate": RATE,
        "max_grad_norm": CLIP,
        "optim": "adamw_torch_fused",
        "bf16": half,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_steps": 20,
        "report_to": [],
        "disable_tqdm": True,
    }
    return TrainingArguments(**(given | more))


def theirs(folder: Path, half: bool, steps: int) -> Timed:
    """A run of theirs."""
    import datasets
    from transformers import DataCollatorForSeq2Seq, TrainerCallback
    from transformers import Trainer as Theirs

    datasets.disable_progress_bars()
    known, found = their_tokenizer(folder), Timed()
    sets = [datasets.Dataset.from_list(rows(task)) for task in PROMPTS]
    ready = [
        one.map(lambda batch, task=task: their_features(known, task, batch), batched=True, remove_columns=["x", "y"])
        for task, one in zip(PROMPTS, sets, strict=True)
    ]

    class Ticks(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.mark = CLOCK()

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            found.seconds.append(CLOCK() - self.mark)
            self.mark = CLOCK()

    def see(model: Any, args: Any, given: dict[str, Any]) -> None:
        found.tokens.append(int(given["attention_mask"].sum() + (given["labels"] != -100).sum()))

    model = their_model(known)
    model.register_forward_pre_hook(see, with_kwargs=True)
    Theirs(
        model=model,
        args=their_arguments(folder / "theirs", half, steps),
        train_dataset=datasets.interleave_datasets(ready),
        data_collator=DataCollatorForSeq2Seq(known, label_pad_token_id=-100),
        callbacks=[Ticks()],
    ).train()
    return found


def speed(folder: Path, rounds: int, steps: int, warm: int) -> dict[str, float]:
    """Medians of rounds; in each a run of each side in each precision. overhead: of our loop, with the making of
    batches, over a bare loop on the same tensors.
    """
    sides: dict[str, Callable[[bool], Timed]] = {
        "ofasys": lambda half: ours(folder, half, steps, bare=True),
        "theirs": lambda half: theirs(folder, half, steps),
    }
    kinds = {f"{side} {'bfloat16' if half else 'float32'}": (side, half) for half in (False, True) for side in sides}
    speeds: dict[str, list[float]] = {kind: [] for kind in kinds}
    overheads: dict[str, list[float]] = {kind: [] for kind, (side, _) in kinds.items() if side == "ofasys"}
    for round_ in range(rounds):
        for kind in list(kinds)[:: -1 if round_ % 2 else 1]:
            side, half = kinds[kind]
            found = sides[side](half)
            speeds[kind].append(found.speed(warm))
            if found.bare:
                overheads[kind].append(found.overhead(warm))
    out = {f"{kind} tokens/s": statistics.median(found) for kind, found in speeds.items()}
    out |= {f"{kind} overhead": statistics.median(found) for kind, found in overheads.items()}
    out |= ratios(speeds)
    return out


def ratios(speeds: dict[str, list[float]]) -> dict[str, float]:
    """Ours over theirs, round by round: in float32, and each at its fastest."""

    def fastest(side: str) -> str:
        return max((kind for kind in speeds if kind.startswith(side)), key=lambda kind: statistics.median(speeds[kind]))

    out = {}
    for what, (a, b) in {
        "float32": ("ofasys float32", "theirs float32"),
        "fastest": (fastest("ofasys"), fastest("theirs")),
    }.items():
        each = [x / y for x, y in zip(speeds[a], speeds[b], strict=True)]
        out |= {f"ratio {what}": statistics.median(each), f"ratio {what}, lowest": min(each)}
        out[f"ratio {what}, highest"] = max(each)
    return out


def memory(folder: Path, side: str, half: bool, steps: int) -> float:
    """MiB that a run adds to what imports took; for a process of its own."""
    if side == "theirs":
        import datasets  # noqa: F401
        from transformers import BartForConditionalGeneration, Trainer  # noqa: F401
    before = resident()
    (ours if side == "ofasys" else theirs)(folder, half, steps)
    return (resident() - before) / 2**20


def long_files(folder: Path) -> list[Path]:
    """LONG rows a task, as Parquet: 20,000 texts again and again, so that they are there in a minute."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = []
    for task in PROMPTS:
        few, path = rows(task, 20_000), folder / f"{task}.parquet"
        table = pa.Table.from_pylist(few)
        with pq.ParquetWriter(path, table.schema) as writer:
            for _ in range(LONG // len(few)):
                writer.write_table(table)
        paths.append(path)
    return paths


Spent = dict[str, float]


def spent() -> Spent:
    """Seconds of this process so far. wall: on the clock. cpu: of all its threads, and of the compilers it called."""
    took = os.times()
    return {"wall": time.perf_counter(), "cpu": time.process_time() + took.children_user + took.children_system}


class Ends(Callback):
    """Ends the process after so many updates of this call, telling what it spent since `begin`."""

    def __init__(self, begin: Spent, after: int) -> None:
        self.begin, self.left = begin, after

    def after_step(self, run: RunView) -> None:
        self.left -= 1
        if not self.left:
            tell_and_end(self.begin, run.step)


def tell_and_end(begin: Spent, step: int) -> None:
    now = spent()
    print(json.dumps({"seconds": {name: now[name] - begin[name] for name in now}, "step": step}), flush=True)
    os._exit(0)


def start_ours(folder: Path, after: int) -> None:
    """Open the data and train `after` updates of a long run, which goes on where there is a checkpoint."""
    import torch._dynamo  # noqa: F401 - 1 to 3 s, which the first optimizer of a process takes otherwise, of either side

    begin = spent()
    tasks = [our_task(name, str(folder / f"{name}.parquet")) for name in PROMPTS]
    Trainer(
        max_steps=2 * AT,
        lr=RATE,
        precision="float32",
        out=folder / "run",
        save_every=1,
        async_save=False,
        live=False,
        callbacks=[Ends(begin, after)],
    ).fit(model=GeneralistModel(config=CONFIG, tokenizer=tokenizer_file(folder)), tasks=tasks)


def start_theirs(folder: Path, after: int) -> None:
    """The same of theirs, each row tokenised as it comes: to have all of them tokenised would take minutes."""
    import datasets
    import torch._dynamo  # noqa: F401
    from transformers import DataCollatorForSeq2Seq, TrainerCallback
    from transformers import Trainer as Theirs

    begin = spent()
    datasets.disable_progress_bars()
    known = their_tokenizer(folder)
    cache, out = str(folder / "cache"), folder / "their run"
    sets = [
        datasets.load_dataset("parquet", data_files=str(folder / f"{task}.parquet"), split="train", cache_dir=cache)
        for task in PROMPTS
    ]
    for task, one in zip(PROMPTS, sets, strict=True):
        sets[list(PROMPTS).index(task)] = one.add_column("task", [task] * len(one))
    pad = DataCollatorForSeq2Seq(known, label_pad_token_id=-100)

    def collate(batch: list[dict[str, str]]) -> Any:
        ready = [their_features(known, row["task"], {"x": [row["x"]], "y": [row["y"]]}) for row in batch]
        return pad([{name: value[0] for name, value in one.items()} for one in ready])

    class Ticks(TrainerCallback):  # type: ignore[misc]
        left = after

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            self.left -= 1
            if not self.left:
                tell_and_end(begin, state.global_step)

    saving = {"save_strategy": "steps", "save_steps": 1, "remove_unused_columns": False}
    Theirs(
        model=their_model(known),
        args=their_arguments(out, False, 2 * AT, **saving),
        train_dataset=datasets.interleave_datasets(sets),
        data_collator=collate,
        callbacks=[Ticks()],
    ).train(resume_from_checkpoint=str(out / f"checkpoint-{AT}") if (out / f"checkpoint-{AT}").exists() else None)


STARTS: dict[str, Callable[[Path, int], None]] = {"ofasys": start_ours, "theirs": start_theirs}
OUT = {"ofasys": "run", "theirs": "their run"}  # the folder of a run


def put_on(folder: Path, side: str) -> None:
    """What a checkpoint of step 1 says becomes step AT: to train so far would take hours, and changes no size."""
    if side == "ofasys":
        last = json.loads((folder / "run" / "checkpoints" / "last.json").read_text())["folder"]
        path = folder / "run" / "checkpoints" / last
        state = json.loads((path / "state.json").read_text())
        state |= {"step": AT, "drawn": dict.fromkeys(PROMPTS, AT // len(PROMPTS))}
        text = json.dumps(state)
        (path / "state.json").write_text(text)
        manifest = json.loads((path / MANIFEST).read_text())
        manifest["files"]["state.json"] = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "bytes": len(text)}
        (path / MANIFEST).write_text(json.dumps(manifest))
        return
    out = folder / "their run"
    (out / "checkpoint-1").rename(out / f"checkpoint-{AT}")
    path = out / f"checkpoint-{AT}" / "trainer_state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"global_step": AT}))


def alone(*given: str, **environment: str) -> Any:
    """What this module says, run in a process of its own with these arguments."""
    command = [sys.executable, "-m", "benchmarks.engine", *given]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def starts(folder: Path, rounds: int, threads: int) -> dict[str, Spent]:
    """Seconds from the opening of the data to the end of the first update, libraries imported: of a first run, for
    which nothing is kept from before, not even what a compiler made; of one more; and resumed at AT. Medians of rounds,
    in each of which the sides take turns.
    """
    long_files(folder)
    found: dict[str, list[Spent]] = {}
    for _ in range(rounds):
        for kept in (".ofasys", "cache", "user"):
            shutil.rmtree(folder / kept, ignore_errors=True)
        for what in ("first", "again", "resumed"):
            for side in STARTS:
                name, took = f"{side}, {what}", start(folder, side, what, threads)
                print(json.dumps({name: took}), file=sys.stderr, flush=True)
                found.setdefault(name, []).append(took)
    return {
        name: {kind: statistics.median(one[kind] for one in each) for kind in each[0]} for name, each in found.items()
    }


def start(folder: Path, side: str, what: str, threads: int) -> Spent:
    """One start of a side. what: "resumed" for one that goes on at AT."""
    given = ["--start", side, "--folder", str(folder), "--threads", str(threads)]
    kept = {"XDG_CACHE_HOME": str(folder / "user")}
    shutil.rmtree(folder / OUT[side], ignore_errors=True)
    if what == "resumed":
        alone(*given, "--steps", "2", **kept)
        put_on(folder, side)
    told = alone(*given, **kept)
    if told["step"] != (AT + 1 if what == "resumed" else 1):
        raise RuntimeError(f"{side} went on with step {told['step']}")
    seconds: Spent = told["seconds"]
    return seconds


def memories(folder: Path, steps: int) -> dict[str, float]:
    """Peak memory, MiB, of each side in each precision."""
    out = {}
    for side in STARTS:
        for kind, more in {"float32": [], "bfloat16": ["--half"]}.items():
            given = ["--memory", side, "--folder", str(folder), "--steps", str(steps), *more]
            out[f"{side} {kind} MiB"] = alone(*given)
    return out


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=["speed", "memory", "start", "all"], default="all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=None, help="updates of a run")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true", help="one thread, its own time: for a machine that is busy")
    parser.add_argument("--memory", choices=list(STARTS), help=argparse.SUPPRESS)
    parser.add_argument("--start", choices=list(STARTS), help=argparse.SUPPRESS)
    parser.add_argument("--half", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print the figures of each part."""
    options = arguments()
    if options.cpu_time:
        global CLOCK
        CLOCK, options.threads = time.process_time, 1
    torch.set_num_threads(options.threads)
    if options.start:
        STARTS[options.start](options.folder, options.steps or 1)
        return
    if options.memory:
        print(json.dumps(memory(options.folder, options.memory, options.half, options.steps)))
        return
    print(f"torch {torch.__version__}, {options.threads} threads{', CPU time' * options.cpu_time}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder, steps = Path(name), options.steps or 40
        tokenizer_file(folder)
        parts: dict[str, Callable[[], dict[str, Any]]] = {
            "speed": lambda: speed(folder, options.rounds, steps, max(4, steps // 5)),
            "memory": lambda: memories(folder, min(steps, 12)),
            "start": lambda: starts(folder, options.rounds, options.threads),
        }
        for part, measure in parts.items():
            if options.part in (part, "all"):
                print(json.dumps({part: measure()}, indent=2), flush=True)


if __name__ == "__main__":
    main()
