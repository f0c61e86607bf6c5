"""What the parts of a modality give, looked at where it comes in: what is not as promised is said in words.

The checks are of shapes and kinds, which cost next to nothing; that numbers are finite is for the contract kit to see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ofasys.errors import DataError, OfasysError, PluginError
from ofasys.types import SlotFeatures

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class UnforeseenError(DataError):
    """A preprocessor raised something of its own where a DataError was promised. Its `__cause__` is that."""


FLOATS = ("float32", "float16")


def called(where: str, method: Callable[..., T], *arguments: Any) -> T:
    """What a method of a modality's part gives. where: the slot or the modality, for the message.

    Errors: this package's own as they are, and no memory; PluginError for whatever else the method raises.
    """
    try:
        return method(*arguments)
    except (OfasysError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is no fault of the part
            raise
        raise _broken(where, method, f"raised {reason(error)}{_of(arguments)}", "mend it") from error


def read(where: str, method: Callable[..., Any], value: Any, context: Any, ids: int) -> SlotFeatures:
    """The features a preprocessor makes of a value. ids: of the vocabulary.

    Errors: DataError for a value; also where the method raised anything else, for then it does not take the value.
    PluginError for what is no SlotFeatures as promised.
    """
    try:
        made = method(value, context)
    except (OfasysError, MemoryError):
        raise
    except Exception as error:
        expected = "a value it takes; of another it raises a DataError"
        raise UnforeseenError(
            f"{named(method)} raised {reason(error)}, of {shown(value)}", expected=expected
        ) from error
    check_features(where, method, made, value, ids)
    found: SlotFeatures = made
    return found


def asked(
    where: str, name: str, function: Callable[..., Any], arguments: Sequence[Any], kinds: Any, expected: str
) -> Any:
    """What a function of a spec gives. Errors: PluginError for whatever else than this package's own errors it raises,
    and for what is none of `kinds`.
    """
    try:
        found = function(*arguments)
    except OfasysError:
        raise
    except Exception as error:
        raise PluginError(f"{where}: {name}= of its spec raised {reason(error)}; mend it") from error
    if not isinstance(found, kinds):
        raise PluginError(f"{where}: {name}= of its spec gave {shown(found)}; give {expected}")
    return found


class Watched:
    """A part whose methods are `called`: for whoever is handed the part itself."""

    def __init__(self, where: str, part: Any) -> None:
        self._where, self._part = where, part

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return partial(called, self._where, found) if callable(found) else found


def check_features(where: str, method: Callable[..., Any], features: Any, value: Any, ids: int) -> None:
    """Errors: PluginError for what is no SlotFeatures, or tensors that do not go with its length."""

    def of() -> str:  # to show a value takes longer than to check it
        return f" for {shown(value)}"

    if not isinstance(features, SlotFeatures):
        raise _broken(where, method, f"gave {kind(features)}{of()}", "give a SlotFeatures(tensors, length)")
    if not _whole(features.length) or features.length < 1:
        raise _broken(where, method, f"gave length={features.length!r}{of()}", "give 1 or more positions")
    _check_arrays(where, method, features.tensors, of)
    if features.grid is not None and getattr(features.grid, "shape", None) != (features.length, 2):
        expected = f"give (y, x) of each position, ({features.length}, 2)"
        raise _broken(where, method, f"gave grid {kind(features.grid)}{of()}", expected)
    tokens = features.tensors.get("tokens")
    if tokens is not None:
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or len(tokens) != features.length:
            what = f"gave tokens {kind(tokens)} and length={features.length}{of()}"
            raise _broken(where, method, what, f"give whole numbers of shape ({features.length},), one a position")
        if len(tokens) and (int(tokens.min()) < 0 or int(tokens.max()) >= ids):
            what = f"gave tokens from {tokens.min()} to {tokens.max()}{of()}"
            raise _broken(
                where, method, what, f"the model has ids 0 to {ids - 1}: add where the span of a range begins"
            )


def check_continuous(where: str, method: Callable[..., Any], features: SlotFeatures) -> None:
    """Errors: PluginError for the features of a value that is drawn without frames (n, C), n a multiple of its
    length.
    """
    frames = features.tensors.get("frames")
    if frames is None or frames.ndim < 2 or frames.dtype.name not in FLOATS or len(frames) % features.length:
        given = ", ".join(f"{name} {kind(array)}" for name, array in features.tensors.items())
        what = f"gave {given} and length={features.length}"
        expected = f"a value that is drawn has frames float32 ({features.length}, C), or several rows a position"
        raise _broken(where, method, what, expected)


def check_collated(where: str, method: Callable[..., Any], tensors: Any, parts: Sequence[SlotFeatures]) -> None:
    """Errors: PluginError for what is no mapping of arrays."""
    _check_arrays(where, method, tensors, lambda: f" for {len(parts)} values")


def check_fitted(where: str, method: Callable[..., Any], found: Any) -> None:
    """Errors: PluginError for what is no mapping of arrays, of any width."""
    if not isinstance(found, Mapping):
        raise _broken(where, method, f"gave {kind(found)}", "give a dict of numpy arrays, to be saved with the model")
    for name, array in found.items():
        if not _is_array(array) or array.dtype.kind not in "biuf":
            raise _broken(where, method, f"gave {name!r} as {kind(array)}", "give a numpy array of numbers")


def check_embedding(
    where: str, method: Callable[..., Any], made: Any, tensors: Mapping[str, Tensor], n: int, width: int, device: Any
) -> None:
    """Errors: PluginError for what is no floating tensor (n, width) on the device."""
    if _is_tensor(made) and made.shape == (n, width) and made.is_floating_point() and made.device == device:
        return
    expected = f"give a floating tensor ({n}, {width}) on {device}: a row for each position of all its pieces"
    raise _broken(where, method, f"gave {kind(made)}{_of((tensors,))}", expected)


def check_prediction(
    where: str, method: Callable[..., Any], made: Any, hidden: Tensor, truth: Tensor | None = None
) -> None:
    """Errors: PluginError for what is no mapping of tensors with a row a state, `frames` among them, like the truth."""
    n, of = len(hidden), f" for states {kind(hidden)}"
    if not isinstance(made, Mapping) or "frames" not in made:
        given = f"{', '.join(map(str, made)) or 'nothing'}" if isinstance(made, Mapping) else kind(made)
        raise _broken(where, method, f"gave {given}{of}", 'give a dict with "frames"')
    for name, tensor in made.items():
        if not _is_tensor(tensor) or tensor.dim() < 1 or len(tensor) != n or tensor.device != hidden.device:
            expected = f"give a tensor ({n}, ...) on {hidden.device}, a row for each state"
            raise _broken(where, method, f"gave {name} {kind(tensor)}{of}", expected)
    frames = made["frames"]
    if truth is not None and frames.numel() != truth.numel():
        expected = f"give as many numbers as preprocess gives frames, {kind(truth)}"
        raise _broken(where, method, f"gave frames {kind(frames)}{of}", expected)


def named(method: Callable[..., Any]) -> str:
    """`Class.method (module)`."""
    owner = getattr(method, "__self__", None)
    if isinstance(method, type):
        return f"{method.__qualname__}.__init__ ({method.__module__})"
    if owner is None:
        return f"{getattr(method, '__qualname__', repr(method))} ({getattr(method, '__module__', '?')})"
    own = owner if isinstance(owner, type) else type(owner)
    return f"{own.__qualname__}.{method.__name__} ({own.__module__})"


def kind(value: Any) -> str:
    """Of an array or tensor its numbers and shape; of anything else its type."""
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        return f"a {type(value).__name__}" + ("" if value is not None else ", nothing")
    device = getattr(value, "device", None)
    elsewhere = f" on {device}" if device is not None and str(device) != "cpu" else ""
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}{elsewhere}"


def reason(error: BaseException) -> str:
    """An error of someone else's: its kind, and what it says on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__


