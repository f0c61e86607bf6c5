"""What a modality is: a spec (one value, read by the planner) and the two protocols its heavy parts follow.

A spec names its parts as `Part("module:Class", ...)`, so reading it loads no torch, no PIL, nothing heavy.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ofasys.criterion import CRITERIA, KINDS, Criterion
from ofasys.criterion.criterion import KEY
from ofasys.engine.spec import ENGINES, EngineSpec
from ofasys.errors import ConfigError, PluginError, nearest, one_of
from ofasys.generator import GENERATORS, Generator
from ofasys.language import Grammar, Pattern, SlotOptions, Word, options_of
from ofasys.types import Item, SlotFeatures

if TYPE_CHECKING:
    from typing import Annotated as Float
    from typing import Annotated as Int

    import numpy as np
    from torch import Tensor

    from ofasys.modality.symbols import Symbols

Options = Mapping[str, Any]

# What a page can ask for a value with. "image" to "motion" and "file" take a file; "box" is drawn on the picture it
# refers to; "table" has a header, "triples" three columns, "grid" whole numbers.
WIDGETS = ("text", "number", "label", "box", "image", "audio", "video", "motion", "file", "table", "triples", "grid")


@dataclass(frozen=True)
class Part:
    """A class that does work for a modality, by name, with the options it takes from the instruction."""

    load: str
    """ "module:Class", imported when first used."""
    options: type | None = None
    """A frozen dataclass of `option(...)` fields: the attributes it gives a slot."""
    about: str = ""
    """What it does, in one line, for plans."""
    shared: str | None = None
    """Of an adaptor: its one key, where all who name it use the same weights."""
    family: str | None = None
    """Said instead of the modality's tag in an adaptor's key, so that two modalities share weights."""
    keyed: tuple[str, ...] = ()
    """Names of options that make another set of weights; `column` is that of the slot."""
    kept: tuple[str, ...] = ()
    """Of an adaptor: names of options besides that it is made of; what it tells as `found` is kept under these too."""
    bring: str = ""
    """Of an adaptor that is named with a place, as `hf:FOLDER`: "module:function", place -> names and texts that the
    slot's parts are given beside its options, `place` among them.
    """
    says: Callable[[Options], str] | None = None
    """Of an adaptor: options -> what it does, where `about` is not all of it."""
    fits: bool = False
    """Of a preprocessor: it learns something from training values first."""
    adaptor: str | None = None
    """Of a preprocessor: the adaptor that reads it unless the slot says another."""
    side: str | None = None
    """Of a preprocessor: the one side of the arrow it is for, "source" or "target". None: both."""
    suffixes: tuple[str, ...] = ()
    """Of `save`: the kinds of file it writes, as `.png`. None: whatever it is asked for."""
    graph: str | None = None
    """Of a preprocessor: "module:function", options -> `GraphInput`, what an exported graph reads for its slots. None:
    tokens in a line need none, and others cannot be exported.
    """
    extra: str | None = None
    """The extra of this package that it needs, for values of any kind."""
    cost: Callable[[Options, int], tuple[int, int]] = lambda options, width: (0, 0)
    """(options, width) -> (parameters, FLOPs a position), for the plan's estimate."""

    def resolve(self) -> Any:
        """The class itself; imports its module. Errors: ConfigError with the extra to install if a library is absent;
        PluginError if the module or the class is, or the module does not load.
        """
        module, _, name = self.load.partition(":")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith(module.partition(".")[0]):
                raise PluginError(f"Part({self.load!r}): there is no module {error.name}; correct its name") from error
            raise ConfigError(
                f"{self.load} needs the library {error.name!r}: pip install {_package(error.name)}"
            ) from error
        except Exception as error:
            text = " ".join(str(error).split())[:160]
            raise PluginError(
                f"Part({self.load!r}): importing it raised {type(error).__name__}: {text}; mend it"
            ) from error
        if not hasattr(found, name):
            there = [key for key, value in vars(found).items() if isinstance(value, type)]
            raise PluginError(f"Part({self.load!r}): the module has no {name!r}; expected {one_of(name, there)}")
        return getattr(found, name)

    def key(self, tag: str, name: str, options: Options) -> str:
        """The name its weights have in a model, e.g. `tokens` or `image_patch_16`."""
        said = [str(options[k]).translate(KEY) for k in self.keyed if options.get(k) is not None]
        return self.shared or "_".join([self.family or tag.lower(), name, *said])


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a slot of this modality gets on one side of the arrow when nothing else is said; names, each."""

    preprocess: str
    """What reads its values."""
    adaptor: str
    """What embeds them."""
    criterion: str | None = None
    """None: it is not learned on this side."""
    generator: str | None = None
    """What makes a value that is learned by `criterion`; another criterion brings its own."""
    criteria: tuple[str, ...] = ()
    """Others it may name."""

    @property
    def learned(self) -> tuple[str, ...]:
        """Every criterion it may have here."""
        return (() if self.criterion is None else (self.criterion,)) + self.criteria


def one_order(options: Options) -> int:
    """Positions of a value whose length is not known before data: a guess for the plan's estimate."""
    return int(options.get("max_length") or 16)


