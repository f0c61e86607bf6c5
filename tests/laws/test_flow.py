"""Laws of the way data takes, on the tiny model: neighbours change nothing, values come back, one path for all."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ofasys import flow
from ofasys.engine import TRANSFORMER
from ofasys.generalist import GeneralistModel
from ofasys.generator.options import SearchOptions
from ofasys.hub import OFASys
from ofasys.modality import Context
from ofasys.modality.vocabulary import ForeignVocabulary
from ofasys.program.answer import split
from ofasys.types import TaskCard
from tests.engine.causal import CAUSAL, CausalConfig

ENGINES = {
    "transformer": {},
    "transformer, untied": {"tied": False},
    "causal": {"engine": CAUSAL, "config": CausalConfig()},
    "causal, untied": {"engine": CAUSAL, "config": CausalConfig(), "tied": False},
}
FOREIGN = ForeignVocabulary(size=1000, text=(3, 900), begin=0, end=2)  # with a mark of its own at either end
ENGINES |= {
    "transformer, foreign": {"vocabulary": FOREIGN},
    "causal, untied, foreign": ENGINES["causal, untied"] | {"vocabulary": FOREIGN},
}
ALL = [
    "caption", "entail", "prompted", "detect", "name_first", "bare", "ground",
    "region", "infill", "language", "two", "head", "heads", "many",
]  # fmt: skip


@pytest.fixture(scope="module", params=ENGINES)
def tiny(request, tiny):
    """The tiny module, of each engine, with one table of tokens or two."""
    changes = ENGINES[request.param]
    return tiny.of(**{"config": tiny.CONFIG, **changes}) if changes else tiny


def test_all_instructions_are_under_law(tiny):
    assert set(ALL) == set(tiny.INSTRUCTIONS) == set(tiny.ROWS)


@pytest.mark.parametrize("name", ALL)
def test_neighbours_and_padding_change_no_loss(name, tiny):
    """A sample alone, among others, and in another order: the same loss of each of its tokens."""
    made, samples = tiny.program(name), tiny.samples(name)
    alone = [tiny.losses(made, [sample])[0] for sample in samples]
    together = tiny.losses(made, samples)
    crowded = tiny.losses(made, [*samples[::-1], *samples])
    assert all(alone)
    for i, expected in enumerate(alone):
        np.testing.assert_allclose(together[i], expected, atol=2e-5)
        np.testing.assert_allclose(crowded[len(samples) + i], expected, atol=2e-5)
        np.testing.assert_allclose(crowded[len(samples) - 1 - i], expected, atol=2e-5)


@pytest.mark.parametrize("name", ALL)
def test_what_goes_in_comes_back(name, tiny):
    """Preprocess, cut the answer apart, postprocess: the row's own values, boxes within a bin."""
    made = tiny.program(name)
    for row, sample in zip(tiny.ROWS[name], tiny.samples(name), strict=True):
        row = _spread(made, row)
        runs = split(made, sample.run.tokens)
        for slot in made.plan.on("target"):
            if slot.no_loss:
                assert slot.index not in runs
                continue
            context = Context(referred=sample.referred.get(slot.index), labels=made.labels.get(slot.index))
            values = [made.preprocessors[slot.index].postprocess(run, context) for run in runs[slot.index]]
            expected = list(row[slot.column]) if slot.group is not None else [row[slot.column]]
            if slot.modality == "BOX":
                step = np.array([context.referred["width"], context.referred["height"]] * 2) / 1000
                assert len(values) == len(expected)
                assert all((np.abs(np.subtract(v, e)) <= step).all() for v, e in zip(values, expected, strict=True))
            else:
                assert values == expected


def _spread(made, row):
    for step in (*made.plan.source, *made.plan.target):
        row = step.group.spread(row) if hasattr(step, "group") else row
    return row


