"""A repetition that holds values that are no tokens: how it is learned, made round by round, and left."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from ofasys import GeneralistModel, OFASys, Task, flow
from ofasys.generator.hypothesis import Hypothesis
from ofasys.generator.options import SearchOptions
from ofasys.program.answer import runs_so_far
from ofasys.program.program import TokenStage
from ofasys.types import Prediction, SlotPrediction, TokenSpan, TokenTargets, ValueSpan
from tests.modality.audio.sounds import chirp, tone
from tests.modality.motion import bodies

FRAMES = 6
SOUNDS = [(tone(0.3), 16000), (chirp(0.2), 16000), (tone(0.1), 16000)]
MOVES = [bodies.walker(kind, 0.2 * kind, FRAMES) for kind in range(3)]
NUMBER = "mean=3,std=2"
LINES = {
    "numbers": f"[TEXT:q] goes on -> ([NUMBER:x,{NUMBER},beta=0])*",
    "led": f"[TEXT:q] -> (and [NUMBER:x,{NUMBER}])* so [TEXT:end,max_length=4]",
    "motions": f"[TEXT:q] who moves? -> ([TEXT:who,max_length=3] [MOTION:m,frames={FRAMES}])*",
    "sounds": "[IMAGE:img] -> ([BOX:box] [AUDIO:wav,max_length=20])*",
    "no source": f"-> hear ([AUDIO:wav,max_length=20] [TEXT:t,max_length=4] [NUMBER:x,{NUMBER}] "
    "is [TEXT:u,max_length=4])*",
    "several": f"[TEXT:q] -> say ([NUMBER:x,{NUMBER}] and [TEXT:t,max_length=4])* "
    f"([TEXT:u,max_length=4] [NUMBER:y,{NUMBER}] or [NUMBER:z,{NUMBER}])* [TEXT:end,max_length=4] ([CATEGORY:group])*",
}
ROWS = {
    "numbers": [{"q": "a cat", "x": [1.0, 4.0, 3.5]}, {"q": "dog", "x": []}, {"q": "see the hill", "x": [5.0]}],
    "led": [{"q": "a cat", "x": [1.0, 4.0], "end": "a dog"}, {"q": "dog", "x": [], "end": "no"}],
    "motions": [
        {"q": "a cat", "who": ["a", "dog", "it"], "m": MOVES},
        {"q": "dog", "who": [], "m": []},
        {"q": "see", "who": ["red"], "m": MOVES[1:2]},
    ],
    "sounds": [
        {"img": tiny.picture(), "box": [[1, 2, 20, 25], [0, 0, 4, 3]], "wav": SOUNDS[:2]},
        {"img": tiny.picture(12, 50, 3), "box": [], "wav": []},
        {"img": tiny.picture(20, 30, 4), "box": [[3, 4, 5, 6]], "wav": SOUNDS[2:]},
    ],
    "no source": [
        {"wav": SOUNDS[:2], "t": ["a", "red cat"], "x": [1.0, 2.0], "u": ["yes", "no"]},
        {"wav": SOUNDS[2:], "t": ["dog"], "x": [4.0], "u": ["no"]},
    ],
    "several": [
        {"q": "a", "x": [1.0, 2.0], "t": ["a", "big dog"], "u": ["hill"], "y": [3.0], "z": [1.5], "end": "yes"},
        {"q": "b", "x": [], "t": [], "u": ["a", "b", "no"], "y": [1.0, 2.0, 3.0], "z": [4.0, 3.0, 2.0], "end": "no"},
    ],
}
ROWS["several"] = [row | {"group": group} for row, group in zip(ROWS["several"], (["food"], []), strict=True)]
LABELS = {"group": tiny.LABELS["group"]}


@pytest.fixture(scope="module")
def model():
    """Grown for all lines; its random weights are sharpened, so that its answers differ."""
    tasks = [
        Task(name.replace(" ", "_"), line, train=ROWS[name], closed_set=LABELS if name == "several" else {})
        for name, line in LINES.items()
    ]
    made = GeneralistModel(seed=0, config=replace(tiny.CONFIG, max_positions=192))
    made.tokenizer = tiny.tokenizer()
    for task in tasks:
        made.grow([(task.plan, task.labels)], list, task.examples)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "weight" in name and weight.dim() > 1 and name.startswith(("engine", "tokens", "head")):
                weight *= 3
            silent = name.startswith("adaptors") and not weight.any() and "postnet" not in name
            if name.endswith("stop.weight") or silent:
                torch.nn.init.normal_(weight, std=0.3)  # what begins as nothing says something
    return made.eval()


def program(model, name):
    return flow.bind(model, flow.plan(LINES[name]), LABELS)


def asked(made, name):
    return [flow.preprocess(made, row, target=False) for row in ROWS[name]]


def values(made, samples, answers):
    return [flow.postprocess(made, sample, answer) for sample, (answer,) in zip(samples, answers, strict=True)]


def options(**more):
    known = {"max_length": 8, "min_items": 1, "max_items": 3, "draw": {"steps": 3}}
    return SearchOptions(**(known | more))


WAYS = {
    "greedy": {},
    "beams": {"beam_size": 3},
    "drawn": {"sampling": True, "temperature": 2.0, "seed": 5},
    "all tokens count": {"normalise": "vocabulary"},
}


# --- learning -----------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("name", LINES)
def test_losses_of_rows_together_are_those_of_each_alone(model, name):
    made = program(model, name)
    samples = [flow.preprocess(made, row) for row in ROWS[name]]
    whole = model(made, flow.collate(made, samples))
    alone = [model(made, flow.collate(made, [sample])) for sample in samples]
    torch.testing.assert_close(whole.sums, sum(one.sums for one in alone), atol=2e-3, rtol=1e-5)
    assert whole.counts.tolist() == sum(one.counts for one in alone).tolist()


@torch.no_grad()
def test_each_element_counts(model):
    """Of k elements: what each slot learns from them, and k + 1 times whether another comes."""
    made = program(model, "numbers")
    (slot,) = made.plan.on("target")
    for row in ROWS["numbers"]:
        batch = flow.collate(made, [flow.preprocess(made, row)])
        assert batch.counts[slot.index] == len(row["x"]) + len(row["x"]) + 1
    made = program(model, "motions")
    who, motion = made.plan.on("target")
    for row in ROWS["motions"]:
        batch = flow.collate(made, [flow.preprocess(made, row)])
        assert batch.counts[motion.index] == FRAMES * len(row["m"])
        words = sum(len(made.symbols.encode(word)) + 1 for word in row["who"])
        assert batch.counts[who.index] == words + 1  # the first token of a text says that a round begins


@torch.no_grad()
@pytest.mark.parametrize("line", ["[TEXT:q] -> (and [TEXT:a])*", f"[TEXT:q] -> (and [NUMBER:x,{NUMBER}])*"])
def test_whether_a_round_that_begins_with_a_prompt_comes_is_learned(line):
    small = GeneralistModel(seed=0, **tiny.MODEL)
    small.tokenizer = tiny.tokenizer()
    small.grow([(flow.plan(line), {})], list, lambda *_: [])
    made = flow.bind(small, flow.plan(line))
    sample = flow.preprocess(made, {"q": "see", "a": ["a cat", "dog"], "x": [1.0, 2.0]})
    batch = flow.collate(made, [sample])
    ways = {made.symbols.end, made.symbols.encode("and")[0]}
    heads = [
        one
        for one in batch.targets
        if isinstance(one, TokenTargets)
        and set(made.constraint_of(one.stage).classes[one.group].candidates.tolist()) == ways
    ]
    said = torch.cat([one.labels for one in heads])
    assert sorted(said.tolist()) == sorted(
        [int(max(ways) != made.symbols.end)] * 2 + [int(max(ways) == made.symbols.end)]
    )
    assert {int(slot) for one in heads for slot in one.slots} == {1}


def elements_of(row, most):
    return {name: value[:most] if isinstance(value, list) else value for name, value in row.items()}


@torch.no_grad()
@pytest.mark.parametrize("name", ["numbers", "motions", "sounds"])
def test_an_element_is_learned_from_those_before_it_alone(model, name):
    """The losses of the first k elements are the same whatever follows them; the last alone differs in each row, so the
    loss of a row is the sum over its elements, each after those before it.
    """
    made = program(model, name)
    slot = next(slot for slot in made.plan.on("target") if not slot.made_as.tokens)
    row = ROWS[name][0]
    seen = []
    for most in range(1, len(row[slot.column]) + 1):
        batch = flow.collate(made, [flow.preprocess(made, elements_of(row, most), random=np.random.default_rng(7))])
        predictions = flow.emit(model, made, flow.compute(model, flow.adapt(model, batch)), batch)
        (values_seen,) = [one for one in predictions if isinstance(one, SlotPrediction)]
        seen.append(values_seen)
    for less, more in itertools.pairwise(seen):
        first = int(less.targets.lengths.sum())
        assert first < int(more.targets.lengths.sum())
        torch.testing.assert_close(more.hidden[:first], less.hidden, atol=1e-4, rtol=1e-4)


def test_losses_and_gradients_are_those_written_anew(model):
    """Gaussian negative log-likelihoods of numbers and cross-entropies of whether another comes, from the states that
    stand before each, one after the other.
    """
    made = program(model, "numbers")
    (slot,) = made.plan.on("target")
    symbols, adaptor = made.symbols, model.adaptors[slot.key]
    weight = model.tokens.weight
    go, end = symbols.vocabulary.span("ways.again")[0], symbols.end
    row = ROWS["numbers"][0]
    features = [made.preprocessors[slot.index].preprocess(x, flow.Context()) for x in row["x"]]
    batch = flow.collate(made, [flow.preprocess(made, row)])
    source = flow.adapt(model, batch)[0]

    model.zero_grad()
    loss = model(made, batch, scale=torch.ones(len(batch.units)))
    loss.total.backward()
    got = weight.grad.clone()

    model.zero_grad()
    parts, total = [weight[symbols.begin][None]], 0.0
    for number, feature in enumerate([*features, None]):
        stream = torch.cat(parts)
        total = total - _last(model, source, stream)[1][[go, end]].log_softmax(0)[int(feature is None)]
        if feature is None:
            break
        parts.append(weight[go][None])
        hidden = _last(model, source, torch.cat(parts))[0]
        said = adaptor.predict(hidden[None], torch.tensor([1]), {})
        truth = torch.from_numpy(feature.tensors["frames"])
        total = total + torch.nn.functional.gaussian_nll_loss(
            said["frames"], truth, said["spread"] ** 2, full=True, reduction="sum", eps=1e-12
        )
        frames = {name: torch.from_numpy(array) for name, array in feature.tensors.items()}
        parts.append(adaptor.embed(frames | {"lengths": torch.tensor([1])}))
        parts.append(weight[end][None])
        assert number < len(features)
    total.backward()
    assert float(loss.sums[slot.index]) == pytest.approx(float(total.detach()), rel=1e-4)
    torch.testing.assert_close(weight.grad, got, atol=2e-4, rtol=1e-3)


def _last(model, source, embedding):
    """(the state after the last position of one target, scores of all tokens there)."""
    from ofasys.program.batch import layout
    from ofasys.types import Stream

    length = len(embedding)
    positions = np.full((length, 3), -1)
    positions[:, 0] = np.arange(length)
    target = Stream(embedding, layout(np.array([length]), positions))
    hidden = model.compute(source, target).target.states[-1]
    return hidden, hidden @ model.head.T


# --- answering ----------------------------------------------------------------------------------------------------


def same(one, other):
    assert one.numbers == other.numbers
    for mine, yours in zip(one.parts, other.parts, strict=True):
        if isinstance(mine, Hypothesis):
            assert mine.tokens.tolist() == yours.tokens.tolist()
        else:
            np.testing.assert_allclose(mine, yours, atol=2e-4)


CASES = [(name, way) for name in LINES for way in WAYS if way in ("beams", "drawn") or name in ("led", "sounds")]


@pytest.mark.parametrize(("name", "way"), CASES)
def test_answers_of_rows_together_are_those_of_each_alone(model, name, way):
    made = program(model, name)
    samples, search = asked(made, name), options(min_items=0, **WAYS[way])
    numbers = list(range(40, 40 + len(samples)))
    together = flow.generate(model, made, samples, search, numbers)
    for sample, number, (answer,) in zip(samples, numbers, together, strict=True):
        ((alone,),) = flow.generate(model, made, [sample], search, [number])
        same(alone, answer)
    turned = flow.generate(model, made, samples[::-1], search, numbers[::-1])
    for (one,), (other,) in zip(turned[::-1], together, strict=True):
        same(one, other)


def test_rows_differ_in_how_many_elements_they_have(model):
    made = program(model, "numbers")
    samples = asked(made, "numbers") * 8
    search = options(min_items=0, max_items=4, sampling=True, temperature=3.0)
    counts = {len(one["x"]) for one in values(made, samples, flow.generate(model, made, samples, search))}
    assert {0, 1} < counts <= {0, 1, 2, 3, 4}


@pytest.mark.parametrize(("name", "way"), CASES)
def test_a_repetition_has_as_many_rounds_as_are_asked_for(model, name, way):
    made = program(model, name)
    samples = asked(made, name)
    drawn = [slot for slot in made.plan.answered if not slot.made_as.tokens]
    for least, most in ((2, 2), (0, 1)):
        search = options(max_length=60, min_items=least, max_items=most, **WAYS[way])
        for row in values(made, samples, flow.generate(model, made, samples, search)):
            for slot in drawn:
                assert least <= len(row[slot.column]) <= most
                beside = [other.column for other in made.plan.answered if other.group == slot.group]
                assert len({len(row[column]) for column in beside}) == 1


@pytest.mark.parametrize("name", LINES)
def test_an_answer_is_what_a_row_of_it_is_read_as(model, name):
    """The answer taken for the truth goes through the same stages, and each stage's tokens through its automaton."""
    made = program(model, name)
    for (answer,) in flow.generate(model, made, asked(made, name), options(sampling=True, max_length=60)):
        number = 0
        for where, (stage, part) in zip(answer.numbers, answer.staged(made), strict=True):
            assert where == number
            if isinstance(stage, TokenStage):
                assert part.states.tolist() == stage.constraint.walk(part.tokens).tolist()
                number = stage.onward(part.states, part.tokens)
            else:
                assert np.isfinite(part).all()
                number = stage.next
        assert number == len(made.stages)


