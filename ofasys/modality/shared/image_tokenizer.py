"""The image tokenizer: a picture as a few codes and back, trained with the system itself; as arrays, and as a
folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from torch import Tensor, nn

from ofasys.errors import ConfigError
from ofasys.modality.shared.code_levels import LEVELS
from ofasys.modality.shared.image_autoencoder import Autoencoder
from ofasys.modality.shared.patch import scaled
from ofasys.modality.shared.pretrained_vq import KIND, Pretrained, patch_of

WEIGHTS, ABOUT = "tokenizer.safetensors", "tokenizer.json"
FORMAT = 1
CONFIG = "config"  # the array that holds the configuration: JSON, as bytes

Arrays = Mapping[str, np.ndarray]
Report = Callable[[int, float], None]


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions:
    """What decides the shape of an image tokenizer, and how it is trained.

    codes: how many there are, one of LEVELS. patch: pixels of the side of what a code stands for. width: channels at
    half the resolution. steps, batch, rate: of training; the rate falls to zero along a cosine.
    """

    codes: int = 1000
    patch: int = 8
    width: int = 24
    steps: int = 600
    batch: int = 16
    rate: float = 6e-3

    def __post_init__(self) -> None:
        if self.codes not in LEVELS:
            raise ConfigError(f"there is no set of levels for codes={self.codes}; there are {known_codes()}")


def known_codes() -> str:
    """The numbers of codes there may be, as text."""
    return ", ".join(map(str, LEVELS))


class ImageTokenizer:
    """Pictures <-> codes. `codes` of them, each for `patch` x `patch` pixels. A picture is encoded by itself, so that
    its codes depend on nothing else.
    """

    def __init__(self, net: nn.Module, codes: int, patch: int, config: Mapping[str, Any]) -> None:
        self.net, self.codes, self.patch, self.config = net.eval(), codes, patch, dict(config)

    @torch.no_grad()
    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """RGB (H, W, 3) uint8, sides multiples of `patch` -> codes (H/p, W/p) int64.

        By one thread: how many there are changes the last digits, and a number that is about to be rounded may have two
        codes.
        """
        with _one_thread():
            return self.net.encode(_pictures(pixels[None]))[0].numpy()  # type: ignore[operator]

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes (h, w) -> RGB (h p, w p, 3) uint8."""
        made = self.net.decode(torch.from_numpy(np.asarray(codes, dtype=np.int64))[None])[0]  # type: ignore[operator]
        return made.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).movedim(0, -1).numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything it takes to make it again: its weights, and its configuration as bytes of JSON."""
        found = {name: tensor.detach().cpu().numpy() for name, tensor in self.net.state_dict().items()}
        return found | {CONFIG: np.array(bytearray(json.dumps(self.config, sort_keys=True).encode()))}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> ImageTokenizer:
        """What `arrays` gave, as a tokenizer. Errors: ConfigError when they do not fit together."""
        try:
            config = json.loads(bytes(np.asarray(arrays[CONFIG], dtype=np.uint8)))
            weights = {name: array for name, array in arrays.items() if name != CONFIG}
            return cls._made(config, weights)
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"these are not the arrays of an image tokenizer: {error}") from error

    @classmethod
    def _made(cls, config: Mapping[str, Any], weights: Arrays) -> ImageTokenizer:
        if config["kind"] == KIND:
            net: nn.Module = Pretrained(config["vq"])
            found = cls(net, int(config["vq"]["num_vq_embeddings"]), patch_of(config["vq"]), config)
        else:
            net = Autoencoder(config["codes"], config["patch"], config["width"])
            found = cls(net, config["codes"], config["patch"], config)
        try:
            net.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        except RuntimeError as error:
            raise ConfigError(f"the weights do not fit the image tokenizer's configuration: {error}") from error
        return found

    def save(self, folder: str | Path) -> Path:
        """Write `tokenizer.safetensors` and `tokenizer.json` into a folder. Errors: ConfigError as `check_folder`."""
        folder = Path(folder)
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = self.arrays()
        arrays.pop(CONFIG)
        about = {"ofasys": FORMAT, **self.config}
        for name, data in ((WEIGHTS, save_arrays(arrays)), (ABOUT, json.dumps(about, indent=1).encode() + b"\n")):
            aside = folder / f".{name}.new"
            aside.write_bytes(data)
            aside.replace(folder / name)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> ImageTokenizer:
        """From a folder that `save` wrote, or that holds a VQModel of diffusers (`config.json` and safetensors).

        Errors: ConfigError when it holds neither.
        """
        folder = Path(folder)
        if (folder / ABOUT).is_file():
            config = _json(folder / ABOUT)
            if config.pop("ofasys", None) != FORMAT:
                raise ConfigError(f"{folder / ABOUT} is of another version; train it anew: ofasys tokenizer train")
            return cls._read(folder / WEIGHTS, config)
        if (folder / "config.json").is_file():
            config = _json(folder / "config.json")
            if config.get("_class_name") != KIND:
                raise ConfigError(f"{folder} holds a {config.get('_class_name')}, not a {KIND}")
            config = {"kind": KIND, "vq": {"num_vq_embeddings": 256, **config}}
            return cls._read(folder / "diffusion_pytorch_model.safetensors", config, "model.")
        raise ConfigError(
            f"{str(folder)!r} holds no image tokenizer; make one with `ofasys tokenizer train IMAGES --out {folder}`"
        )

    @classmethod
    def _read(cls, path: Path, config: Mapping[str, Any], prefix: str = "") -> ImageTokenizer:
        if not path.is_file():
            raise ConfigError(f"{path.parent} has no {path.name}; only safetensors are read")
        try:
            return cls._made(config, {prefix + name: array for name, array in load_arrays(path.read_bytes()).items()})
        except ConfigError:
            raise
        except Exception as error:  # safetensors raises its own
            raise ConfigError(f"{path} cannot be read: {error}") from error


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is no configuration")
    return found


def check_folder(folder: Path) -> None:
    """Errors: ConfigError where a tokenizer may not be written: a file, or a folder of something else."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give the name of a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / ABOUT).is_file():
        raise ConfigError(f"{folder} holds something that is no image tokenizer; give a new folder")