@dataclass(frozen=True, kw_only=True, eq=False)
class Modality:
    """The spec of a modality. The planner reads this and nothing else."""

    tag: str
    """Its name in an instruction: IMAGE."""
    about: str
    """What a value is, in one line, for plans."""
    value: str
    """What a value of it is called in outputs and metrics: `out.text`, `out.box`."""
    options: type | None = None
    """A frozen dataclass of the attributes every slot of it takes."""
    preprocess: Mapping[str, Part]
    """By name: a slot has one of them."""
    adaptor: Mapping[str, Part]
    """By name: a slot has one of them."""
    source: Defaults | None = None
    """None: not on that side of the arrow."""
    target: Defaults | None = None
    """None: not on that side of the arrow."""
    ranges: Callable[[Options], Mapping[str, int | None]] = lambda options: {}
    """Options -> the vocabulary ranges its tokens come from, and their sizes. None: as large as the tokenizer."""
    ordered: tuple[str, ...] = ()
    """The ranges in which neighbouring ids mean neighbouring values."""
    item: Callable[[int, Options], Item] | None = None
    """(slot index, options) -> what stands for it in the target automaton."""
    positions: str | Callable[[Options], str] = "1-D"
    """ "1-D", "2-D" or "3-D": which coordinates its stream positions have."""
    expected: Callable[[Options], int] = one_order
    """Options -> stream positions of one value, an estimate."""
    provides: str | None = None
    """What slots of others may refer to: IMAGE provides a "frame"."""
    unfit: Callable[[Options], str | None] = lambda options: None
    """Options -> why no slot may refer to such a one, if so."""
    refers: str | None = None
    """What it refers to: BOX to a "frame"."""
    check: Callable[[Options], str | None] = lambda options: None
    """Options -> what is wrong with them together, if anything."""
    says: Callable[[Options], str] | None = None
    """Options -> what a value of such a slot is, where `about` is not it."""
    labelled: bool = False
    """Its values always come from a closed set."""
    limited: bool = False
    """`max_length=` cuts its values."""
    save: Part | None = None
    """Writes values into a file."""
    show: Part | None = None
    """(values, `View`) -> HTML of them for a report, which needs nothing beside it. None: a report shows their text."""
    widget: str | Callable[[Options], str] = "text"
    """What a page asks a person for a value with: one of WIDGETS."""
    outside: Part = Part("ofasys.modality.shared.outside:without_text")
    """(value that JSON holds, or bytes of a file that was sent) -> the value as its preprocessors read it, so that it
    names no file of this machine; DataError for what might. By default a value may hold no text at all.
    """
    aliases: tuple[str, ...] = ()
    """Other tags of it."""
    extra: str | None = None
    """The extra of this package that it needs."""

    def word(self, criteria: Iterable[Criterion], generators: Iterable[Generator]) -> Word:
        """The modality as the language knows it: its tag and every attribute any of its parts takes.

        criteria: those that its slots may be learned by. generators: all there are.
        """
        known = dict(options_of(self.options)) if self.options else {}
        for part in [*self.preprocess.values(), *self.adaptor.values()]:
            known |= options_of(part.options) if part.options else {}
        generators = list(generators)
        for criterion in criteria:
            kinds = [g.options for g in generators if g.kind == criterion.kind]
            for kind in (criterion.options, *kinds):
                known |= options_of(kind) if kind else {}
        return Word(self.tag, known, self.aliases)

    def widget_of(self, options: Options) -> str:
        """What a page asks for a value of a slot with these options with. Errors: PluginError for no such widget."""
        found = self.widget if isinstance(self.widget, str) else self.widget(options)
        if found not in WIDGETS:
            raise PluginError(f"modality {self.tag} has widget={found!r:.60}; expected {one_of(str(found), WIDGETS)}")
        return found

    def takes(
        self,
        preprocess: str,
        adaptor: str,
        criterion: Criterion | None = None,
        generator: Generator | None = None,
    ) -> dict[str, Any]:
        """Options (name -> Option) that reach a slot with this preprocessor, adaptor, criterion and generator."""
        known = dict(options_of(SlotOptions))
        kinds = [self.options, self.preprocess[preprocess].options, self.adaptor[adaptor].options]
        kinds += [part.options for part in (criterion, generator) if part is not None]
        for kind in kinds:
            known |= options_of(kind) if kind else {}
        return known


