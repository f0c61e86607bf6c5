"""How values of a checkpoint's tasks were read, as settings of the slots that read them here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofasys.errors import CheckpointError
from ofasys.hub.ofa.convert import Original
from ofasys.hub.ofa.settings import Values, fronts_of, whole
from ofasys.language import Instruction
from ofasys.modality.shared.ofa_resnet_part import STRIDE

PICTURES, BOXES, FILMS = "IMAGE", "BOX", "VIDEO"
BOXED = 512  # pixels of the side of a picture with boxes, and of what their marks lie on
FRAMES, FRAME_SIDE = 16, 256  # of a video
ASKED = {
    PICTURES: "[IMAGE:image] [TEXT:question] -> [TEXT:answer]",
    BOXES: '[IMAGE:image] which region does the text " [TEXT:question] " describe? -> [BOX:box]',
    "AUDIO": "[AUDIO:audio] [TEXT:question] -> [TEXT:answer]",
    FILMS: "[VIDEO:video] [TEXT:question] -> [TEXT:answer]",
}
"""Tag -> a line that may be asked of a checkpoint that reads it."""


def slots_of(original: Original) -> dict[str, dict[str, Any]]:
    """Tag -> what its slots need so that their values go the way they went in the original, where no task says more."""
    fronts = fronts_of(original.config, original.weights)
    found = {front.modality: {**front.read, "adaptor": front.name, **front.options} for front in fronts}
    if "encoder.adaptor.video_image_sequence.embed_frame_positions.weight" in original.weights:
        film = {"preprocess": "film", "patch": STRIDE, "size": FRAME_SIDE, "frames": FRAMES, "colours": "imagenet"}
        networks = [front for front in fronts if "depth" in front.options]  # its frames go through that of pictures
        found |= {FILMS: {**networks[0].options, "adaptor": networks[0].name, **film}} if networks else {}
    if PICTURES in found and any(name == "bins" for name, _, _ in original.dictionary.ranges()):
        found[BOXES] = {"preprocess": "marks", "extent": BOXED}
    return found


def reading_of(instruction: Instruction, slots: Mapping[str, Mapping[str, Any]], read: Values) -> dict[str, Any]:
    """The settings of a line. slots: as of `slots_of`. read: how values of its task were read, as OFASys writes it.

    What is as usual is said of a modality; what is a task's own, of its column. Errors: CheckpointError for a way to
    read that is not here.
    """
    tags = {slot.modality for slot in instruction.slots}
    own = {f"{tag}.{name}": value for tag in tags & set(slots) for name, value in slots[tag].items()}
    pictures = _boxed(read) if BOXES in tags else _pictures(read)
    more = {PICTURES: pictures, BOXES: _boxes(read), FILMS: _films(read) if FILMS in tags else {}}
    for place in instruction.places:
        tag = place.slot.modality
        said = more.get(tag, {}) if tag in slots else {}
        own |= {f"{place.column}.{name}": value for name, value in said.items() if slots[tag].get(name) != value}
    return own


def _pictures(read: Values) -> dict[str, Any]:
    said = read.get("image") or {}
    size = {"size": whole(said, "patch_image_size")} if said.get("patch_image_size") else {}
    return {**size, "colours": _colours(said, False)}


def _boxed(read: Values) -> dict[str, Any]:
    """Of a picture with boxes, which is read as they are."""
    said = read.get("box") or {}
    return {"size": whole(said, "patch_image_size", BOXED), "colours": _colours(said, False)}


def _boxes(read: Values) -> dict[str, Any]:
    return {"extent": whole(read.get("box") or {}, "max_image_size", BOXED)}


def _films(read: Values) -> dict[str, Any]:
    """Errors: CheckpointError for other frames than those evenly spread over the clip, or a part of them."""
    said = read.get("video") or {}
    size = whole(said, "test_crop_size", FRAME_SIDE)
    for name, wanted in (("sampling_rate", -1), ("train_jitter_scales_min", size)):
        if said.get(name, wanted) != wanted:
            raise CheckpointError(
                f"its frames were read with {name}={said[name]!r}, and are read here with {wanted} alone; write a line "
                "of your own to go on with it"
            )
    return {"frames": whole(said, "num_frames", FRAMES), "size": size, "colours": _colours(said, True)}


def _colours(said: Values, usual: bool) -> str:
    return "imagenet" if said.get("imagenet_default_mean_and_std", usual) else "half"
