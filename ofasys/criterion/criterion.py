"""The spec of a criterion, and those that are known. A spec is a value: the plan reads it, torch is not needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

from ofasys.criterion.ctc_options import CTCOptions
from ofasys.criterion.diffusion_options import DiffusionOptions
from ofasys.criterion.frames_options import FramesOptions
from ofasys.criterion.kind import KINDS, Kind
from ofasys.criterion.options import ClassifyOptions, RewardOptions
from ofasys.criterion.regress_options import GaussianOptions, HuberOptions
from ofasys.errors import ConfigError, PluginError, nearest
from ofasys.packages import loaded, told
from ofasys.types import SlotFeatures

if TYPE_CHECKING:
    from typing import Annotated as Int

    import numpy as np

Options = Mapping[str, Any]
KEY = str.maketrans({"%": "%25", ".": "%2E", "/": "%2F"})  # what torch has no names with, and files of weights part by


def _nothing(options: Options, width: int) -> int:
    return 0


@dataclass(frozen=True, kw_only=True)
class Criterion:
    """A loss a slot can name."""

    name: str
    about: str
    """In a sentence, for plans and lists."""
    kind: str
    """The kind of target it is for, one of `KINDS`."""
    load: str
    """ "module:name" of the function (over tokens) or of the module's class (else), imported when first used."""
    options: type | None = None
    """A dataclass of the attributes it gives a slot."""
    keyed: tuple[str, ...] = ()
    """Those of them that make another set of its weights, and all that its function or class reads."""
    label_column: str | None = None
    """The option that names the column it learns from."""
    label_modality: str = "TEXT"
    """What that column is, where no slot of the instruction has it."""
    label_options: Mapping[str, Any] | None = None
    """And its attributes; with any, the column is read so whatever slot has it."""
    generator: str | None = None
    """The default for what is learned."""
    prepare: str | None = None
    """ "module:function", (features, options, random) -> (features for the stream, arrays to learn from)."""
    before: bool = False
    """A value's positions are predicted from the ones before them."""
    together: bool = False
    """A value's positions see each other."""
    view: Literal["slot", "all"] = "slot"
    """ "all": it judges all the slots that name it at once."""
    cost: Callable[[Options, int], int] = _nothing
    """(options, width) -> learned numbers."""
    units: str = "ofasys.criterion.units:positions"
    """ "module:function", (lengths (values,), arrays) -> what its loss is a sum over; tokens are counted one by one."""
    join: str | None = None
    """ "module:function", (lengths, arrays of a batch) -> the same with what its module would ask a device for."""
    rewarded: bool = False
    """Answers are scored by a metric, and learned from by how much better they are."""
    modalities: tuple[str, ...] = ()
    """Of a criterion from outside, those it fits; none: all that have a criterion of its kind."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(
                f"criterion {self.name!r} is of kind {self.kind!r}; {nearest(self.kind, KINDS)}there are "
                f"{', '.join(KINDS)}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        if CRITERIA.get(self.name) is self:  # its functions may be lambdas
            return _built_in, (self.name,)
        return _again, ({one.name: getattr(self, one.name) for one in fields(self)},)

    @property
    def of(self) -> Kind:
        """The kind of target it is for."""
        return KINDS[self.kind]

    def resolve(self) -> Any:
        """The function or class itself. Errors: PluginError where it cannot be imported."""
        return self._part("load", self.load)

    def prepared(
        self, features: SlotFeatures, options: Options, random: np.random.Generator | None
    ) -> tuple[SlotFeatures, dict[str, np.ndarray]]:
        """Features -> (the features as they stand in the stream, arrays to learn from). random: None draws as seed 0.

        Errors: PluginError where `prepare` gives anything else.
        """
        if self.prepare is None:
            return features, dict(features.tensors)
        found = self._part("prepare", self.prepare)(features, options, random or _fixed_random())
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], SlotFeatures)):
            raise self._broken("prepare", self.prepare, found, "(SlotFeatures for the stream, arrays to learn from)")
        return found[0], self._arrays("prepare", self.prepare, found[1])

    def counted(self, lengths: Int[np.ndarray, "values"], arrays: Mapping[str, np.ndarray]) -> int:
        """Units of the loss of values with `lengths` positions, and of what is learned from them.

        Errors: PluginError where `units` gives no whole number of 0 or more.
        """
        count = self._part("units", self.units)(lengths, arrays)
        if not isinstance(count, Integral) or isinstance(count, bool) or count < 0:
            raise self._broken("units", self.units, count, "a whole number, 0 or more")
        return int(count)

    def joined(self, lengths: Int[np.ndarray, "values"], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What a batch of values is learned from, each array laid end to end, with what `join` adds to it.

        Errors: PluginError where `join` gives no arrays by name.
        """
        if self.join is None:
            return arrays
        return self._arrays("join", self.join, self._part("join", self.join)(lengths, arrays))

    def _part(self, what: str, name: str) -> Callable[..., Any]:
        """A function of its record. Errors: PluginError where it cannot be imported."""
        found: Callable[..., Any] = loaded(f"criterion {self.name!r}", what, name)
        return found

    def _arrays(self, what: str, name: str, found: Any) -> dict[str, np.ndarray]:
        if not isinstance(found, Mapping) or not all(hasattr(one, "dtype") for one in found.values()):
            raise self._broken(what, name, found, "numpy arrays by name")
        return dict(found)

    def _broken(self, what: str, name: str, found: Any, expected: str) -> PluginError:
        shown = " ".join(repr(found).split())[:60]
        return PluginError(f"{told('criterion', self.name, self.load)}: {what}={name!r} gave {shown}; give {expected}")

    def key(self, options: Options) -> str:
        """The name its weights have in a model."""
        return "_".join([self.name, *(str(options[name]).translate(KEY) for name in self.keyed)])