@dataclass(frozen=True)
class Context:
    """What a preprocessor may know besides the value: nothing of other modalities, only what the plan points out."""

    training: bool = False
    """Whether noise, masks and augmentation are wanted."""
    referred: Mapping[str, Any] | None = None
    """`info` of the features its slot refers to."""
    labels: Sequence[str] | None = None
    """The closed set of its slot."""
    random: np.random.Generator | None = None
    """This sample's generator. None: outside training and evaluation on noised input."""
    root: str | Path | None = None
    """The folder that relative paths start from."""


NOWHERE = Context()


@dataclass(frozen=True)
class View:
    """What a value is shown with on a page."""

    options: Options = field(default_factory=dict)
    """Of its slot."""
    root: str | Path | None = None
    """The folder that relative paths start from."""
    referred: Any = None
    """The raw value of the slot that it refers to."""
    truths: Sequence[Any] = ()
    """The true values, where answers are shown that lie in a frame: one picture holds both."""
    labels: Sequence[str] = ()
    """A word for each value, where there is one."""


class Preprocessor(Protocol):
    """Raw value -> tensors, and back. One object per slot of a program; picklable; runs in data workers.

    options: the slot's, and under "fitted" what `fit` gave, of a part that fits.
    """

    def __init__(self, options: Options, symbols: Symbols) -> None: ...

    def preprocess(self, value: Any, context: Context) -> SlotFeatures:
        """One raw value as SlotFeatures. Errors: DataError that says what was expected."""
        ...

    def postprocess(self, made: Int[np.ndarray, "n"] | Float[np.ndarray, "n C"], context: Context) -> Any:
        """What the generator made as a raw value again: tokens, or the frames of a drawn value."""
        ...

    def from_frames(self, frames: Float[np.ndarray, "n C"]) -> SlotFeatures:
        """The features of frames that were drawn, for what comes after them."""
        ...

    def collate(self, parts: Sequence[SlotFeatures]) -> dict[str, np.ndarray]:
        """The tensors of the features of several values as the adaptor reads them."""
        ...

    @staticmethod
    def texts(value: Any, options: Options, root: str | Path | None = None) -> list[str]:
        """Text in a value, to train the tokenizer on; of a value it cannot read, none. root: where relative paths
        start.
        """
        ...

    @staticmethod
    def fit(values: Iterable[tuple[Any, Context]], options: Options, seed: int) -> Mapping[str, np.ndarray]:
        """What to learn from training values before training; called once, of a part with `fits`.

        Parts of several modalities that share what is learned (`family` of `Part`) read one kind of value here: each
        has a static `lessons(value, context, options)` that gives those of its own, as VIDEO the frames of a clip.
        """
        ...

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """A true value as an answer would hold it, so that metrics compare like with like. context: its `root` is
        known.
        """
        ...


class Adaptor(Protocol):
    """Tensors -> a stretch of the embedding stream; hidden states -> predictions. A torch module, one per key."""

    def embed(self, tensors: Mapping[str, Tensor]) -> Float[Tensor, "n D"]:
        """What `collate` made -> the n positions of all pieces laid end to end."""
        ...

    def predict(
        self, hidden: Float[Tensor, "n D"], lengths: Int[Tensor, "values"], tensors: Mapping[str, Tensor]
    ) -> Mapping[str, Float[Tensor, "n ..."]]:
        """Of a drawn value: states of values with `lengths` positions, n in all -> `frames` and the like."""
        ...