@pytest.mark.parametrize("name", ALL)
def test_an_answer_is_cut_where_its_states_say(name, tiny):
    """Every token is in the value of the slot its state names, or an end mark, or says how the sentence goes on."""
    made = tiny.program(name)
    for sample in tiny.samples(name):
        for most in range(len(sample.run.tokens) + 1):  # an answer may be unfinished
            tokens, states = sample.run.tokens[:most], sample.run.states[:most]
            slots = np.where(made.constraint.control(states, tokens), -1, made.constraint.slot_of[states])
            found = split(made, tokens)
            for slot, values in found.items():
                mine = tokens[(slots == slot) & (tokens != made.symbols.end)]
                cut = np.concatenate([np.zeros(0, np.int64), *values])
                whole = made.plan.slots[slot].modality != "BOX"  # half a box is none
                np.testing.assert_array_equal(cut, mine if whole else mine[: len(mine) // 4 * 4])


@pytest.mark.parametrize("name", ALL)
def test_a_target_walks_its_own_automaton(name, tiny):
    made = tiny.program(name)
    for sample in tiny.samples(name):
        states = made.constraint.walk(sample.run.tokens)
        np.testing.assert_array_equal(states, sample.run.states)
        assert made.constraint.advance(states[-1:], sample.run.tokens[-1:])[0] == made.constraint.accept
        assert made.constraint.accept not in states


@pytest.mark.parametrize("name", ALL)
def test_only_choices_carry_loss(name, tiny):
    """No prompt token, no `no_loss` slot, no token that has to come; every other one exactly once."""
    made, samples = tiny.program(name), tiny.samples(name)
    batch = flow.collate(made, samples)
    at = torch.cat([targets.at for targets in batch.targets])
    assert len(at.unique()) == len(at)
    predicted, start = set(at.tolist()), 0
    scored = {slot.index for slot in made.plan.on("target") if not slot.no_loss}
    assert set(torch.cat([targets.slots for targets in batch.targets]).tolist()) <= scored
    for sample in samples:
        for i, state in enumerate(sample.run.states):
            choice = made.constraint.single[state] < 0 and made.constraint.loss_of[state] >= 0
            place = start + len(sample.run.prefix) - 1 + i
            assert (place in predicted) == choice, (i, state)
            predicted.discard(place)
        start += len(sample.run.prefix) + len(sample.run.tokens) - 1
    assert not predicted


def test_the_prefix_is_the_prompt_and_what_is_given(tiny):
    made, sample = tiny.program("prompted"), tiny.samples("prompted")[0]
    row = tiny.ROWS["prompted"][0]
    text = ["can text1", row["sent1"], "imply text2", row["sent2"], "?"]
    expected = [made.symbols.begin, *(token for part in text for token in made.symbols.encode(part))]
    assert sample.run.prefix.tolist() == expected
    assert sample.source == ()
    assert sample.run.tokens.tolist() == [*made.symbols.encode("not sure"), made.symbols.end]


@pytest.mark.parametrize("name", ALL)
def test_step_by_step_is_the_teacher_forced_argmax(name, tiny):
    """Generate greedily with the cache, then feed the answer in one pass: each choice is its argmax, and so is the
    score.

    The likeliest label of a closed set may begin with a token that is not: of it the score alone is compared.

    An untrained model seldom ends a text by itself, so only the first tokens, far from max_length, are its own choice.
    """
    made = tiny.program(name)
    asked = [flow.preprocess(made, row, target=False) for row in tiny.ROWS[name]]
    for sample, found in zip(
        asked, flow.generate(tiny.model(), made, asked, SearchOptions(max_length=60)), strict=True
    ):
        best = found[0]
        answer = replace(
            sample, target=(replace(sample.run, tokens=best.tokens, states=made.constraint.walk(best.tokens)),)
        )
        total = 0.0
        for p in _predictions(tiny.model(), made, flow.collate(made, [answer])):
            scores = p.hidden @ p.candidates.T
            if p.targets.allowed is not None:
                scores = scores.masked_fill(~p.targets.allowed, -torch.inf)
            logp = scores.log_softmax(1)
            chosen = logp.gather(1, p.targets.labels[:, None])[:, 0]
            total += float(chosen.detach().sum())
            own = p.targets.at < len(sample.run.prefix) - 1 + 40
            own &= not any(slot.closed_set and slot.key == "tokens" for slot in made.plan.answered)
            assert (chosen[own] >= logp.amax(1)[own] - 1e-4).all()
        if len(best.tokens) < 40:
            assert best.finished
            assert best.logprob == pytest.approx(total, abs=1e-3)


@torch.no_grad()
def _predictions(model, made, batch):
    return flow.emit(model, made, flow.compute(model, flow.adapt(model, batch)), batch)


def test_generation_in_a_batch_is_generation_alone(tiny):
    for name in ALL:
        made = tiny.program(name)
        asked = [flow.preprocess(made, row, target=False) for row in tiny.ROWS[name]]
        options = SearchOptions(max_length=10)
        together = flow.generate(tiny.model(), made, asked, options)
        alone = [flow.generate(tiny.model(), made, [sample], options)[0] for sample in asked]
        assert [found[0].tokens.tolist() for found in together] == [found[0].tokens.tolist() for found in alone], name


def test_a_model_saved_and_loaded_answers_the_same(tiny, tmp_path):
    cards = [
        TaskCard(name, (str(p.instruction),), tiny.SETTINGS if "IMAGE" in p.instruction else {}, tiny.LABELS)
        for name, p in tiny.plans().items()
    ]
    before = OFASys(tiny.model(), cards)
    before.save_pretrained(tmp_path / "saved")
    after = OFASys.from_pretrained(tmp_path / "saved", modalities=before.model.modalities)
    assert after.model.symbols.vocabulary == before.model.symbols.vocabulary
    for name in ALL:
        text, rows = tiny.INSTRUCTIONS[name], tiny.ROWS[name]
        one, two = (o.inference(text, data=rows, max_length=10) for o in (before, after))
        assert [x.values for x in one] == [x.values for x in two], name
        assert [x.score for x in one] == pytest.approx([x.score for x in two], abs=1e-6)


def test_two_models_share_nothing(tiny):
    one, two = tiny.grown(("language",), seed=0), tiny.grown(("language",), seed=1)
    places = {p.data_ptr() for p in one.parameters()}
    assert places.isdisjoint(p.data_ptr() for p in two.parameters())
    before = {name: value.clone() for name, value in two.state_dict().items()}
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.fill_(7)
    assert all(torch.equal(before[name], value) for name, value in two.state_dict().items())
    three = tiny.grown(("language",), seed=1)
    assert all(torch.equal(before[name], value) for name, value in three.state_dict().items())


def test_first_weights_do_not_depend_on_the_order_of_tasks(tiny):
    """Grown for A then B, B then A, and both at once: each range and each adaptor begins alike."""
    a, b = ("caption", "head"), ("detect", "entail", "heads")
    models = []
    for order in ((a, b), (b, a), ((*a, *b),), ((*b, *a),)):
        model = GeneralistModel(seed=3, **tiny.MODEL)
        model.tokenizer = tiny.tokenizer()
        torch.manual_seed(len(models))  # the state of the process does not matter
        for names in order:
            model.grow([(p, tiny.LABELS) for p in tiny.plans(names).values()], lambda: [])
        models.append(model)
    first = models[0]
    for other in models[1:]:
        for name, span in first.symbols.vocabulary.spans.items():
            there = slice(*other.symbols.vocabulary.span(name))
            assert torch.equal(first.table[slice(*span)], other.table[there])
            assert torch.equal(first.head[slice(*span)], other.head[there])
        mine, theirs = first.state_dict(), other.state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[k], theirs[k]) for k in mine if not k.startswith("adaptors.tokens."))
    assert models[2].symbols.vocabulary == models[3].symbols.vocabulary


