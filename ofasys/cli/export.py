"""`ofasys export`: a task of a run as graphs that run without this package."""

from __future__ import annotations

from pathlib import Path

from ofasys.cli.document import shown
from ofasys.cli.infer import closed_set_of, instruction_of
from ofasys.cli.show import say
from ofasys.errors import ConfigError
from ofasys.hub import OFASys
from ofasys.hub.remote import place_of
from ofasys.hub.store import check_place


def export(folder: Path, to: Path, text: str | None, closed_set: str | None, which: str | None) -> None:
    """Write the graphs of a task or instruction of a run into a folder. text: None for the only task there is."""
    labels = closed_set_of(closed_set)
    check_place(to)  # before what may take minutes
    answerer = OFASys.from_pretrained(Path(place_of(folder)[0]), which=which)
    if text is None:
        names = [card.name for card in answerer.cards]
        if len(names) != 1:
            raise ConfigError(
                f"{shown(folder)} has {len(names)} tasks; say which: {', '.join(names) or 'an instruction'}"
            )
        (text,) = names
    about = answerer.export(to, instruction_of(text, answerer), closed_set=labels)
    say(about["instruction"])
    for name in about["graphs"]:
        say(f"{name}.onnx, {name}.pt2: {(to / f'{name}.onnx').stat().st_size / 1e6:.1f} MB in ONNX")
    say(f"onnxruntime gives what the model gives, to {about['largest_difference']:.0e} of the largest number")
    say(f"written to {shown(to)}")