class Concatenate:
    """The defaults: tensors laid end to end, a frame a position, no text inside, a true value as it stands."""

    def from_frames(self, frames: np.ndarray) -> SlotFeatures:
        """A position a frame."""
        return SlotFeatures({"frames": frames}, len(frames))

    def collate(self, parts: Sequence[SlotFeatures]) -> dict[str, np.ndarray]:
        """Each tensor of these features concatenated along axis 0."""
        import numpy as np

        return {name: np.concatenate([features.tensors[name] for features in parts]) for name in parts[0].tensors}

    @staticmethod
    def texts(value: Any, options: Options, root: str | Path | None = None) -> list[str]:
        """No text."""
        return []

    @staticmethod
    def fit(values: Iterable[tuple[Any, Context]], options: Options, seed: int) -> Mapping[str, np.ndarray]:
        """Nothing to learn."""
        return {}

    def canonical(self, value: Any, context: Context = NOWHERE) -> Any:
        """The value itself."""
        return value


@dataclass(frozen=True, eq=False)
class Registry:
    """What a model, a test, a process knows: modalities, the criteria and generators of their slots, engines, and
    patterns of the instruction.

    A value: adding something gives another registry.
    """

    modalities: tuple[Modality, ...] = field(default=())
    criteria: tuple[Criterion, ...] = field(default_factory=lambda: tuple(CRITERIA.values()))
    generators: tuple[Generator, ...] = field(default_factory=lambda: tuple(GENERATORS.values()))
    engines: tuple[EngineSpec, ...] = field(default_factory=lambda: tuple(ENGINES.values()))
    patterns: tuple[Pattern, ...] = ()

    def engine(self, name: str) -> EngineSpec:
        """The engine of this name. Errors: ConfigError naming those known."""
        return _named("engine", name, self.engines)

    def criterion(self, name: str) -> Criterion:
        """The criterion of this name. Errors: ConfigError naming those known."""
        return _named("criterion", name, self.criteria)

    def generator(self, name: str) -> Generator:
        """The generator of this name. Errors: ConfigError naming those known."""
        return _named("generator", name, self.generators)

    def home(self, pattern: str) -> str:
        """The module that the ways of a pattern are of; empty for one that is not known here."""
        return next((one.ways.__module__ for one in self.patterns if one.name == pattern), "")

    def learned(self, spec: Modality, defaults: Defaults) -> tuple[str, ...]:
        """The names of the criteria a slot may have: those its modality names on a side, and those from outside that
        fit: of the kind of one of these.
        """
        kinds = {self.criterion(name).kind for name in defaults.learned}
        own = [one for one in self.criteria if one.name not in CRITERIA and one.kind in kinds]
        return defaults.learned + tuple(one.name for one in own if not one.modalities or spec.tag in one.modalities)

    def word(self, spec: Modality) -> Word:
        """A modality as the language knows it."""
        sides = [side for side in (spec.source, spec.target) if side is not None]
        names = sorted({name for side in sides for name in self.learned(spec, side)})
        names += [one.name for one in self.criteria if one.of.embedded and one.name not in names]  # of views
        return spec.word([self.criterion(name) for name in names], self.generators)

    def spec(self, tag: str) -> Modality:
        """The modality with this tag. Errors: ConfigError naming those known."""
        for modality in self.modalities:
            if tag == modality.tag or tag in modality.aliases:
                return modality
        raise ConfigError(f"unknown modality {tag!r}; known here: {', '.join(m.tag for m in self.modalities)}")

    def knows(self, what: str) -> bool:
        """Whether a record is here, called as `criterion focal` or `modality TEXT`."""
        noun, _, name = what.partition(" ")
        names = {
            "modality": [tag for modality in self.modalities for tag in (modality.tag, *modality.aliases)],
            "criterion": [one.name for one in self.criteria],
            "generator": [one.name for one in self.generators],
            "engine": [one.name for one in self.engines],
            "pattern": [one.name for one in self.patterns],
        }
        return name in names.get(noun, ())

    def _check_options(self, what: str, one: Criterion | Generator) -> None:
        """Errors: ConfigError for options that are no dataclass of options, or take the name of another attribute."""
        if one.options is None:
            return
        if not (isinstance(one.options, type) and is_dataclass(one.options)):
            raise ConfigError(
                f"{what} {one.name!r} has options={one.options!r:.60}; give a dataclass of option(...) fields"
            )
        parts: list[Any] = [*self.criteria, *self.generators, *self.modalities]
        for spec in self.modalities:
            parts += [*spec.preprocess.values(), *spec.adaptor.values()]
        kinds = [SlotOptions, *(part.options for part in parts)]
        taken = {name: option for kind in kinds if kind is not None for name, option in options_of(kind).items()}
        try:
            own = options_of(one.options)
        except TypeError as error:
            raise ConfigError(f"{what} {one.name!r}: {error}") from None
        if clash := sorted(name for name in own if taken.get(name, own[name]) != own[name]):
            raise ConfigError(
                f"{what} {one.name!r} has an attribute {clash[0]!r}, which means something else "
                "already; give it another name"
            )

    def _check_criterion(self, one: Criterion) -> None:
        """Errors: ConfigError for what names an option, a view, a modality or a generator that is not there."""
        own = [field.name for field in fields(one.options)] if one.options is not None else []
        for name in one.keyed:
            if name not in own:
                there = f"there are {', '.join(own)}" if own else "it has none"
                raise ConfigError(f"criterion {one.name!r} is keyed by {name!r}, no attribute of it; {there}")
        if one.view not in ("slot", "all"):
            raise ConfigError(f"criterion {one.name!r} has view={one.view!r}; it is 'slot' or 'all'")
        for tag in one.modalities:
            self.spec(tag)
        if one.generator is not None and (made := self.generator(one.generator)).kind != one.kind:
            raise ConfigError(
                f"criterion {one.name!r} learns {one.kind}, and generator {made.name!r} makes {made.kind}; name another"
            )

    def with_(self, *more: Modality | Criterion | Generator | EngineSpec | Pattern) -> Registry:
        """This registry and `more`. Errors: ConfigError when a name is already taken, or for what is none of them."""
        found = self
        for one in more:
            if isinstance(one, Modality):
                taken = {name for m in found.modalities for name in (m.tag, *m.aliases)}
                if clash := taken & {one.tag, *one.aliases}:
                    raise ConfigError(f"modality {min(clash)} is registered already; give the new one another tag")
                found = replace(found, modalities=(*found.modalities, one))
            elif isinstance(one, Criterion):
                _check_free("criterion", one, found.criteria)
                found._check_options("criterion", one)
                found._check_criterion(one)
                found = replace(found, criteria=(*found.criteria, one))
            elif isinstance(one, Generator):
                _check_free("generator", one, found.generators)
                if one.kind not in KINDS:
                    raise ConfigError(
                        f"generator {one.name!r} is of kind {one.kind!r}; {nearest(one.kind, KINDS)}there are "
                        f"{', '.join(KINDS)}"
                    )
                found._check_options("generator", one)
                found = replace(found, generators=(*found.generators, one))
            elif isinstance(one, Pattern):
                if any(one.name == other.name for other in found.patterns):
                    raise ConfigError(f"pattern {one.name!r} is registered already; give the new one another name")
                Grammar((*found.patterns, one))
                found = replace(found, patterns=(*found.patterns, one))
            elif isinstance(one, EngineSpec):
                _check_free("engine", one, found.engines)
                found = replace(found, engines=(*found.engines, one))
            else:
                raise ConfigError(
                    f"a {type(one).__name__} cannot be registered; give a Modality, Criterion, Generator, EngineSpec "
                    "or Pattern"
                )
        return found


Record = TypeVar("Record", Criterion, Generator, EngineSpec)


def _named(what: str, name: str, known: Sequence[Record]) -> Record:
    for one in known:
        if one.name == name:
            return one
    names = [one.name for one in known]
    raise ConfigError(f"unknown {what} {name!r}; {nearest(name, names)}known here: {', '.join(names)}")


def _check_free(what: str, one: Record, known: Sequence[Record]) -> None:
    """Errors: ConfigError for a name that is taken, or no word; for what is to be loaded and is not named."""
    if not isinstance(one.load, str) or ":" not in one.load:
        raise ConfigError(f"{what} {one.name!r} has load={one.load!r:.60}; give 'module:name'")
    if any(one.name == other.name for other in known):
        raise ConfigError(f"{what} {one.name!r} is registered already; give the new one another name")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", one.name):
        raise ConfigError(f"{what} {one.name!r}: a name is small letters, digits and _, beginning with a letter")


def _package(module: str | None) -> str:
    """What is installed to have a module."""
    name = str(module).partition(".")[0]
    return {"PIL": "pillow"}.get(name, name)
