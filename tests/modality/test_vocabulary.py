"""Token ids do not depend on the order in which things arrive; growing appends; the embedding belongs to the model."""

import itertools
import json

import pytest
import torch

from ofasys.errors import ConfigError
from ofasys.modality.shared.tokens import TokenAdaptor
from ofasys.modality.vocabulary import BOS, END, MASK, PAD, SPECIALS, ForeignVocabulary, Vocabulary

SIZES = {"text": 300, "bins": 1000, "labels.ab": 3, "codes": 20}


def test_the_order_of_arrival_does_not_matter():
    made = {Vocabulary.assemble(dict(order)) for order in itertools.permutations(SIZES.items())}
    assert len(made) == 1
    assert [name for name, _, _ in made.pop().ranges] == ["special", "text", "bins", "codes", "labels.ab"]


def test_ranges_lie_side_by_side():
    vocabulary = Vocabulary.assemble(SIZES)
    assert vocabulary.size == len(SPECIALS) + 300 + 1000 + 3 + 20
    assert vocabulary.span("special") == (0, 4)
    assert vocabulary.span("text") == (4, 304)
    at = 0
    for start, stop in vocabulary.spans.values():
        assert start == at
        at = stop
    assert at == vocabulary.size
    assert (PAD, BOS, MASK, END) == (0, 1, 2, 3)


def test_growing_appends_only():
    before = Vocabulary.assemble({"text": 300, "labels.ab": 3})
    after = before.grown({"text": 300, "bins": 1000, "codes": 20})
    assert after.ranges[: len(before.ranges)] == before.ranges
    assert after.ranges[len(before.ranges) :] == (("bins", 307, 1000), ("codes", 1307, 20))
    assert after.grown({"bins": 1000}) == after
    assert before.grown({}) == before


def test_a_range_never_changes_its_size():
    with pytest.raises(ConfigError, match="range 'bins' holds 1000 ids and cannot become 500"):
        Vocabulary.assemble(SIZES).grown({"bins": 500})


def test_the_hash_is_of_the_layout():
    one = Vocabulary.assemble(SIZES)
    assert one.fingerprint == Vocabulary(one.ranges).fingerprint
    others = [
        Vocabulary.assemble(SIZES | {"bins": 999}),
        Vocabulary.assemble(SIZES | {"z": 1}),
        Vocabulary.assemble({"text": 300}).grown(SIZES | {"a": 2}),
    ]
    assert len({v.fingerprint for v in [one, *others]}) == 4


def test_an_unknown_range():
    with pytest.raises(ConfigError, match="no vocabulary range 'phones'; there are: special, text, bins"):
        Vocabulary.assemble(SIZES).span("phones")


def test_first_values_depend_on_seed_and_name_alone():
    whole, stepwise, other = (TokenAdaptor({}, 8) for _ in range(3))
    whole.grow(Vocabulary.assemble({"text": 300, "bins": 1000, "labels.ab": 3}), seed=5)
    part = Vocabulary.assemble({"text": 300, "labels.ab": 3})
    stepwise.grow(part, seed=5)
    first = stepwise.weight.detach().clone()
    torch.manual_seed(99)
    later = part.grown({"bins": 1000})
    stepwise.grow(later, seed=5)
    assert torch.equal(stepwise.weight[: len(first)], first)
    full = Vocabulary.assemble({"text": 300, "bins": 1000, "labels.ab": 3})
    for name in full.spans:
        assert torch.equal(whole.weight[slice(*full.span(name))], stepwise.weight[slice(*later.span(name))])
    other.grow(full, seed=6)
    assert not torch.equal(whole.weight, other.weight)


def test_learned_rows_survive_growing():
    adaptor = TokenAdaptor({}, 8)
    vocabulary = Vocabulary.assemble({"text": 300})
    adaptor.grow(vocabulary, 0)
    with torch.no_grad():
        adaptor.weight.add_(1)
    learned = adaptor.weight.detach().clone()
    adaptor.grow(vocabulary.grown({"bins": 1000}), 0)
    assert torch.equal(adaptor.weight[:304], learned)
    assert adaptor.weight.requires_grad


def test_neighbouring_bins_begin_alike():
    adaptor = TokenAdaptor({}, 64)
    vocabulary = Vocabulary.assemble({"text": 300, "bins": 1000})
    adaptor.grow(vocabulary, 0, ordered=("bins",))
    rows = adaptor.weight[slice(*vocabulary.span("bins"))].detach()
    assert rows.norm(dim=1).mean() == pytest.approx(1, abs=0.1)
    near = (rows[1:] - rows[:-1]).norm(dim=1).mean()
    far = (rows[500:] - rows[:500]).norm(dim=1).mean()
    assert near < far / 3


def test_a_foreign_vocabulary_is_written_and_read() -> None:
    """What is as by default is not written: files of before read alike."""
    plain = ForeignVocabulary(size=100, text=(4, 60), end=2)
    assert plain.written() == {"size": 100, "text": (4, 60), "end": 2, "begin": None, "mask": None}
    named = (("codes", 61, 20), ("bins", 90, 10))
    full = ForeignVocabulary(size=100, text=(4, 60), end=2, begin=0, named=named, wraps=True, beyond=3)
    for one in (plain, full):
        assert ForeignVocabulary.of(json.loads(json.dumps(one.written()))) == one
    names = [name for name, _, _ in full.ranges]
    assert names == ["foreign.before", "text", "foreign.after.0", "codes", "foreign.after.1", "bins"]
    assert Vocabulary.assemble({"bins": 10}, full).span("bins") == (90, 100)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"named": [["bins", 90]]}, "named is "),
        ({"named": 3}, "named is 3"),
        ({"wraps": "yes"}, "wraps is 'yes'"),
        ({"beyond": 1.5}, "beyond is 1.5"),
    ],
)
def test_a_foreign_vocabulary_that_cannot_be_read(fields: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ForeignVocabulary.of({"size": 100, "text": [4, 60], "end": 2, **fields})
