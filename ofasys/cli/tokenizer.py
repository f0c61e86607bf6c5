"""`ofasys tokenizer train`: an image tokenizer from pictures, as a folder that `[IMAGE:x,tokenizer=FOLDER]` names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ofasys.cli.show import note, say
from ofasys.errors import ConfigError

SHOWN = 8  # pictures in the sheet of originals and what comes back of them
HELD = 64  # pictures kept out of training at most, to judge by

commands = typer.Typer(
    help="Image tokenizers: pictures as codes, and back.", no_args_is_help=True, rich_markup_mode=None
)


@commands.callback()
def about() -> None:
    """Image tokenizers: pictures as codes, and back."""


@commands.command()
def train(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Pictures, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; new, or of an earlier tokenizer.")],
    size: Annotated[int, typer.Option("--size", help="Pixels of the side; pictures are made square.")] = 64,
    patch: Annotated[int, typer.Option("--patch", help="Pixels of the side of what a code stands for.")] = 8,
    codes: Annotated[int, typer.Option("--codes", help="How many codes there are.")] = 1000,
    steps: Annotated[int, typer.Option("--steps", help="Training steps, of 16 pictures each.")] = 600,
    seed: Annotated[int, typer.Option("--seed", help="Of weights and order.")] = 0,
    most: Annotated[int, typer.Option("--most", help="Pictures used at most, evenly spread.")] = 10_000,
) -> None:
    """Train an image tokenizer; write it, a sheet of originals above what comes back of them, and how good it is."""
    learn(images, out, size=size, patch=patch, codes=codes, steps=steps, seed=seed, most=most)


def learn(
    images: Sequence[Path], out: Path, *, size: int, patch: int, codes: int, steps: int, seed: int, most: int
) -> None:
    """What `ofasys tokenizer train` does. Errors: ConfigError for settings that cannot be, and where no picture is."""
    from ofasys.modality.shared.code_options import CODED, LARGEST, SMALLEST

    if patch not in CODED:
        raise ConfigError(f"--patch is {patch}; it is one of {', '.join(map(str, CODED))}")
    if not SMALLEST <= size <= LARGEST or size % patch:
        raise ConfigError(f"--size is {size}; it is a multiple of {patch} from {SMALLEST} to {LARGEST}")
    for name, value in (("steps", steps), ("most", most)):
        if value < 1:
            raise ConfigError(f"--{name} is {value}; it is 1 or more")

    import numpy as np

    from ofasys.modality.image.gather import squares
    from ofasys.modality.image.judge import judged, sheet
    from ofasys.modality.shared.image_tokenizer import TokenizerOptions, check_folder, train_tokenizer

    options = TokenizerOptions(codes=codes, patch=patch, steps=steps)
    check_folder(out)
    pictures = squares(images, size, most, note)
    held = np.arange(len(pictures)) % max(10, -(-len(pictures) // HELD)) == 0
    learnt, judges = (pictures, pictures) if held.all() else (pictures[~held], pictures[held])
    say(f"{len(learnt)} pictures to learn from, {len(judges)} to judge by")
    every = max(1, steps // 10)

    def report(step: int, loss: float) -> None:
        if step % every == 0 or step == steps:
            note(f"step {step} of {steps}  loss {loss:.4f}")

    tokenizer = train_tokenizer(learnt, options, seed, report)
    tokenizer.save(out)
    sheet(tokenizer, judges[:SHOWN]).save(out / "sheet.png")
    found = judged(tokenizer, judges)
    say(f"PSNR {found['psnr']:.1f} dB, {found['codebook_share']:.0%} of {codes} codes used by {len(judges)} pictures")
    say(f"written to {out}; use it as [IMAGE:x,size={size},patch={patch},codes={codes},tokenizer={out}]")
