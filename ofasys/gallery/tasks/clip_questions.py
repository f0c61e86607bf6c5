"""Questions about a clip: who acts, what it does, who stands still, and whether something happens."""

from __future__ import annotations

from random import Random

from ofasys.gallery.tasks.clips import EVENTS, film
from ofasys.gallery.tasks.composed import NAMES, PACKAGES, UNSEEN, Sprites, splits
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits


def make(data: Data) -> Splits:
    """Questions take turns, and yes and no are as often each."""
    return splits(_row, data, "clip_questions")


def _row(sprites: Sprites, random: Random, index: int) -> Row:
    turn, form = divmod(index, 4)
    clip = film(sprites, random, EVENTS[turn % len(EVENTS)])
    there = random.random() < 0.5
    asked = clip.event if there else random.choice([event for event in EVENTS if event != clip.event])
    question, answer = (
        (f"what {clip.event}?", clip.name),
        (f"what does the {clip.name} do?", clip.event),
        ("what stands still?", clip.still),
        (f"is it so that something {asked}?", "yes" if there else "no"),
    )[form]
    return {"clip": clip.film, "question": question, "answer": answer}


TASK = GalleryTask(
    "clip_questions",
    "questions about a clip, in a style that was never seen",
    (
        "[VIDEO:clip,frames=6,size=32,patch=8] [TEXT:question] -> [TEXT:answer,closed_set]",
        "watch [VIDEO:clip,frames=6,size=32,patch=8] and answer: [TEXT:question] -> [TEXT:answer,closed_set]",
        "[TEXT:question] the clip: [VIDEO:clip,frames=6,size=32,patch=8] -> [TEXT:answer,closed_set]",
    ),
    "accuracy",
    PACKAGES,
    "Clips as those of clip_events, and a question: what acts, what it does, what stands still, whether something "
    "happens. "
    f"{UNSEEN}",
    make,
    (6000, 300, 1000),
    "7a29f7cf8561910b",
    Figure(0.121, "always 'yes'"),
    Figure(0.406, "what changes, TF-IDF and a linear SVM"),
    settings={"closed_set": ("yes", "no", *EVENTS, *NAMES), "micro_batch_size": 32},
    needs={"resvg_py": "gallery"},
    text_pieces=300,
)
