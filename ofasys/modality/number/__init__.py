"""NUMBER: one number, as one position: read on its column's own scale, and predicted with its error's spread."""

from __future__ import annotations

from ofasys.modality.modality import Defaults, Modality, Options, Part
from ofasys.modality.number.options import WAVES, NumberOptions
from ofasys.types import Continuous

KEYED = ("column", "scale", "mean", "std")  # a column has a scale of its own, and weights with it


def _says(options: Options) -> str:
    low, high = options["lo"], options["hi"]
    if low is not None and high is not None:
        return f"a number from {low:g} to {high:g}"
    if low is not None:
        return f"a number, {low:g} or more"
    return "a number" if high is None else f"a number, {high:g} or less"


def _check(options: Options) -> str | None:
    mean, std, low, high = (options[name] for name in ("mean", "std", "lo", "hi"))
    if (mean is None) != (std is None):
        known, other = ("std", "mean") if mean is None else ("mean", "std")
        return f"{known}={options[known]:g} without {other}; give both, or neither, and they are learnt from the rows"
    if std is not None and std <= 0:
        return f"std={std:g}; give what the numbers deviate by, above 0"
    if low is not None and high is not None and low >= high:
        return f"lo={low:g} is not below hi={high:g}; give the least number as lo and the largest as hi"
    if options["scale"] == "log" and high is not None and high <= 0:
        return f"scale=log reads numbers above 0, and hi={high:g} leaves none; leave out scale=log"
    return None


def _cost(options: Options, width: int) -> tuple[int, int]:
    read, predicted = (2 * WAVES + 1) * width + width * width, width * width + 2 * width
    return read + predicted + WAVES + 5 * width + 2, 2 * read


NUMBER = Modality(
    tag="NUMBER",
    about="a number",
    value="number",
    options=NumberOptions,
    preprocess={
        "scaled": Part(
            "ofasys.modality.number.preprocess:Scaled",
            about="less the column's middle, by its spread, both learnt from training values",
            keyed=KEYED,
            fits=True,
        )
    },
    adaptor={
        "waves": Part(
            "ofasys.modality.number.adaptor:WaveAdaptor",
            about="sines and cosines of learnt frequencies; a state back to a number and its spread",
            keyed=KEYED,
            cost=_cost,
        )
    },
    source=Defaults(preprocess="scaled", adaptor="waves", criteria=("classify",)),
    target=Defaults(
        preprocess="scaled", adaptor="waves", criterion="gaussian", generator="regress", criteria=("mse", "huber")
    ),
    item=lambda slot, options: Continuous(slot),
    expected=lambda options: 1,
    check=_check,
    says=_says,
    widget="number",
    outside=Part("ofasys.modality.shared.outside:as_it_is"),
)
