"""A front: a pretrained encoder of the library transformers that stands before the model, `adaptor=hf:FOLDER`.

What a plan needs to know of it is read of its JSON files alone. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from ofasys.engine.huggingface.folder import SETTINGS, folder_of, json_object
from ofasys.errors import ConfigError, one_of
from ofasys.language import option
from ofasys.modality.modality import Options
from ofasys.modality.shared.front_family import FAMILIES, PROCESSORS, Family, Processor

_PROCESSORS = ("image_processor", "feature_extractor")  # what a file of all processors holds
_ENDINGS = ("Fast", "Pil")  # of names of processors that do the same


@dataclass(frozen=True, kw_only=True)
class FrontOptions:
    """Of adaptor=hf:FOLDER."""

    front: str = option(
        "frozen",
        choices=("frozen", "trained"),
        side="source",
        about="whether the pretrained encoder stays as it is, or is trained too",
    )


@dataclass(frozen=True)
class Front:
    """What a folder's JSON files say of an encoder."""

    architecture: str
    """The library's name of it."""
    shape: Mapping[str, Any]
    """Its configuration, as written."""
    processor: Mapping[str, Any]
    """The configuration of its processor, as written."""

    @staticmethod
    @lru_cache(maxsize=64)
    def of(text: str) -> Front:
        """The inverse of `text`."""
        found = json.loads(text)
        return Front(found["architecture"], found["shape"], found["processor"])

    @cached_property
    def text(self) -> str:
        """All of it as one line of JSON."""
        told = {"architecture": self.architecture, "shape": self.shape, "processor": self.processor}
        return json.dumps(told, sort_keys=True, ensure_ascii=True, separators=(",", ":"))

    @property
    def family(self) -> Family:
        """Its record."""
        return FAMILIES[self.architecture]

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """The fields of its configuration, those that are left out as the library has them."""
        return {**self.family.defaults, **self.shape, **self.family.fixed}

    @property
    def width(self) -> int:
        """Of its states."""
        return int(self.values[self.family.width])

    @property
    def numbers(self) -> int:
        """How many it has."""
        return self.family.numbers(self.values)

    @property
    def made_by(self) -> Processor:
        """The record of its processor."""
        return PROCESSORS[_named(self.processor) or self.family.processor]

    @cached_property
    def processing(self) -> Mapping[str, Any]:
        """The fields of its processor, those that are left out as the library has them."""
        return {**self.made_by.defaults, **self.processor}


def front_of(options: Options) -> Front:
    """The front of a slot whose adaptor is one."""
    return Front.of(options["encoder"])


def is_front(options: Options) -> bool:
    """Whether a slot's adaptor is one."""
    return "encoder" in options


def bring(place: str) -> dict[str, str]:
    """What the parts of a slot need to know of the encoder at a place: its `place`, and as `encoder` its settings.

    Errors: ConfigError for what is not there, or not supported.
    """
    folder = folder_of(place, "front", SETTINGS)
    config = json_object(folder / "config.json", "front")
    architecture = str(config.get("model_type"))
    if architecture not in FAMILIES:
        raise ConfigError(
            f"{folder} is of architecture {architecture!r}, which is no front that is known; take one of "
            f"{', '.join(FAMILIES)}"
        )
    shape = config.get("vision_config", config)
    front = Front(architecture, _checked(folder, shape, FAMILIES[architecture]), _processor(folder))
    name = _named(front.processor)
    if name is not None and name not in PROCESSORS:
        raise ConfigError(
            f"{folder} has a processor {name!r}, which is not known; there are {', '.join(PROCESSORS)}: take another "
            "front"
        )
    return {"place": place, "encoder": front.text}


def _checked(folder: Path, shape: Any, family: Family) -> dict[str, Any]:
    """Errors: ConfigError for fields that are not as the library has them."""
    if not isinstance(shape, Mapping):
        raise ConfigError(f"{folder}/config.json has vision_config={shape!r:.60}; take a whole copy of the front")
    if shape.get("quantization_config"):
        raise ConfigError(f"the weights of {folder} are quantized, and no front is; take one with float weights")
    for name, default in family.defaults.items():
        given = shape.get(name, default)
        whole = type(default) is int and name != "mlp_ratio"
        if whole and (type(given) is not int or given < 1):
            raise ConfigError(f"{folder}/config.json has {name}={given!r:.60}, and a front has a whole number there")
    return dict(shape)


def _processor(folder: Path) -> dict[str, Any]:
    """The settings of a folder's processor. Errors: ConfigError where there are none."""
    own, whole = folder / "preprocessor_config.json", folder / "processor_config.json"
    if own.is_file():
        return json_object(own, "front")
    found = json_object(whole, "front") if whole.is_file() else {}
    inner = next((found[name] for name in _PROCESSORS if isinstance(found.get(name), dict)), None)
    if inner is None:
        raise ConfigError(
            f"{folder} has no preprocessor_config.json, which says how its input is made; save the front's processor "
            "there with save_pretrained"
        )
    return dict(inner)


def _named(processor: Mapping[str, Any]) -> str | None:
    """The name of a processor, without what says how it is computed; None where the file says none."""
    name = processor.get("image_processor_type") or processor.get("feature_extractor_type")
    if name is None:
        return None
    for ending in _ENDINGS:
        name = str(name).removesuffix(ending)
    old = str(name)
    return old if old in PROCESSORS else old.replace("FeatureExtractor", "ImageProcessor", 1)


def misplaced(front: Front, takes: str, tag: str) -> str | None:
    """What is wrong with a front of another kind of data."""
    if front.family.takes == takes:
        return None
    known = dict.fromkeys(family.about for family in FAMILIES.values() if family.takes == takes)
    return f"{front.family.about} takes {front.family.takes}; for {tag} name a folder of {one_of('', known)}"


def cost(options: Options, width: int) -> tuple[int, int]:
    """Numbers of an encoder and the projection after it, and FLOPs a position."""
    front = front_of(options)
    projection = front.width * width + width * width
    return front.numbers + projection + 4 * width, 2 * (front.family.block(front.values) + projection)


def says(options: Options) -> str:
    """What a front is, for plans."""
    front = front_of(options)
    state = "frozen" if options["front"] == "frozen" else "trained"
    return f"{front.family.about} of {options['place']}, {front.numbers:,} numbers, {state}, then a projection"
