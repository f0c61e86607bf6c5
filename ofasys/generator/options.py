"""How to search, as numbers. No torch here. What is given is honoured: 0 and False are values, not absences."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from ofasys.errors import ConfigError, nearest
from ofasys.generator.generator import GENERATORS, Generator
from ofasys.language import Option, options_of

# What other libraries call an option that is here under another name.
CALLED = {
    "num_beams": "beam_size",
    "beam_width": "beam_size",
    "do_sample": "sampling",
    "max_new_tokens": "max_length",
    "max_tokens": "max_length",
    "min_new_tokens": "min_length",
    "min_tokens": "min_length",
    "num_return_sequences": "n_best",
    "best_of": "n_best",
    "random_seed": "seed",
    "guidance_scale": "guidance_weight",
    "num_inference_steps": "steps",
}
_REPEATS = "no_repeat_ngram_size=3 keeps a text from saying the same three tokens twice"
_NARROW = "top_k and top_p leave out what is unlikely"
# What other libraries have and this one has not: what is nearest to it.
ABSENT = {
    "repetition_penalty": _REPEATS,
    "frequency_penalty": _REPEATS,
    "presence_penalty": _REPEATS,
    "num_beam_groups": "sampling=True, n_best=3 gives answers that differ",
    "diversity_penalty": "sampling=True, n_best=3 gives answers that differ",
    "typical_p": _NARROW,
    "min_p": _NARROW,
    "epsilon_cutoff": _NARROW,
    "eta_cutoff": _NARROW,
    "penalty_alpha": "beam_size=5 or sampling=True are the ways there are",
    "bad_words_ids": "a closed set says what may come: closed_set=[...]",
    "stop": "a text ends where training ended it, or at max_length",
    "stop_strings": "a text ends where training ended it, or at max_length",
}


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Greedy (beam_size 1), beam search, or sampling.

    A label of a closed set is chosen as a whole, the likeliest of all, unless it is drawn or normalise is "vocabulary":
    where an answer is one such label beam_size and length_penalty change nothing. Where it is labels alone its score is
    its log-probability, drawn or not; only beams over the vocabulary divide that by the length too.

    length_penalty: a finished answer scores sum(log p) / length ** length_penalty; a label counts as one token.
    n_best: answers a source; beams give their best ones, sampling draws as many. early_stopping: False stops when the
    running beams are unlikely to improve on the finished ones, True as soon as beam_size answers are finished, "never"
    only when no improvement is possible. temperature, top_k (0: all), top_p (1: all): for sampling.
    no_repeat_ngram_size: no text has the same n tokens twice (0: it may); the prefix counts. min_length: no end mark
    of a text before so many generated tokens. max_length: generated tokens, or positions of a value made of frames,
    never the prefix; a text leaves room for what comes after it, and what must still come does come. normalise:
    scores are over the tokens the target sentence allows at that place, or over the whole vocabulary. draw: options of
    the generators of values that are no tokens, by name; they win over the slot's attributes.
    """

    beam_size: int = 1
    length_penalty: float = 1.0
    n_best: int = 1
    early_stopping: bool | Literal["never"] = False
    sampling: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    no_repeat_ngram_size: int = 0
    min_length: int = 0
    max_length: int = 256
    min_items: int = 0
    """Rounds that each repetition goes through at least; max_length wins."""
    max_items: int | None = None
    """Rounds after which it stops; None: whenever it likes."""
    scores: bool = False
    """Of an answer that is one label the exact probability of every label, as `generator=rank` has it."""
    seed: int = 0
    """What draws are a function of, with the number of the row."""
    normalise: Literal["allowed", "vocabulary"] = "allowed"
    draw: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in (("beam_size", 1), ("n_best", 1), ("max_length", 1)):
            self._at_least(name, least)
        for name in ("top_k", "no_repeat_ngram_size", "min_length", "min_items", "seed"):
            self._at_least(name, 0)
        if self.max_items is not None:
            self._at_least("max_items", 1)
            if self.min_items > self.max_items:
                raise ConfigError(f"min_items is {self.min_items}, more than max_items {self.max_items}; lower it")
        for name in ("length_penalty", "temperature", "top_p"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
                raise ConfigError(f"{name} is {value!r}; expected a number")
        for name in ("sampling", "scores"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; expected true or false")
        if self.scores and self.sampling:
            raise ConfigError("scores=True gives every label its probability, so none is drawn; leave sampling out")
        if self.early_stopping not in (True, False, "never"):
            raise ConfigError(f"early_stopping is {self.early_stopping!r}; expected true, false or 'never'")
        if self.normalise not in ("allowed", "vocabulary"):
            raise ConfigError(f"normalise is {self.normalise!r}; expected 'allowed' or 'vocabulary'")
        if self.temperature <= 0:
            raise ConfigError(
                f"temperature is {self.temperature}; expected more than 0; sampling=False takes the best token"
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}; expected more than 0 and at most 1 (all tokens)")
        if self.min_length > self.max_length:
            raise ConfigError(
                f"min_length is {self.min_length}, more than max_length {self.max_length}; lower one, raise the other"
            )
        if self.sampling and self.beam_size > 1:
            raise ConfigError(
                f"sampling=True does not go with beam_size={self.beam_size}; n_best asks for several samples"
            )
        if not self.sampling and self.n_best > self.beam_size:
            raise ConfigError(
                f"n_best is {self.n_best}, more than beam_size {self.beam_size}; give at least as many beams"
            )

    def _at_least(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} is {value!r}; expected a whole number, {least} or more")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], generators: Iterable[Generator] = ()) -> SearchOptions:
        """Options by name; an unknown name is an error that tells the nearest. generators: those from outside, whose
        options are known too.
        """
        known = [entry.name for entry in fields(cls)]
        drawing = drawing_options(generators)
        draw = dict(values.get("draw", {}))
        for name, value in values.items():
            if name in drawing and name not in known:
                draw[name] = _checked(name, value, drawing[name])
            elif name not in known:
                if name in CALLED:
                    raise ConfigError(f"{name} is called {CALLED[name]} here; write {CALLED[name]}={value!r}")
                if name in ABSENT:
                    raise ConfigError(f"there is no {name} here; {ABSENT[name]}")
                shown = [*(name for name in known if name != "draw"), *drawing]
                raise ConfigError(
                    f"search has no option {name!r}; {nearest(name, shown)}known here: {', '.join(shown)}"
                )
        return cls(**{name: value for name, value in values.items() if name in known} | {"draw": draw})


def reaching(asked: Mapping[str, Any], generators: Iterable[Generator], where: str) -> dict[str, Any]:
    """What is asked for, as these generators take it: `max_length` is the `max_positions` of a value made of frames
    too.

    asked: options by name; with `draw` they are a whole set, as `asdict` gives it, to which nothing is added. where:
    the instruction, for the message. Errors: ConfigError for an option of a generator that is not among them.
    """
    there = {
        name for generator in generators if (options := generator.options) is not None for name in options_of(options)
    }
    searched = {entry.name for entry in fields(SearchOptions)}
    for name in asked:
        if name not in searched | there and name in drawing_options():
            raise ConfigError(f"{name} reaches no slot of {where}; leave it out")
    given, most = dict(asked), asked.get("max_length")
    if "max_positions" in there and "draw" not in given and isinstance(most, int) and most > 0:
        given.setdefault("max_positions", most)
    return given


def check_use(
    asked: Iterable[str],
    options: SearchOptions,
    generators: Collection[Generator],
    where: str,
    *,
    free: bool,
    repeats: bool = False,
    drawn: bool = False,
) -> None:
    """Refuse an option that would change nothing. What is asked as it is by default is no matter.

    asked: the names that were given. generators: those of the slots. where: the instruction, for the message. free:
    whether a text of any length is generated. repeats: whether anything is again and again. drawn: whether a reward
    draws answers. Errors: ConfigError naming the option and what it goes with.
    """
    for name in asked:
        value = getattr(options, name, None)
        if value == getattr(SearchOptions, name, value):
            continue
        if why := _idle(name, options, generators, free, repeats, drawn):
            raise ConfigError(f"{name}={value!r} does nothing for {where}: {why}")


def _idle(
    name: str, options: SearchOptions, generators: Collection[Generator], free: bool, repeats: bool, drawn: bool
) -> str | None:
    """Why an option changes nothing; None if it is used."""
    searched = [generator.name for generator in generators if generator.searches]
    ranked = [generator.name for generator in generators if generator.ranks]
    if name in (
        "n_best",
        "seed",
        "draw",
    ):  # several answers are checked with the target's stages; what is not random is as any seed has it
        return None
    if name == "max_length":  # a limit that nothing reaches is kept
        whys = [generator.lengthless for generator in generators]
        return f"{whys[0]}; leave it out" if whys and all(whys) else None
    if name == "normalise":
        return None if searched or ranked else "no slot is answered in tokens; leave it out"
    if not searched:
        if ranked:
            return f"generator={ranked[0]} gives every label its exact probability; {name} goes with generator=search"
        return "no slot is answered by a search; leave it out"
    if name in ("temperature", "top_k", "top_p") and not (options.sampling or drawn):
        return "nothing is drawn; it goes with sampling=True"
    if name == "early_stopping" and options.beam_size == 1:
        return "there is one beam; it goes with beam_size=2 or more"
    if name in ("min_items", "max_items") and not repeats:
        return "nothing is repeated; it goes with ( ... )*"
    if name in ("no_repeat_ngram_size", "min_length") and not free:
        return "no text of any length is generated; leave it out"
    return None


def drawing_options(more: Iterable[Generator] = ()) -> dict[str, Option]:
    """Every option of a generator that is no search, by name: of the built-in ones and `more`."""
    return {
        name: entry
        for generator in (*GENERATORS.values(), *more)
        if generator.options is not None
        for name, entry in options_of(generator.options).items()
    }


def _checked(name: str, value: Any, entry: Option) -> Any:
    try:
        return entry.read(str(value).lower() if isinstance(value, bool) else None if value is None else str(value))
    except ValueError as error:
        raise ConfigError(str(error)) from None
