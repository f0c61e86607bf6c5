"""The libraries of this package and of its extras, from its own metadata; and which of them a plan needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version

from ofasys.modality import BUILT_IN
from ofasys.planner import Plan
from ofasys.planner.explain import needed_extras

_FOR_WORK = ("dev", "bench")  # extras of those who work on this package
_USES = {
    "sql": "rows of a database",
    "fsspec": "files that are elsewhere, by URL",
    "lance": "data sets of Lance",
    "ray": "ofasys infer --ray",
    "hub": "models on the Hugging Face hub",
    "quantize": "weights of a backbone in 4 bits",
    "hf": "rows given as datasets.Dataset, and backbones (engine: hf:FOLDER)",
    "balance": "the balancer pcgrad",
    "sweep": "ofasys sweep",
    "serve": "ofasys serve",
    "export": "ofasys export",
    "wandb": "curves of a run in Weights & Biases",
    "mlflow": "curves of a run in MLflow",
    "trackio": "curves of a run in Trackio",
    "track": "curves of a run in TensorBoard",
    "gallery": "drawings of gallery:captions",
    "struct": "tables given as pandas.DataFrame",
}


@cache
def libraries() -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """(the libraries that are needed, extra -> its libraries); nothing where this package is not installed."""
    needed, extras = [], dict[str, list[str]]()
    try:
        lines = requires("ofasys") or []
    except PackageNotFoundError:
        lines = []
    for line in lines:
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"](.+?)['\"]", line)
        if extra is None:
            needed.append(name)
        elif extra[1] not in _FOR_WORK:
            extras.setdefault(extra[1], []).append(name)
    return tuple(needed), {extra: tuple(names) for extra, names in extras.items()}


def optional() -> dict[str, tuple[str, str]]:
    """Library -> (what it is for, the extra that brings it); of two extras, the first."""
    found: dict[str, tuple[str, str]] = {}
    for extra, names in libraries()[1].items():
        for name in names:
            found.setdefault(name, (use(extra), extra))
    return found


def use(extra: str) -> str:
    """What an extra is for."""
    tags = [spec.tag for spec in BUILT_IN.modalities if spec.extra == extra]
    return _USES.get(extra) or f"slots of {' and '.join(tags) or extra}"


def installed(package: str) -> str | None:
    """The version of a library; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def missing(extra: str) -> list[str]:
    """The libraries of an extra that are not installed."""
    return [name for name in libraries()[1].get(extra, ()) if installed(name) is None]


def needs(plans: Iterable[Plan]) -> dict[str, list[str]]:
    """Extra -> names of the slots that need it."""
    found: dict[str, list[str]] = {}
    for plan in plans:
        for slot in plan.slots:
            for extra in needed_extras(slot):
                if slot.name not in found.setdefault(extra, []):
                    found[extra].append(slot.name)
    return found