def _fixed_random() -> np.random.Generator:
    import numpy as np

    return np.random.Generator(np.random.PCG64(0))


def _built_in(name: str) -> Criterion:
    return CRITERIA[name]


def _again(values: dict[str, Any]) -> Criterion:
    return Criterion(**values)


CROSS_ENTROPY = Criterion(
    name="cross_entropy",
    about="negative log-likelihood of the tokens, over those that may come at that place; label smoothing",
    kind="tokens",
    load="ofasys.criterion.cross_entropy:cross_entropy",
    generator="search",
)

REWARD = Criterion(
    name="reward",
    about="self-critical training: its own answers, weighted by a metric, against those it gives greedily",
    kind="tokens",
    load="ofasys.criterion.cross_entropy:cross_entropy",
    options=RewardOptions,
    generator="search",
    rewarded=True,
)
CONTRAST = Criterion(
    name="contrast",
    about="InfoNCE: the two views of a sample find each other among those of the batch; learned temperature",
    kind="contrast",
    load="ofasys.criterion.contrast:Contrast",
    view="all",
    cost=lambda options, width: width * width + 1,
    units="ofasys.criterion.units:values",
)
CLASSIFY = Criterion(
    name="classify",
    about="negative log-likelihood of one label, from the mean of the slot's states",
    kind="category",
    load="ofasys.criterion.classify:Classify",
    options=ClassifyOptions,
    label_column="classify_target",
    label_modality="CATEGORY",
    label_options={"adaptor": "head"},
    generator="classify",
    cost=lambda options, width: width * width + width,
    units="ofasys.criterion.units:values",
)
DIFFUSION = Criterion(
    name="diffusion",
    about="mean squared error of what a noised value was, or of the noise; noised by a random amount",
    kind="noise",
    load="ofasys.criterion.diffusion:Diffusion",
    options=DiffusionOptions,
    keyed=("predict",),
    generator="denoise",
    prepare="ofasys.criterion.diffusion:prepare",
    together=True,
)
CTC = Criterion(
    name="ctc",
    about="connectionist temporal classification: the labels in their order, wherever they are",
    kind="alignment",
    load="ofasys.criterion.ctc:CTC",
    options=CTCOptions,
    label_column="ctc_target",
    generator="ctc",
    cost=lambda options, width: width,
    units="ofasys.criterion.ctc:fitting",
    join="ofasys.criterion.ctc:join",
)
FRAMES = Criterion(
    name="frames",
    about="mean absolute plus mean squared error of the frames, before and after the postnet; "
    "cross-entropy of the stop",
    kind="frames",
    load="ofasys.criterion.frames:Frames",
    options=FramesOptions,
    keyed=("stop_weight",),
    generator="frames",
    before=True,
)
GAUSSIAN = Criterion(
    name="gaussian",
    about="negative log-likelihood of a normal distribution whose mean and spread are predicted (beta-NLL)",
    kind="number",
    load="ofasys.criterion.regress:Gaussian",
    options=GaussianOptions,
    keyed=("beta",),
    generator="regress",
    before=True,
)
MSE = Criterion(
    name="mse",
    about="mean squared error of a number; its spread is learned beside it",
    kind="number",
    load="ofasys.criterion.regress:SquaredError",
    generator="regress",
    before=True,
)
HUBER = Criterion(
    name="huber",
    about="squared error of a number, linear for large errors; its spread is learned beside it",
    kind="number",
    load="ofasys.criterion.regress:Huber",
    options=HuberOptions,
    keyed=("delta",),
    generator="regress",
    before=True,
)

CRITERIA: dict[str, Criterion] = {
    criterion.name: criterion
    for criterion in (
        CROSS_ENTROPY,
        REWARD,
        CONTRAST,
        CLASSIFY,
        DIFFUSION,
        CTC,
        FRAMES,
        GAUSSIAN,
        MSE,
        HUBER,
    )
}
