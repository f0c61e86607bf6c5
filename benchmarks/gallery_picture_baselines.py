"""For gallery_baselines.py: the references, guesses and classical methods of the gallery's scenes, maps, drawings and
clips.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from PIL import Image

Rows = list[dict[str, Any]]
Found = tuple[list[Any], str]


def small(rows: Rows, column: str, side: int = 8) -> np.ndarray:
    """(rows, side * side * 3): each picture in small."""
    return np.stack([_small(Image.open(io.BytesIO(row[column])), side) for row in rows])


def _small(picture: Image.Image, side: int) -> np.ndarray:
    return np.asarray(picture.convert("RGB").resize((side, side)), np.float32).ravel() / 255


def motion(rows: Rows) -> np.ndarray:
    """Of each clip how the first and last frames differ from the middle one, and the frames one by one, in small."""
    found = []
    for row in rows:
        with Image.open(io.BytesIO(row["clip"])) as film:
            frames = []
            for i in range(film.n_frames):
                film.seek(i)
                frames.append(_small(film, 16).reshape(-1, 3).mean(1))
        stacked = np.stack(frames)
        found.append(np.concatenate([np.abs(np.diff(stacked, axis=0)).ravel(), (stacked[-1] - stacked[0]).ravel()]))
    return np.stack(found)


def nearest(known: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Which known row is nearest to each asked one, by Euclid's distance."""
    far = (known**2).sum(1)
    return np.concatenate([(far - 2 * part @ known.T).argmin(1) for part in np.array_split(asked, 20)])


