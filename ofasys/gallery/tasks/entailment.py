"""Whether a sentence follows from another, of which one word was changed: by the hierarchy of WordNet."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ofasys.gallery.tasks import wordnet
from ofasys.gallery.tasks.split import first_of, folded, parted
from ofasys.gallery.tasks.task import Data, Figure, GalleryTask, Row, Splits

PARTS = ("noun", "verb")  # those that have a hierarchy
FOLLOWS, CONTRADICTS, NEITHER = LABELS = ("follows", "contradicts", "neither")
SHORTEST = 3  # words of a sentence
_WORD = re.compile("[a-z]+")


@dataclass(frozen=True)
class Meaning:
    """A synset that has a word of letters alone."""

    word: str
    """The first such."""
    above: tuple[str, ...]
    """Its hypernyms, by their offsets."""
    against: tuple[str, ...]
    """Its antonyms."""
    sentences: tuple[str, ...]
    """Its examples."""


def meanings(text: str) -> dict[str, Meaning]:
    """Offset -> meaning, of a data file of WordNet."""
    found = {}
    for told, words, gloss in wordnet.synsets(text):
        own = [word for word in words if _WORD.fullmatch(word)]
        if own:
            start = 5 + 2 * len(words)
            links = [told[i : i + 3] for i in range(start, start + 4 * int(told[start - 1]), 4)]
            above = tuple(to for kind, to, part in links if kind == "@" and part == told[2])
            against = tuple(to for kind, to, part in links if kind == "!" and part == told[2])
            found[told[0]] = Meaning(own[0], above, against, tuple(re.findall(r'"([^"]+)"', gloss)))
    return found


def changed(known: Mapping[str, Meaning]) -> Iterator[Row]:
    """{"word", "premise", "hypothesis", "relation"}: of each sentence that holds its word three, one a relation.

    What follows has a hypernym in the word's place; what contradicts an antonym, or another word below the same
    hypernym; the third a word that took such a place in some other sentence, so that the word alone tells little.
    """
    below: defaultdict[str, list[str]] = defaultdict(list)
    for offset, one in known.items():
        for above in one.above:
            below[above].append(offset)
    told = [row for offset in known for row in _pairs(offset, known, below)]
    random, words = Random("entailment"), [word for row in told for word in (row["wider"], row["other"])]
    for row in told:
        place = re.compile(rf"\b{row['word']}\b")
        stranger = _stranger(random, words, row)
        for relation, word in zip(LABELS, (row["wider"], row["other"], stranger), strict=True):
            hypothesis = place.sub(word, row["sentence"], count=1)
            yield {
                "word": row["word"],
                "premise": row["sentence"],
                "hypothesis": hypothesis,
                "relation": relation,
            }


def _pairs(offset: str, known: Mapping[str, Meaning], below: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """{"sentence", "word", "wider", "other"} of each example of a meaning that can be changed both ways."""
    one, random = known[offset], Random(f"entailment/{offset}")
    above = next((above for above in one.above if above in known), None)
    if above is None:
        return
    beside = [to for to in one.against if to in known] or [to for to in below[above] if to != offset]
    wider, others = known[above].word, [known[to].word for to in beside]
    others = [word for word in others if word not in (one.word, wider)]
    if wider == one.word or not others:
        return
    for sentence in one.sentences:
        if len(sentence.split()) >= SHORTEST and re.search(rf"\b{one.word}\b", sentence):
            other = random.choice(others)
            yield {"sentence": sentence, "word": one.word, "wider": wider, "other": other}


def _stranger(random: Random, words: Sequence[str], row: Row) -> str:
    while (word := random.choice(words)) in (row["word"], row["wider"], row["other"]):
        pass
    return word


def make(data: Data) -> Splits:
    """By the word that is exchanged, whatever it means; a pair of sentences stands once."""
    found = [row for text in wordnet.texts(data, PARTS) for row in changed(meanings(text))]
    word: dict[str, str] = {}
    for row in found:  # a sentence of which several words are exchanged goes with the first
        word.setdefault(folded(row["premise"]), row["word"])
    once = first_of(found, lambda row: f"{folded(row['premise'])}\n{folded(row['hypothesis'])}")
    return parted(once, lambda row: word[folded(row["premise"])], ("premise", "hypothesis", "relation"))


TASK = GalleryTask(
    "entailment",
    "whether a sentence follows from another",
    (
        "does [TEXT:hypothesis] follow from [TEXT:premise]? -> [TEXT:relation,closed_set]",
        "[TEXT:premise] is said. what of [TEXT:hypothesis]? -> [TEXT:relation,closed_set]",
        "premise: [TEXT:premise] hypothesis: [TEXT:hypothesis] relation: -> [TEXT:relation,closed_set]",
    ),
    "accuracy",
    (wordnet.PACKAGE,),
    "Example sentences of nouns and verbs in WordNet 3.1, and the same with one word changed: a hypernym in its place "
    "follows, an antonym or another word below the same hypernym contradicts, a word that stands in another sentence's "
    "pair is neither. Each sentence has all three; the splits are by the word that is exchanged.",
    make,
    (21_321, 1224, 2496),
    "f0045f3b0fc587bc",
    Figure(0.3333, "always 'follows'"),
    Figure(0.4095, "TF-IDF of the sentence and the words exchanged, and a linear SVM"),
    Figure(0.3474, "600 steps, seed 0, the last checkpoint, bfloat16", "2026-11-28"),
    settings={"closed_set": LABELS, "micro_batch_size": 32},
    text_pieces=8000,
    steps=600,
)
