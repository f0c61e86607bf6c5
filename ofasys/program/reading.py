"""Sources of several programs that are read in one pass of the engine: their streams laid end to end, as those of one
batch are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from ofasys.types import Hidden, Layout, Stream

APART = 2  # a source so many times as long as another is not read with it: attention sees a rectangle


def read(states: Callable[[Stream], Hidden | None], streams: Sequence[Stream]) -> list[Hidden]:
    """The states of each, in their order. states: what an engine makes of a stream."""
    found: dict[int, Hidden] = {}
    for members in _alike(streams):
        memory = states(joined([streams[i] for i in members]))
        assert memory is not None
        if len(members) == 1:
            found[members[0]] = memory
            continue
        first = row = 0
        for i in members:
            layout = streams[i].layout
            at = torch.arange(first, first + len(layout.positions), device=memory.states.device)
            found[i] = memory.chosen(range(row, row + layout.batch), layout, at)
            first, row = first + len(layout.positions), row + layout.batch
    return [found[i] for i in range(len(streams))]


def joined(streams: Sequence[Stream]) -> Stream:
    """All samples of all streams as one stream. Nothing waits for the device."""
    if len(streams) == 1:
        return streams[0]
    layouts = [stream.layout for stream in streams]
    longest, first, places = max(layout.length for layout in layouts), 0, []
    for layout in layouts:
        row = layout.padded_index // max(layout.length, 1)
        places.append((row + first) * longest + layout.padded_index % max(layout.length, 1))
        first += layout.batch
    tops = [layout.top for layout in layouts if layout.top is not None]
    return Stream(
        torch.cat([stream.embedding for stream in streams]),
        Layout(
            batch=first,
            length=longest,
            padded_index=torch.cat(places),
            positions=torch.cat([layout.positions for layout in layouts]),
            lengths=torch.cat([layout.lengths for layout in layouts]),
            full=all(layout.full and layout.length == longest for layout in layouts),
            top=tuple(map(max, *tops)) if len(tops) == len(layouts) else None,
            counted=all(layout.counted for layout in layouts),
        ),
    )


def _alike(streams: Sequence[Stream]) -> Iterator[list[int]]:
    """Which are read at once: those of nearly one length, whose embeddings are numbers of one kind."""
    kept: list[int] = []
    for i in sorted(range(len(streams)), key=lambda i: (str(streams[i].embedding.dtype), streams[i].layout.length)):
        least = streams[kept[0]] if kept else None
        if least is not None and (
            streams[i].layout.length > APART * least.layout.length
            or streams[i].embedding.dtype != least.embedding.dtype
        ):
            yield kept
            kept = []
        kept.append(i)
    if kept:
        yield kept
