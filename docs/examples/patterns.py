"""Two patterns of one's own: `{[TEXT:a]|[AUDIO:b]}`, one of several; and `[IMAGE:a]?`, there or not."""

from ofasys.language import Pattern


def one(parts):
    """Exactly one of the parts."""
    return [(part,) for part in range(parts)]


def at_most_one(parts):
    """Nothing, or the part."""
    return [(), *((part,) for part in range(parts))]


CHOICE = Pattern(
    name="choice",
    about="one of its parts, the one that a row has",
    ways=one,
    opens="{",
    between="|",
    closes="}",
    least=2,
)

MAYBE = Pattern(
    name="maybe",
    about="there where a row has it",
    ways=at_most_one,
    closes="?",
)
