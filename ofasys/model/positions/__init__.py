"""Position schemes: a file and a line each. Reading the table loads no torch."""

from __future__ import annotations

from ofasys.model.positions.scheme import PositionScheme

LEARNED = PositionScheme(
    name="learned",
    about="three learned tables, of order, y and x, added to the stream",
    load="ofasys.model.positions.learned:Learned",
    cost=lambda config, decoder: (config.max_positions + 2 * config.max_grid) * config.width,
)
RELATIVE = PositionScheme(
    name="relative",
    about="a learned bias of the scores by how far a key is, in buckets, and by rows and columns in a picture (T5)",
    load="ofasys.model.positions.relative:Relative",
    cost=lambda config, decoder: (config.buckets + 2 * (2 * config.max_grid - 1)) * config.heads,
    check=lambda config: (
        None
        if config.buckets >= 4 and config.buckets % 2 == 0
        else f"buckets is {config.buckets}; it is even, and 4 or more"
    ),
)
ALIBI = PositionScheme(
    name="alibi",
    about="scores fall with distance, more steeply from head to head; nothing is learned (Press et al., 2022)",
    load="ofasys.model.positions.alibi:Alibi",
)
ROTARY = PositionScheme(
    name="rotary",
    about="queries and keys are turned by where they stand, in one, two or three dimensions (RoPE; Su et al., 2021)",
    load="ofasys.model.positions.rotary:Rotary",
    check=lambda config: (
        None
        if config.width // config.heads % (2 * config.rotary_axes) == 0
        else f"heads are {config.width // config.heads} wide; rotary positions of "
        f"{config.rotary_axes} axes take a multiple of "
        f"{2 * config.rotary_axes}: give another width, or number of heads"
    ),
)

SCHEMES: dict[str, PositionScheme] = {one.name: one for one in (LEARNED, RELATIVE, ALIBI, ROTARY)}

__all__ = ["SCHEMES", "PositionScheme"]
