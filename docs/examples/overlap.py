"""How many of their words an answer and a reference share, as SQuAD counts it (Rajpurkar et al., 2016)."""

from collections import Counter

from ofasys.metric import Metric


def overlap(predictions, references):
    """`overlap` and `silent`, 0..1: the mean F1 of words, and the share of answers without one."""
    scores, silent = [], 0
    for answer, right in zip(predictions, references, strict=True):
        ways = [right] if isinstance(right, str) else right
        words = Counter(answer.split())
        scores.append(max(f1(words, Counter(way.split())) for way in ways))
        silent += not words
    return {"overlap": sum(scores) / len(scores), "silent": silent / len(scores)}


def f1(one, other):
    """F1 of two bags of words; of two empty ones 1."""
    shared, both = sum((one & other).values()), sum(one.values()) + sum(other.values())
    return 2 * shared / both if both else 1.0


OVERLAP = Metric(
    name="overlap",
    about="F1 of the words of answer and reference, mean over samples, 0..1",
    takes=("text",),
    function=overlap,
    main="overlap",
    figures={"silent": False},
)