def test_growing_keeps_every_answer(tiny):
    model = tiny.grown(("caption",))
    made = flow.bind(model, tiny.plans(("caption",))["caption"])
    sample = [flow.preprocess(made, tiny.ROWS["caption"][0], target=False)]
    before = flow.generate(model, made, sample, SearchOptions(max_length=8))[0][0]
    model.grow([(p, tiny.LABELS) for p in tiny.plans().values()], lambda: [])
    again = flow.bind(model, tiny.plans(("caption",))["caption"])
    after = flow.generate(model, again, sample, SearchOptions(max_length=8))[0][0]
    assert before.tokens.tolist() == after.tokens.tolist()
    assert before.logprob == after.logprob


def test_a_closed_sets_probabilities_sum_to_one(tiny):
    made = tiny.program("entail")
    row = tiny.ROWS["entail"][0]
    total = sum(
        np.exp(-sum(tiny.losses(made, [flow.preprocess(made, row | {"label": label})])[0]))
        for label in tiny.LABELS["label"]
    )
    assert total == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["caption", "detect", "two", "entail"])
def test_the_loss_is_the_weighted_mean_of_each_slot(name, tiny):
    text = tiny.INSTRUCTIONS[name]
    made, samples = tiny.program(name), tiny.samples(name)
    batch = flow.collate(made, samples)
    with torch.no_grad():
        loss = tiny.model()(made, batch)
    means = {slot: float(loss.sums[slot]) / count for slot, count in enumerate(batch.counts) if count}
    assert sum(batch.counts) == sum(map(len, tiny.losses(made, samples)))
    assert float(loss.total) == pytest.approx(sum(means.values()), rel=1e-5)
    heavier = flow.plan(
        text.replace(":cap]", ":cap,weight=3]").replace(":name]", ":name,weight=3]"),
        settings=tiny.SETTINGS if "IMAGE" in text else None,
    )
    again = flow.bind(tiny.model(), heavier, tiny.LABELS)
    with torch.no_grad():
        more = tiny.model()(again, flow.collate(again, samples))
    weights = {slot.index: slot.weight for slot in heavier.slots}
    expected = sum(weights[slot] * value for slot, value in means.items())
    assert float(more.total) == pytest.approx(expected, rel=1e-5)


