"""Categories: spelled in pieces or with a head of their own; labels outside the set are errors."""

import numpy as np
import pytest

from ofasys import flow
from ofasys.errors import ConfigError, DataError, PlanError
from ofasys.generator.options import SearchOptions
from ofasys.program.answer import split
from ofasys.program.program import label_range
from ofasys.types import SlotFeatures

TEXT = "[TEXT:q] -> [CATEGORY:group]"
HEAD = "[TEXT:q] -> [CATEGORY:group,adaptor=head]"
LABELS = {"group": ("food", "animals & nature", "flags")}


def program(tiny, text, labels=LABELS):
    return flow.bind(tiny.model(), flow.plan(text), labels)


def back(made, sample):
    runs = split(made, sample.run.tokens)
    return {
        made.plan.slots[i].column: [made.preprocessors[i].postprocess(r, _context(made, i)) for r in v]
        for i, v in runs.items()
    }


def _context(made, slot):
    from ofasys.modality import Context

    return Context(labels=made.labels.get(slot))


@pytest.mark.parametrize("text", [TEXT, HEAD])
@pytest.mark.parametrize("label", LABELS["group"])
def test_a_label_comes_back(tiny, text, label):
    made = program(tiny, text)
    assert back(made, flow.preprocess(made, {"q": "a", "group": label})) == {"group": [label]}


def test_a_head_is_one_token_of_a_range_of_its_own(tiny):
    made = program(tiny, HEAD)
    sample = flow.preprocess(made, {"q": "a", "group": "flags"})
    low, high = made.symbols.vocabulary.span(label_range(LABELS["group"]))
    assert high - low == 3
    assert sample.run.tokens.tolist() == [low + 2]  # no end mark


def test_each_head_has_its_own_labels(tiny):
    """Two heads in one sentence: each predicts, and generates, its own set."""
    made = tiny.program("heads")
    low, high = made.symbols.vocabulary.span(label_range(tiny.LABELS["group"]))
    low2, high2 = made.symbols.vocabulary.span(label_range(tiny.LABELS["label"]))
    targets = flow.collate(made, tiny.samples("heads")).targets
    spans = {
        int(g.slots[0]): (made.constraint.classes[g.group].lo, made.constraint.classes[g.group].hi) for g in targets
    }
    assert spans == {1: (low, high), 2: (low2, high2)}
    rows = [{"question": word} for word in tiny.WORDS]
    samples = [flow.preprocess(made, row, target=False) for row in rows]
    for sample, found in zip(samples, flow.generate(tiny.model(), made, samples, SearchOptions()), strict=True):
        value = flow.postprocess(made, sample, found[0])
        assert value["group"] in tiny.LABELS["group"]
        assert value["label"] in tiny.LABELS["label"]


def test_the_same_labels_share_a_head_and_others_do_not():
    assert label_range(["a", "b"]) == label_range(("a", "b"))
    assert label_range(["a", "b"]) != label_range(["a\nb"])
    assert label_range(["a", "b"]) != label_range(["b", "a"])


@pytest.mark.parametrize("text", [TEXT, HEAD])
def test_a_label_outside_the_set(tiny, text):
    with pytest.raises(
        DataError,
        match=r"'fod' is not in the closed set of 3 \(slot 'CATEGORY:group', column 'group'\); expected one of "
        r".* \(did you mean food\?\)",
    ):
        flow.preprocess(program(tiny, text), {"q": "a", "group": "fod"})


@pytest.mark.parametrize(
    ("value", "says"),
    [("", "got str"), ("  ", "got str"), (1.5, "got float '1.5'"), (["food"], "got list"), (b"food", "got bytes")],
)
def test_what_is_no_label(tiny, value, says):
    with pytest.raises(DataError, match=f"{says}.*expected a label: a str or an integer"):
        flow.preprocess(program(tiny, TEXT), {"q": "a", "group": value})


def test_numbers_are_labels(tiny):
    made = program(tiny, TEXT, {"group": (0, 1, 10)})
    assert back(made, flow.preprocess(made, {"q": "a", "group": np.int64(10)})) == {"group": ["10"]}
    assert back(made, flow.preprocess(made, {"q": "a", "group": 1})) == {"group": ["1"]}


def test_uncased_labels(tiny):
    made = program(tiny, "[TEXT:q] -> [CATEGORY:group,uncased]", {"group": ("Food", "FLAGS", "flags")})
    assert made.labels[1] == ("food", "flags")
    assert back(made, flow.preprocess(made, {"q": "a", "group": "fOOd"})) == {"group": ["food"]}


def test_a_label_given_twice_is_one(tiny):
    assert program(tiny, TEXT, {"group": ("a", "b", "a")}).labels[1] == ("a", "b")


@pytest.mark.parametrize("text", [TEXT, HEAD, "[TEXT:q] -> [TEXT:group,closed_set]", "[CATEGORY:group] -> [TEXT:t]"])
@pytest.mark.parametrize("labels", [{}, {"group": ()}])
def test_a_set_that_is_not_known(tiny, text, labels):
    with pytest.raises(PlanError, match=r"closed set that is not known; give closed_set=\{'group'"):
        program(tiny, text, labels)


def test_a_head_the_model_never_grew(tiny):
    with pytest.raises(ConfigError, match="has no tokens for the labels"):
        program(tiny, HEAD, {"group": ("other", "labels")})


def test_a_category_as_source(tiny):
    made = program(tiny, "is [CATEGORY:group] good? -> [TEXT:t]")
    spelled = program(tiny, "is [TEXT:group] good? -> [TEXT:t]")
    row = {"group": "animals & nature", "t": "yes"}
    one, two = (flow.collate(p, [flow.preprocess(p, row)]).source.inputs[0].tensors["tokens"] for p in (made, spelled))
    assert one.tolist() == two.tolist()


def test_one_label_that_begins_another(tiny):
    made = program(tiny, TEXT, {"group": ("food", "food & drink", "foo")})
    for label in made.labels[1]:
        assert back(made, flow.preprocess(made, {"q": "a", "group": label})) == {"group": [label]}
    assert isinstance(made.preprocessors[1].preprocess("foo", _context(made, 1)), SlotFeatures)
