"""Kinds of target: what a value is predicted as. What depends on a kind is a field here, never its name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of target. Everything is False of a slot that is not learned."""

    name: str
    about: str
    """In a sentence, for lists."""
    tokens: bool = False
    """Predicted token by token out of the vocabulary, as the target's automaton allows."""
    embedded: bool = False
    """Answered by an embedding, not by a value of its modality."""
    planned: bool = False
    """As long as the plan says, before anything is generated."""
    dropped: bool = False
    """Trained in a share of the samples without what the source asks for, so that guidance can lead away from it."""
    labelled: bool = False
    """One label of a closed set, which has to have two."""


NOTHING = Kind(name="", about="not learned")

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(name="tokens", about="tokens, one after the other", tokens=True),
        Kind(name="frames", about="frames, each read back, until a stop"),
        Kind(name="noise", about="a value made out of noise, all of it at once", planned=True, dropped=True),
        Kind(name="number", about="a number, and the spread of its error"),
        Kind(name="alignment", about="labels in their order, wherever they stand in a longer sequence"),
        Kind(name="contrast", about="an embedding that finds its pair", embedded=True),
        Kind(name="category", about="one label of a closed set", labelled=True),
    )
}