@torch.no_grad()
def test_what_is_made_is_what_one_pass_says(model):
    """Sounds with their stops, boxes and whether another comes, the answer in the place of the truth."""
    made = program(model, "sounds")
    samples = asked(made, "sounds")
    answers = flow.generate(model, made, samples, options(min_items=2, max_length=60))
    known = []
    for sample, (answer,) in zip(samples, answers, strict=True):
        target = []
        for number, (stage, part) in zip(answer.numbers, answer.staged(made), strict=True):
            if isinstance(stage, TokenStage):
                prefix = next(span.prefix for span in sample.target if span.stage == number)
                target.append(TokenSpan(number, prefix, part.tokens, part.states))
            else:
                slot = made.plan.slots[stage.slot]
                features = made.preprocessors[slot.index].from_frames(part)
                target.append(ValueSpan(number, slot.index, slot.key, features, {"frames": part}))
        known.append(replace(sample, target=tuple(target)))
    batch = flow.collate(made, known)
    predictions = flow.emit(model, made, flow.compute(model, flow.adapt(model, batch)), batch)
    (sounds,) = [one for one in predictions if isinstance(one, SlotPrediction)]
    torch.testing.assert_close(
        sounds.made["frames"].flatten(0, 1), sounds.targets.tensors["frames"], atol=1e-3, rtol=1e-3
    )
    sizes, (lo, hi) = set(), made.symbols.vocabulary.span("bins")
    for one in predictions:
        if isinstance(one, Prediction):
            scores, labels = one.hidden @ one.candidates.T, one.targets.labels
            going = labels > 0  # at the head of a round the end mark is the first, which min_items bars
            heads = one.candidates.shape[0] > hi - lo
            sizes.add(heads)
            best = scores[:, int(heads) :].argmax(1) + int(heads)
            assert (best == labels)[going].all()
    assert sizes == {True, False}


