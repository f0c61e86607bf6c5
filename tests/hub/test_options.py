"""An option of how to answer is used, or an error that says what it goes with; none is put aside in silence."""

import numpy as np
import pytest

from ofasys import GeneralistModel, OFASys, Task
from ofasys.errors import ConfigError
from ofasys.flow import parse, plan
from ofasys.generator.options import ABSENT, CALLED, SearchOptions, drawing_options
from ofasys.model.sizes import ModelConfig
from ofasys.types import TaskCard

SMALL = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=1, max_positions=64)
LINES = {
    "text": "[TEXT:a] -> [TEXT:b]",
    "label": "[TEXT:a] -> [TEXT:c,closed_set]",
    "rank": "[TEXT:a] -> [CATEGORY:c,generator=rank]",
    "box": "[IMAGE:i] -> [BOX:b]",
    "both": "[TEXT:a] -> [TEXT:c,closed_set] said [TEXT:b]",
    "many": "[TEXT:a] -> [[TEXT:b]]*",
}
LABELS = {"c": ("yes", "no", "it may be")}
ROW = {"a": "a cat", "i": np.zeros((64, 64, 3), np.uint8)}


@pytest.fixture(scope="module")
def served():
    model = GeneralistModel(config=SMALL, text_pieces=260)
    model.grow([(plan(parse(line)), LABELS) for line in LINES.values()], lambda: ["a cat"])
    return OFASys(model)


def ask(served, name, **options):
    given = {"closed_set": LABELS} if "c" in parse(LINES[name]).columns else {}
    return served.inference(LINES[name], data=ROW, **given, **{"max_length": 15, **options})


DRAWN = "does nothing for .*: nothing is drawn; it goes with sampling=True"
ONE_BEAM = "does nothing for .*: there is one beam; it goes with beam_size=2 or more"
NOT_FREE = "does nothing for .*: no text of any length is generated; leave it out"
RANKED = r"generator=rank gives every label its exact probability; {} goes with generator=search"


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        *(
            (name, {option: value}, DRAWN)
            for name in ("text", "label", "box")
            for option, value in [("temperature", 0.5)]
        ),
        ("text", {"top_k": 3}, DRAWN),
        ("text", {"top_p": 0.5}, DRAWN),
        ("text", {"top_p": 0.5, "beam_size": 3}, DRAWN),
        ("text", {"temperature": 2.0, "sampling": False}, DRAWN),
        ("text", {"early_stopping": True}, ONE_BEAM),
        ("text", {"early_stopping": "never", "sampling": True}, ONE_BEAM),
        ("text", {"sampling": True, "beam_size": 2}, "sampling=True does not go with beam_size=2"),
        ("text", {"n_best": 3, "beam_size": 2}, "n_best is 3, more than beam_size 2"),
        *((name, {"no_repeat_ngram_size": 2}, NOT_FREE) for name in ("label", "box")),
        *((name, {"min_length": 2}, NOT_FREE) for name in ("label", "box")),
        *(
            ("rank", {option: value}, RANKED.format(option))
            for option, value in [
                ("beam_size", 3),
                ("sampling", True),
                ("temperature", 0.5),
                ("top_k", 2),
                ("top_p", 0.5),
                ("length_penalty", 0.0),
                ("early_stopping", True),
                ("no_repeat_ngram_size", 2),
                ("min_length", 2),
            ]
        ),
        ("text", {"steps": 3}, "steps reaches no slot of"),
        ("text", {"closed_set": ["a"]}, "columns with a set: none: write closed_set in the slot"),
        ("text", {"closed_set": {"b": ["a"]}}, "closed_set names 'b'; columns with a set: none"),
        ("text", {"negative_prompt": "a dog"}, "negative_prompt reaches no slot of"),
    ],
)
def test_what_would_change_nothing_is_refused(served, name, options, says):
    with pytest.raises(ConfigError, match=says):
        ask(served, name, **options)
    task = {key: value for key, value in options.items() if key not in ("closed_set", "negative_prompt")}
    if task == options:
        with pytest.raises(ConfigError, match=says):
            Task("t", LINES[name], generate=options)
    assert ask(served, name)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("text", {"sampling": True, "temperature": 0.5, "top_k": 9, "top_p": 0.9, "seed": 3}),
        ("text", {"beam_size": 3, "early_stopping": True, "length_penalty": 0.5, "n_best": 2}),
        ("text", {"no_repeat_ngram_size": 1, "min_length": 3}),
        ("both", {"no_repeat_ngram_size": 1, "min_length": 3}),
        ("many", {"no_repeat_ngram_size": 2, "min_length": 1}),
        ("label", {"beam_size": 3, "n_best": 3, "normalise": "vocabulary"}),
        ("rank", {"n_best": 2, "normalise": "vocabulary", "seed": 1}),
        ("box", {"sampling": True, "temperature": 0.5}),
        # what is given as it is by default
        ("rank", {"beam_size": 1, "sampling": False, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_length": 0}),
        ("label", {"no_repeat_ngram_size": 0, "early_stopping": False, "temperature": 1}),
        # a limit that nothing reaches is kept
        ("label", {"max_length": 1}),
        ("box", {"max_length": 9}),
    ],
)
def test_what_is_used_is_taken(served, name, options):
    assert len(ask(served, name, **options).nbest) == options.get("n_best", 3 if name == "rank" else 1)
    task = Task("t", LINES[name], generate=options).generate
    assert {key: getattr(task, key) for key in options} == options


