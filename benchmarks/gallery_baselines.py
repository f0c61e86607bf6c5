"""What is reached on the gallery's test rows without a neural network: the best answer without looking, and a
classical method learned from the same training rows.

python -m benchmarks.gallery_baselines [TASK ...]     # of what was fetched; writes the lines of benchmarks/gallery.md
"""

from __future__ import annotations

import io
import json
import re
import sqlite3
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks import gallery_picture_baselines as pictures
from ofasys.gallery.tasks import TASKS, GalleryTask
from ofasys.gallery.tasks.page import plan_of
from ofasys.gallery.tasks.rows import row_files
from ofasys.metric import METRICS
from ofasys.metric.speech import cepstra, log_mel
from ofasys.modality.audio.read_audio import read_audio
from ofasys.modality.motion.read_motion import read_motion

Rows = list[dict[str, Any]]
Found = tuple[list[Any], str]  # answers, and by what


def target(task: GalleryTask) -> str:
    return next(slot.column for slot in plan_of(task).answered)


def source(task: GalleryTask) -> str:
    slots = plan_of(task).on("source")
    return next(slot.column for slot in slots)


def score(task: GalleryTask, answers: Sequence[Any], rows: Rows, root: Path) -> float:
    """The headline of the task's metric."""
    metric, truths = METRICS[task.metric], references(task, rows)
    read = {"mcd": heard, "mpjpe": read_motion}.get(task.metric)
    if read:
        answers, truths = (list(map(read, values)) for values in (answers, truths))
    return float(metric(list(answers), truths, root=root)[metric.main])


def references(task: GalleryTask, rows: Rows) -> list[Any]:
    """What the metric compares answers with."""
    if task.name in pictures.TARGETS:
        return pictures.references(task.name, rows)
    column = task.settings.get("references", {}).get(target(task))
    if column is None:
        return [row[target(task)] for row in rows]
    return [[tuple(one) if isinstance(one, list) else one for one in row[column]] for row in rows]


def heard(wav: bytes) -> Any:
    return read_audio(wav, 16_000)


def guesses(task: GalleryTask, train: Rows, test: Rows) -> list[Found]:
    """Answers of who does not look."""
    if task.name in pictures.TARGETS:
        return pictures.guesses(task.name, train, test)
    column, random = target(task), Random(0)
    found: list[Found] = []
    common, _ = Counter(str(row[column]) for row in train).most_common(1)[0]
    known = {str(row[column]): row[column] for row in train}
    if not isinstance(known[common], dict):
        always = f"always {common!r}" if isinstance(known[common], str) else "always the commonest grid"
        found.append(([known[common]] * len(test), always))
    found.append(([random.choice(train)[column] for _ in test], "one of training at random"))
    return found


def trivial(task: GalleryTask, train: Rows, test: Rows, root: Path) -> tuple[float, str]:
    """The best of the guesses."""
    found = [(score(task, answers, test, root), how) for answers, how in guesses(task, train, test)]
    choose = max if METRICS[task.metric].higher_is_better else min
    return choose(found, key=lambda one: one[0])


# Classical methods


def linear_svm(train: Rows, test: Rows, column: str, label: str) -> list[str]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC())
    model.fit([row[column] for row in train], [row[label] for row in train])
    return list(model.predict([row[column] for row in test]))