def test_noise_is_a_function_of_seed_row_and_element(model):
    """Elements of a row differ, and a row's are its own, whatever else is made."""
    made = program(model, "motions")
    (sample,) = asked(made, "motions")[:1]
    search = options(min_items=3, max_items=3, max_length=60)

    def drawn(number, seed=0):
        ((answer,),) = flow.generate(model, made, [sample], replace(search, seed=seed), [number])
        return [part for part in answer.parts if isinstance(part, np.ndarray)]

    first = drawn(4)
    assert len(first) == 3
    for one, again in zip(first, drawn(4), strict=True):
        np.testing.assert_array_equal(one, again)
    for others in (drawn(5), drawn(4, seed=1), first[1:] + first[:1]):
        assert all(np.abs(one - other).max() > 1e-3 for one, other in zip(first, others, strict=True))


def test_tokens_of_later_rounds_are_drawn_anew(model):
    made = program(model, "motions")
    (sample,) = asked(made, "motions")[:1]
    search = options(min_items=3, max_items=3, max_length=60, sampling=True, temperature=50.0)
    ((answer,),) = flow.generate(model, made, [sample], search)
    texts = flow.postprocess(made, sample, answer)["who"]
    assert len(set(texts)) == 3


@pytest.mark.parametrize(
    ("line", "column", "way"),
    [
        (LINES["led"], "x", {}),
        ("[TEXT:q] -> ([TEXT:t,max_length=4] [AUDIO:x,max_length=9])* so [TEXT:end,max_length=4]", "x", WAYS["drawn"]),
    ],
)
def test_rounds_end_where_the_model_has_no_place_for_another(line, column, way):
    """However many are asked for; what comes after the repetition still has its place, and a row what it has alone."""
    small = GeneralistModel(seed=0, config=replace(tiny.CONFIG, max_positions=48))
    small.tokenizer = tiny.tokenizer()
    small.grow([(flow.plan(line), {})], list, lambda *_: [])
    made = flow.bind(small.eval(), flow.plan(line))
    samples = [flow.preprocess(made, {"q": q}, target=False) for q in ("a cat", "dog", "see")]
    search = options(min_items=50, max_items=None, max_length=400, **way)
    for number, (sample, (answer,)) in enumerate(
        zip(samples, flow.generate(small, made, samples, search), strict=True)
    ):
        row = flow.postprocess(made, sample, answer)
        assert 2 <= len(row[column]) < 16
        assert row["end"] is not None
        assert not answer.finished
        known, length = {span.stage: span for span in sample.target}, 0
        for where, (stage, part) in zip(answer.numbers, answer.staged(made), strict=True):
            if isinstance(stage, TokenStage):
                length += len(known[where].prefix) + len(part.tokens)
            else:
                length += made.preprocessors[stage.slot].from_frames(part).length
        assert 36 < length <= 48 + 1  # the last token is not read
        ((alone,),) = flow.generate(small, made, [sample], search, [number])
        same(alone, answer)


