"""A repetition has at least and at most as many rounds as are asked for, however it is searched."""

from dataclasses import replace

import pytest

from ofasys import OFASys, flow
from ofasys.errors import ConfigError
from ofasys.generator.options import SearchOptions

ITEMS = {
    "greedy": {},
    "beams": {"beam_size": 3},
    "drawn": {"sampling": True, "temperature": 2.0, "seed": 5},
    "all tokens count": {"normalise": "vocabulary"},
    "beams over all tokens": {"normalise": "vocabulary", "beam_size": 2},
}


@pytest.mark.parametrize("way", ITEMS)
@pytest.mark.parametrize("name", ["detect", "name_first", "many"])
def test_a_repetition_has_as_many_rounds_as_are_asked_for(tiny, name, way):
    made = tiny.program(name)
    column = next(slot.column for slot in made.plan.answered)
    asked = [flow.preprocess(made, row, target=False) for row in tiny.ROWS[name]]
    kinds = [(0, 1), (2, 2), (3, 4), (1, None)]
    for least, most in kinds:
        options = SearchOptions(max_length=60, min_items=least, max_items=most, **ITEMS[way])
        for sample, found in zip(asked, flow.generate(tiny.model(), made, asked, options), strict=True):
            count = len(flow.postprocess(made, sample, found[0])[column])
            assert count >= least or not found[0].finished
            assert count <= (most or 99)
            if most is not None:
                assert found[0].finished or len(found[0].tokens) >= 50


@pytest.mark.parametrize("way", ITEMS)
def test_rounds_that_would_come_anyway_are_not_changed_by_asking_for_them(tiny, way):
    made = tiny.program("detect")
    asked = [flow.preprocess(made, row, target=False) for row in tiny.ROWS["detect"]]
    options = SearchOptions(max_length=60, **ITEMS[way])
    free = flow.generate(tiny.model(), made, asked, options)
    for number, (sample, (best, *_)) in enumerate(zip(asked, free, strict=True)):
        count = len(flow.postprocess(made, sample, best)["box"])
        own = replace(options, max_items=count + 1)
        (again,) = flow.generate(tiny.model(), made, [sample], own, [number])
        assert again[0].tokens.tolist() == best.tokens.tolist()


def test_rounds_of_what_is_not_repeated_are_refused(tiny):
    model = OFASys(tiny.model())
    with pytest.raises(ConfigError, match=r"max_items=2 does nothing .* nothing is repeated"):
        model.inference("[TEXT:question] -> [TEXT:first]", {"question": "a"}, max_items=2)
    with pytest.raises(ConfigError, match="min_items is 3, more than max_items 2"):
        model.inference(
            tiny.INSTRUCTIONS["many"], {"hint": []}, closed_set=tiny.LABELS["group"], min_items=3, max_items=2
        )
    with pytest.raises(ConfigError, match="max_items is 0"):
        SearchOptions(max_items=0)
    out = model.inference(
        tiny.INSTRUCTIONS["many"], {"hint": []}, closed_set=tiny.LABELS["group"], min_items=3, max_items=3
    )
    assert len(out["group"]) == 3