def test_every_weight_that_takes_part_is_learned(tiny):
    model = tiny.grown(("detect",)).train()
    made = flow.bind(model, tiny.plans(("detect",))["detect"])
    batch = flow.collate(made, [flow.preprocess(made, row, training=True) for row in tiny.ROWS["detect"]])
    model(made, batch).total.backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    grids = ["engine.decoder.positions.y.weight", "engine.decoder.positions.x.weight"]  # no grid in this target
    assert unused == (grids if model.engine_spec is TRANSFORMER else [])
    assert model.head.grad.abs().sum() > 0
    assert model.table.grad.abs().sum() > 0


def test_generation_leaves_the_model_as_it_was(tiny):
    model = tiny.grown(("language",)).train()
    made = flow.bind(model, tiny.plans(("language",))["language"])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sample = flow.preprocess(made, {}, target=False)
    one, two = (flow.generate(model, made, [sample], SearchOptions(max_length=8))[0][0] for _ in range(2))
    assert one.tokens.tolist() == two.tokens.tolist()  # no dropout
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    batch = flow.collate(made, [flow.preprocess(made, {"t": "cat"})])
    model(made, batch).total.backward()


@pytest.mark.parametrize("name", ["entail", "prompted", "head"])
def test_ranking_gives_each_label_its_exact_probability(name, tiny):
    text = (
        tiny.INSTRUCTIONS[name]
        .replace(",closed_set]", ",closed_set,generator=rank]")
        .replace("=head]", "=head,generator=rank]")
    )
    made = flow.bind(tiny.model(), flow.plan(text), tiny.LABELS)
    column = made.plan.scored[0].column
    asked = [flow.preprocess(made, row, target=False) for row in tiny.ROWS[name]]
    for row, sample, found in zip(
        tiny.ROWS[name], asked, flow.generate(tiny.model(), made, asked, SearchOptions()), strict=True
    ):
        scores = {flow.postprocess(made, sample, h)[column]: h.score for h in found}
        assert scores.keys() == set(tiny.LABELS[column])
        assert sum(np.exp(list(scores.values()))) == pytest.approx(1, abs=1e-4)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        for label, score in scores.items():
            loss = sum(tiny.losses(made, [flow.preprocess(made, row | {column: label})])[0])
            assert score == pytest.approx(-loss, abs=1e-3)


def test_a_table_kept_for_decoding_is_never_stale(tiny, monkeypatch):
    monkeypatch.setattr("ofasys.generalist.LARGE_TABLE", 1)
    model = tiny.grown(("language",))

    def fresh():
        states = torch.randn(8, model.engine.width)
        own = model.output().scores(states, 0, len(model.head))
        return torch.allclose(own, states @ model.head.T, atol=1e-4)

    assert fresh()
    for kind in ("foreach", "fused"):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **{kind: True})
        model.train()
        model.head.grad = torch.ones_like(model.head)
        optimizer.step()
        model.eval()
        assert fresh()
    model.load_state_dict(tiny.grown(("language",), seed=5).state_dict())
    assert fresh()
    model.grow([(p, tiny.LABELS) for p in tiny.plans(("head",)).values()], lambda: [])
    assert fresh()


def test_passes_that_are_made_at_once_have_the_gradients_of_each_alone(tiny):
    """One begins, another is made whole, the first ends, as threads may do; each learns what the verbs do."""
    model = tiny.model()
    programs = [tiny.program(name) for name in ("entail", "caption")]
    batches = [flow.collate(tiny.program(name), tiny.samples(name)) for name in ("entail", "caption")]

    def gradient(*losses):
        model.zero_grad(set_to_none=True)
        sum(loss.total for loss in losses).backward()
        return model.tokens.weight.grad.clone()

    def begun(batch):
        rows = model.tokens.one_pass()
        return rows, model.compute(*model.adapt(batch, rows))

    def ended(program, batch, rows, states):
        return flow.criterion(model, program, model.emit(program, states, batch, rows), batch)

    verbs = [
        flow.criterion(model, p, flow.emit(model, p, flow.compute(model, flow.adapt(model, b)), b), b)
        for p, b in zip(programs, batches, strict=True)
    ]
    expected = [gradient(loss) for loss in verbs]
    for program, batch, alone in zip(programs, batches, expected, strict=True):
        torch.testing.assert_close(gradient(model(program, batch)), alone, atol=1e-6, rtol=1e-4)
    first = begun(batches[0])
    second = gradient(model(programs[1], batches[1]))
    torch.testing.assert_close(second, expected[1], atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(gradient(ended(programs[0], batches[0], *first)), expected[0], atol=1e-6, rtol=1e-4)