def train_tokenizer(
    images: np.ndarray | Sequence[np.ndarray],
    options: TokenizerOptions,
    seed: int = 0,
    report: Report | None = None,
) -> ImageTokenizer:
    """Train an autoencoder on pictures; what comes out depends on pictures, options and seed alone.

    images: (N, S, S, 3) uint8, S a multiple of `patch`. report: told (step, loss) after each step. The loss is the mean
    absolute error, plus that of the differences between neighbouring pixels, which keeps edges sharp, plus the mean
    square.
    """
    if not len(images):
        raise ConfigError("there is no picture to train the image tokenizer on")
    data = torch.from_numpy(np.stack(list(images)))
    config = {"kind": "fsq", "codes": options.codes, "patch": options.patch, "width": options.width}
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        net = Autoencoder(options.codes, options.patch, options.width)
        optimizer = torch.optim.AdamW(net.parameters(), lr=options.rate, betas=(0.9, 0.99), weight_decay=1e-4)
        warm = min(50, options.steps // 10 + 1)
        order: list[int] = []
        for step in range(options.steps):
            for group in optimizer.param_groups:
                along = math.cos(math.pi / 2 * step / options.steps) ** 2
                group["lr"] = options.rate * min(1.0, (step + 1) / warm) * along
            while len(order) < options.batch:
                order += torch.randperm(len(data)).tolist()
            chosen, order = order[: options.batch], order[options.batch :]
            pictures = _pictures(data[chosen])
            loss = _loss(net.drawn(net.values(pictures)), pictures)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            if report is not None:
                report(step + 1, float(loss.detach()))
    return ImageTokenizer(net, options.codes, options.patch, config)


def _pictures(pixels: np.ndarray | Tensor) -> Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) in -1..1."""
    tensor = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.array(pixels))
    return scaled(tensor).movedim(-1, 1).contiguous()


def _loss(made: Tensor, true: Tensor) -> Tensor:
    wrong = made - true
    down, across = wrong.diff(dim=2), wrong.diff(dim=3)
    return wrong.abs().mean() + 0.5 * (down.abs().mean() + across.abs().mean()) + 0.5 * wrong.square().mean()