def linear(known: np.ndarray, asked: np.ndarray, train: Rows, test: Rows, text: str | None, label: str) -> list[str]:
    """A linear SVM on numbers, and on the words of a text."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(known)
    parts = [[csr_matrix(scaler.transform(one) / known.shape[1] ** 0.5) for one in (known, asked)]]
    if text is not None:
        words = TfidfVectorizer(ngram_range=(1, 2))
        read = words.fit_transform([row[text] for row in train])
        parts.append([read, words.transform([row[text] for row in test])])
    both = [hstack(side).tocsr() for side in zip(*parts, strict=True)]
    model = SGDClassifier(random_state=0, max_iter=30, tol=None, alpha=1e-4)
    return list(model.fit(both[0], [row[label] for row in train]).predict(both[1]))


def asked_of_pictures(train: Rows, test: Rows, text: str) -> Found:
    found = linear(small(train, "img"), small(test, "img"), train, test, text, "answer")
    return found, "8 x 8 pixels, TF-IDF and a linear SVM"


def search(train: Rows, test: Rows) -> Found:
    """A picture is how near it is to the nearest training drawing of each name; a name is itself."""
    names = sorted({row["cap"] for row in [*train, *test]})
    place = {name: i for i, name in enumerate(names)}
    known, asked = (one - 1 for one in (small(train, "img"), small(test, "img")))
    known, asked = (one / (np.linalg.norm(one, axis=1, keepdims=True) + 1e-6) for one in (known, asked))
    best = np.full((len(test), len(names)), -1.0, np.float32)
    near = asked @ known.T
    for i, row in enumerate(train):
        best[:, place[row["cap"]]] = np.maximum(best[:, place[row["cap"]]], near[:, i])
    ones = np.eye(len(names), dtype=np.float32)
    return [(best[i], ones[place[row["cap"]]]) for i, row in enumerate(test)], "the nearest drawing by 8 x 8 pixels"


def drawn(train: Rows, test: Rows) -> Found:
    fluent = {row["cap"]: row["img"] for row in train if row["style"] == "fluent"}
    return [_picture(fluent[row["cap"]], 32) for row in test], "the same emoji as Fluent draws it"


def halves(train: Rows, test: Rows) -> Found:
    places = nearest(small(train, "upper", 14), small(test, "upper", 14))
    return [_picture(train[i]["lower"]) for i in places], "the lower half of the nearest upper half"


def _picture(content: bytes, side: int | None = None) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened.convert("RGB") if side is None else opened.convert("RGB").resize((side, side)))


def objects(train: Rows, test: Rows) -> Found:
    places = nearest(small(train, "img"), small(test, "img"))
    return [(train[i]["box"], train[i]["label"]) for i in places], "the nearest scene by 8 x 8 pixels"


def region_names(train: Rows, test: Rows) -> Found:
    known, asked = (
        np.concatenate([small(rows, "img"), np.array([row["box"] for row in rows]) / 128], 1) for rows in (train, test)
    )
    return [train[i]["name"] for i in nearest(known, asked)], "the nearest map by 8 x 8 pixels, and its nearest box"


def clip_captions(train: Rows, test: Rows) -> Found:
    return [train[i]["cap"] for i in nearest(motion(train), motion(test))], "the nearest clip by what changes"


def films(train: Rows, test: Rows) -> Found:
    """Sentences are "a SIZE THING EVENT", and an event is one word, or "moves" and where to."""

    def thing(row: dict[str, Any]) -> tuple[str, str]:
        words = row["cap"].split()
        many = 2 if words[-2] == "moves" else 1
        return " ".join(words[:-many]), row["style"]

    first: dict[tuple[str, str], bytes] = {}
    for row in train:
        first.setdefault(thing(row), row["clip"])
    return [_clip(first[thing(row)]) for row in test], "the first other clip of the same thing, size and style"


def _clip(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as opened:
        frames = []
        for i in range(opened.n_frames):
            opened.seek(i)
            frames.append(np.asarray(opened.convert("RGB")))
        return np.stack(frames)


METHODS: dict[str, Callable[[Rows, Rows], Found]] = {
    "scene_questions": lambda train, test: asked_of_pictures(train, test, "question"),
    "scene_entailment": lambda train, test: asked_of_pictures(train, test, "sentence"),
    "scene_objects": objects,
    "emoji_search": search,
    "emoji_drawing": drawn,
    "fashion_halves": halves,
    "map_names": region_names,
    "clip_events": lambda train, test: (
        linear(motion(train), motion(test), train, test, None, "event"),
        "what changes, and a linear SVM",
    ),
    "clip_captions": clip_captions,
    "clip_making": films,
    "clip_questions": lambda train, test: (
        linear(motion(train), motion(test), train, test, "question", "answer"),
        "what changes, TF-IDF and a linear SVM",
    ),
}
TARGETS = {
    **dict.fromkeys(("scene_questions", "scene_entailment", "clip_questions"), ("answer",)),
    **{"scene_objects": ("box", "label"), "emoji_search": ("cap", "cap"), "emoji_drawing": ("img",)},
    **{"fashion_halves": ("lower",), "map_regions": ("box",), "map_names": ("name",)},
    **{"clip_events": ("event",), "clip_captions": ("cap",), "clip_making": ("clip",)},
}


def references(name: str, rows: Rows) -> list[Any]:
    """What a metric compares answers with."""
    columns = TARGETS[name]
    if columns[0] == "clip":
        return [_clip(row["clip"]) for row in rows]
    if columns[0] in ("img", "lower"):
        return [_picture(row[columns[0]]) for row in rows]
    return [tuple(row[column] for column in columns) if len(columns) > 1 else row[columns[0]] for row in rows]


def guesses(name: str, train: Rows, test: Rows) -> list[Found]:
    """Answers of who does not look."""
    if name == "emoji_search":
        return [([(np.ones(2), np.ones(2))] * len(test), "by lot")]
    truths, random = references(name, train), Random(0)
    found: list[Found] = [([random.choice(truths) for _ in test], "one of training at random")]
    if name == "map_regions":
        middle = np.median(np.array(truths), 0).tolist()
        return [*found, ([middle] * len(test), "the median box")]
    if isinstance(truths[0], np.ndarray):
        side = 32 if name == "emoji_drawing" else None
        content = [row[TARGETS[name][0]] for row in train]
        if name == "clip_making":
            return [([np.mean(truths, 0).round().astype(np.uint8)] * len(test), "the mean clip")]
        mean = np.mean([_picture(one, side) for one in content], 0).round().astype(np.uint8)
        return [([mean] * len(test), "the mean picture")]
    if isinstance(truths[0], str):
        common = Counter(truths).most_common(1)[0][0]
        found.append(([common] * len(test), f"always {common!r}"))
    return found
