"""Which parameters of a model are trained alike: by patterns on their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from math import inf, isfinite
from typing import Any

from torch import Tensor, nn

from ofasys.errors import ConfigError, nearest
from ofasys.generalist import seeded
from ofasys.model.low_rank import Rank, add_change, changes, is_change, layer_name, linear_weights
from ofasys.model.quantized import quantized_layers

Rules = Sequence["GroupRule | Mapping[str, Any]"]

_CALLED = {"params": "match", "pattern": "match", "name": "match", "learning_rate": "lr", "frozen": "freeze"}
_TIMES = re.compile(r"(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)x")
_NUMBERED = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True, kw_only=True)
class GroupRule:
    """What a run says of the parameters whose names a pattern matches: docs/optimizers.md."""

    match: str
    """A name, with `*` for anything, `?` for a letter and `[...]` for one of several: "engine.encoder.*"."""
    lr: float | str | None = None
    """Their highest learning rate, or as "0.1x" a share of the run's. None: the run's."""
    weight_decay: float | None = None
    """Of all matrices among them, tables too. None: the run's, of those that decay. Vectors never do."""
    layer_decay: float = 1.0
    """What the rate falls by from a numbered block to the one below it: of block i of n it is lr x decay**(n - 1 - i).
    """
    freeze: bool | int = False
    """True: they stay as they are. A number: for so many updates of the run."""
    lora: int = 0
    """They stay as they are, and of the weights of linear layers among them a change of this rank is learned."""
    lora_alpha: float | None = None
    """The change is multiplied by lora_alpha / lora. None: by 1."""
    dora: bool = False
    """The lengths of the rows are learned apart from the change."""

    def __post_init__(self) -> None:
        if not isinstance(self.match, str) or not self.match:
            raise ConfigError(f"match of a group is {self.match!r:.60}; give a pattern as 'engine.encoder.*'")
        self.factor(1.0)
        for name, least, most in (("weight_decay", 0.0, inf), ("layer_decay", 0.0, 1.0)):
            value = getattr(self, name)
            if value is not None and not (_number(value) and least <= value <= most and isfinite(value)):
                raise ConfigError(
                    f"{name} of group {self.match!r} is {value!r:.60}; it is a number of {least:g} or more"
                    + (f" and at most {most:g}" if most < inf else "")
                )
        if not isinstance(self.freeze, bool) and not (isinstance(self.freeze, int) and self.freeze >= 0):
            raise ConfigError(
                f"freeze of group {self.match!r} is {self.freeze!r:.60}; it is true, false, or a number of updates"
            )
        self._check_lora()

    def _check_lora(self) -> None:
        if type(self.lora) is not int or self.lora < 0:
            raise ConfigError(f"lora of group {self.match!r} is {self.lora!r:.60}; it is a rank, a whole number as 8")
        alpha = self.lora_alpha
        if alpha is not None and not (_number(alpha) and 0 < alpha < inf):
            raise ConfigError(f"lora_alpha of group {self.match!r} is {alpha!r:.60}; it is a number above 0")
        if not isinstance(self.dora, bool):
            raise ConfigError(f"dora of group {self.match!r} is {self.dora!r:.60}; it is true or false")
        if not self.lora and (self.dora or alpha is not None):
            raise ConfigError(
                f"group {self.match!r} has {'dora' if self.dora else 'lora_alpha'} and no lora; give its rank"
            )

    @property
    def rank(self) -> Rank:
        """Of the change that is learned."""
        return Rank(self.lora, float(self.lora if self.lora_alpha is None else self.lora_alpha), self.dora)

    def factor(self, peak: float) -> float:
        """What the run's rate is multiplied by. peak: its highest. Errors: ConfigError for what is no rate."""
        if self.lr is None:
            return 1.0
        if isinstance(self.lr, str) and (times := _TIMES.fullmatch(self.lr.strip())):
            return float(times[1])
        if _number(self.lr) and 0 <= float(self.lr) < inf:
            return float(self.lr) / peak
        raise ConfigError(
            f"lr of group {self.match!r} is {self.lr!r:.60}; it is a rate as 1e-4, or a share of the run's as '0.1x'"
        )

    def to_dict(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON."""
        told = asdict(self)
        return {one.name: told[one.name] for one in fields(self) if told[one.name] != one.default}


def read_rules(given: Any) -> tuple[GroupRule, ...]:
    """The rules of a run, as a run file or Python gives them. Errors: ConfigError naming what does not fit."""
    if isinstance(given, (str, Mapping)) or not isinstance(given, Sequence):
        raise ConfigError(f"trainer.groups is {given!r:.60}; give a list of groups, each with a match")
    return tuple(one if isinstance(one, GroupRule) else _rule(one) for one in given)


def _rule(given: Any) -> GroupRule:
    if not isinstance(given, Mapping):
        raise ConfigError(f"trainer.groups holds {given!r:.60}; a group is a mapping as match: engine.*, freeze: true")
    known = [one.name for one in fields(GroupRule)]
    for name in given:
        if name not in known:
            there = f"here it is called {_CALLED[name]}; " if name in _CALLED else nearest(str(name), known)
            raise ConfigError(f"a group of trainer.groups has {name!r}; {there}there are {', '.join(known)}")
    if "match" not in given:
        raise ConfigError(f"a group of trainer.groups has no match: {dict(given)!r:.80}; give a pattern of names")
    return GroupRule(**given)


@dataclass(frozen=True)
class Group:
    """Parameters that are trained alike."""

    parameters: Mapping[str, nn.Parameter]
    """By their names in the model."""
    weight_decay: float
    """Share of each that is taken off at a learning rate of 1, a step."""
    factor: float = 1.0
    """Of the run's learning rate."""
    freeze: bool | int = False
    """As of its rule."""
    match: str = ""
    """The pattern of its rule; "" of what none matches."""
    lora: int = 0
    """They are changes of this rank, not the matrices themselves."""

    @property
    def numbers(self) -> int:
        """Of its parameters, together."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    def frozen(self, step: int) -> bool:
        """Whether an update leaves it as it is. step: updates before it."""
        return self.freeze if isinstance(self.freeze, bool) else step < self.freeze


def groups_of(model: nn.Module, weight_decay: float, rules: Sequence[GroupRule] = (), peak: float = 1.0) -> list[Group]:
    """All parameters of a model, each in one group: that of the last rule that matches its name.

    Matrices decay; norms, biases, scales do not, nor positions and the token table but where a rule gives their decay.
    peak: the run's highest learning rate. Errors: ConfigError for a rule that holds nothing.
    """
    parameters = dict(model.named_parameters())
    whose = _last_rules(model, rules)
    found: dict[tuple[int, bool, bool, float], dict[str, nn.Parameter]] = {}
    for name, parameter in parameters.items():
        known = layer_name(name)
        number = whose[known]
        rule = rules[number] if number >= 0 else GroupRule(match="*")
        decays = parameter.ndim >= 2 and (_worn(known) or rule.weight_decay is not None)
        factor = rule.factor(peak) * _of_layer(known, rule, whose, number)
        kept = rule.lora > 0 and not is_change(name)
        found.setdefault((number, kept, not decays, factor), {})[name] = parameter
    return [_group(found[key], rules, weight_decay, *key) for key in sorted(found, key=lambda one: one[:3])]


def _group(
    parameters: Mapping[str, nn.Parameter],
    rules: Sequence[GroupRule],
    weight_decay: float,
    number: int,
    kept: bool,
    plain: bool,
    factor: float,
) -> Group:
    if number < 0:
        return Group(parameters, 0.0 if plain else weight_decay, factor)
    rule = rules[number]
    decay = weight_decay if rule.weight_decay is None else rule.weight_decay
    freeze, lora = (True, 0) if kept else (rule.freeze, rule.lora)
    return Group(parameters, 0.0 if plain else decay, factor, freeze, rule.match, lora)


def give_changes(model: nn.Module, rules: Sequence[GroupRule], seed: int) -> None:
    """Give the matrices their changes, as the rules say; those that are there stay.

    seed: of first values, which depend on it and the matrix's name alone. Errors: ConfigError where a matrix has a
    change that the rules do not give it.
    """
    linear, there = linear_weights(model), changes(model)
    numbers = {name: number for name, number in _last_rules(model, rules).items() if name in linear and number >= 0}
    wanted = {name: rules[number].rank for name, number in numbers.items() if rules[number].lora}
    for name, how in there.items():
        if wanted.get(name) != how:
            now = f"{wanted[name]}" if name in wanted else "none"
            raise ConfigError(
                f"trainer.groups: the run was trained with a change of {name}, {how}, and its groups give it {now}; "
                "give the groups it had, or another `out`"
            )
    for name, how in wanted.items():
        if name not in there:
            with seeded(seed, f"change of {name}"):
                add_change(model, name, how)


def _worn(name: str) -> bool:
    """Whether a matrix decays of itself: it is not the token table, whose rows are not seen in each step, nor one of
    positions.
    """
    return not name.startswith("adaptors.tokens") and "positions" not in name


def _of_layer(name: str, rule: GroupRule, whose: Mapping[str, int], number: int) -> float:
    """What the rate of a parameter falls by for its depth; what lies in no numbered block has the whole rate."""
    here = _NUMBERED.search(name)
    if rule.layer_decay == 1.0 or here is None:
        return 1.0
    stem = name[: here.start()]
    among = (one for one, of in whose.items() if of == number and one.startswith(f"{stem}."))
    top = max(int(found[1]) for one in among if (found := _NUMBERED.match(one, len(stem))))
    return float(rule.layer_decay ** (top - int(here[1])))


def _last_rules(model: nn.Module, rules: Sequence[GroupRule]) -> dict[str, int]:
    """Name -> the number of the last rule that matches it, or -1; a matrix with a change has the name it had without.

    Errors: ConfigError for a rule that holds nothing.
    """
    packed: dict[str, Tensor] = {
        name: layer.codes for name, layer in quantized_layers(model).items()
    }  # no parameters; may have a change
    names: dict[str, Tensor] = packed | {layer_name(name): own for name, own in model.named_parameters()}
    whose = dict.fromkeys(names, -1)
    for number, rule in enumerate(rules):
        matched = [name for name in names if fnmatchcase(name, rule.match)]
        if not matched:
            parts = {part for name in names for part in (name, *_above(name))}
            raise ConfigError(
                f"trainer.groups: {rule.match!r} matches no parameter; {nearest(rule.match, sorted(parts))}names begin "
                f"with {', '.join(sorted({'.'.join(name.split('.')[:2]) for name in names}))}"
            )
        whose |= dict.fromkeys(matched, number)
    linear = linear_weights(model) if any(rule.lora for rule in rules) else set[str]()
    for number, rule in enumerate(rules):
        _check_held(rule, {name: names[name] for name, own in whose.items() if own == number}, linear)
    return whose


def _check_held(rule: GroupRule, held: Mapping[str, Tensor], linear: set[str]) -> None:
    """Errors: ConfigError for a rule that holds nothing, or nothing that it is about."""
    if not held:
        raise ConfigError(
            f"trainer.groups: all that {rule.match!r} matches is in later groups, as the last that matches holds; "
            "put the wider pattern first, or leave it out"
        )
    if rule.weight_decay is not None and all(parameter.ndim < 2 for parameter in held.values()):
        raise ConfigError(
            f"trainer.groups: {rule.match!r} has weight_decay {rule.weight_decay} and holds no matrix; vectors do "
            "not decay, leave it out"
        )
    if rule.lora and not held.keys() & linear:
        raise ConfigError(
            f"trainer.groups: {rule.match!r} has lora {rule.lora} and holds no weight of a linear layer, as "
            f"{min(linear, default='no layer here')}; widen it, or leave lora out"
        )


def _above(name: str) -> Iterator[str]:
    """The patterns of the modules that a parameter lies in."""
    parts = name.split(".")
    return (".".join([*parts[:depth], "*"]) for depth in range(1, len(parts)))


def table(groups: Sequence[Group], peak: float) -> str:
    """What each group holds, line by line. peak: the run's highest learning rate."""
    rows = [("group", "parameters", "numbers", "lr", "weight decay")]
    for group in groups:
        rate = "frozen" if group.freeze is True else f"{group.factor * peak:g}"
        rate += f" after {group.freeze}" if group.freeze and group.freeze is not True else ""
        held = (f"{len(group.parameters):,}", f"{group.numbers:,}", rate, f"{group.weight_decay:g}")
        what = f", lora {group.lora}" if group.lora else ""
        rows.append(((group.match or "all else") + what, *held))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
