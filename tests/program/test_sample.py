"""Rows that are not what the slots expect: a DataError naming slot, column and sample, beside the row that is well."""

import numpy as np
import pytest

from ofasys import flow
from ofasys.errors import DataError
from ofasys.modality.vocabulary import END
from ofasys.program.answer import split


def read(tiny, name, row, **more):
    return flow.preprocess(tiny.program(name), row, **more)


BAD = [
    # name, change of the first row, what the error says
    ("caption", {"img": ...},
     r"the column is missing \(slot 'IMAGE:img', column 'img', sample 'row 3'\); expected a column 'img'; the row has "
     r"cap"),
    ("caption", {"cap": ...}, r"the column is missing \(slot 'TEXT:cap', column 'cap'.*the row has img"),
    ("caption", {"img": None}, r"the value is missing \(None\) \(slot 'IMAGE:img'.*expected a value of kind image"),
    ("caption", {"cap": None}, r"the value is missing \(None\) \(slot 'TEXT:cap'"),
    ("caption", {"cap": ""}, r"the text is empty \(slot 'TEXT:cap', column 'cap'"),
    ("caption", {"cap": 3j}, r"got complex 3j \(slot 'TEXT:cap'.*expected a str"),
    ("caption", {"img": 3}, r"got int '3' \(slot 'IMAGE:img'"),
    ("caption", {"img": b"x"}, r"no picture that can be read.*slot 'IMAGE:img'"),
    ("entail", {"label": "perhaps"},
     r"'perhaps' is not in the closed set of 3 \(slot 'TEXT:label'.*'yes', 'no', 'not sure'"),
    ("entail", {"label": 1}, r"label '1' is not in the closed set of 3 \(slot 'TEXT:label'"),
    ("entail", {"label": 1.5}, r"got float '1.5' \(slot 'TEXT:label'"),
    ("prompted", {"sent1": ...}, r"the column is missing \(slot 'TEXT:sent1'"),
    ("prompted", {"label": ...}, r"the column is missing \(slot 'TEXT:label'"),
    ("ground", {"box": [3, 3, 1, 1]}, r"has no area.*\(slot 'BOX:box'"),
    ("ground", {"box": [0, 0, 999, 1]}, r"outside its image of 40 x 30 pixels.* \(slot 'BOX:box'"),
    ("ground", {"img": ...}, r"the column is missing \(slot 'IMAGE:img'"),
    ("detect", {"box": ...}, r"the column is missing \(slot 'BOX:box', column 'box'"),
    ("detect", {"name": ...}, r"the column is missing \(slot 'TEXT:name', column 'name'"),
    ("detect", {"name": None}, r"column 'name'"),
    ("detect", {"box": None}, r"column 'box'"),
    ("detect", {"name": "cat"}, r"str is not a list.*column 'name'"),
    ("detect", {"box": 7}, r"int is not a list.*column 'box'"),
    ("detect", {"name": ["cat"]}, r"1 values, and 2 in 'box'.*column 'name'.*lists of one length"),
    ("detect", {"name": ["cat", b"5"]}, r"got bytes b'5' \(slot 'TEXT:name'"),
    ("detect", {"name": ["cat", None]}, r"TEXT:name"),
    ("bare", {"box_text": [([1, 2, 20, 25], "cat"), ([0, 0, 4, 3],)]},
     r"round 1 of the list does not hold 2 values.*column 'box_text'"),
    ("bare", {"box_text": ["ab"]}, r"round 0 of the list does not hold 2 values"),
    ("bare", {"box_text": "ab"}, r"str is not a list"),
    ("bare", {"box_text": ...}, r"the column is missing.*column 'box'"),
    ("bare", {"text": ["cat"]}, r"two values were given"),
    ("infill", {"sentence": ...}, r"slot 'TEXT:sentence'"),
    ("head", {"group": "weapons"}, r"closed set of 3 \(slot 'CATEGORY:group'"),
    ("two", {"second": ...}, r"slot 'TEXT:second'"),
]  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("name", "change", "says"), BAD, ids=[f"{name} {next(iter(change))} {i}" for i, (name, change, _) in enumerate(BAD)]
)
def test_a_bad_row_and_its_twin(tiny, name, change, says, training):
    row = tiny.ROWS[name][0]
    assert read(tiny, name, row, training=training).run.tokens is not None
    bad = {column: value for column, value in (row | change).items() if value is not ...}
    with pytest.raises(DataError, match=says) as error:
        read(tiny, name, bad, training=training, origin="row 3")
    assert error.value.sample == "row 3"
    assert error.value.expected or "two values were given" in str(error.value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("entail", {"sent1": ["a cat", "a dog"]}),
        ("entail", {"label": ("yes", "no")}),
        ("ground", {"box": [[1, 2, 20, 25], [0, 0, 9, 9]]}),
        ("caption", {"img": [np.zeros((9, 9, 3), np.uint8)] * 2}),
    ],
)
def test_values_of_several_rows_in_one_are_told_how_rows_are_given(tiny, name, change):
    ((column, values),) = change.items()
    row = tiny.ROWS[name][0]
    each = f"{{{column!r}: ...}}"
    with pytest.raises(DataError) as error:
        read(tiny, name, row | change)
    assert error.value.expected.endswith(f"; a list is one value here, and several rows are [{each}, {each}]")
    for value in values:
        assert read(tiny, name, row | {column: value}).run.tokens is not None
    with pytest.raises(DataError) as other:
        read(tiny, name, row | {column: [b"neither", b"of these"]})
    assert "several rows" not in str(other.value)


