"""AUDIO in the flow: what is generated step by step is what one pass says; neighbours change no loss; other slots
beside it.
"""

from dataclasses import replace

import pytest
import torch

from ofasys import flow
from ofasys.errors import PlanError
from ofasys.generalist import GeneralistModel
from ofasys.generator.options import SearchOptions
from ofasys.model.sizes import ModelConfig
from ofasys.planner import plan
from ofasys.types import ValueSpan
from tests.modality.audio.sounds import chirp, tone

CONFIG = ModelConfig(width=32, heads=2, ffn=64, encoder_layers=1, decoder_layers=2, dropout=0.0, max_positions=256)
FORMS = {
    "say": "say [TEXT:t] -> [AUDIO:wav,max_length=30]",
    "between": "[TEXT:t] -> [TEXT:u] [AUDIO:wav,max_length=30] [TEXT:v]",
    "alone": "-> [AUDIO:wav,max_length=30]",
    "twice": "[AUDIO:a] [TEXT:t] -> [AUDIO:wav,max_length=30]",
    "ctc": "[AUDIO:a,criterion=ctc,ctc_target=t] -> [TEXT:t]",
    "list": "([AUDIO:a])* -> [TEXT:t]",
}
ROWS = [
    {"t": "one", "u": "a b", "v": "end", "a": (chirp(0.4), 16000), "wav": (tone(0.3), 16000)},
    {"t": "another", "u": "c", "v": "the end", "a": (tone(0.9), 16000), "wav": (chirp(0.5), 16000)},
    {"t": "x", "u": "a", "v": "end", "a": (tone(0.1), 16000), "wav": (tone(0.05), 16000)},
]


def given(name, row):
    return row | {"a": [row["a"], row["a"]]} if name == "list" else row


@pytest.fixture(scope="module")
def model():
    made = GeneralistModel(seed=0, config=CONFIG)
    made.grow([(plan(text), {}) for text in FORMS.values()], lambda: ["one another a b c the end"] * 4, lambda *a: [])
    for name, parameter in made.named_parameters():
        if name.endswith("stop.weight"):
            torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def program(model, name):
    return flow.bind(model, plan(FORMS[name]), {})


@torch.no_grad()
def loss(model, made, samples):
    batch = flow.collate(made, samples)
    return model(made, batch)


@pytest.mark.parametrize("name", FORMS)
def test_neighbours_change_no_loss(model, name):
    made = program(model, name)
    samples = [flow.preprocess(made, given(name, row)) for row in ROWS]
    together = loss(model, made, samples)
    alone = [loss(model, made, [sample]) for sample in samples]
    torch.testing.assert_close(together.counts, sum(one.counts for one in alone))
    torch.testing.assert_close(together.sums, sum(one.sums for one in alone), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_answered_and_learned_from(model, name):
    made = program(model, name)
    samples = [flow.preprocess(made, given(name, row), target=False) for row in ROWS]
    answers = flow.generate(model, made, samples, SearchOptions(max_length=6))
    values = [flow.postprocess(made, sample, answer[0]) for sample, answer in zip(samples, answers, strict=True)]
    columns = {"between": {"u", "wav", "v"}, "ctc": {"t"}, "list": {"t"}}.get(name, {"wav"})
    for value in values:
        assert set(value) == columns
        if "wav" in columns:
            assert 0.02 <= value["wav"].seconds <= 0.6
            assert value["wav"].rate == 16000


@torch.no_grad()
@pytest.mark.parametrize("name", ["say", "alone", "between", "twice"])
def test_step_by_step_is_the_whole_pass(model, name):
    """Its own frames in the place of the truth predict themselves. (The postnet, which starts as nothing, is not read
    back.)
    """
    made = program(model, name)
    answered = [flow.preprocess(made, row, target=False) for row in ROWS]
    answers = [one[0] for one in flow.generate(model, made, answered, SearchOptions(max_length=6))]
    samples = []
    for row, answer in zip(ROWS, answers, strict=True):
        sample = flow.preprocess(made, row)
        target = []
        for part, found in zip(sample.target, answer.parts, strict=True):
            if isinstance(part, ValueSpan):
                piece = made.preprocessors[part.slot].from_frames(found)
                part = replace(part, features=piece, learned={"frames": found})
            else:
                part = replace(part, tokens=found.tokens, states=found.states)
            target.append(part)
        samples.append(replace(sample, target=tuple(target)))
    batch = flow.collate(made, samples)
    predictions = flow.emit(model, made, flow.compute(model, flow.adapt(model, batch)), batch)
    (seen,) = [p for p in predictions if hasattr(p, "made")]
    torch.testing.assert_close(seen.made["frames"].flatten(0, 1), seen.targets.tensors["frames"], atol=2e-5, rtol=1e-4)
    lengths = [len(p) // 2 for a in answers for p in a.parts if getattr(p, "ndim", 0) == 2]
    assert seen.targets.lengths.tolist() == lengths
    for stops in (torch.sigmoid(seen.made["stop"]) >= 0.5).split(lengths):
        assert not stops[:-1].any()
        assert stops[-1] or len(stops) == 30
    assert min(lengths) < 30


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[AUDIO:a,preprocess=fbank,adaptor=frames] -> [TEXT:t]", "preprocess=frames and adaptor=frames go together"),
        ("[AUDIO:a,preprocess=wave,adaptor=conv] -> [TEXT:t]", "preprocess=wave and adaptor=wave go together"),
        ("[AUDIO:a,adaptor=wave,mels=40] -> [TEXT:t]", "mels does not reach this slot"),
        ("[AUDIO:a,preprocess=bands,rate=8000] -> [TEXT:t]", "rate does not reach this slot"),
        ("[TEXT:t] -> [AUDIO:a,adaptor=wave]", "which adaptor=wave reads, is for the source alone.*leave both out"),
        ("[TEXT:t] -> [AUDIO:a,preprocess=bands]", "preprocess=bands.* is for the source alone"),
        ("[TEXT:t] -> [AUDIO:a,adaptor=conv]", "go together"),
        ("[AUDIO:a,fmax=9000] -> [TEXT:t]", "fmax=9000 Hz is more than half of rate=16000; give at most 8000"),
        ("[AUDIO:a,fmin=8000] -> [TEXT:t]", "fmin=8000 Hz is not below the highest band, 8000 Hz"),
        ("[AUDIO:a,hop=50] -> [TEXT:t]", "hop=50 is longer than window=25"),
        ("[AUDIO:a,criterion=ctc] -> [TEXT:t]", "write ctc_target=column"),
        ("[TEXT:t] -> [AUDIO:a,criterion=ctc]", "no criterion 'ctc' for AUDIO as a target"),
    ],
)
def test_what_cannot_be_planned(text, says):
    with pytest.raises(PlanError, match=says):
        plan(text)
