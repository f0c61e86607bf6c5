"""A front's encoder of the library as an adaptor. `P` pictures, `m` states of each, `W` its width, `D` the model's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofasys.engine.huggingface.folder import fingerprint, folder_of, library, needed_files, weight_files
from ofasys.engine.huggingface.load import digest, weights_read
from ofasys.errors import ConfigError
from ofasys.modality.modality import Options
from ofasys.modality.shared.front import Front, front_of
from ofasys.model.low_rank import layer_name
from ofasys.packages import loaded
from ofasys.parallel.placed import gathered_whole

if TYPE_CHECKING:
    from typing import Annotated as Float


class FrontAdaptor(nn.Module):
    """An encoder, and after it two products with a GELU between them (as LLaVA-1.5's: Liu et al., 2023).

    options: `encoder`, its settings; `place`, as the slot names it; and of a saved model the `folder` and
    `fingerprint` of its weights. The encoder runs as in evaluation always: it drops and hides nothing of itself, so
    that a state is a function of its input. Errors: ConfigError for weights that are not there, or are not its own.
    """

    def __init__(self, options: Options, width: int) -> None:
        super().__init__()
        known = front_of(options)
        self.brought = {"place": options["place"], "encoder": options["encoder"]}
        self.stretches = known.family.stretches
        self.found, files = _found(options)
        self.of_folder = bool(files)
        self.front: nn.Module = _read(known, self.found["folder"]) if files else _drawn(known)
        self.front.eval()
        frozen = options["front"] == "frozen"
        if frozen:
            self.front.requires_grad_(False)
        self.project = nn.Sequential(nn.Linear(known.width, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)
        weights = self.front.state_dict() if self.of_folder and frozen else {}
        self._sums = {f"front.{name}": digest(weight) for name, weight in weights.items()}

    @property
    def place(self) -> str:
        """Where its weights were read; empty where they were drawn."""
        return f"hf:{self.found['folder']}" if self.of_folder else ""

    @property
    def numbers(self) -> int:
        """Of its encoder."""
        return sum(weight.numel() for weight in self.front.parameters())

    def check_same(self, options: Options) -> None:
        """Errors: ConfigError where the front that a slot or a saved model names so is another than this."""
        place, mark = options["place"], options.get("fingerprint")
        if options["encoder"] != self.brought["encoder"]:
            raise ConfigError(
                f"the model has a front of hf:{place} with other settings, from {self.found['folder']}; name this one "
                "by its whole path"
            )
        if mark is None and (folder := _here(place)) is not None and str(folder) != self.found["folder"]:
            files = weight_files(folder)
            mark = fingerprint(files) if files else None
        if options["front"] == "frozen" and mark not in (None, self.found["fingerprint"]):
            raise ConfigError(
                f"the model has a front of hf:{place} with other weights, whose SHA-256 is "
                f"{self.found['fingerprint']:.16}...; put back those of {mark:.16}..., or name this one by another path"
            )

    def unchanged(self) -> set[str]:
        """The names of its weights that are still those of its folder: none, if it has none. One that is trained needs
        its folder no more, so that nothing of it counts.

        Names are those of `state_dict`, also where a matrix has a change of its own. Where weights lie in pieces every
        process calls it.
        """
        now = self.state_dict() if self._sums else {}
        sums = {name: digest(gathered_whole(weight)) for name, weight in now.items()}
        return {name for name, found in sums.items() if found == self._sums.get(layer_name(name))}

    def train(self, mode: bool = True) -> FrontAdaptor:
        """As of any torch module, but for the encoder."""
        super().train(mode)
        self.front.eval()
        return self

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """What `collate` made -> the states of its positions, projected."""
        made = self.norm(self.project(self.states(tensors)))
        return made * self.norm.normalized_shape[0] ** -0.5

    def states(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n W"]:
        """What `collate` made -> the encoder's states of its positions."""
        learned = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.front.parameters())
        with torch.set_grad_enabled(learned):
            return self._states(tensors)

    def _states(self, tensors: Mapping[str, Tensor]) -> Tensor:
        raise NotImplementedError


class PictureFront(FrontAdaptor):
    """pixels (P, 3, height, width) float32, as the front's processor makes them -> (P * m, D): of each picture first
    the encoder's marks, where it has some, then its patches in raster order.
    """

    def _states(self, tensors: Mapping[str, Tensor]) -> Tensor:
        given: dict[str, Any] = {"interpolate_pos_encoding": True} if self.stretches else {}
        made: Tensor = self.front(pixel_values=tensors["pixels"], **given).last_hidden_state
        return made.flatten(0, 1)


def _found(options: Options) -> tuple[dict[str, str], list[Path]]:
    """(the folder and the fingerprint of a front's weights, their files).

    Of a saved model there are no files where they are gone, or others: what was saved whole needs none.
    """
    mark = options.get("fingerprint")
    if mark is None:
        folder = folder_of(options["place"], "front")
        files = needed_files(folder)
        return {"folder": str(folder), "fingerprint": fingerprint(files)}, files
    for folder in _known(options):
        files = weight_files(folder)
        if files and fingerprint(files) == mark:
            return {"folder": str(folder), "fingerprint": mark}, files
    return {"folder": options["folder"], "fingerprint": mark}, []


def _known(options: Options) -> Iterator[Path]:
    """Where the weights of a saved model may lie: where they lay, and where its place leads to from here."""
    if (lay := Path(options["folder"])).is_dir():
        yield lay
    if (folder := _here(options["place"])) is not None:
        yield folder


def _here(place: str) -> Path | None:
    """Where a place leads to on this machine."""
    try:
        return folder_of(place, "front", here=True)
    except ConfigError:
        return None


def _shape(known: Front) -> Any:
    """The library's configuration."""
    kind = _class(known.family.shape)
    given = {name: value for name, value in known.shape.items() if name != "model_type" and not name.startswith("_")}
    try:
        return kind(**{**given, **known.family.fixed})
    except Exception as error:  # the library raises nothing more precise
        raise ConfigError(f"config.json of a front is not read by transformers ({error}); take a whole copy") from error


def _read(known: Front, folder: str) -> nn.Module:
    with _quiet():
        renamed: dict[str, Any] = {"key_mapping": dict(known.family.renamed)} if known.family.renamed else {}
        made: nn.Module = weights_read(_class(known.family.encoder), folder, _shape(known), "front", **renamed)
    return made


def _drawn(known: Front) -> nn.Module:
    made: nn.Module = _class(known.family.encoder)(_shape(known))
    return made


def _class(name: str) -> Any:
    library()
    return loaded("a front", "load", name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it the library does not list the weights of other parts of a checkpoint, which are left out on purpose."""
    logging = library().logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