def nearest_text(train: Rows, test: Rows, text: Callable[[dict[str, Any]], str], answer: str) -> list[str]:
    """The answer of the training row whose text has the nearest TF-IDF of letters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    known = vectorizer.fit_transform([text(row) for row in train]).T.tocsr()
    asked = vectorizer.transform([text(row) for row in test])
    found = []
    for start in range(0, len(test), 200):
        nearest = np.asarray((asked[start : start + 200] @ known).todense()).argmax(1)
        found += [train[i][answer] for i in nearest]
    return found


def tagged(train: Rows, test: Rows) -> list[str]:
    """Each tag by a linear SVM on the word, its ends and shape, and its neighbours."""
    from sklearn.feature_extraction import FeatureHasher
    from sklearn.linear_model import SGDClassifier

    hasher = FeatureHasher(2**20, input_type="string")
    model = SGDClassifier(alpha=1e-6, random_state=0, max_iter=8, tol=None)
    words = [row["words"].split() for row in train]
    model.fit(hasher.transform(_features(words)), [tag for row in train for tag in row["tags"].split()])
    asked = [row["words"].split() for row in test]
    tags = iter(model.predict(hasher.transform(_features(asked))))
    return [" ".join(next(tags) for _ in sentence) for sentence in asked]


def _features(sentences: Sequence[Sequence[str]]) -> Any:
    for words in sentences:
        padded = ["<", "<", *words, ">", ">"]
        for i, word in enumerate(words, 2):
            low = word.lower()
            shape = re.sub("[a-z]", "a", re.sub("[A-Z]", "A", re.sub("[0-9]", "0", word)))[:8]
            ends = [f"e{n}={low[-n:]}" for n in (1, 2, 3, 4)] + [f"b={low[:2]}"]
            around = [f"{d}={padded[i + d].lower()}" for d in (-2, -1, 1, 2)]
            beside = [f"l={padded[i - 1].lower()}/{low}", f"r={low}/{padded[i + 1].lower()}"]
            yield [
                f"w={low}",
                f"s={shape}",
                *ends,
                *around,
                *beside,
                f"pe={padded[i - 1][-3:]}",
                f"ne={padded[i + 1][-3:]}",
            ]


def gradients(picture: bytes, side: int, cell: int) -> np.ndarray:
    from PIL import Image
    from skimage.feature import hog

    with Image.open(io.BytesIO(picture)) as opened:
        grey = np.asarray(opened.convert("L").resize((side, side)))
    return hog(grey, 9, (cell, cell), (2, 2)).astype(np.float32)


def fashion(train: Rows, test: Rows) -> list[str]:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    known, asked = (np.stack([gradients(row["img"], 28, 4) for row in rows]) for rows in (train, test))
    model = make_pipeline(StandardScaler(), LinearSVC(C=0.01, dual=False))
    return list(model.fit(known, [row["kind"] for row in train]).predict(asked))


def captions(train: Rows, test: Rows) -> list[str]:
    from PIL import Image

    def seen(rows: Rows) -> np.ndarray:
        found = []
        for row in rows:
            with Image.open(io.BytesIO(row["img"])) as opened:
                small = np.asarray(opened.convert("RGB").resize((8, 8)), np.float32).ravel() / 255 - 1
            edges = gradients(row["img"], 64, 8)
            found.append(
                np.concatenate([small / (np.linalg.norm(small) + 1e-6), edges / (np.linalg.norm(edges) + 1e-6)])
            )
        return np.stack(found)

    return [train[i]["cap"] for i in (seen(test) @ seen(train).T).argmax(1)]


def syllables(train: Rows, test: Rows) -> list[str]:
    """The training recording whose cepstra, stretched to one length, are nearest."""
    import soundfile
    from scipy.fft import dct
    from skimage.transform import resize

    def stretched(rows: Rows) -> np.ndarray:
        found = []
        for row in rows:
            wave, rate = soundfile.read(io.BytesIO(row["wav"]), dtype="float32", always_2d=True)
            wave = wave.mean(1)
            loud = np.flatnonzero(np.abs(wave) > 0.05 * np.abs(wave).max())
            wave = wave[loud[0] : loud[-1] + 1]
            frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, 600), 1024)[:: rate // 100]
            power = np.abs(np.fft.rfft(frames * np.hanning(1024))) ** 2
            edges = np.searchsorted(
                np.fft.rfftfreq(1024, 1 / rate), 700 * (10 ** (np.linspace(50, 2840, 31) / 2595) - 1)
            )
            levels = np.log(np.stack([power[:, a : max(b, a + 1)].mean(1) for a, b in pairwise(edges)], 1) + 1e-8)
            values = dct(levels, norm="ortho")[:, 1:14]
            values = (values - values.mean(0)) / (values.std(0) + 1e-6)
            found.append(resize(values, (24, 13)).ravel())
        made = np.stack(found)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    return [train[i]["said"] for i in (stretched(test) @ stretched(train).T).argmax(1)]


def bands(wav: bytes) -> np.ndarray:
    """(frames, 40): log-mel bands of a sound at 16 kHz."""
    return log_mel(heard(wav).samples.astype(np.float64), 16_000, 8000.0)


def summed_up(frames: np.ndarray) -> np.ndarray:
    """Cepstra and their steps of a sound: the means and deviations of its thirds and of the whole."""
    values = np.concatenate([frames.mean(1, keepdims=True), cepstra(frames)], 1)
    values = np.concatenate([values, np.gradient(values, axis=0) if len(values) > 1 else 0 * values], 1)
    parts = [values, *(part if len(part) else values for part in np.array_split(values, 3))]
    return np.concatenate([np.log([len(values)]), *(f(part, axis=0) for part in parts for f in (np.mean, np.std))])


def pitches(wav: bytes) -> np.ndarray:
    """(12,): how the pitch of a voice goes, in octaves about its middle: autocorrelation of twelve places where it is
    loud.
    """
    wave = heard(wav).samples
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, 512), 1024)[::160].astype(np.float64)
    energy = (frames**2).mean(1)
    frames = frames[energy > 0.05 * energy.max()]
    power = np.abs(np.fft.rfft(frames - frames.mean(1, keepdims=True), 2048)) ** 2
    lags = np.fft.irfft(power)[:, 40:230]  # 70 to 400 Hz
    found = np.log2(16_000 / (40 + lags.argmax(1)))
    found = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(found, 2, "edge"), 5), axis=1)
    return np.interp(np.linspace(0, len(found) - 1, 12), np.arange(len(found)), found - np.median(found))


def forest(train: Rows, test: Rows, label: str, features: Callable[[dict[str, Any]], np.ndarray]) -> list[str]:
    from sklearn.ensemble import ExtraTreesClassifier

    model = ExtraTreesClassifier(400, random_state=0)
    model.fit(np.stack(list(map(features, train))), [row[label] for row in train])
    return list(model.predict(np.stack(list(map(features, test)))))


def watched(row: dict[str, Any]) -> np.ndarray:
    """Of each axis of a watch its mean, deviation, least, most and how fast it changes."""
    signals = np.asarray(row["motion"]["positions"]).reshape(-1, 6)
    steps = np.abs(np.diff(signals, axis=0)).mean(0)
    turned = np.corrcoef(signals.T)[np.triu_indices(6, 1)]
    return np.concatenate(
        [signals.mean(0), signals.std(0), signals.min(0), signals.max(0), steps, np.nan_to_num(turned)]
    )


def signs_heard(train: Rows, test: Rows, column: str, glue: str) -> list[str]:
    """A sign each frame by the linear discriminants of eleven frames, of times that are made even at first and then
    found anew twice; what is said again and again is said once.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    units = lambda text: text.split() if glue else list(text)  # noqa: E731
    seen = [(with_neighbours(bands(row["wav"])), units(row[column])) for row in train]
    signs = {sign: i for i, sign in enumerate(sorted({sign for _, said in seen for sign in said}))}
    codes = [np.array([signs[sign] for sign in said]) for _, said in seen]
    times = [np.arange(len(x)) * len(said) // len(x) for (x, _), said in zip(seen, codes, strict=True)]
    frames = np.concatenate([x for x, _ in seen])
    for _ in range(3):
        labels = np.concatenate([said[at] for said, at in zip(codes, times, strict=True)])
        model = LinearDiscriminantAnalysis().fit(frames, labels)
        column_of = {sign: i for i, sign in enumerate(model.classes_)}
        scored = [model.predict_log_proba(x).clip(-20) for x, _ in seen]
        times = [
            forced(values[:, [column_of.get(sign, 0) for sign in said]])
            for values, said in zip(scored, codes, strict=True)
        ]
    names = list(signs)
    bigrams = np.ones((len(names), len(names)))
    for said in codes:
        np.add.at(bigrams, (said[:-1], said[1:]), 1)
    stays = sum(map(len, codes)) / len(frames)
    step = np.log(stays * bigrams / bigrams.sum(1, keepdims=True))
    np.fill_diagonal(step, np.log(1 - stays))
    step = step[np.ix_(model.classes_, model.classes_)]
    prior = np.log(model.priors_)
    found = []
    for row in test:
        path = viterbi(model.predict_log_proba(with_neighbours(bands(row["wav"]))).clip(-20) - prior, step)
        kept = [path[0], *(b for a, b in pairwise(path) if a != b)]
        found.append(glue.join(names[model.classes_[i]] for i in kept))
    return found


def with_neighbours(frames: np.ndarray) -> np.ndarray:
    """Each frame (of two) with five to each side, less the mean of the sound."""
    frames = frames - frames.mean(0)
    padded = np.pad(frames, ((5, 5), (0, 0)), "edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, 11, axis=0)[::2, :, ::2]
    return views.reshape(len(views), -1).astype(np.float32)


def forced(scores: np.ndarray) -> np.ndarray:
    """(frames, signs) -> the sign of each frame on the best path through all signs in order."""
    frames, signs = scores.shape
    best = np.full((frames, signs), -np.inf)
    best[0, 0] = scores[0, 0]
    for t in range(1, frames):
        moved = np.concatenate([[-np.inf], best[t - 1, :-1]])
        best[t] = np.maximum(best[t - 1], moved) + scores[t]
    at = signs - 1 if np.isfinite(best[-1, -1]) else int(best[-1].argmax())
    path = [at]
    for t in range(frames - 1, 0, -1):
        if at and best[t - 1, at - 1] >= best[t - 1, at]:
            at -= 1
        path.append(at)
    return np.array(path[::-1])


def viterbi(scores: np.ndarray, step: np.ndarray) -> list[int]:
    best, back = scores[0], []
    for row in scores[1:]:
        whole = best[:, None] + step
        back.append(whole.argmax(0))
        best = whole.max(0) + row
    path = [int(best.argmax())]
    for pointers in reversed(back):
        path.append(int(pointers[path[-1]]))
    return path[::-1]


def pronounced(train: Rows, test: Rows, most: int = 2) -> list[str]:
    """A decision tree a letter, on three letters to each side, as Black, Lenzo and Pagel (1998) have it."""
    from sklearn.tree import DecisionTreeClassifier

    pairs = [(row["word"], row["phones"].split()) for row in train]
    aligned = alignments(pairs, most=most)
    letters = sorted({letter for word, _ in pairs for letter in word})
    known: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for (word, _), chunks in zip(pairs, aligned, strict=True):
        for i, chunk in enumerate(chunks):
            known[word[i]].append((f"___{word}___"[i : i + 7], chunk))

    def coded(windows: Sequence[str]) -> np.ndarray:
        codes = np.array([[ord(letter) for letter in window] for window in windows])
        return np.concatenate([codes == ord(letter) for letter in ["_", *letters]], 1)

    trees = {}
    for letter, seen in known.items():
        tree = DecisionTreeClassifier(min_samples_leaf=2, random_state=0)
        trees[letter] = tree.fit(coded([window for window, _ in seen]), [chunk for _, chunk in seen])
    asked: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for number, row in enumerate(test):
        for i, letter in enumerate(row["word"]):
            asked[letter].append((number, i, f"___{row['word']}___"[i : i + 7]))
    said = [[""] * len(row["word"]) for row in test]
    for letter, windows in asked.items():
        if letter in trees:
            chunks = trees[letter].predict(coded([window for _, _, window in windows]))
            for (number, i, _), chunk in zip(windows, chunks, strict=True):
                said[number][i] = chunk
    return [" ".join(" ".join(chunks).split()) for chunks in said]


def alignments(pairs: Sequence[tuple[str, list[str]]], rounds: int = 4, most: int = 2) -> list[list[str]]:
    """Of each word the phones of each letter: none or up to `most`, the likeliest by counts that are made anew a few
    times.
    """
    counts: defaultdict[tuple[str, str], float] = defaultdict(float)
    for word, phones in pairs:
        for letter in word:
            counts[letter, ""] += 0.1
            for phone in phones:
                counts[letter, phone] += 1 / len(phones)
    found: list[list[str]] = []
    for _ in range(rounds):
        totals: defaultdict[str, float] = defaultdict(float)
        for (letter, _), count in counts.items():
            totals[letter] += count
        costs = {key: -np.log(count / totals[key[0]]) for key, count in counts.items()}
        found = [_aligned(word, phones, costs, most) for word, phones in pairs]
        counts = defaultdict(float)
        for (word, _), chunks in zip(pairs, found, strict=True):
            for letter, chunk in zip(word, chunks, strict=True):
                counts[letter, chunk] += 1
    return found


def _aligned(word: str, phones: list[str], costs: dict[tuple[str, str], float], most: int) -> list[str]:
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for letter in word:
        reached: dict[int, tuple[float, int]] = {}
        for at, (cost, _) in best[-1].items():
            for taken in range(most + 1):
                if at + taken <= len(phones):
                    chunk = " ".join(phones[at : at + taken])
                    total = cost + costs.get((letter, chunk), 8.0 + 4.0 * taken)
                    if at + taken not in reached or total < reached[at + taken][0]:
                        reached[at + taken] = (total, at)
        best.append(reached)
    at = len(phones) if len(phones) in best[-1] else max(best[-1])
    chunks = []
    for reached in reversed(best[1:]):
        before = reached[at][1]
        chunks.append(" ".join(phones[before:at]))
        at = before
    return chunks[::-1]


def queried(train: Rows, test: Rows, roots: tuple[Path, Path]) -> list[str]:
    """The query of the training question that is nearest once names and values of each database are marks; its marks
    are filled from the question.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    marked = [marks(row["question"], row["sql"], roots[0] / row["db"]) for row in train]
    vectorizer = TfidfVectorizer(ngram_range=(1, 3), token_pattern=r"\S+")
    known = vectorizer.fit_transform([question for question, _, _ in marked])
    found = []
    for row in test:
        question, _, meant = marks(row["question"], "", roots[1] / row["db"])
        order = np.asarray((vectorizer.transform([question]) @ known.T).todense())[0].argsort()[::-1]
        sql = next((marked[i][1] for i in order[:20] if set(re.findall(r"<\w+>", marked[i][1])) <= set(meant)), "")
        for mark, word in meant.items():
            sql = sql.replace(mark, word)
        found.append(sql)
    return found


def marks(question: str, sql: str, database: Path) -> tuple[str, str, dict[str, str]]:
    """A question and a query with <t>, <k>, <c1>, <v1>, <x1> ... for table, first column, columns, values, numbers."""
    connection = sqlite3.connect(database)
    (table,) = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    values = {
        str(v)
        for c in columns
        for (v,) in connection.execute(f"SELECT DISTINCT {c} FROM {table}")
        if isinstance(v, str)
    }
    connection.close()
    meant = {"<t>": table, "<k>": columns[0]}
    text = f" {question[:-1]} ".replace(f" {table.replace('_', ' ')} ", " <t> ")
    for value in sorted(values, key=len, reverse=True):
        if f" {value} " in text:
            text = text.replace(f" {value} ", " <v1> ")
            meant["<v1>"] = "'" + value.replace("'", "''") + "'"
            break
    for column in sorted(columns, key=len, reverse=True):
        if f" {column.replace('_', ' ')} " in text:
            mark = f"<c{sum(name.startswith('<c') for name in meant) + 1}>"
            text = text.replace(f" {column.replace('_', ' ')} ", f" {mark} ")
            meant[mark] = column
    for i, number in enumerate(re.findall(r" (-?\d+(?:\.\d+)?(?:e-?\d+)?)(?= )", text), 1):
        text = text.replace(f" {number} ", f" <x{i}> ", 1)
        meant[f"<x{i}>"] = number
    order = re.findall(r"<c\d>", text)
    renamed = {mark: f"<d{i}>" for i, mark in enumerate(dict.fromkeys(order), 1)}
    for old, new in renamed.items():
        text = text.replace(old, new)
        meant[new] = meant.pop(old)
    query = f" {sql} ".replace("(", " ( ").replace(")", " ) ").replace(",", " , ")
    for mark, word in sorted(meant.items(), key=lambda item: (item[0] == "<k>", -len(item[1]))):
        query = query.replace(f" {word} ", f" {mark} ")
    return text, query.strip(), meant


def spelled(train: Rows, test: Rows) -> list[str]:
    """As `pronounced`, phones for letters and letters for phones."""
    names = sorted({phone for row in train for phone in row["phones"].split()})
    sign = {phone: chr(ord("A") + i) for i, phone in enumerate(names)}

    def turned(row: dict[str, Any]) -> dict[str, Any]:
        return {"word": "".join(sign[one] for one in row["phones"].split()), "phones": " ".join(row["word"])}

    found = pronounced([turned(row) for row in train], [turned(row) for row in test], most=3)
    return [text.replace(" ", "") for text in found]


def exchanged(train: Rows, test: Rows) -> list[str]:
    """Entailment by the words that were exchanged, and the sentence around them."""

    def text(row: dict[str, Any]) -> dict[str, str]:
        before, after = row["premise"].split(), row["hypothesis"].split()
        pairs = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        words = " ".join(f"from{a} to{b} {a}to{b}" for a, b in pairs)
        return {"text": f"{row['hypothesis']} {words}", "relation": row.get("relation", "")}

    return linear_svm([text(row) for row in train], [text(row) for row in test], "text", "relation")


def counted(
    train: Rows, test: Rows, places: Callable[[dict[str, Any]], list[tuple[Any, ...]]], column: str
) -> list[str]:
    """The commonest answer of training at the first of a row's places that training has."""
    seen: defaultdict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for row in train:
        for place in places(row):
            seen[place][row[column]] += 1
    return [next(seen[place].most_common(1)[0][0] for place in places(row) if place in seen) for row in test]


def around(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    words = ["", "", *row["text"].lower().split(), ""]
    at = words.index("<mask>")
    further, left, right = words[at - 2], words[at - 1], words[at + 1]
    return [(further, left, "|", right), (left, "|", right), (left, "|"), ()]


def gaps(train: Rows) -> Rows:
    """For `counted`: one to three words at each place of the training sentences, with what stands around them."""
    found = []
    for row in train:
        words = row["text"].replace("<mask>", row["words"]).split()
        for i in range(len(words)):
            for many in range(1, min(3, len(words) - i) + 1):
                if all(word.isalpha() for word in words[i : i + many]):
                    text = " ".join([*words[max(0, i - 2) : i], "<mask>", *words[i + many : i + many + 1]])
                    found.append({"text": text, "words": " ".join(words[i : i + many])})
    return found


def before(row: dict[str, Any]) -> list[tuple[Any, ...]]:
    words = row["before"].lower().split()
    return [tuple(words[-many:]) for many in (3, 2, 1)] + [()]


def trained_words(train: Rows) -> Rows:
    """For `counted`: each word of the training texts with what stands before it."""
    found = []
    for row in train:
        words = f"{row['before']} {row['next']}".split()
        found += [{"before": " ".join(words[max(0, i - 3) : i]), "next": words[i]} for i in range(1, len(words))]
    return found


def looked_up(test: Rows) -> list[str]:
    """How many cells of the column that is named hold the value; else the cell of the row and column that are named;
    else what a row that is named is called by.
    """
    found = []
    for row in test:
        table, question = json.loads(row["table"]), row["question"]
        key, *columns = table[0]
        named = [column for column in columns if column.replace("_", " ") in question] or columns
        column = max(named, key=len)
        held = [str(line[column]) for line in table if str(line[column]) in question]
        called = [line for line in table if str(line[key]) in question]
        holds = [line for line in table if str(line[column]) in question]
        if re.match("how many|count|number", question):
            found.append(str(len(held)))
        elif called:
            found.append(str(max(called, key=lambda line: len(str(line[key])))[column]))
        else:
            found.append(str((holds or table)[0][key]))
    return found


def singles(board: list[list[int]]) -> list[list[int]]:
    """A sudoku filled as far as single choices lead: a cell with one value left, a value with one place in its row,
    column or box.
    """
    found = [list(line) for line in board]
    units = [[(y, x) for x in range(9)] for y in range(9)] + [[(y, x) for y in range(9)] for x in range(9)]
    units += [[(y + dy, x + dx) for dy in range(3) for dx in range(3)] for y in (0, 3, 6) for x in (0, 3, 6)]
    again = True
    while again:
        again = False
        left = {(y, x): set(range(1, 10)) for y in range(9) for x in range(9) if not found[y][x]}
        for unit in units:
            taken = {found[y][x] for y, x in unit}
            for place in left.keys() & set(unit):
                left[place] -= taken
        sure = {place: next(iter(values)) for place, values in left.items() if len(values) == 1}
        for unit in units:
            for value in range(1, 10):
                places = [place for place in unit if value in left.get(place, ())]
                if len(places) == 1:
                    sure[places[0]] = value
        for (y, x), value in sure.items():
            found[y][x], again = value, True
    return found


def by_rule(test: Rows) -> list[Any]:
    """Turned, mirrored or as it is, its colours exchanged: the first of these that all pairs shown agree with; else as
    it is.
    """

    def ways(grid: list[list[int]]) -> list[list[list[int]]]:
        found = []
        for _ in range(4):
            found += [grid, grid[::-1]]
            grid = [list(line) for line in zip(*grid[::-1], strict=True)]
        return found

    def fits(pairs: list[Any], way: int) -> dict[int, int] | None:
        colours: dict[int, int] = {}
        for given, made in pairs:
            grid = ways(given)[way]
            if [len(grid), len(grid[0])] != [len(made), len(made[0])]:
                return None
            for a, b in zip(chain(*grid), chain(*made), strict=True):
                if colours.setdefault(a, b) != b:
                    return None
        return colours

    answers = []
    for row in test:
        pairs, answer = [(row[f"in{i}"], row[f"out{i}"]) for i in (1, 2, 3)], row["in"]
        for way in range(8):
            if (colours := fits(pairs, way)) is not None:
                answer = [[colours.get(cell, cell) for cell in line] for line in ways(row["in"])[way]]
                break
        answers.append(answer)
    return answers


def classical(task: GalleryTask, train: Rows, test: Rows, roots: tuple[Path, Path]) -> Found:
    if task.name in pictures.METHODS:
        return pictures.METHODS[task.name](train, test)
    if task.name == "map_regions":
        return nearest_text(train, test, lambda row: row["name"], "box"), "the box of the nearest name"
    if task.name == "summary":
        return [re.split(r"(?<=[.!?])\s", row["text"])[0] for row in test], "the first sentence"
    if task.name == "translation":
        both = lambda row: f"{row['language']} {row['language']} {row['en']}"  # noqa: E731
        return nearest_text(train, test, both, "other"), "the nearest line that was translated"
    if task.name == "record_text":
        return nearest_text(train, test, lambda row: str(row["record"][0]), "text"), "the text of the nearest record"
    if task.name == "text_to_sql":
        return queried(train, test, roots), "the nearest question, its names and values exchanged"
    if task.name == "emoji_names":
        both = lambda row: f"{row['language']} {row['language']} {row['en']}"  # noqa: E731
        return nearest_text(train, test, both, "other"), "the nearest name that was translated"
    if task.name == "instructions":
        whole = lambda row: f"{row['ask']} {row['ask']} {row['record'][0]}"  # noqa: E731
        return nearest_text(train, test, whole, "answer"), "the answer of the nearest row"
    if task.name == "infilling":
        return counted(gaps(train), test, around, "words"), "what stood most often between such words"
    if task.name == "next_word":
        return counted(trained_words(train), test, before, "next"), "what came most often after three words, two or one"
    if task.name == "table_qa":
        return looked_up(test), "the cell whose row and column are named, by rule"
    if task.name == "sudoku":
        return [singles(row["puzzle"]) for row in test], "single choices, by rule"
    if task.name == "arc":
        return by_rule(test), "turned, mirrored or recoloured as in all three, by rule"
    if task.name in ("saying", "moves"):
        by, name = {"saying": ("said", "syllable"), "moves": ("what", "name")}[task.name]
        return nearest_text(train, test, lambda row: row[by], target(task)), f"what has the nearest {name}"
    if task.name in ("dictation", "phones"):
        glue = {"dictation": "", "phones": " "}[task.name]
        return signs_heard(train, test, target(task), glue), "linear discriminants a frame and pairs of signs"
    if task.name == "samples":
        return forest(train, test, "kind", lambda row: summed_up(bands(row["wav"]))), "a forest on cepstra"
    if task.name == "tones":
        return forest(train, test, "tone", lambda row: pitches(row["wav"])), "a forest on the course of the pitch"
    if task.name == "exercises":
        return forest(train, test, "kind", watched), "a forest on means and deviations"
    methods = {
        "entailment": (exchanged, "TF-IDF of the sentence and the words exchanged, and a linear SVM"),
        "spelling": (spelled, "a decision tree a phone"),
        "tagging": (tagged, "a linear SVM on each word and its neighbours"),
        "fashion": (fashion, "HOG and a linear SVM"),
        "captions": (captions, "the nearest drawing by HOG and colour"),
        "syllables": (syllables, "the nearest recording by cepstra"),
        "pronunciation": (pronounced, "a decision tree a letter"),
    }
    if task.name in methods:
        method, how = methods[task.name]
        return method(train, test), how
    return linear_svm(train, test, source(task), target(task)), "TF-IDF and a linear SVM"


def main(names: Sequence[str]) -> None:
    known = {task.name: task for task in TASKS}
    for task in [known[name] for name in names] or TASKS:
        began, files = time.monotonic(), row_files(task)
        train, test = (pq.read_table(files[split]).to_pylist() for split in ("train", "test"))
        root = files["test"].parent
        value, how = trivial(task, train, test, root)
        answers, by = classical(task, train, test, (files["train"].parent, root))
        found = score(task, answers, test, root)
        seconds = time.monotonic() - began
        sizes = f"{len(train):,} / {len(test):,}"
        print(
            f"| {task.name} | {task.metric} | {sizes} | {value:.4f} ({how}) | {found:.4f} ({by}) | {seconds:.0f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