@pytest.mark.parametrize("name", CALLED)
def test_names_of_other_libraries_are_told_ours(served, name):
    says = f"{name} is called {CALLED[name]} here; write {CALLED[name]}=3"
    with pytest.raises(ConfigError, match=says):
        ask(served, "text", **{name: 3})
    with pytest.raises(ConfigError, match=says):
        Task("t", LINES["text"], generate={name: 3})
    assert CALLED[name] in {*SearchOptions.__dataclass_fields__, *drawing_options()}
    assert name not in {*SearchOptions.__dataclass_fields__, *drawing_options()}


@pytest.mark.parametrize("name", ABSENT)
def test_what_other_libraries_have_and_this_has_not_is_said(served, name):
    with pytest.raises(ConfigError, match=f"there is no {name} here; "):
        ask(served, "text", **{name: 1.2})
    assert name not in {*SearchOptions.__dataclass_fields__, *drawing_options(), *CALLED}


def test_no_temperature_is_the_best_token(served):
    with pytest.raises(ConfigError, match=r"temperature is 0; .*sampling=False takes the best token"):
        ask(served, "text", sampling=True, temperature=0)


def test_what_is_used_is_seen(served):
    """No repetition, a least length, a penalty and a temperature change the answer as they say."""
    text = ask(served, "text", max_length=30, min_length=12, no_repeat_ngram_size=1)
    tokens = served.model.symbols.encode(text.text)
    plain = ask(served, "text", beam_size=2, n_best=2)
    summed = ask(served, "text", beam_size=2, n_best=2, length_penalty=0.0)
    drawn = {ask(served, "text", sampling=True, temperature=5.0, seed=seed).text for seed in range(4)}
    cold = {ask(served, "text", sampling=True, temperature=1e-3, seed=seed).text for seed in range(4)}
    assert len(tokens) >= 1
    assert len(ask(served, "label", beam_size=3, n_best=3).nbest) == 3
    assert not np.isclose(plain.score, summed.score)
    assert len(drawn) == 4
    assert cold == {ask(served, "text").text}


def test_a_reward_draws_by_the_tasks_temperature():
    line = "[TEXT:a] -> [TEXT:b,criterion=reward]"
    assert Task("t", line, generate={"temperature": 0.5, "top_k": 3}).generate.temperature == 0.5
    with pytest.raises(ConfigError, match=r"temperature=0.5 does nothing for task 't': nothing is drawn"):
        Task("t", LINES["text"], generate={"temperature": 0.5})


def test_a_kind_of_search_that_is_asked_for_puts_the_tasks_own_aside(served):
    drawn = {"sampling": True, "temperature": 0.5}
    mine = OFASys(served.model, [TaskCard("t", (LINES["text"],), generate=drawn)])
    assert len(ask(mine, "text", beam_size=3, n_best=3).nbest) == 3
    assert ask(mine, "text", temperature=0.7).text
    with pytest.raises(ConfigError, match=DRAWN):
        ask(mine, "text", beam_size=3, temperature=0.7)