def test_rounds_end_after_max_length_tokens(model):
    made = program(model, "numbers")
    samples = asked(made, "numbers")
    for most in (2, 6):
        answers = flow.generate(model, made, samples, options(min_items=50, max_items=None, max_length=most))
        for row in values(made, samples, answers):
            assert len(row["x"]) == most


def test_what_is_there_while_it_is_made(model):
    """A repetition is there, whole, when the stages of its rounds are done; what is written after it as it is
    written.
    """
    made = program(model, "several")
    column = {slot.column: slot.index for slot in made.plan.slots}
    sample, search = asked(made, "several")[0], options(min_items=2, max_items=2, max_length=60)
    seen, wrote = [], set()
    with flow.Generations(model) as together:
        running = together.begin(made, [sample], search, [0])
        while not running.over:
            so_far = running.so_far()
            if so_far is not None:
                found, writing = runs_so_far(made, so_far)
                seen.append(tuple(len(found[column[name]]) for name in "xtuyz"))
                wrote.add(writing)
            together.turn()
        (answers,) = running.found
    assert list(dict.fromkeys(seen)) == [(0, 0, 0, 0, 0), (2, 2, 0, 0, 0)]
    assert column["end"] in wrote
    same(answers[0], flow.generate(model, made, [sample], search, [0])[0][0])