@pytest.mark.parametrize("box", ["[1, 2, 20, 25]", " [1,2,20,25]\n"])
def test_the_text_of_a_list_is_told_where_lists_are_read(tiny, box):
    row = tiny.ROWS["ground"][0]
    with pytest.raises(DataError, match=r"and not as a text; a \.csv holds texts alone, give such rows as \.jsonl"):
        read(tiny, "ground", row | {"box": box})
    for other in ("[1, 2]", "[1, 2", "1, 2, 20, 25"):
        with pytest.raises(DataError, match="got str") as error:
            read(tiny, "ground", row | {"box": other})
        assert ".csv" not in str(error.value)


@pytest.mark.parametrize("row", [None, 5, "text", ["a"], ("a",)])
def test_a_row_is_a_mapping(tiny, row):
    with pytest.raises(DataError, match="expected a mapping of column to value"):
        read(tiny, "caption", row)


def test_without_a_target_its_columns_are_not_read(tiny):
    for name, rows in tiny.ROWS.items():
        made = tiny.program(name)
        needed = {slot.column for slot in made.plan.slots if slot.side == "source" or slot.no_loss}
        sample = read(
            tiny, name, {column: value for column, value in rows[0].items() if column in needed}, target=False
        )
        assert sample.run.tokens is None
        assert sample.run.states is None
        np.testing.assert_array_equal(sample.run.prefix, tiny.samples(name)[0].run.prefix)


def test_columns_named_like_our_own_words_are_harmless(tiny):
    words = [
        "target",
        "tokens",
        "source",
        "sample",
        "self",
        "row",
        "prefix",
        "states",
        "frames",
        "origin",
        "index",
        "__class__",
        "data",
    ]
    for word in words:
        made = flow.bind(tiny.model(), flow.plan(f'[TEXT:"{word}_"] -> [TEXT:"{word}"]'), {})
        sample = flow.preprocess(made, {f"{word}_": "cat", word: "dog"})
        assert made.symbols.decode(sample.run.tokens) == "dog"
        assert flow.postprocess(made, sample, tiny.answer(sample.run)) == {word: "dog"}


def test_columns_that_no_slot_reads_are_harmless(tiny):
    more = tiny.ROWS["caption"][0] | {"target": object(), "tokens": None, "other": float("nan"), 7: 8}
    np.testing.assert_array_equal(read(tiny, "caption", more).run.tokens, tiny.samples("caption")[0].run.tokens)


def test_tuples_of_an_unnamed_repetition(tiny):
    made, row = tiny.program("bare"), tiny.ROWS["bare"][0]
    pairs = row["box_text"]
    apart = {"img": row["img"], "box": [box for box, _ in pairs], "text": [text for _, text in pairs]}
    expected = read(tiny, "bare", row).run.tokens
    for other in (apart, row | {"box_text": [list(pair) for pair in pairs]}, row | {"box_text": tuple(pairs)}):
        np.testing.assert_array_equal(read(tiny, "bare", other).run.tokens, expected)
    assert len(split(made, expected)[1]) == len(pairs)


def test_an_empty_repetition_is_the_end_mark_alone(tiny):
    sample = read(tiny, "detect", {"img": tiny.picture(), "box": [], "name": []})
    assert sample.run.tokens.tolist() == [END]
    assert split(tiny.program("detect"), sample.run.tokens) == {1: [], 2: []}


def test_a_source_of_nothing_is_an_error(tiny):
    made = flow.bind(tiny.model(), flow.plan("([TEXT:hint])* -> [TEXT:t]"), {})
    assert flow.preprocess(made, {"hint": ["cat"], "t": "dog"}).source
    with pytest.raises(DataError, match=r"the source is empty.*column 'hint'"):
        flow.preprocess(made, {"hint": [], "t": "dog"})


def test_a_stream_longer_than_the_models_table(tiny):
    most = tiny.CONFIG.max_positions
    made = tiny.program("language")
    tokens = made.symbols.encode("#" * 5)
    assert len(tokens) == 5  # a piece a letter
    assert len(read(tiny, "language", {"t": "#" * (most - 2)}).run.tokens) == most - 1
    with pytest.raises(DataError, match=r"the target is \d+ positions long.*expected at most 128, the model's limit"):
        read(tiny, "language", {"t": "#" * (most + 1)})
    row = {"sentence": "#" * most}
    with pytest.raises(DataError, match=r"the source is \d+ positions long"):
        read(tiny, "infill", row, target=False)


def test_a_picture_takes_one_place_of_the_sentence(tiny):
    made = flow.bind(tiny.model(), flow.plan("[IMAGE:img,size=256] -> [TEXT:cap]"), {})
    sample = flow.preprocess(made, {"img": tiny.picture(), "cap": "cat"})  # 256 patches, a table of 128
    assert tiny.losses(made, [sample])[0]


def test_a_grid_beyond_the_models_table_says_so(tiny):
    made = flow.bind(
        tiny.model(), flow.plan("[IMAGE:img,size=512] -> [TEXT:cap]"), {}
    )  # 32 x 32 patches, a table of 16
    with pytest.raises(DataError, match="16"):
        tiny.losses(made, [flow.preprocess(made, {"img": tiny.picture(), "cap": "cat"})])


def test_randomness_is_the_samples_own(tiny):
    one, two, three = (
        read(tiny, "infill", tiny.ROWS["infill"][0], random=np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    same = [
        np.array_equal(a[1].tensors["tokens"], b[1].tensors["tokens"])
        for a, b in zip(one.source, two.source, strict=True)
    ]
    assert all(same)
    assert any(
        not np.array_equal(a[1].tensors["tokens"], b[1].tensors["tokens"])
        for a, b in zip(one.source, three.source, strict=True)
    )