def shown(value: Any) -> str:
    """A value in a sentence: on one line, and short."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a repr of someone else's may raise anything
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _check_arrays(where: str, method: Callable[..., Any], tensors: Any, of: Callable[[], str]) -> None:
    if not isinstance(tensors, Mapping) or not tensors:
        raise _broken(where, method, f"gave tensors {kind(tensors)}{of()}", "give a dict of numpy arrays, one or more")
    for name, array in tensors.items():
        if not _is_array(array):
            raise _broken(where, method, f"gave tensor {name!r} as {kind(array)}{of()}", "give a numpy array")
        if array.dtype.kind not in "biu" and array.dtype.name not in FLOATS:
            expected = "give float32, whole numbers or truth values" + (
                f": {name}.astype(np.float32)" if array.dtype.kind == "f" else ""
            )
            raise _broken(where, method, f"gave tensor {name!r} as {kind(array)}{of()}", expected)


def _broken(where: str, method: Callable[..., Any], what: str, expected: str) -> PluginError:
    return PluginError(f"{where}: {named(method)} {what}; {expected}")


def _of(arguments: Sequence[Any]) -> str:
    """The arguments that are arrays, tensors or features, for a sentence."""
    found = [part for argument in arguments for part in _parts(argument)]
    return f", of {', '.join(found[:4])}{', ...' if len(found) > 4 else ''}" if found else ""


def _parts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name} {kind(one)}" for name, one in value.items() if hasattr(one, "shape")]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], SlotFeatures):
        return [f"{len(value)} values, the first with {', '.join(_parts(value[0].tensors))}"]
    return [kind(value)] if hasattr(value, "shape") else []


def _whole(value: Any) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and not hasattr(value, "__len__")


def _is_array(value: Any) -> bool:
    """Whether it is an array of numpy, without importing numpy here: a plan is made without it."""
    return hasattr(value, "flags") and hasattr(value, "strides") and hasattr(value, "dtype")


def _is_tensor(value: Any) -> bool:
    """Whether it is a torch tensor, without importing torch here: a data worker need not."""
    return hasattr(value, "is_floating_point") and hasattr(value, "device")
