"""Generators as records: what a plan names, without torch. The heavy part is loaded when it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ofasys.generator.ctc_options import CTCOptions
from ofasys.generator.denoise_options import DenoiseOptions
from ofasys.generator.frames_options import FramesOptions
from ofasys.packages import loaded


@dataclass(frozen=True)
class Generator:
    """How a slot gets a value."""

    name: str
    about: str
    """In a sentence, for plans and lists."""
    load: str
    """ "module:attribute", imported on first use."""
    kind: str = "tokens"
    """The kind of target it is for; "tokens": what the target's automaton describes."""
    options: type | None = None
    """A dataclass of the attributes it gives a slot, which are arguments of `inference` too."""
    lengthless: str | None = None
    """Why `max_length` changes nothing of what it makes; None where it does."""
    ranks: bool = False
    """It gives every label of a closed set its exact probability."""
    searches: bool = False
    """It takes the options of a search."""
    apart: bool = False
    """It gives each source the room that source has, `Decoder.rooms`; else all get as much as the least has."""

    def resolve(self) -> Callable[..., Any]:
        """The function itself. Errors: PluginError where it cannot be imported."""
        found: Callable[..., Any] = loaded(f"generator {self.name!r}", "load", self.load)
        return found


SEARCH = Generator(
    name="search",
    about="greedy, beam search or sampling within the target sentence; the likeliest label of a closed set",
    load="ofasys.generator.search:search",
    searches=True,
    apart=True,
)
RANK = Generator(
    name="rank",
    about="the exact probability of every label of a closed set",
    load="ofasys.generator.rank:rank",
    ranks=True,
)
FAIRSEQ = Generator(
    name="fairseq",
    about="beam search as OFA and OFASys did it: what has ended is kept, and as many as beams are enough",
    load="ofasys.generator.fairseq:fairseq",
    searches=True,
    apart=True,
)

CLASSIFY = Generator(
    name="classify",
    about="the likeliest label",
    load="ofasys.generator.classify:classify",
    kind="category",
)
DENOISE = Generator(
    name="denoise",
    about="from noise to a value, all its positions at once, one pass of the model a step",
    load="ofasys.generator.denoise:denoise",
    kind="noise",
    options=DenoiseOptions,
)
CTC = Generator(
    name="ctc",
    about="the labels of the best path, or of a prefix beam search",
    load="ofasys.generator.ctc:ctc",
    kind="alignment",
    options=CTCOptions,
    lengthless="an alignment is as long as its source",
)
FRAMES = Generator(
    name="frames",
    about="frame by frame, each read back, until the model says stop",
    load="ofasys.generator.frames:frames",
    kind="frames",
    options=FramesOptions,
)
REGRESS = Generator(
    name="regress",
    about="a number and the spread of its error, in one go",
    load="ofasys.generator.regress:regress",
    kind="number",
    lengthless="a number takes one position",
)

GENERATORS: dict[str, Generator] = {
    generator.name: generator
    for generator in (
        SEARCH,
        RANK,
        FAIRSEQ,
        CLASSIFY,
        DENOISE,
        CTC,
        FRAMES,
        REGRESS,
    )
}