def test_different_requests_go_on_together(model):
    """Each answered as alone, though they share steps and are in different rounds."""
    work = [(name, sample) for name in ("numbers", "led", "several") for sample in asked(program(model, name), name)]
    programs = {name: program(model, name) for name in LINES}
    search = options(min_items=0)
    with flow.Generations(model) as together:
        running = []
        for number, (name, sample) in enumerate(work):
            running.append(together.begin(programs[name], [sample], search, [number]))
            together.turn()
        while not all(one.over for one in running):
            together.turn()
        found = [one.found[0][0] for one in running]
    for number, ((name, sample), answer) in enumerate(zip(work, found, strict=True)):
        ((alone,),) = flow.generate(model, programs[name], [sample], search, [number])
        same(alone, answer)


def test_guidance_in_a_repetition(model):
    made = program(model, "motions")
    samples = asked(made, "motions")
    search = options(min_items=2, max_items=2, draw={"steps": 3, "guidance_weight": 2.0})
    together = flow.generate(model, made, samples, search)
    plain = flow.generate(model, made, samples, options(min_items=2, max_items=2))
    for number, (sample, (answer,), (other,)) in enumerate(zip(samples, together, plain, strict=True)):
        ((alone,),) = flow.generate(model, made, [sample], search, [number])
        same(alone, answer)
        assert np.abs(answer.parts[1] - other.parts[1]).max() > 1e-4


def test_outputs_hold_lists(model, tmp_path):
    system = OFASys(model)
    out = system.inference(LINES["numbers"], data={"q": "a cat"}, min_items=2, max_items=2)
    assert len(out["x"]) == len(out.number) == 2
    assert all(type(one).__name__ == "Number" for one in out["x"])
    assert [one.spread for one in out["x"]] == out.spreads["x"] == out.spread
    assert all(spread > 0 and math.isfinite(spread) for spread in out.spreads["x"])
    assert '"x_spread": [' in out.save(tmp_path / "out.json").read_text().replace("\n  ", "")
    out = system.inference(LINES["motions"], data={"q": "a"}, min_items=2, max_items=2, max_length=9, steps=2)
    assert out.save(tmp_path / "out.gif").stat().st_size > 500
    assert [len(one) for one in out["m"]] == [FRAMES, FRAMES]
    empty = system.inference(LINES["numbers"], data={"q": "a cat"}, max_length=1, max_items=1)
    assert str(empty) in ("(none)", str(empty["x"][0]) if empty["x"] else "")
