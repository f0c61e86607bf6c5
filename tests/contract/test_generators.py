"""Every generator keeps its contract: the built-in ones and the docs' own. One that breaks a promise is found out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ofasys import OFASys, Task, Trainer
from ofasys.criterion import CRITERIA
from ofasys.errors import ConfigError
from ofasys.generalist import GeneralistModel
from ofasys.generator import GENERATORS, Generator
from ofasys.generator.rank import rank
from ofasys.generator.regress import regress
from ofasys.generator.search import search
from ofasys.language import option
from ofasys.modality import BUILT_IN
from ofasys.testing import check_generator
from ofasys.testing.case import CONFIG

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
TOKENS = Generator(name="mine", about="mine", load=f"{__name__}:plain", searches=True)
RANKS = Generator(name="mine", about="mine", load=f"{__name__}:ranked", ranks=True)
NUMBER = replace(GENERATORS["regress"], name="mine", load=f"{__name__}:number")


@pytest.mark.parametrize("name", GENERATORS)
def test_the_built_in_ones_keep_it(name):
    report = check_generator(GENERATORS[name], registry=BUILT_IN)
    assert {"answers", "repeated", "alone", "untouched"} <= {what for what, _ in report.checked}


def test_a_line_and_rows_of_ones_own(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from bayes import LEAST_RISK

    line = "[TEXT:q] -> [TEXT:a,closed_set,generator=least_risk] or [TEXT:b]"
    rows = [{"q": f"{i}", "a": "yes" if i % 2 else "no", "b": "y"} for i in range(3)]
    report = check_generator(LEAST_RISK, instruction=line, rows=rows, labels={"a": ["yes", "no"]}, registry=BUILT_IN)
    assert dict(report.checked)["plan"] == line
    with pytest.raises(AssertionError, match=r"plan: .* has no slot that it stands for"):
        check_generator(LEAST_RISK, instruction="[TEXT:q] -> [TEXT:b]", rows=rows, registry=BUILT_IN)


# --- of tokens -------------------------------------------------------------------------------------------------------


def plain(decoder, constraint, prefixes, options, sources):
    return search(decoder, constraint, prefixes, options, sources=sources)


def changed(found, **how):
    return [[replace(one, **{name: change(one) for name, change in how.items()}) for one in own] for own in found]


def foreign(*args, sources):
    return changed(plain(*args, sources), tokens=lambda one: one.tokens * 0)


def stateless(*args, sources):
    return changed(plain(*args, sources), states=lambda one: one.states * 0 - 1)


def unended(*args, sources):
    return changed(plain(*args, sources), tokens=lambda one: one.tokens[:-1], states=lambda one: one.states[:-1])


def unlikely(*args, sources):
    return changed(plain(*args, sources), logprob=lambda one: 1.5)


def scoreless(*args, sources):
    return changed(plain(*args, sources), score=lambda one: float("nan"))


def many(*args, sources):
    return [own * 4 for own in plain(*args, sources)]


def endless(decoder, constraint, prefixes, options, sources):
    return plain(decoder, constraint, prefixes, replace(options, max_length=20, min_length=20), sources)


def unseeded(decoder, constraint, prefixes, options, sources):
    drawn = np.random.default_rng().integers(10**6, size=len(sources)).tolist()
    return plain(decoder, constraint, prefixes, replace(options, sampling=True, beam_size=1), drawn)


def by_place(decoder, constraint, prefixes, options, sources):
    return plain(decoder, constraint, prefixes, options, list(range(len(sources))))


def of_torch(*args, sources):
    torch.rand(1)
    return plain(*args, sources)


def of_numpy(*args, sources):
    np.random.rand(1)
    return plain(*args, sources)


def worn(decoder, *args, sources):
    found = plain(decoder, *args, sources)
    decoder.table.data[0] += 1
    return found


def raising(*args, sources):
    raise ZeroDivisionError("no reason")


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("foreign", r"mine, answers: tokens \[0, .*\] are no sentence of the target: token 0 at position 0"),
        ("stateless", r"mine, answers: states of tokens .* are \[-1, .*; the automaton's before each are \["),
        ("unended", "mine, answers: tokens .* end before the target does"),
        ("unlikely", "mine, answers: the log-probability of tokens .* is 1.5, above 0"),
        ("scoreless", "mine, answers: an answer's score is nan"),
        ("many", "mine, several: of n_best=3 it gave 12 answers"),
        ("endless", "mine, length: of max_length=2 it made 21 tokens"),
        ("unseeded", "mine, repeated: sample 0 is answered .*, then .*, by the same number"),
        ("by_place", "mine, alone: sample 1 is answered .* in a batch and .* alone"),
        ("of_torch", "mine, untouched: it draws by the state that torch shares; draw by a generator made of the seeds"),
        ("of_numpy", "mine, untouched: it draws by the state that numpy shares"),
        ("worn", "mine, untouched: it changes weight adaptors.tokens.weight"),
        ("raising", r"mine, answers: ZeroDivisionError: no reason, in raising \(test_generators.py"),
        ("nowhere", "mine, record: generator 'mine': load='.*' is not there"),
    ],
)
def test_a_broken_function_of_tokens(load, said):
    with pytest.raises(AssertionError, match=said):
        check_generator(replace(TOKENS, load=f"{__name__}:{load}"), registry=BUILT_IN)


def ranked(*args, **named):
    return rank(*args, **named)


def uneven(*args, **named):
    return rank(*args, **named) - 1.0


def test_a_ranking():
    assert dict(check_generator(RANKS, registry=BUILT_IN).checked)["several"] == "3 labels of each sample"
    with pytest.raises(AssertionError, match=r"mine, several: probabilities of all labels sum to 0\.3679; expected 1"):
        check_generator(replace(RANKS, load=f"{__name__}:uneven"), registry=BUILT_IN)
    with pytest.raises(AssertionError, match="mine, record: it ranks and searches"):
        check_generator(replace(RANKS, searches=True), registry=BUILT_IN)


# --- of values -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shift:
    offset: float = option(0.0, side="target", about="what is added to the number, on its scale")


def number(adaptor, before, options, seeds, negative):
    return [made + np.float32(options.get("offset", 0)) for made in regress(adaptor, before, options, seeds, negative)]


def infinite(*args):
    return [np.full_like(made, np.inf) for made in number(*args)]


def valueless(*args):
    return [np.zeros((3, 1, 1, 1), np.float32) for _ in number(*args)]


def training(adaptor, *args):
    adaptor._part.train()
    return number(adaptor, *args)


def noisy(*args):
    return [made + np.float32(np.random.default_rng().random()) for made in number(*args)]


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("infinite", r"mine, answers: a value float32 \(1, 2\) holds NaN or infinity"),
        ("valueless", "mine, answers: an answer becomes no value: .* raised TypeError"),
        ("training", "mine, untouched: it leaves a part of the model in training mode"),
        ("noisy", r"mine, repeated: sample 0 is answered array\(.*, then array\("),
    ],
)
def test_a_broken_function_of_values(load, said):
    with pytest.raises(AssertionError, match=said):
        check_generator(replace(NUMBER, load=f"{__name__}:{load}"), registry=BUILT_IN)


def test_its_length_is_held_or_said():
    assert ("length", "a number takes one position") in check_generator(NUMBER, registry=BUILT_IN).left_out
    frames = replace(GENERATORS["frames"], name="mine", load=f"{__name__}:long", options=None)
    with pytest.raises(
        AssertionError, match="mine, length: of max_length=2 it made 5 positions; say why as lengthless"
    ):
        check_generator(frames, registry=BUILT_IN)
    assert check_generator(replace(frames, lengthless="always five"), registry=BUILT_IN).left_out


def long(adaptor, before, options, seeds, negative):
    return [np.zeros((10, 16), np.float32) for _ in range(before.rows)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"about": "two\nlines"}, r"mine, record: about is 'two\\nlines'; it is one line"),
        ({"kind": "number"}, "mine, answers: AttributeError: .* has no attribute .start., in search"),
        ({"name": "Mine!"}, "Mine!, record: ConfigError: generator 'Mine!': a name is small letters"),
    ],
)
def test_a_broken_record(change, said):
    with pytest.raises(AssertionError, match=said):
        check_generator(replace(TOKENS, **change), registry=BUILT_IN)


def test_what_is_no_record():
    with pytest.raises(ConfigError, match=r"Criterion\(name='ctc'.* is no Generator; give the record of a generator"):
        check_generator(CRITERIA["ctc"])


def test_its_options_are_attributes_and_arguments():
    """Of one from outside as of the built-in ones: the argument wins."""
    registry = BUILT_IN.with_(replace(NUMBER, options=Shift))
    line, rows = "[TEXT:q] -> [NUMBER:n,generator=mine,offset=1]", [{"q": "x", "n": 1.0}, {"q": "y", "n": 3.0}]
    check_generator(replace(NUMBER, options=Shift), instruction=line, rows=rows, registry=registry)
    task = Task("t", line, train=rows, valid=rows, modalities=registry, generate={"offset": 2})
    model = GeneralistModel(config=CONFIG, text_pieces=300, modalities=registry)
    Trainer(max_steps=1, live=False).fit(model=model, tasks=task)
    asked = OFASys(model)
    values = [asked.inference(line, data=rows[0], **given).number for given in ({"offset": 0}, {}, {"offset": 5})]
    assert values[0] < values[1] < values[2]
    with pytest.raises(ConfigError, match="offset"):
        asked.inference(line, data=rows[0], offset="far")
    with pytest.raises(ConfigError, match="no option 'offsets'; did you mean offset"):
        asked.inference(line, data=rows[0], offsets=2)
